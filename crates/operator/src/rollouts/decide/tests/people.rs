//! What people do in between.

use super::*;

#[test]
fn a_persons_undo_stands_until_the_pointer_moves() {
    let mut cluster = rolling_out();
    cluster.replaced(3, 3);
    cluster.settle();
    // As for a StatefulSet, whose undo leaves annotations alone.
    cluster.person_pins(12);
    cluster.settle();
    assert_eq!(cluster.phase(), Phase::Held);
    assert_eq!(
        cluster.memory().reason,
        "the template was set to acme/api:12 by hand"
    );
    assert_eq!(cluster.told.last(), Some(&News::Held));
    cluster.replaced(3, 3);
    cluster.pass(DEADLINE * 10);
    assert_eq!(cluster.step(), Decision::default());
    cluster.publish(API, 14, 7);
    cluster.settle();
    assert_eq!(cluster.pins(), [Some(pin(14))]);
    assert_eq!(cluster.memory().environments[API].from, Some(pin(12)));
}

#[test]
fn an_undo_that_brings_back_the_annotations_of_any_earlier_moment_stands_as_well() {
    // `kubectl rollout undo` of a Deployment: the old revision kept the annotations of one of these moments.
    let mut cluster = Cluster::running(12, 5);
    let mut earlier = vec![None, Some("{".to_owned())];
    cluster.settle();
    earlier.push(cluster.annotation.clone());
    cluster.publish(API, 13, 6);
    cluster.step();
    earlier.push(cluster.annotation.clone());
    cluster.settle();
    cluster.replaced(3, 3);
    cluster.settle();
    assert_eq!(cluster.phase(), Phase::Complete);
    let label = cluster.label.clone();
    let serial = cluster.memory().serial;
    for annotation in earlier {
        cluster.annotation.clone_from(&annotation);
        cluster.label.clone_from(&label);
        cluster.person_pins(12);
        cluster.settle();
        assert_eq!(cluster.phase(), Phase::Held, "{annotation:?}");
        assert_eq!(cluster.memory().serial, serial + 1);
        assert_eq!(cluster.pins(), [Some(pin(12))]);
    }
}

#[test]
fn an_undo_while_pods_are_replaced_or_nodes_fetch_is_not_fought() {
    let mut cluster = rolling_out();
    cluster.person_pins(12);
    cluster.settle();
    assert_eq!(cluster.phase(), Phase::Held);

    let mut cluster = Cluster::running(12, 5);
    cluster.settle();
    cluster.publish(API, 13, 6);
    cluster.fetching = Fetching {
        asked: true,
        done: 0,
        failed: 0,
        pending: 1,
    };
    cluster.settle();
    cluster.person_pins(11);
    cluster.settle();
    assert_eq!(
        (cluster.phase(), cluster.pins()),
        (Phase::Held, vec![Some(pin(11))])
    );
}

#[test]
fn an_undo_of_an_undo_is_followed_to_its_end() {
    let mut cluster = rolling_out();
    cluster.replaced(3, 3);
    cluster.settle();
    cluster.person_pins(12);
    cluster.settle();
    cluster.person_pins(13);
    cluster.settle();
    assert_eq!(cluster.phase(), Phase::Held);
    cluster.replaced(3, 3);
    cluster.settle();
    assert_eq!(cluster.phase(), Phase::Complete);
}

#[test]
fn a_restart_after_a_failure_is_the_persons_own_and_is_not_taken_back() {
    let mut cluster = rolling_out();
    cluster.settle();
    cluster.pass(DEADLINE);
    cluster.settle();
    cluster.person_pins(13);
    cluster.settle();
    cluster.replaced(1, 2);
    cluster.pass(DEADLINE * 3);
    cluster.settle();
    assert_eq!(
        (cluster.phase(), cluster.pins()),
        (Phase::RolledBack, vec![Some(pin(13))])
    );
    cluster.replaced(3, 3);
    cluster.settle();
    assert_eq!(cluster.phase(), Phase::Complete);
}

#[test]
fn a_restart_that_takes_what_is_live_before_we_do_is_looked_after() {
    let mut cluster = Cluster::running(12, 5);
    cluster.settle();
    cluster.publish(API, 13, 6);
    cluster.person_pins(13);
    cluster.settle();
    assert_eq!(cluster.phase(), Phase::Progressing);
    cluster.replaced(1, 2);
    cluster.settle();
    cluster.pass(DEADLINE);
    cluster.settle();
    assert_eq!(
        (cluster.phase(), cluster.pins()),
        (Phase::RolledBack, vec![Some(pin(12))])
    );
}

#[test]
fn another_reference_begins_a_story_of_its_own() {
    let mut cluster = rolling_out();
    cluster.uses = vec![use_of(WEB, Some(3))];
    cluster.publish(WEB, 3, 9);
    cluster.progress.observed = false;
    cluster.settle();
    let memory = cluster.memory();
    assert_eq!(memory.environments.keys().collect::<Vec<_>>(), [WEB]);
    cluster.replaced(3, 3);
    cluster.settle();
    assert_eq!(cluster.phase(), Phase::Complete);
    cluster.publish(WEB, 4, 10);
    cluster.settle();
    assert_eq!(cluster.pins(), [Some(pin_of(WEB, 4))]);
}

#[test]
fn a_pause_stops_everything_and_the_clock_with_it() {
    let mut cluster = rolling_out();
    cluster.settle();
    cluster.pass(DEADLINE / 2);
    cluster.paused = true;
    assert_eq!(cluster.settle(), 1, "since when it stands is written down");
    cluster.publish(API, 14, 7);
    cluster.pass(DEADLINE * 5);
    assert_eq!(cluster.step(), Decision::default());
    cluster.publish(API, 13, 6);
    cluster.paused = false;
    cluster.settle();
    assert_eq!(cluster.phase(), Phase::Progressing);
    cluster.pass(DEADLINE / 2 - Duration::from_secs(1));
    assert_eq!(cluster.settle(), 0);
    cluster.pass(Duration::from_secs(1));
    cluster.settle();
    assert_eq!(cluster.phase(), Phase::RolledBack);
}

#[test]
fn what_moved_during_a_pause_is_followed_after_it() {
    let mut cluster = Cluster::running(12, 5);
    cluster.settle();
    cluster.paused = true;
    cluster.publish(API, 13, 6);
    assert_eq!(cluster.step(), Decision::default());
    cluster.paused = false;
    cluster.settle();
    assert_eq!(cluster.pins(), [Some(pin(13))]);
}

#[test]
fn a_deployment_that_kubernetes_has_paused_is_left_alone() {
    let mut cluster = Cluster::running(12, 5);
    cluster.settle();
    cluster.progress.paused = true;
    cluster.publish(API, 13, 6);
    assert_eq!(cluster.step(), Decision::default());
    cluster.progress.paused = false;
    cluster.settle();
    assert_eq!(cluster.pins(), [Some(pin(13))]);
}

#[test]
fn to_take_the_label_away_is_to_try_again() {
    let mut cluster = rolling_out();
    cluster.settle();
    cluster.pass(DEADLINE);
    cluster.settle();
    cluster.replaced(3, 3);
    cluster.settle();
    cluster.label = None;
    cluster.settle();
    assert_eq!(
        (cluster.phase(), cluster.pins()),
        (Phase::Progressing, vec![Some(pin(13))])
    );
    assert_eq!(cluster.memory().environments[API].from, Some(pin(12)));
}
