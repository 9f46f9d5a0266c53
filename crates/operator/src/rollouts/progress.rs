//! How far the pods of a workload are, the same way for every kind.

use serde_json::Value;
use workload::template::Kind;

/// What the controllers of Kubernetes say of a workload's pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Progress {
    /// Whether what they say is of the newest template.
    pub(crate) observed: bool,
    /// How many pods there should be.
    pub(crate) desired: i32,
    /// How many pods there are in all.
    pub(crate) total: i32,
    /// How many of them are made of the newest template.
    pub(crate) updated: i32,
    /// How many of them have been ready long enough.
    pub(crate) available: i32,
    /// How many of the updated ones are wanted: fewer than all where a partition holds some back.
    pub(crate) wanted: i32,
    /// Whether anything but the pods' own end replaces them: not so with the strategy `OnDelete`, for a paused
    /// Deployment, and for what has no pods between its runs.
    pub(crate) replaces: bool,
    /// Whether a person has paused it in Kubernetes' own way.
    pub(crate) paused: bool,
    /// Whether there are pods at all between changes: a CronJob's template is only looked at by its next run.
    pub(crate) runs: bool,
    /// Whether a pod that does not come up keeps all others from being replaced, even by a newer template.
    pub(crate) ordered: bool,
}

impl Progress {
    /// Reads a workload.
    pub(crate) fn of(kind: Kind, object: &Value) -> Self {
        let number = |path: &str| {
            let number = object.pointer(path).and_then(Value::as_i64);
            number.map(|number| i32::try_from(number).unwrap_or(i32::MAX))
        };
        let text = |path: &str| object.pointer(path).and_then(Value::as_str);
        let status = |field: &str| number(&format!("/status/{field}")).unwrap_or(0);
        let generation = object
            .pointer("/metadata/generation")
            .and_then(Value::as_i64);
        let seen = object
            .pointer("/status/observedGeneration")
            .and_then(Value::as_i64);
        let common = Self {
            observed: seen.unwrap_or(0) >= generation.unwrap_or(0),
            replaces: true,
            runs: true,
            ..Self::default()
        };
        match kind {
            Kind::Deployment | Kind::ReplicaSet => {
                let desired = number("/spec/replicas").unwrap_or(1);
                Self {
                    desired,
                    wanted: desired,
                    total: status("replicas"),
                    // A ReplicaSet never replaces a pod, so it does not count them either.
                    updated: status(if kind == Kind::Deployment {
                        "updatedReplicas"
                    } else {
                        "replicas"
                    }),
                    available: status("availableReplicas"),
                    paused: object.pointer("/spec/paused").and_then(Value::as_bool) == Some(true),
                    replaces: kind == Kind::Deployment,
                    ..common
                }
            }
            Kind::StatefulSet => {
                let desired = number("/spec/replicas").unwrap_or(1);
                // Where it shrinks, the pods with the highest ordinals go, which were replaced first.
                let going = status("replicas").saturating_sub(desired).max(0);
                let partition = number("/spec/updateStrategy/rollingUpdate/partition").unwrap_or(0);
                let rolling = text("/spec/updateStrategy/type") != Some("OnDelete");
                Self {
                    desired,
                    wanted: if rolling {
                        desired.saturating_sub(partition).clamp(0, desired.max(0))
                    } else {
                        desired
                    },
                    total: status("replicas").saturating_sub(going),
                    updated: status("updatedReplicas").saturating_sub(going).max(0),
                    available: status("availableReplicas"),
                    replaces: rolling,
                    ordered: rolling && text("/spec/podManagementPolicy") != Some("Parallel"),
                    ..common
                }
            }
            Kind::DaemonSet => {
                let desired = status("desiredNumberScheduled");
                Self {
                    desired,
                    wanted: desired,
                    total: status("currentNumberScheduled"),
                    updated: status("updatedNumberScheduled"),
                    available: status("numberAvailable"),
                    replaces: text("/spec/updateStrategy/type") != Some("OnDelete"),
                    ..common
                }
            }
            Kind::Job => {
                let desired = number("/spec/parallelism").unwrap_or(1);
                let finished = status("succeeded") > 0 && status("active") == 0;
                Self {
                    desired: if finished { 0 } else { desired },
                    total: status("active"),
                    available: status("ready"),
                    observed: true,
                    replaces: false,
                    ..common
                }
            }
            Kind::CronJob => Self {
                observed: true,
                replaces: false,
                runs: false,
                ..common
            },
            Kind::Pod => {
                let conditions = object
                    .pointer("/status/conditions")
                    .and_then(Value::as_array);
                let ready = conditions.into_iter().flatten().any(|condition| {
                    let field = |name: &str| condition.get(name).and_then(Value::as_str);
                    field("type") == Some("Ready") && field("status") == Some("True")
                });
                let over = matches!(text("/status/phase"), Some("Succeeded" | "Failed"));
                Self {
                    desired: i32::from(!over),
                    total: i32::from(!over),
                    available: i32::from(ready && !over),
                    observed: true,
                    replaces: false,
                    ..common
                }
            }
        }
    }

    /// Tells whether all pods are of the newest template and up.
    pub(crate) fn is_complete(&self) -> bool {
        if !self.runs {
            return true;
        }
        let all = self.wanted == self.desired;
        self.observed
            && self.updated >= self.wanted
            && (!all || self.total <= self.updated)
            && self.available >= self.desired
    }

    /// Returns how far the replacing is: it grows with each pod of the newest template that comes, with each older
    /// one that goes, and with each one that is up. More than there should be count for nothing: they go when fewer
    /// are wanted.
    pub(crate) fn count(&self) -> i64 {
        let old = self.total.saturating_sub(self.updated).max(0);
        let (updated, available) = (
            self.updated.min(self.wanted),
            self.available.min(self.desired),
        );
        i64::from(updated) - i64::from(old) + i64::from(available)
    }

    /// Tells whether time counts: whether something else than a person should be replacing pods.
    pub(crate) fn is_moving(&self) -> bool {
        self.replaces && !self.paused
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(replicas: i32, status: &Value) -> Progress {
        let object = json!({
            "metadata": {"generation": 3},
            "spec": {"replicas": replicas, "strategy": {"rollingUpdate": {"maxUnavailable": "100%"}}},
            "status": status,
        });
        Progress::of(Kind::Deployment, &object)
    }

    #[test]
    fn a_deployment_is_complete_when_only_new_pods_are_left_and_all_are_up() {
        let complete = |observed: i32, total: i32, updated: i32, available: i32| {
            deployment(
                3,
                &json!({"observedGeneration": observed, "replicas": total, "updatedReplicas": updated, "availableReplicas": available}),
            )
            .is_complete()
        };
        assert!(complete(3, 3, 3, 3));
        assert!(
            !complete(2, 3, 3, 3),
            "what is said is of an older template"
        );
        assert!(!complete(3, 4, 3, 4), "an old pod is left");
        assert!(!complete(3, 3, 2, 3), "a new one is missing");
        assert!(
            !complete(3, 3, 3, 2),
            "one is not up, whatever may be unavailable"
        );
        assert!(deployment(0, &json!({"observedGeneration": 3})).is_complete());
        assert!(!deployment(0, &json!({})).is_complete());
    }

    #[test]
    fn the_count_grows_with_every_step_and_never_asks_how_many_may_be_missing() {
        let steps = [
            // total, updated, available; from three old pods to three new ones, all at once.
            (3, 0, 3),
            (3, 3, 0),
            (3, 3, 1),
            (3, 3, 3),
        ];
        let surge = [
            (3, 0, 3),
            (4, 1, 3),
            (4, 1, 4),
            (3, 1, 3),
            (4, 2, 3),
            (4, 2, 4),
            (3, 2, 3),
            (4, 3, 3),
            (3, 3, 3),
        ];
        let count = |(total, updated, available): (i32, i32, i32)| {
            deployment(3, &json!({"observedGeneration": 3, "replicas": total, "updatedReplicas": updated, "availableReplicas": available})).count()
        };
        let counts: Vec<i64> = steps.into_iter().map(count).collect();
        assert_eq!(counts, [0, 3, 4, 6]);
        let counts: Vec<i64> = surge.into_iter().map(count).collect();
        let mut highest = i64::MIN;
        let news = counts.iter().filter(|count| {
            let new = **count > highest;
            highest = highest.max(**count);
            new
        });
        assert_eq!(news.count(), 7, "the start and each step: {counts:?}");
        assert_eq!(counts.last(), Some(&6));
    }

    #[test]
    fn a_paused_deployment_stands_still_by_will() {
        let object = json!({"metadata": {"generation": 1}, "spec": {"paused": true}});
        let progress = Progress::of(Kind::Deployment, &object);
        assert!(progress.paused && !progress.is_moving());
    }

    #[test]
    fn a_stateful_set_counts_by_revisions_partition_and_strategy() {
        let set = |spec: Value, status: Value| {
            Progress::of(
                Kind::StatefulSet,
                &json!({"metadata": {"generation": 1}, "spec": spec, "status": status}),
            )
        };
        let rolling = |partition: i32| json!({"replicas": 3, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}});
        let status = |updated: i32, available: i32| json!({"observedGeneration": 1, "replicas": 3, "updatedReplicas": updated, "availableReplicas": available});
        assert!(!set(rolling(0), status(2, 3)).is_complete());
        assert!(set(rolling(0), status(3, 3)).is_complete());
        assert!(!set(rolling(0), status(3, 2)).is_complete());
        assert!(
            set(rolling(2), status(1, 3)).is_complete(),
            "a partition holds two back"
        );
        assert!(!set(rolling(2), status(0, 3)).is_complete());
        assert!(
            set(rolling(9), status(0, 3)).is_complete(),
            "it holds all back"
        );
        assert!(set(rolling(0), status(1, 3)).ordered);
        let parallel = json!({"replicas": 3, "podManagementPolicy": "Parallel"});
        assert!(!set(parallel, status(1, 3)).ordered);
        let by_hand = json!({"replicas": 3, "updateStrategy": {"type": "OnDelete"}});
        let by_hand = set(by_hand, status(1, 3));
        assert!(!by_hand.is_moving() && !by_hand.ordered && !by_hand.is_complete());
    }

    #[test]
    fn pods_that_go_because_fewer_are_wanted_take_nothing_from_the_count() {
        // Six of ten were replaced; five are wanted, and the others go.
        let count = |total: i32, updated: i32, available: i32| {
            deployment(5, &json!({"observedGeneration": 3, "replicas": total, "updatedReplicas": updated, "availableReplicas": available})).count()
        };
        assert!(count(10, 6, 10) <= count(5, 3, 5));
        let set = |total: i32, updated: i32, available: i32| {
            let object = json!({"metadata": {"generation": 1}, "spec": {"replicas": 5}, "status": {
                "observedGeneration": 1, "replicas": total, "updatedReplicas": updated, "availableReplicas": available}});
            Progress::of(Kind::StatefulSet, &object)
        };
        assert_eq!(set(10, 4, 10).count(), set(5, 0, 5).count());
        assert_eq!(set(10, 7, 10).count(), set(5, 2, 5).count());
        assert!(!set(10, 7, 10).is_complete() && set(10, 10, 10).is_complete());
    }

    #[test]
    fn a_daemon_set_counts_its_nodes() {
        let set = |strategy: &str, updated: i32, available: i32| {
            Progress::of(
                Kind::DaemonSet,
                &json!({"metadata": {"generation": 2}, "spec": {"updateStrategy": {"type": strategy}}, "status": {
                    "observedGeneration": 2, "desiredNumberScheduled": 2, "currentNumberScheduled": 2,
                    "updatedNumberScheduled": updated, "numberAvailable": available}}),
            )
        };
        assert!(set("RollingUpdate", 2, 2).is_complete());
        assert!(!set("RollingUpdate", 1, 2).is_complete());
        assert!(!set("RollingUpdate", 2, 1).is_complete());
        assert!(!set("OnDelete", 1, 2).is_moving());
        let none = json!({"metadata": {"generation": 2}, "status": {"observedGeneration": 2}});
        assert!(
            Progress::of(Kind::DaemonSet, &none).is_complete(),
            "no node fits"
        );
    }

    #[test]
    fn what_has_no_pods_between_runs_is_complete_at_once() {
        assert!(Progress::of(Kind::CronJob, &json!({"metadata": {"generation": 9}})).is_complete());
    }

    #[test]
    fn hostile_numbers_do_not_overflow() {
        let object = json!({"metadata": {"generation": 1}, "spec": {"replicas": i64::MAX}, "status": {
            "observedGeneration": 1, "replicas": i64::MAX, "updatedReplicas": -1, "availableReplicas": "x"}});
        let progress = Progress::of(Kind::Deployment, &object);
        assert!(!progress.is_complete());
        assert!(progress.count() < 0);
    }
}
