//! Every turn of a rollout, on a workload that is nothing but the texts that a cluster would keep of it.

mod failing;
mod going;
mod people;

use std::collections::BTreeMap;
use std::time::Duration;

use env_spec::Pin;
use jiff::Timestamp;
use workload::names::{ROLLOUT, ROLLOUT_SERIAL};
use workload::rollout::{Memory, Phase, Recall};

use super::{Decision, Fetching, Live, News, Situation, Use, Write, decide};
use crate::rollouts::progress::Progress;

const API: &str = "acme/api";
const WEB: &str = "acme/web";
const DEADLINE: Duration = Duration::from_secs(600);

/// Returns a pin of an environment.
fn pin_of(environment: &str, number: u64) -> Pin {
    let digest = format!("{number:064x}");
    format!("{environment}:{number}@sha256:{digest}")
        .parse()
        .unwrap()
}

fn pin(number: u64) -> Pin {
    pin_of(API, number)
}

/// A workload in a cluster. Nothing is kept between two decisions but what the API server would keep.
struct Cluster {
    tracked: bool,
    paused: bool,
    annotation: Option<String>,
    label: Option<String>,
    uses: Vec<Use>,
    live: BTreeMap<String, Live>,
    trouble: Option<&'static str>,
    progress: Progress,
    fetching: Fetching,
    deadline: Duration,
    now: Timestamp,
    told: Vec<News>,
}

impl Cluster {
    /// Returns a Deployment of three pods that runs a generation which is live by the pointer of this sequence.
    fn running(number: u64, sequence: u64) -> Self {
        let mut cluster = Self {
            tracked: true,
            paused: false,
            annotation: None,
            label: None,
            uses: vec![use_of(API, Some(number))],
            live: BTreeMap::new(),
            trouble: None,
            progress: Progress {
                observed: true,
                desired: 3,
                wanted: 3,
                total: 3,
                updated: 3,
                available: 3,
                replaces: true,
                runs: true,
                ..Progress::default()
            },
            fetching: Fetching {
                asked: true,
                done: 2,
                ..Fetching::default()
            },
            deadline: DEADLINE,
            now: "2026-11-25T10:00:00Z".parse().unwrap(),
            told: Vec::new(),
        };
        cluster.publish(API, number, sequence);
        cluster
    }

    fn publish(&mut self, environment: &str, number: u64, sequence: u64) {
        let live = Live {
            pin: pin_of(environment, number),
            sequence,
            since: "2026-11-25T09:59:00Z".to_owned(),
        };
        self.live.insert(environment.to_owned(), live);
    }

    fn recall(&self) -> Recall {
        Recall::read(
            |name| self.annotation.as_deref().filter(|_| name == ROLLOUT),
            |name| self.label.as_deref().filter(|_| name == ROLLOUT_SERIAL),
        )
    }

    fn memory(&self) -> Memory {
        self.recall().known().expect("there is a memory").clone()
    }

    fn phase(&self) -> Phase {
        self.memory().phase
    }

    fn decide(&self) -> Decision {
        let recall = self.recall();
        decide(&Situation {
            recall: &recall,
            tracked: self.tracked,
            paused: self.paused,
            uses: &self.uses,
            live: &self.live,
            trouble: self.trouble,
            progress: self.progress,
            deadline: self.deadline,
            fetching: self.fetching,
            now: self.now,
        })
    }

    /// Does one decision, as the operator would.
    fn step(&mut self) -> Decision {
        let decision = self.decide();
        if let Some(Write { memory, pins, .. }) = &decision.write {
            let before = self.label.as_deref().unwrap_or("0").parse::<u64>().unwrap();
            assert_eq!(memory.serial, before + 1, "each write dates itself");
            self.annotation = Some(memory.to_annotation());
            self.label = Some(memory.serial.to_string());
            let mut changed = false;
            for one in &mut self.uses {
                if let Some(wanted) = pins.as_ref().and_then(|pins| pins.get(&one.environment)) {
                    changed |= one.pin.as_ref() != Some(&wanted.pin);
                    one.pin = Some(wanted.pin.clone());
                    one.bare = wanted.bare;
                }
            }
            if changed {
                self.progress.observed = false;
            }
        }
        self.told.extend(decision.news);
        decision
    }

    /// Decides until nothing is written any more, and tells how often something was.
    fn settle(&mut self) -> usize {
        for writes in 0..20 {
            if self.step().write.is_none() {
                return writes;
            }
        }
        panic!("it never comes to rest: {:?}", self.recall());
    }

    /// Kubernetes looks at the newest template and has replaced so many of the three pods.
    fn replaced(&mut self, updated: i32, available: i32) {
        self.progress.observed = true;
        self.progress.updated = updated;
        self.progress.available = available;
        self.progress.total = 3.max(updated);
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now.checked_add(time).unwrap();
    }

    fn pins(&self) -> Vec<Option<Pin>> {
        self.uses.iter().map(|one| one.pin.clone()).collect()
    }

    /// A person sets the template's first pin.
    fn person_pins(&mut self, number: u64) {
        self.uses[0].pin = Some(pin(number));
        self.progress.observed = false;
    }
}

fn use_of(environment: &str, number: Option<u64>) -> Use {
    Use {
        environment: environment.to_owned(),
        pin: number.map(|number| pin_of(environment, number)),
        bare: false,
    }
}

/// Brings a cluster to the middle of a rollout from 12 to 13.
fn rolling_out() -> Cluster {
    let mut cluster = Cluster::running(12, 5);
    cluster.settle();
    cluster.publish(API, 13, 6);
    cluster.settle();
    assert_eq!(cluster.phase(), Phase::Progressing);
    assert_eq!(cluster.pins(), [Some(pin(13))]);
    cluster.replaced(1, 2);
    cluster
}
