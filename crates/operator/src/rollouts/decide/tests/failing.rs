//! Rollouts that do not.

use super::super::PREFETCH_BOUND;
use super::*;

#[test]
fn without_progress_the_last_complete_generation_comes_back_and_stays() {
    let mut cluster = rolling_out();
    cluster.settle();
    cluster.pass(DEADLINE - Duration::from_secs(1));
    assert_eq!(cluster.settle(), 0);
    cluster.pass(Duration::from_secs(1));
    let decision = cluster.step();
    assert!(decision.write.unwrap().ask_pods);
    assert_eq!(cluster.phase(), Phase::RolledBack);
    assert_eq!(cluster.pins(), [Some(pin(12))]);
    assert_eq!(cluster.memory().reason, "no progress for 10m");
    assert_eq!(decision.prefetch, []);
    assert_eq!(cluster.told.last(), Some(&News::RolledBack));
    // While the old pods come back, and after it, for ever.
    cluster.replaced(2, 2);
    assert_eq!(cluster.settle(), 0);
    cluster.replaced(3, 3);
    cluster.pass(DEADLINE * 10);
    assert_eq!(cluster.step(), Decision::default());
    // Until the pointer moves.
    cluster.publish(API, 14, 7);
    cluster.settle();
    assert_eq!(cluster.pins(), [Some(pin(14))]);
    assert_eq!(cluster.memory().reason, "");
}

#[test]
fn pods_that_come_up_for_a_moment_again_and_again_are_no_progress() {
    let mut cluster = rolling_out();
    for _ in 0..40 {
        cluster.replaced(1, 3);
        cluster.settle();
        cluster.pass(DEADLINE / 12);
        cluster.replaced(1, 2);
        cluster.settle();
        cluster.pass(DEADLINE / 12);
    }
    assert_eq!(cluster.phase(), Phase::RolledBack);
}

#[test]
fn a_failure_after_a_newer_generation_goes_back_past_the_one_between() {
    let mut cluster = rolling_out();
    cluster.publish(API, 14, 7);
    cluster.settle();
    cluster.replaced(1, 2);
    cluster.settle();
    cluster.pass(DEADLINE);
    cluster.settle();
    assert_eq!(cluster.phase(), Phase::RolledBack);
    assert_eq!(cluster.pins(), [Some(pin(12))]);
    assert_eq!(cluster.memory().environments[API].sequence, 7);
}

#[test]
fn the_pointer_going_back_ends_a_rollout_and_a_hold() {
    let mut cluster = rolling_out();
    cluster.publish(API, 12, 7);
    cluster.settle();
    assert_eq!(cluster.pins(), [Some(pin(12))]);
    cluster.replaced(3, 3);
    cluster.settle();
    assert_eq!(cluster.phase(), Phase::Complete);

    let mut cluster = rolling_out();
    cluster.settle();
    cluster.pass(DEADLINE);
    cluster.settle();
    cluster.replaced(3, 3);
    cluster.publish(API, 12, 7);
    cluster.settle();
    assert_eq!(
        (cluster.phase(), cluster.pins()),
        (Phase::Complete, vec![Some(pin(12))])
    );
}

#[test]
fn with_nothing_to_go_back_to_it_says_so_and_holds() {
    let mut cluster = Cluster::running(12, 5);
    cluster.uses = vec![use_of(API, None)];
    cluster.settle();
    cluster.replaced(3, 0);
    cluster.settle();
    cluster.pass(DEADLINE);
    cluster.settle();
    assert_eq!(cluster.phase(), Phase::Held);
    assert_eq!(cluster.pins(), [Some(pin(12))]);
    assert!(cluster.memory().reason.contains("no earlier generation"));
    // It comes up after all.
    cluster.replaced(3, 3);
    cluster.settle();
    assert_eq!(cluster.phase(), Phase::Complete);
}

#[test]
fn a_pin_that_was_written_by_hand_comes_back_as_it_was() {
    let mut cluster = Cluster::running(12, 5);
    cluster.uses[0].bare = true;
    cluster.settle();
    cluster.publish(API, 13, 6);
    cluster.settle();
    assert!(!cluster.uses[0].bare);
    cluster.replaced(1, 2);
    cluster.settle();
    cluster.pass(DEADLINE);
    cluster.settle();
    assert_eq!(
        cluster.uses,
        [Use {
            bare: true,
            ..use_of(API, Some(12))
        }]
    );
}

#[test]
fn one_node_that_fails_stops_it_for_a_minute_and_a_silent_one_for_a_quarter_of_an_hour() {
    for (fetching, bound) in [
        (
            Fetching {
                asked: true,
                done: 1,
                failed: 1,
                pending: 0,
            },
            super::super::FAILED_BOUND,
        ),
        (
            Fetching {
                asked: true,
                done: 1,
                failed: 0,
                pending: 1,
            },
            PREFETCH_BOUND,
        ),
        (
            Fetching {
                asked: true,
                done: 0,
                failed: 1,
                pending: 1,
            },
            PREFETCH_BOUND,
        ),
    ] {
        let mut cluster = Cluster::running(12, 5);
        cluster.settle();
        cluster.publish(API, 13, 6);
        cluster.fetching = fetching;
        cluster.settle();
        cluster.pass(bound - Duration::from_secs(1));
        assert_eq!(cluster.settle(), 0);
        assert_eq!(cluster.phase(), Phase::Prefetching);
        cluster.pass(Duration::from_secs(1));
        cluster.settle();
        assert_eq!(cluster.phase(), Phase::Progressing);
    }
}

#[test]
fn what_no_node_can_have_never_reaches_the_pods() {
    let mut cluster = Cluster::running(12, 5);
    cluster.settle();
    cluster.publish(API, 13, 6);
    cluster.fetching = Fetching {
        asked: true,
        done: 0,
        failed: 2,
        pending: 0,
    };
    cluster.settle();
    cluster.pass(Duration::from_secs(86_400));
    let decision = cluster.step();
    assert_eq!(decision.write, None);
    assert_eq!(
        decision.again,
        Some(super::super::moves::LOOK_AGAIN),
        "no busy loop after the bound"
    );
    assert!(decision.waiting.unwrap().contains("no node"));
    cluster.fetching = Fetching {
        asked: true,
        done: 2,
        failed: 0,
        pending: 0,
    };
    cluster.settle();
    assert_eq!(cluster.phase(), Phase::Progressing);
}

#[test]
fn a_pod_that_keeps_an_ordered_set_from_going_back_is_moved_out_of_the_way() {
    let mut cluster = rolling_out();
    cluster.progress.ordered = true;
    assert!(
        cluster.step().write.is_some(),
        "the first look is written down"
    );
    // On the way to a newer template, too.
    assert!(cluster.step().unblock);
    cluster.pass(DEADLINE);
    cluster.step();
    assert_eq!(cluster.phase(), Phase::RolledBack);
    assert!(
        !cluster.step().unblock,
        "not before the old template was looked at"
    );
    cluster.replaced(0, 2);
    assert!(cluster.step().unblock);
    cluster.replaced(3, 3);
    assert!(!cluster.step().unblock);
}

#[test]
fn times_are_said_as_they_are_written() {
    for (seconds, text) in [
        (45, "45s"),
        (600, "10m"),
        (90, "1m30s"),
        (5400, "1h30m"),
        (7200, "2h"),
    ] {
        assert_eq!(
            super::super::moves::said(Duration::from_secs(seconds)),
            text
        );
    }
}

/// Lets a tenant write this memory of the first environment.
fn forge(cluster: &mut Cluster, phase: &str, from: Option<&Pin>, to: &Pin) {
    let mut step = serde_json::json!({"to": to.to_string(), "sequence": u64::MAX});
    if let Some(from) = from {
        step["from"] = from.to_string().into();
    }
    let memory = serde_json::json!({"serial": 1, "phase": phase, "startedAt": "2026-11-25T09:00:00Z",
        "environments": {API: step}});
    cluster.annotation = Some(memory.to_string());
    cluster.label = Some("1".to_owned());
}

#[test]
fn a_forged_memory_has_no_node_fetch_what_the_hub_did_not_tell_the_namespace() {
    let foreign = pin_of("victim/private", 7);
    for (to, phase) in [
        (&foreign, "Prefetching"),
        (&foreign, "Progressing"),
        (&pin(99), "Prefetching"),
        (&pin(99), "Progressing"),
    ] {
        let mut cluster = Cluster::running(12, 5);
        cluster.publish(API, 13, 6);
        let present = cluster.uses[0].pin.clone();
        forge(&mut cluster, phase, present.as_ref(), to);
        for _ in 0..5 {
            let decision = cluster.step();
            assert!(!decision.prefetch.contains(to), "{phase} {decision:?}");
            cluster.pass(DEADLINE);
        }
    }
}

#[test]
fn steps_of_other_environments_are_forgotten_and_the_hub_is_followed() {
    let foreign = pin_of("victim/private", 7);
    for (from, to) in [(pin(12), &foreign), (foreign.clone(), &pin(99))] {
        let mut cluster = Cluster::running(12, 5);
        cluster.publish(API, 13, 6);
        forge(&mut cluster, "Prefetching", Some(&from), to);
        cluster.settle();
        assert_eq!(cluster.phase(), Phase::Progressing);
        assert_eq!(cluster.pins(), [Some(pin(13))]);
    }
    // A pin of another environment that stands in the template is no place to go back to.
    let mut cluster = Cluster::running(12, 5);
    cluster.uses[0].pin = Some(foreign);
    cluster.settle();
    assert_eq!(cluster.pins(), [Some(pin(12))]);
    assert_eq!(cluster.memory().environments[API].from, None);
}

#[test]
fn an_environment_that_the_hub_no_longer_tells_of_holds_back_no_other() {
    let mut cluster = Cluster::running(12, 5);
    cluster.uses.push(use_of(WEB, Some(3)));
    cluster.publish(WEB, 3, 2);
    cluster.settle();
    cluster.live.remove(WEB);
    cluster.publish(API, 13, 6);
    cluster.settle();
    assert_eq!(cluster.pins(), [Some(pin(13)), Some(pin_of(WEB, 3))]);
}

#[test]
fn nothing_is_written_before_the_hub_has_told_of_what_is_to_be_fetched() {
    let mut cluster = Cluster::running(12, 5);
    cluster.settle();
    cluster.publish(API, 13, 6);
    cluster.step();
    assert_eq!(cluster.phase(), Phase::Prefetching);
    let live = std::mem::take(&mut cluster.live);
    cluster.pass(PREFETCH_BOUND);
    let decision = cluster.step();
    assert!(
        decision.write.is_none() && decision.waiting.is_some() && decision.prefetch.is_empty(),
        "{decision:?}"
    );
    cluster.live = live;
    cluster.settle();
    assert_eq!(cluster.pins(), [Some(pin(13))]);
}

#[test]
fn what_is_revoked_while_nodes_fetch_it_is_held_with_its_words_until_the_pointer_moves() {
    let mut cluster = Cluster::running(12, 5);
    cluster.settle();
    cluster.publish(API, 13, 6);
    cluster.step();
    assert_eq!(cluster.phase(), Phase::Prefetching);
    cluster.live.clear();
    cluster.trouble = Some("generation acme/api:13 is revoked");
    cluster.settle();
    assert_eq!(cluster.phase(), Phase::Held);
    assert!(cluster.memory().failed);
    assert_eq!(cluster.memory().reason, "generation acme/api:13 is revoked");
    assert_eq!(cluster.told.last(), Some(&News::Held));
    assert_eq!(cluster.pins(), [Some(pin(12))]);
    cluster.trouble = None;
    cluster.publish(API, 14, 7);
    cluster.settle();
    assert_eq!(cluster.pins(), [Some(pin(14))]);
}
