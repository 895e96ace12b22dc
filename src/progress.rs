//! Tells a person at the terminal what is going on.
//!
//! Whatever takes more than a second reports here: a [`Step`] for work of unknown length, a
//! [`Bar`] for work that can be counted. On a terminal they move; elsewhere (a log of CI, a pipe)
//! they become plain lines: one at the start, one at the end, and for a bar at most one every
//! five seconds between. Everything goes to standard error, so that standard output stays
//! free for results.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};

/// Shortest time between two lines of one bar where there is no terminal: frequent enough to see
/// that it lives, rare enough to keep a CI log readable.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Redraw interval of a spinner.
const TICK: Duration = Duration::from_millis(100);

/// Shows steps and bars; clones share one output.
#[derive(Clone)]
pub struct Progress(Output);

#[derive(Clone)]
enum Output {
    Terminal(MultiProgress),
    Lines(Arc<Mutex<Box<dyn Write + Send>>>),
}

/// What a [`Bar`] counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Items,
    Bytes,
    /// Bytes, nobody knows how many.
    Flow,
}

impl Progress {
    /// Returns progress on standard error: moving on a terminal, plain lines elsewhere.
    pub fn stderr() -> Self {
        if io::stderr().is_terminal() {
            Self(Output::Terminal(MultiProgress::new()))
        } else {
            Self::lines(io::stderr())
        }
    }

    /// Returns progress as plain lines written to `to`.
    pub fn lines(to: impl Write + Send + 'static) -> Self {
        Self(Output::Lines(Arc::new(Mutex::new(Box::new(to)))))
    }

    /// Returns progress that shows nothing.
    pub fn hidden() -> Self {
        Self::lines(io::sink())
    }

    /// Writes one line that stays.
    pub fn say(&self, line: &str) {
        // A closed standard error must not stop the work it reports on.
        let _ = match &self.0 {
            Output::Terminal(all) => all.println(line),
            Output::Lines(to) => {
                writeln!(to.lock().unwrap_or_else(PoisonError::into_inner), "{line}")
            }
        };
    }

    /// Starts a step of unknown length, such as "Starting PostgreSQL".
    pub fn step(&self, what: &str) -> Step {
        let drawn = self.draw(what, || {
            let spinner = ProgressBar::new_spinner();
            spinner.enable_steady_tick(TICK);
            spinner.with_style(style("{spinner} {msg} ({elapsed})"))
        });
        Step { progress: self.clone(), drawn, started: Instant::now() }
    }

    /// Starts a bar over `len` items.
    pub fn bar(&self, len: u64, what: &str) -> Bar {
        self.counted(len, what, Unit::Items)
    }

    /// Starts a bar over `len` bytes.
    pub fn bytes(&self, len: u64, what: &str) -> Bar {
        self.counted(len, what, Unit::Bytes)
    }

    /// Starts a count of bytes whose end is not known.
    pub fn flow(&self, what: &str) -> Bar {
        self.counted(0, what, Unit::Flow)
    }

    fn counted(&self, len: u64, what: &str, unit: Unit) -> Bar {
        let drawn = self.draw(what, || {
            ProgressBar::new(len).with_style(style(match unit {
                Unit::Items => "{msg} [{bar:30}] {human_pos}/{human_len} ({per_sec}, {eta} left)",
                Unit::Bytes => "{msg} [{bar:30}] {bytes}/{total_bytes} ({bytes_per_sec})",
                Unit::Flow => "{spinner} {msg} {bytes} ({bytes_per_sec})",
            }))
        });
        let now = Instant::now();
        Bar {
            progress: self.clone(),
            drawn,
            what: what.to_owned(),
            unit,
            len,
            position: AtomicU64::new(0),
            line_at: Mutex::new(now),
            started: now,
        }
    }

    /// Draws on a terminal; elsewhere announces `what` in a line.
    fn draw(&self, what: &str, bar: impl FnOnce() -> ProgressBar) -> Option<ProgressBar> {
        match &self.0 {
            Output::Terminal(all) => Some(all.add(bar()).with_message(what.to_owned())),
            Output::Lines(_) => {
                self.say(&format!("{what} ..."));
                None
            }
        }
    }
}

/// Work of unknown length. Dropped without [`Step::done`] it disappears: the error that ended it
/// speaks for itself.
pub struct Step {
    progress: Progress,
    drawn: Option<ProgressBar>,
    started: Instant,
}

impl Step {
    /// Ends the step with the line `message` and the time it took.
    pub fn done(self, message: &str) {
        clear(self.drawn.as_ref());
        self.progress.say(&format!("{message} ({:.1?})", self.started.elapsed()));
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        clear(self.drawn.as_ref());
    }
}

/// Work that can be counted. Shared by reference between threads.
pub struct Bar {
    progress: Progress,
    drawn: Option<ProgressBar>,
    what: String,
    unit: Unit,
    len: u64,
    position: AtomicU64,
    line_at: Mutex<Instant>,
    started: Instant,
}

impl Bar {
    /// Counts `n` more.
    pub fn inc(&self, n: u64) {
        self.show(self.position.fetch_add(n, Ordering::Relaxed) + n);
    }

    /// Moves the bar to `position`.
    pub fn set(&self, position: u64) {
        self.position.store(position, Ordering::Relaxed);
        self.show(position);
    }

    /// Ends the bar with a line telling how much it was and how long it took.
    pub fn finish(self) {
        clear(self.drawn.as_ref());
        let counted = self.amount(self.position.load(Ordering::Relaxed));
        self.progress.say(&format!("{}: {counted} ({:.1?})", self.what, self.started.elapsed()));
    }

    fn show(&self, position: u64) {
        if let Some(bar) = &self.drawn {
            bar.set_position(position);
            return;
        }
        let mut line_at = self.line_at.lock().unwrap_or_else(PoisonError::into_inner);
        if line_at.elapsed() >= LINE_INTERVAL {
            *line_at = Instant::now();
            let done = self.amount(position);
            let of = match self.unit {
                Unit::Items | Unit::Bytes => format!(" of {}", self.amount(self.len)),
                Unit::Flow => String::new(),
            };
            self.progress.say(&format!("{}: {done}{of}", self.what));
        }
    }

    fn amount(&self, n: u64) -> String {
        match self.unit {
            Unit::Items => n.to_string(),
            Unit::Bytes | Unit::Flow => HumanBytes(n).to_string(),
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        clear(self.drawn.as_ref());
    }
}

fn clear(drawn: Option<&ProgressBar>) {
    if let Some(bar) = drawn {
        bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("templates of this file are well formed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Paper {
        fn lines(&self) -> Vec<String> {
            let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
            // The time in parentheses differs from run to run.
            text.lines().map(|l| l.split(" (").next().unwrap_or_default().to_owned()).collect()
        }
    }

    #[test]
    fn without_a_terminal_a_step_is_two_lines() {
        let paper = Paper::default();
        Progress::lines(paper.clone()).step("Starting Redis").done("Redis runs");
        assert_eq!(paper.lines(), ["Starting Redis ...", "Redis runs"]);
    }

    #[test]
    fn a_failed_step_claims_no_end() {
        let paper = Paper::default();
        drop(Progress::lines(paper.clone()).step("Starting Redis"));
        assert_eq!(paper.lines(), ["Starting Redis ..."]);
    }

    #[test]
    fn a_fast_bar_writes_no_line_between_start_and_end() {
        let paper = Paper::default();
        let bar = Progress::lines(paper.clone()).bar(1_000, "Clicks");
        for _ in 0..1_000 {
            bar.inc(1);
        }
        bar.finish();
        assert_eq!(paper.lines(), ["Clicks ...", "Clicks: 1000"]);
    }

    #[test]
    fn bytes_are_told_in_units_people_read() {
        let paper = Paper::default();
        let bar = Progress::lines(paper.clone()).bytes(3 << 20, "Packages");
        bar.set(3 << 20);
        bar.finish();
        assert_eq!(paper.lines(), ["Packages ...", "Packages: 3.00 MiB"]);
    }

    #[test]
    fn every_template_is_well_formed() {
        // On a terminal a broken template would panic only there; CI has none.
        let progress = Progress(Output::Terminal(MultiProgress::with_draw_target(
            indicatif::ProgressDrawTarget::hidden(),
        )));
        progress.step("step").done("done");
        progress.bar(1, "items").finish();
        progress.bytes(1, "bytes").finish();
        progress.flow("flow").finish();
    }
}
