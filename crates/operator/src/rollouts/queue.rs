//! What is to be looked at, and when: each thing once at a time, the earliest wish wins, failures wait longer each time.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// How long the first failure waits; each further one twice as long.
const FIRST_RETRY: Duration = Duration::from_millis(250);
/// And how long at most.
const LAST_RETRY: Duration = Duration::from_secs(60);

/// A queue of things to look at.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    inner: Mutex<Inner<T>>,
    changed: Notify,
}

#[derive(Debug)]
struct Inner<T> {
    order: BTreeSet<(Instant, T)>,
    due: HashMap<T, Instant>,
    /// Being looked at: not handed out a second time before that is over.
    running: HashSet<T>,
    failures: HashMap<T, u32>,
}

impl<T: Clone + Eq + Hash + Ord> Queue<T> {
    pub(crate) fn new() -> Self {
        Self {
            inner: Mutex::new(Inner::new()),
            changed: Notify::new(),
        }
    }

    /// Asks for a look after this time, or earlier where that was asked for already.
    pub(crate) fn add(&self, item: T, delay: Duration) {
        self.lock().add(item, Instant::now() + delay);
        self.changed.notify_one();
    }

    /// Returns the next thing as soon as one is due.
    pub(crate) async fn next(&self) -> T {
        loop {
            let until = match self.lock().take(Instant::now()) {
                Ok(item) => {
                    // Others may be due as well, and one permit wakes one worker.
                    self.changed.notify_one();
                    return item;
                }
                Err(until) => until,
            };
            match until {
                Some(until) => tokio::select! {
                    () = tokio::time::sleep_until(until) => {}
                    () = self.changed.notified() => {}
                },
                None => self.changed.notified().await,
            }
        }
    }

    /// Says that a look went well.
    pub(crate) fn done(&self, item: &T) {
        self.lock().done(item);
        self.changed.notify_one();
    }

    /// Says that a look failed; there will be another one. Returns how many have failed in a row.
    pub(crate) fn failed(&self, item: &T) -> u32 {
        let failures = self.lock().failed(item, Instant::now());
        self.changed.notify_one();
        failures
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone + Eq + Hash + Ord> Inner<T> {
    fn new() -> Self {
        Self {
            order: BTreeSet::new(),
            due: HashMap::new(),
            running: HashSet::new(),
            failures: HashMap::new(),
        }
    }

    fn done(&mut self, item: &T) {
        self.running.remove(item);
        self.failures.remove(item);
    }

    fn failed(&mut self, item: &T, now: Instant) -> u32 {
        self.running.remove(item);
        let failures = self.failures.entry(item.clone()).or_default();
        let delay = FIRST_RETRY * 2u32.saturating_pow((*failures).min(10));
        *failures += 1;
        let failures = *failures;
        self.add(item.clone(), now + delay.min(LAST_RETRY));
        failures
    }

    fn add(&mut self, item: T, when: Instant) {
        if let Some(known) = self.due.get(&item) {
            if *known <= when {
                return;
            }
            self.order.remove(&(*known, item.clone()));
        }
        self.due.insert(item.clone(), when);
        self.order.insert((when, item));
    }

    /// Takes the first thing that is due and not being looked at, or says when the next one may be.
    fn take(&mut self, now: Instant) -> Result<T, Option<Instant>> {
        let mut waiting = self
            .order
            .iter()
            .filter(|(_, item)| !self.running.contains(item));
        match waiting.next() {
            None => Err(None),
            Some((when, _)) if *when > now => Err(Some(*when)),
            Some(first) => {
                let (when, item) = first.clone();
                self.order.remove(&(when, item.clone()));
                self.due.remove(&item);
                self.running.insert(item.clone());
                Ok(item)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::FutureExt as _;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn things_come_when_they_are_due_and_each_once() {
        let (mut inner, now) = (Inner::new(), Instant::now());
        inner.add("later", now + 10 * SECOND);
        inner.add("now", now);
        inner.add("now", now + 5 * SECOND);
        assert_eq!(inner.take(now), Ok("now"));
        inner.done(&"now");
        assert_eq!(inner.take(now), Err(Some(now + 10 * SECOND)));
        assert_eq!(inner.take(now + 10 * SECOND), Ok("later"));
        inner.done(&"later");
        assert_eq!(inner.take(now + 60 * SECOND), Err(None));
    }

    #[test]
    fn an_earlier_wish_wins() {
        let (mut inner, now) = (Inner::new(), Instant::now());
        inner.add("one", now + 60 * SECOND);
        inner.add("one", now + SECOND);
        inner.add("one", now + 30 * SECOND);
        assert_eq!(inner.take(now), Err(Some(now + SECOND)));
        assert_eq!(inner.take(now + SECOND), Ok("one"));
    }

    #[test]
    fn what_is_looked_at_is_not_handed_out_again_before_that_is_over() {
        let (mut inner, now) = (Inner::new(), Instant::now());
        inner.add("one", now);
        assert_eq!(inner.take(now), Ok("one"));
        inner.add("one", now);
        inner.add("two", now);
        assert_eq!(inner.take(now), Ok("two"));
        assert_eq!(inner.take(now), Err(None));
        inner.done(&"one");
        assert_eq!(inner.take(now), Ok("one"));
    }

    #[test]
    fn failures_wait_longer_each_time_up_to_a_minute() {
        let (mut inner, now) = (Inner::new(), Instant::now());
        inner.add("one", now);
        let mut waits = Vec::new();
        for _ in 0..12 {
            let when = inner.due["one"];
            waits.push((when - now).as_millis());
            assert_eq!(inner.take(when), Ok("one"));
            let failures = inner.failed(&"one", now);
            assert_eq!(failures as usize, waits.len());
        }
        assert_eq!(waits[..4], [0, 250, 500, 1000]);
        assert_eq!(waits[11], 60_000);
        // One success and it is forgotten.
        assert_eq!(inner.take(now + 60 * SECOND), Ok("one"));
        inner.done(&"one");
        inner.failed(&"one", now);
        assert_eq!((inner.due["one"] - now).as_millis(), 250);
    }

    #[tokio::test]
    async fn several_workers_take_what_is_due_together() {
        let queue = Arc::new(Queue::new());
        assert!(queue.next().now_or_never().is_none());
        let taken = (0..4).map(|_| {
            let queue = Arc::clone(&queue);
            tokio::spawn(async move { queue.next().await })
        });
        let taken: Vec<_> = taken.collect();
        tokio::task::yield_now().await;
        for number in 0..4 {
            queue.add(number, Duration::from_millis(number));
        }
        let mut all = Vec::new();
        for one in taken {
            all.push(one.await.unwrap());
        }
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3]);
        queue.add(9, Duration::ZERO);
        assert_eq!(queue.next().await, 9);
        queue.failed(&9);
        assert_eq!(queue.next().await, 9);
        queue.done(&9);
    }
}
