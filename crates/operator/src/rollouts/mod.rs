//! Rollouts: workloads that track an environment get its new generations, and the old ones back when that fails.

mod decide;
mod patch;
mod progress;
mod queue;
mod seen;
