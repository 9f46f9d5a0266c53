//! How far a long work is: a bar on a terminal, a few plain lines in a log.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::output::{Printer, bytes};

/// In a log, a line this often is enough to see that the work goes on.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// A work whose size in bytes is known.
#[derive(Debug)]
pub(crate) struct Progress {
    printer: Printer,
    what: String,
    bar: ProgressBar,
    total: u64,
    last_line: Mutex<Instant>,
}

/// A work of unknown length: a spinner that goes away.
#[derive(Debug)]
pub(crate) struct Spinner(ProgressBar);

impl Progress {
    /// Begins to tell of a work of so many bytes.
    #[must_use]
    pub(crate) fn bytes(printer: Printer, what: &str, total: u64) -> Self {
        let bar = if printer.shows_bars() {
            let style =
                ProgressStyle::with_template("{msg} [{wide_bar}] {bytes}/{total_bytes} {eta}")
                    .unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(total)
                .with_style(style)
                .with_message(what.to_owned())
        } else {
            ProgressBar::hidden()
        };
        let last_line = Mutex::new(Instant::now());
        Self {
            printer,
            what: what.to_owned(),
            bar,
            total,
            last_line,
        }
    }

    /// Tells that so many more bytes are done.
    pub(crate) fn add(&self, count: u64) {
        self.bar.inc(count);
        if self.printer.shows_bars() {
            return;
        }
        let Ok(mut last) = self.last_line.lock() else {
            return;
        };
        if last.elapsed() >= LINE_EVERY {
            *last = Instant::now();
            let done = bytes(self.bar.position());
            self.printer
                .say(format!("{}: {done} of {}", self.what, bytes(self.total)));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Spinner {
    /// Begins to tell of a work.
    #[must_use]
    pub(crate) fn start(printer: Printer, what: impl Into<String>) -> Self {
        if !printer.shows_bars() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new_spinner().with_message(what.into());
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(bar)
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
