//! Work that costs a core or much memory, a few at a time.

use tokio::task::JoinError;

/// Does work on a thread of its own, and keeps its turns until it ends: a thread cannot be stopped when the client who
/// wanted its work is gone, so that dropping what this returns gives nothing back.
pub(crate) async fn work<T: Send + 'static>(
    turns: impl Send + 'static,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    tokio::task::spawn_blocking(move || {
        let done = work();
        drop(turns);
        done
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use tokio::sync::{Semaphore, oneshot};

    #[tokio::test]
    async fn a_turn_lasts_as_long_as_its_work_even_when_nobody_waits() {
        let turns = Arc::new(Semaphore::new(1));
        let turn = Arc::clone(&turns).acquire_owned().await.unwrap();
        let (begun, begin) = oneshot::channel();
        let (end, ended) = mpsc::channel::<()>();
        let asker = tokio::spawn(super::work(turn, move || {
            begun.send(()).unwrap();
            ended.recv().unwrap();
        }));
        begin.await.unwrap();
        asker.abort();
        assert!(asker.await.unwrap_err().is_cancelled());
        assert_eq!(turns.available_permits(), 0);
        end.send(()).unwrap();
        let _next = turns.acquire().await.unwrap();
    }
}
