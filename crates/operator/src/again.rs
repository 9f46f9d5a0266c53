//! When a watch that failed is tried again.

use std::time::Duration;

use backon::ExponentialBuilder;
use kube::runtime::utils::{Backoff, ResetTimerBackoff};
use kube::runtime::watcher::ExponentialBackoff;

/// The first pause.
const SHORTEST: Duration = Duration::from_millis(800);
/// The longest, but for what chance adds to it, up to the same again. After an outage the first watch fails, too, since the API
/// server does not know the version that was seen last: two pauses are what a rollout stands still for, here and on the
/// nodes that are to fetch. A thousand nodes ask some hundred times a second meanwhile.
const LONGEST: Duration = Duration::from_secs(8);
/// After so long without a failure the next one is a first one.
const FORGOTTEN: Duration = Duration::from_secs(120);

/// Returns pauses that grow and differ from process to process, so that an API server that comes back is not stormed.
pub(crate) fn pauses() -> impl Backoff {
    let growing = ExponentialBuilder::default()
        .with_min_delay(SHORTEST)
        .with_max_delay(LONGEST)
        .with_factor(2.0)
        .with_jitter()
        .without_max_times();
    ResetTimerBackoff::new(ExponentialBackoff::from(growing), FORGOTTEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_never_end() {
        let all: Vec<Duration> = pauses().take(50).collect();
        assert_eq!(all.len(), 50);
        assert!(all[0] >= SHORTEST && all[0] <= SHORTEST * 2, "{:?}", all[0]);
        let last = all[49];
        assert!(last >= LONGEST && last <= LONGEST * 2, "{last:?}");
    }
}
