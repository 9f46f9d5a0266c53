//! The local store: fetch, verify, place and present closures.

pub mod closures;
pub mod collect;
pub mod fetch;
mod flight;
pub mod layout;
pub mod pack;
pub mod present;
mod recover;
mod remove;
mod settle;
pub mod source;
mod temporary;
pub mod unpack;

pub use closures::ClosureId;
pub use collect::{CollectError, CollectPlan, Collected, collect};
pub use fetch::{FetchError, FetchOutcome, Progress, ProgressView, realise};
pub use layout::{Collecting, Key, Protection, Store, StoreError};
pub use present::{BindTree, PresentError, Presentation};
pub use source::{Source, SourceError, http_client};
pub use unpack::{UnpackError, unpack};
