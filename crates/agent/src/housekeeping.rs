//! What the agent does on its own: it ends lost leases, collects when the disk fills up, and asks what was revoked.

use std::collections::BTreeSet;
use std::sync::Arc;

use env_spec::Digest;
use store::{CollectPlan, Collected, collect};
use tokio_util::sync::CancellationToken;

use crate::agent::Agent;
use crate::error::AgentError;

impl Agent {
    /// Removes what no lease, no recent generation and no pin needs, until `enough` bytes are free again.
    pub(crate) async fn collect(
        &self,
        enough: u64,
        dry_run: bool,
    ) -> Result<Collected, AgentError> {
        let _turn = self.collecting.lock().await;
        self.sweep()?;
        // Before the roots are read: what is leased from now on keeps its protection until the end.
        let collecting = self.store.begin_collecting();
        let mut roots = self.leases.closures();
        roots.extend(
            self.generations
                .roots(self.settings.keep_generations, &self.settings.keep),
        );
        let plan = CollectPlan {
            roots,
            enough,
            dry_run,
        };
        let presentation = Arc::clone(&self.presentation);
        let job = tokio::task::spawn_blocking(move || collect(&collecting, &*presentation, &plan));
        let collected = job.await.map_err(|_| AgentError::Stopping)??;
        if !dry_run {
            let there: BTreeSet<_> = self.store.closures()?.into_iter().collect();
            self.generations.sweep(|closure| there.contains(&closure))?;
            self.records.keep_only(&self.digests_in_use())?;
            tracing::info!(
                closures = collected.closures,
                paths = collected.paths,
                bytes = collected.bytes,
                "collected"
            );
        }
        Ok(collected)
    }

    /// Ends what belongs to containers that are gone.
    fn sweep(&self) -> Result<(), AgentError> {
        self.leases.sweep()?;
        self.sandboxes.sweep(|id| self.leases.knows_sandbox(id))
    }

    fn digests_in_use(&self) -> BTreeSet<Digest> {
        let leased = self
            .leases
            .all()
            .into_iter()
            .flat_map(|lease| lease.holds)
            .map(|hold| hold.pin.digest);
        let seen = self.generations.all().into_iter().map(|one| one.pin.digest);
        // Those that are being prepared are neither leased nor noted yet.
        leased
            .chain(seen)
            .chain(self.known.digests())
            .chain(self.settings.keep.iter().map(|pin| pin.digest))
            .collect()
    }

    /// Returns the owners of what runs or is kept here.
    fn owners_in_use(&self) -> BTreeSet<String> {
        let leased = self.leases.all().into_iter().flat_map(|lease| lease.holds);
        let seen = self.generations.all().into_iter().map(|one| one.pin);
        leased
            .map(|hold| hold.pin)
            .chain(seen)
            .chain(self.settings.keep.iter().cloned())
            .map(|pin| pin.environment.owner().to_owned())
            .collect()
    }

    /// Returns how many bytes are to be freed, by the disk's watermarks.
    fn excess(&self) -> u64 {
        let Ok(disk) = rustix::fs::statvfs(self.store.root()) else {
            return 0;
        };
        // As df counts: what root alone may use is not there.
        let used = disk.f_blocks.saturating_sub(disk.f_bfree);
        let total = used + disk.f_bavail;
        let mark = |percent: u8| total / 100 * u64::from(percent);
        let watermarks = self.settings.watermarks;
        if used <= mark(watermarks.high) {
            return 0;
        }
        used.saturating_sub(mark(watermarks.low))
            .saturating_mul(disk.f_frsize)
    }
}

/// Keeps the house until told to stop.
pub(crate) async fn keep(agent: Arc<Agent>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(agent.settings.housekeeping) => {}
        }
        let outcome = match agent.excess() {
            0 => agent.sweep(),
            excess => agent.collect(excess, false).await.map(drop),
        };
        if let Err(error) = outcome {
            tracing::warn!(error = error.line(), "housekeeping failed");
        }
    }
}

/// Asks the hub now and then what was revoked of what is used here, until told to stop.
pub(crate) async fn keep_revocations(agent: Arc<Agent>, stop: CancellationToken) {
    loop {
        let asking = agent.revocations.refresh(agent.owners_in_use());
        tokio::select! {
            () = stop.cancelled() => return,
            outcome = asking => if let Err(error) = outcome {
                tracing::warn!(error = error.line(), "revocations are not kept up to date");
            },
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(agent.settings.revocations.every) => {}
        }
    }
}
