//! Requests that wait for a live pointer to move: a bounded number of them, and all of them end when the hub stops.

use std::sync::Arc;

use env_spec::EnvironmentName;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::HubError;

/// Moves that a waiter may miss before it looks for itself.
const MOVES_KEPT: usize = 64;

/// All that wait.
#[derive(Debug, Clone)]
pub(crate) struct Waiting {
    moves: broadcast::Sender<EnvironmentName>,
    turns: Arc<Semaphore>,
    most: usize,
    stop: CancellationToken,
}

/// One that hears of moves.
#[derive(Debug)]
pub(crate) struct Waiter {
    name: EnvironmentName,
    moves: broadcast::Receiver<EnvironmentName>,
    turns: Arc<Semaphore>,
    turn: Option<OwnedSemaphorePermit>,
    stop: CancellationToken,
}

impl Waiting {
    /// Lets half of the connections wait, so that the other half stays for everybody else.
    pub(crate) fn new(connections: usize, stop: CancellationToken) -> Self {
        let (moves, _) = broadcast::channel(MOVES_KEPT);
        let most = (connections / 2).max(1);
        Self {
            moves,
            turns: Arc::new(Semaphore::new(most)),
            most,
            stop,
        }
    }

    /// Returns how many wait now.
    pub(crate) fn under_way(&self) -> usize {
        self.most - self.turns.available_permits()
    }

    /// Wakes those who wait for this environment.
    pub(crate) fn moved(&self, name: &EnvironmentName) {
        // The error says that nobody waits.
        self.moves.send(name.clone()).ok();
    }

    /// Returns one that hears of every move from now on.
    pub(crate) fn waiter(&self, name: &EnvironmentName) -> Waiter {
        Waiter {
            name: name.clone(),
            moves: self.moves.subscribe(),
            turns: Arc::clone(&self.turns),
            turn: None,
            stop: self.stop.clone(),
        }
    }
}

impl Waiter {
    /// Waits until the pointer may have moved. Returns whether it may: otherwise the time is over or the hub stops.
    ///
    /// # Errors
    /// Fails when too many wait already.
    pub(crate) async fn wait(&mut self, until: Instant) -> Result<bool, HubError> {
        if self.turn.is_none() {
            let turn = Arc::clone(&self.turns).try_acquire_owned();
            self.turn = Some(turn.map_err(|_| HubError::Busy)?);
        }
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return Ok(false),
                () = tokio::time::sleep_until(until) => return Ok(false),
                moved = self.moves.recv() => match moved {
                    Ok(name) if name != self.name => {}
                    // Who missed some looks for itself, as does who was called.
                    Ok(_) | Err(RecvError::Lagged(_)) => return Ok(true),
                    Err(RecvError::Closed) => return Ok(false),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn name(text: &str) -> EnvironmentName {
        text.parse().unwrap()
    }

    fn far() -> Instant {
        Instant::now() + Duration::from_secs(3600)
    }

    #[tokio::test]
    async fn a_move_between_look_and_wait_is_not_missed() {
        let waiting = Waiting::new(2, CancellationToken::new());
        let mut waiter = waiting.waiter(&name("demo/app"));
        waiting.moved(&name("demo/other"));
        waiting.moved(&name("demo/app"));
        assert!(waiter.wait(far()).await.unwrap());
        assert!(!waiter.wait(Instant::now()).await.unwrap());
    }

    #[tokio::test]
    async fn who_missed_too_many_moves_looks_again() {
        let waiting = Waiting::new(2, CancellationToken::new());
        let mut waiter = waiting.waiter(&name("demo/app"));
        (0..=MOVES_KEPT).for_each(|_| waiting.moved(&name("demo/other")));
        assert!(waiter.wait(far()).await.unwrap());
    }

    #[tokio::test]
    async fn a_turn_is_free_again_when_its_waiter_goes() {
        let waiting = Waiting::new(2, CancellationToken::new());
        let (mut one, mut two) = (
            waiting.waiter(&name("demo/app")),
            waiting.waiter(&name("demo/app")),
        );
        assert!(!one.wait(Instant::now()).await.unwrap());
        assert_eq!(waiting.under_way(), 1);
        let refused = two.wait(far()).await;
        assert!(matches!(refused, Err(HubError::Busy)), "{refused:?}");
        drop(one);
        assert_eq!(waiting.under_way(), 0);
        assert!(!two.wait(Instant::now()).await.unwrap());
    }
}
