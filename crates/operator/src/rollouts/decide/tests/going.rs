//! Rollouts that go well.

use super::*;

#[test]
fn what_does_not_track_is_never_written() {
    let mut cluster = Cluster::running(12, 5);
    cluster.tracked = false;
    cluster.publish(API, 13, 6);
    assert_eq!(cluster.decide(), Decision::default());
    cluster.tracked = true;
    cluster.uses.clear();
    assert_eq!(cluster.decide(), Decision::default());
}

#[test]
fn a_workload_that_has_what_is_live_is_remembered_quietly_and_left_alone() {
    let mut cluster = Cluster::running(12, 5);
    assert_eq!(cluster.settle(), 1);
    assert_eq!(cluster.phase(), Phase::Complete);
    assert_eq!(cluster.told, []);
    assert_eq!(cluster.decide(), Decision::default(), "and no timer runs");
    // The same where its pods are still to come.
    let mut cluster = Cluster::running(12, 5);
    cluster.replaced(3, 1);
    cluster.settle();
    assert_eq!(cluster.phase(), Phase::Progressing);
    cluster.replaced(3, 3);
    cluster.settle();
    assert_eq!(cluster.phase(), Phase::Complete);
    assert_eq!(cluster.told, []);
}

#[test]
fn a_new_pointer_goes_to_the_nodes_first_and_then_into_the_template() {
    let mut cluster = Cluster::running(12, 5);
    cluster.settle();
    cluster.publish(API, 13, 6);
    cluster.fetching = Fetching::default();
    let decision = cluster.step();
    assert_eq!(decision.prefetch, [pin(13)]);
    assert_eq!(cluster.phase(), Phase::Prefetching);
    assert_eq!(cluster.pins(), [Some(pin(12))]);
    // Nobody has been asked yet, however long that takes.
    cluster.pass(Duration::from_secs(3600));
    assert_eq!(cluster.step().write, None);
    cluster.fetching = Fetching {
        asked: true,
        done: 1,
        failed: 0,
        pending: 1,
    };
    cluster.now = "2026-11-25T10:00:10Z".parse().unwrap();
    let decision = cluster.step();
    assert_eq!(decision.write, None);
    assert_eq!(decision.waiting.as_deref(), Some("1 of 2 nodes have it"));
    assert!(decision.again.is_some());
    cluster.fetching = Fetching {
        asked: true,
        done: 2,
        failed: 0,
        pending: 0,
    };
    let decision = cluster.step();
    assert_eq!(
        decision.prefetch,
        [pin(13)],
        "nodes that pods come to later fetch it, too"
    );
    assert_eq!(cluster.pins(), [Some(pin(13))]);
    assert_eq!(cluster.phase(), Phase::Progressing);
    assert_eq!(cluster.memory().environments[API].from, Some(pin(12)));
    // What is said of the old template counts for nothing.
    assert_eq!(cluster.step().news, None);
    cluster.replaced(3, 3);
    assert!(cluster.settle() > 0);
    assert_eq!(cluster.phase(), Phase::Complete);
    assert_eq!(
        cluster.told,
        [News::Prefetching, News::RollingOut, News::RolledOut]
    );
    assert_eq!(
        cluster.decide(),
        Decision::default(),
        "nothing is prefetched any more, and no timer runs"
    );
}

#[test]
fn nothing_waits_for_nodes_where_there_are_none() {
    let mut cluster = Cluster::running(12, 5);
    cluster.fetching = Fetching {
        asked: true,
        ..Fetching::default()
    };
    cluster.settle();
    cluster.publish(API, 13, 6);
    cluster.settle();
    assert_eq!(cluster.phase(), Phase::Progressing);
}

#[test]
fn a_pointer_that_went_back_is_followed_like_any_move() {
    let mut cluster = Cluster::running(13, 6);
    cluster.settle();
    cluster.publish(API, 12, 7);
    cluster.settle();
    assert_eq!(cluster.pins(), [Some(pin(12))]);
    cluster.replaced(3, 3);
    cluster.settle();
    assert_eq!(cluster.phase(), Phase::Complete);
    assert_eq!(cluster.memory().environments[API].sequence, 7);
}

#[test]
fn an_older_pointer_is_a_replay_and_changes_nothing() {
    let mut cluster = Cluster::running(13, 6);
    cluster.settle();
    cluster.publish(API, 12, 5);
    assert_eq!(cluster.decide(), Decision::default());
}

#[test]
fn a_newer_generation_while_nodes_fetch_takes_the_place_of_the_one_before() {
    let mut cluster = Cluster::running(12, 5);
    cluster.settle();
    cluster.fetching = Fetching {
        asked: true,
        done: 0,
        failed: 0,
        pending: 2,
    };
    cluster.publish(API, 13, 6);
    cluster.settle();
    cluster.publish(API, 14, 7);
    let decision = cluster.step();
    assert_eq!(decision.prefetch, [pin(14)]);
    let step = &cluster.memory().environments[API];
    assert_eq!(
        (step.from.clone(), step.to.clone()),
        (Some(pin(12)), pin(14))
    );
    // And back to what runs: there is nothing to do at all.
    cluster.publish(API, 12, 8);
    cluster.settle();
    assert_eq!(cluster.phase(), Phase::Complete);
    assert_eq!(cluster.memory().environments[API].sequence, 8);
}

#[test]
fn a_newer_generation_while_pods_are_replaced_is_gone_on_to_at_once() {
    let mut cluster = rolling_out();
    cluster.publish(API, 14, 7);
    // Even where no node has it: the one under way may be what is broken.
    cluster.fetching = Fetching {
        asked: true,
        done: 0,
        failed: 0,
        pending: 2,
    };
    let decision = cluster.step();
    assert_eq!(decision.prefetch, [pin(14)]);
    assert_eq!(cluster.pins(), [Some(pin(14))]);
    assert_eq!(
        cluster.memory().environments[API].from,
        Some(pin(12)),
        "the last that was complete"
    );
    cluster.replaced(3, 3);
    cluster.settle();
    assert_eq!(cluster.phase(), Phase::Complete);
}

#[test]
fn environments_of_one_workload_roll_out_together() {
    let mut cluster = Cluster::running(12, 5);
    // Two containers share one environment, a third has another.
    cluster.uses.push(use_of(API, Some(12)));
    cluster.uses.push(use_of(WEB, Some(3)));
    cluster.publish(WEB, 3, 9);
    cluster.settle();
    cluster.publish(API, 13, 6);
    cluster.settle();
    assert_eq!(
        cluster.pins(),
        [Some(pin(13)), Some(pin(13)), Some(pin_of(WEB, 3))]
    );
    // The other one moves in the middle.
    cluster.replaced(1, 2);
    cluster.publish(WEB, 4, 10);
    cluster.settle();
    assert_eq!(
        cluster.pins(),
        [Some(pin(13)), Some(pin(13)), Some(pin_of(WEB, 4))]
    );
    // And it is that one which breaks: both go back to what was complete together.
    cluster.replaced(1, 2);
    cluster.settle();
    cluster.pass(DEADLINE);
    cluster.settle();
    assert_eq!(cluster.phase(), Phase::RolledBack);
    assert_eq!(
        cluster.pins(),
        [Some(pin(12)), Some(pin(12)), Some(pin_of(WEB, 3))]
    );
    // Any of them brings both forward again.
    cluster.replaced(3, 3);
    cluster.publish(WEB, 5, 11);
    cluster.settle();
    assert_eq!(
        cluster.pins(),
        [Some(pin(13)), Some(pin(13)), Some(pin_of(WEB, 5))]
    );
}

#[test]
fn containers_with_different_pins_of_one_environment_are_brought_together() {
    let mut cluster = Cluster::running(13, 6);
    cluster.uses.push(use_of(API, Some(12)));
    cluster.settle();
    assert_eq!(cluster.pins(), [Some(pin(13)), Some(pin(13))]);
}

#[test]
fn a_workload_without_a_pin_gets_one() {
    let mut cluster = Cluster::running(12, 5);
    cluster.uses = vec![use_of(API, None)];
    cluster.settle();
    assert_eq!(cluster.pins(), [Some(pin(12))]);
    assert_eq!(cluster.memory().environments[API].from, None);
}

#[test]
fn nothing_is_judged_before_the_hub_has_spoken_and_what_is_under_way_goes_on_without_it() {
    let mut cluster = Cluster::running(12, 5);
    let live = std::mem::take(&mut cluster.live);
    assert_eq!(cluster.decide(), Decision::default());
    cluster.live = live;
    cluster.settle();
    cluster.live.clear();
    assert_eq!(cluster.decide(), Decision::default());
    let mut cluster = rolling_out();
    cluster.live.clear();
    cluster.replaced(3, 3);
    cluster.settle();
    assert_eq!(cluster.phase(), Phase::Complete);
    let mut cluster = rolling_out();
    cluster.live.clear();
    cluster.settle();
    cluster.pass(DEADLINE);
    cluster.settle();
    assert_eq!(cluster.phase(), Phase::RolledBack);
}

#[test]
fn zero_replicas_and_what_runs_only_now_and_then_are_done_at_once() {
    let mut cluster = Cluster::running(12, 5);
    cluster.settle();
    cluster.publish(API, 13, 6);
    cluster.settle();
    cluster.progress = Progress {
        observed: true,
        replaces: true,
        runs: true,
        ..Progress::default()
    };
    cluster.settle();
    assert_eq!(cluster.phase(), Phase::Complete);
    let mut cluster = Cluster::running(12, 5);
    cluster.progress = Progress {
        observed: true,
        ..Progress::default()
    };
    cluster.settle();
    cluster.publish(API, 13, 6);
    cluster.step();
    cluster.step();
    assert_eq!(cluster.pins(), [Some(pin(13))]);
    cluster.settle();
    assert_eq!(cluster.phase(), Phase::Complete);
}

#[test]
fn pods_that_only_a_person_replaces_are_waited_for_without_a_clock() {
    let mut cluster = rolling_out();
    cluster.progress.replaces = false;
    cluster.pass(DEADLINE * 100);
    let decision = cluster.step();
    assert_eq!((decision.write, decision.again), (None, None));
    assert!(decision.waiting.is_some());
    cluster.replaced(3, 3);
    cluster.settle();
    assert_eq!(cluster.phase(), Phase::Complete);
}

#[test]
fn progress_is_written_down_now_and_then_and_moves_the_deadline() {
    let mut cluster = rolling_out();
    cluster.progress.desired = 100;
    cluster.progress.wanted = 100;
    let mut writes = 0;
    for updated in 1..=100 {
        cluster.progress = Progress {
            updated,
            total: 100,
            available: 99,
            ..cluster.progress
        };
        // Each pod takes a ninth of the deadline: all of them together a dozen deadlines.
        cluster.pass(DEADLINE / 9);
        writes += cluster.settle();
        assert_eq!(cluster.phase(), Phase::Progressing, "at pod {updated}");
    }
    assert!((10..=51).contains(&writes), "{writes} writes");
}

#[test]
fn whoever_takes_over_at_any_point_goes_on_from_the_texts_alone() {
    // The harness keeps nothing between two decisions, so what is left to show is that a decision that was made but not
    // written, or written but not told, is made again or not needed.
    let mut cluster = Cluster::running(12, 5);
    cluster.settle();
    cluster.publish(API, 13, 6);
    for _ in 0..10 {
        assert_eq!(
            cluster.decide(),
            cluster.decide(),
            "killed before writing: the same again"
        );
        if cluster.step().write.is_none() {
            break;
        }
    }
    assert_eq!(cluster.pins(), [Some(pin(13))]);
    // Killed in the middle for longer than the deadline: pods that are up by then are a success.
    cluster.pass(DEADLINE * 2);
    cluster.replaced(3, 3);
    cluster.settle();
    assert_eq!(cluster.phase(), Phase::Complete);
}

#[test]
fn to_scale_down_during_a_rollout_is_not_to_stand_still() {
    let scale = |cluster: &mut Cluster, desired: i32, updated: i32, available: i32| {
        (cluster.progress.desired, cluster.progress.wanted) = (desired, desired);
        cluster.replaced(updated, available);
        cluster.progress.total = desired;
    };
    let mut cluster = rolling_out();
    scale(&mut cluster, 10, 6, 10);
    cluster.settle();
    cluster.pass(DEADLINE / 2);
    scale(&mut cluster, 4, 2, 4);
    assert_eq!(cluster.settle(), 1);
    // It is no progress by itself, but what comes after it is.
    cluster.pass(DEADLINE / 4);
    scale(&mut cluster, 4, 3, 4);
    cluster.settle();
    cluster.pass(DEADLINE / 2);
    cluster.settle();
    assert_eq!(cluster.phase(), Phase::Progressing);
    cluster.pass(DEADLINE / 2);
    cluster.settle();
    assert_eq!(cluster.phase(), Phase::RolledBack);
}

#[test]
fn to_scale_again_and_again_does_not_stop_the_clock() {
    let mut cluster = rolling_out();
    cluster.settle();
    for desired in [4, 3, 4, 3] {
        cluster.pass(DEADLINE / 4);
        (cluster.progress.desired, cluster.progress.wanted) = (desired, desired);
        // More of the old ones are up by then, and more than were counted before.
        cluster.progress.available = desired;
        cluster.settle();
    }
    assert_eq!(cluster.phase(), Phase::RolledBack);
}
