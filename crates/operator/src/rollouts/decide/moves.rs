//! The moves that a decision can be: each says what is written, and when to look again.

use std::time::Duration;

use jiff::Timestamp;
use workload::rollout::{Mark, Memory, Phase};

use super::target::Target;
use super::{Decision, FAILED_BOUND, Fetching, News, PREFETCH_BOUND, Situation, Write};

/// How often what is under way is looked at even when nothing is heard of it.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// Progress is written down at most this many times per deadline, so that large rollouts do not flood the API server.
const MARKS_PER_DEADLINE: u32 = 8;

/// Remembers since when the clock stands, where it runs.
pub(super) fn pause(situation: &Situation<'_>) -> Decision {
    let running = situation.recall.known().filter(|memory| {
        memory.paused_at.is_none()
            && matches!(memory.phase, Phase::Prefetching | Phase::Progressing)
    });
    let write = running.map(|memory| Write {
        memory: Memory {
            paused_at: Some(situation.now),
            ..next(situation, memory)
        },
        pins: None,
        ask_pods: false,
    });
    Decision {
        write,
        ..Decision::default()
    }
}

/// Lets the clock run on from where it stood.
pub(super) fn resume(situation: &Situation<'_>, memory: &Memory) -> Decision {
    let stood = memory
        .paused_at
        .map_or(jiff::SignedDuration::ZERO, |since| {
            situation.now.duration_since(since)
        })
        .max(jiff::SignedDuration::ZERO);
    let later = |time: Timestamp| time.checked_add(stood).unwrap_or(situation.now);
    Decision {
        write: Some(Write {
            memory: Memory {
                paused_at: None,
                started_at: later(memory.started_at),
                progress: memory.progress.map(|mark| Mark {
                    at: later(mark.at),
                    ..mark
                }),
                ..next(situation, memory)
            },
            pins: None,
            ask_pods: false,
        }),
        again: Some(Duration::ZERO),
        ..Decision::default()
    }
}

/// A pointer moved: nodes fetch first.
pub(super) fn begin(situation: &Situation<'_>, target: &Target<'_>) -> Decision {
    let memory = target.memory(situation, Phase::Prefetching);
    Decision {
        prefetch: target.pins(),
        write: Some(Write {
            memory,
            pins: None,
            ask_pods: false,
        }),
        news: Some(News::Prefetching),
        again: Some(Duration::ZERO),
        ..Decision::default()
    }
}

/// Waits for the nodes, but not for ever.
pub(super) fn prefetch(
    situation: &Situation<'_>,
    target: &Target<'_>,
    memory: &Memory,
) -> Decision {
    if !target.is_told() {
        // Admission would say the same of a template that has it.
        if let Some(trouble) = situation.trouble {
            return refused(situation, trouble);
        }
        return Decision {
            // Nodes are asked for all at once, or what has come would pass for everything.
            waiting: Some("the hub has not said what is live".to_owned()),
            again: Some(LOOK_AGAIN),
            ..Decision::default()
        };
    }
    let Fetching {
        asked,
        done,
        failed,
        pending,
    } = situation.fetching;
    let begun = elapsed(memory.started_at, situation.now);
    // Where every node says that it cannot have it, no pod would come up: those that run are left alone.
    let hopeless = asked && failed > 0 && done == 0 && pending == 0;
    let bound = if pending == 0 {
        FAILED_BOUND
    } else {
        PREFETCH_BOUND
    };
    let ready = asked && !hopeless && (failed + pending == 0 || begun >= bound);
    if !ready {
        let waiting = if hopeless {
            "no node could fetch it; they try again".to_owned()
        } else {
            format!("{done} of {} nodes have it", done + failed + pending)
        };
        return Decision {
            prefetch: target.pins(),
            waiting: Some(waiting),
            // A bound that has passed already will not pass again.
            again: Some(if begun < bound {
                (bound - begun).min(LOOK_AGAIN)
            } else {
                LOOK_AGAIN
            }),
            ..Decision::default()
        };
    }
    roll_out(situation, target, memory.started_at)
}

/// A newer generation while pods are still replaced: at once, since the one under way may be what is broken.
pub(super) fn replace(situation: &Situation<'_>, target: &Target<'_>) -> Decision {
    roll_out(situation, target, situation.now)
}

fn roll_out(situation: &Situation<'_>, target: &Target<'_>, started_at: Timestamp) -> Decision {
    let memory = Memory {
        started_at,
        // The count begins anew when the newest template has been looked at.
        progress: Some(Mark {
            count: None,
            desired: None,
            at: situation.now,
        }),
        ..target.memory(situation, Phase::Progressing)
    };
    Decision {
        prefetch: target.pins(),
        write: Some(Write {
            memory,
            pins: Some(target.wanted()),
            ask_pods: false,
        }),
        news: Some(News::RollingOut),
        again: Some(LOOK_AGAIN),
        ..Decision::default()
    }
}

/// Looks after pods that are replaced.
pub(super) fn supervise(
    situation: &Situation<'_>,
    target: &Target<'_>,
    memory: &Memory,
) -> Decision {
    let progress = &situation.progress;
    if progress.is_complete() {
        return finish(situation, target);
    }
    let unblock = progress.ordered && progress.observed;
    if !progress.is_moving() {
        return Decision {
            prefetch: target.pins(),
            waiting: Some("its pods are replaced when somebody deletes them".to_owned()),
            ..Decision::default()
        };
    }
    let count = progress.observed.then(|| progress.count());
    let mark = memory.progress.unwrap_or(Mark {
        count: None,
        desired: None,
        at: memory.started_at,
    });
    let stands = elapsed(mark.at, situation.now);
    let step = situation.deadline / MARKS_PER_DEADLINE;
    let desired = Some(progress.desired);
    // Somebody has scaled it: the count begins anew, but that is no progress, and the clock runs on.
    let scaled = count.is_some() && mark.count.is_some() && mark.desired != desired;
    let moved = !scaled && count > mark.count && (stands >= step || mark.count.is_none());
    if scaled || moved {
        let at = if moved { situation.now } else { mark.at };
        let memory = Memory {
            progress: Some(Mark { count, desired, at }),
            ..next(situation, memory)
        };
        return Decision {
            prefetch: target.pins(),
            write: Some(Write {
                memory,
                pins: None,
                ask_pods: false,
            }),
            again: Some(step.min(LOOK_AGAIN)),
            unblock,
            ..Decision::default()
        };
    }
    if stands < situation.deadline {
        let left = situation.deadline - stands;
        let soon = if count > mark.count {
            step.saturating_sub(stands)
        } else {
            left
        };
        return Decision {
            prefetch: target.pins(),
            again: Some(soon.min(left).min(LOOK_AGAIN)),
            unblock,
            ..Decision::default()
        };
    }
    give_up(situation, target, memory)
}

/// Goes back to the last generations that were complete.
fn give_up(situation: &Situation<'_>, target: &Target<'_>, memory: &Memory) -> Decision {
    let reason = format!("no progress for {}", said(situation.deadline));
    let back = target.back();
    let (phase, news, end) = match &back {
        Some(_) => (Phase::RolledBack, News::RolledBack, ""),
        None => (
            Phase::Held,
            News::Held,
            "; there is no earlier generation to go back to",
        ),
    };
    Decision {
        write: Some(Write {
            memory: Memory {
                reason: format!("{reason}{end}"),
                phase,
                progress: None,
                ended_at: Some(situation.now),
                failed: true,
                ..next(situation, memory)
            },
            pins: back,
            ask_pods: true,
        }),
        news: Some(news),
        again: Some(LOOK_AGAIN),
        ..Decision::default()
    }
}

/// All pods are up.
pub(super) fn finish(situation: &Situation<'_>, target: &Target<'_>) -> Decision {
    let started_at = situation
        .recall
        .known()
        .map_or(situation.now, |memory| memory.started_at);
    let memory = Memory {
        started_at,
        ..target.memory(situation, Phase::Complete)
    };
    Decision {
        news: Target::changes(&memory).then_some(News::RolledOut),
        write: Some(Write {
            memory,
            pins: None,
            ask_pods: false,
        }),
        ..Decision::default()
    }
}

/// The template has what is live already, by admission, by a person's restart or because the pointer went back to it:
/// pods may still have to follow, and they are looked after like any others.
pub(super) fn adopt(situation: &Situation<'_>, target: &Target<'_>) -> Decision {
    let complete = situation.progress.is_complete();
    let phase = if complete {
        Phase::Complete
    } else {
        Phase::Progressing
    };
    let memory = Memory {
        progress: (!complete).then_some(Mark {
            count: None,
            desired: None,
            at: situation.now,
        }),
        ..target.memory(situation, phase)
    };
    Decision {
        prefetch: if complete { Vec::new() } else { target.pins() },
        write: Some(Write {
            memory,
            pins: None,
            ask_pods: false,
        }),
        again: (!complete).then_some(Duration::ZERO),
        ..Decision::default()
    }
}

/// A person went back: that stands until the pointer moves.
pub(super) fn hold(situation: &Situation<'_>, target: &Target<'_>) -> Decision {
    Decision {
        write: Some(Write {
            memory: Memory {
                reason: target.by_hand(),
                ..target.memory(situation, Phase::Held)
            },
            pins: None,
            ask_pods: false,
        }),
        news: Some(News::Held),
        ..Decision::default()
    }
}

/// The API server refused the new template for good, by the words of admission: as it is, it stands until the pointer
/// moves.
pub(crate) fn refused(situation: &Situation<'_>, message: &str) -> Decision {
    let target = Target::of(situation);
    Decision {
        write: Some(Write {
            memory: Memory {
                reason: Memory::reason_of(message),
                failed: true,
                ..target.memory(situation, Phase::Held)
            },
            pins: None,
            ask_pods: false,
        }),
        news: Some(News::Held),
        ..Decision::default()
    }
}

pub(super) fn look_again(situation: &Situation<'_>) -> Decision {
    let standing = !situation.progress.is_moving();
    Decision {
        again: (!standing).then_some(LOOK_AGAIN),
        ..Decision::default()
    }
}

/// Returns the same memory as the next write.
fn next(situation: &Situation<'_>, memory: &Memory) -> Memory {
    Memory {
        serial: situation.recall.next_serial(),
        ..memory.clone()
    }
}

/// Returns the time between; a clock that was set back stands still.
fn elapsed(since: Timestamp, now: Timestamp) -> Duration {
    now.duration_since(since).try_into().unwrap_or_default()
}

/// Says a time as people write deadlines.
pub(super) fn said(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, 0) => format!("{minutes}m"),
        (0, minutes, seconds) => format!("{minutes}m{seconds}s"),
        (hours, 0, _) => format!("{hours}h"),
        (hours, minutes, _) => format!("{hours}h{minutes}m"),
    }
}
