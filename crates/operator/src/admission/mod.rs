//! The webhooks that the API server asks: `/mutate` and `/validate`.

mod decide;
mod nodes;
mod review;
mod server;

pub(crate) use decide::Judge;
pub(crate) use nodes::Nodes;
pub(crate) use server::router;

#[cfg(test)]
mod tests;
