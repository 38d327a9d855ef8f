//! What a run says: a line an outcome, a progress bar on a terminal, a summary, or one JSON document.
//!
//! Owns the words. Must not judge.

use std::fmt::Write;
use std::io::Write as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use crate::runner::{Finished, Outcome};

/// How many scenarios ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
    pub(crate) not_run: usize,
    pub(crate) updated: usize,
}

impl Totals {
    pub(crate) fn of(finished: &[Finished]) -> Self {
        let mut totals = Self::default();
        for done in finished {
            match &done.outcome {
                Outcome::Passed { updated } => {
                    totals.passed += 1;
                    totals.updated += updated;
                }
                Outcome::Failed { .. } => totals.failed += 1,
                Outcome::Skipped { .. } => totals.skipped += 1,
                Outcome::NotRun => totals.not_run += 1,
            }
        }
        totals
    }

    /// The exit status: 1 if anything failed, 3 if nothing failed but something could not run.
    pub(crate) const fn exit_status(self) -> u8 {
        match self {
            Self { failed: 1.., .. } => 1,
            Self { skipped: 1.., .. } | Self { not_run: 1.., .. } => 3,
            _ => 0,
        }
    }
}

/// The lines of a run as it goes.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    quiet: bool,
}

impl Progress {
    /// `terminal`: draw a bar on stderr. `quiet`: no lines, because JSON follows.
    pub(crate) fn new(count: usize, terminal: bool, quiet: bool) -> Self {
        let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(count as u64), target);
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}") {
            bar.set_style(style);
        }
        Self { bar, quiet }
    }

    /// Says what came of one scenario.
    pub(crate) fn tell(&self, done: &Finished) {
        self.bar.inc(1);
        self.bar.set_message(done.name.clone());
        // What was not started is told by its number, in the summary.
        if !self.quiet && done.outcome != Outcome::NotRun {
            // A closed pipe is no reason to stop running scenarios.
            self.bar.suspend(|| _ = writeln!(std::io::stdout(), "{}", line(done)));
        }
    }

    /// Takes the bar away and says the totals.
    pub(crate) fn finish(&self, totals: Totals, took: Duration) {
        self.bar.finish_and_clear();
        if !self.quiet {
            // As above.
            let _ = write!(std::io::stdout(), "{}", summary(totals, took));
        }
    }
}

fn line(done: &Finished) -> String {
    let Finished { name, took, .. } = done;
    let millis = took.as_millis();
    let mut text = match &done.outcome {
        Outcome::Passed { updated: 0 } => format!("ok    {name} ({millis} ms)"),
        Outcome::Passed { updated } => format!("ok    {name} ({millis} ms, {updated} snapshots written)"),
        Outcome::Failed { reason } => format!("FAIL  {name} ({millis} ms)\n  {reason}"),
        Outcome::Skipped { reason } => format!("skip  {name}: {reason}"),
        Outcome::NotRun => format!("-     {name}: not run"),
    };
    if let Some(kept) = &done.kept {
        let _ = write!(text, "\n  kept: {}", kept.display());
    }
    text
}

fn summary(totals: Totals, took: Duration) -> String {
    let Totals { passed, failed, skipped, not_run, updated } = totals;
    let mut text = format!("\n{:.1} s", took.as_secs_f64());
    if updated > 0 {
        let _ = write!(text, ", {updated} snapshots written: look at them with `git diff`");
    }
    if not_run > 0 {
        let _ = write!(text, ", {not_run} not run");
    }
    if failed > 0 {
        text.push_str(", `harness run NAME` runs one alone, --keep leaves its files");
    }
    let _ = writeln!(text, "\n{passed} passed, {failed} failed, {skipped} skipped");
    text
}

/// The run as one JSON document.
pub(crate) fn to_json(finished: &[Finished], took: Duration) -> serde_json::Value {
    let totals = Totals::of(finished);
    let scenarios: Vec<_> = finished
        .iter()
        .map(|done| {
            let (status, reason) = match &done.outcome {
                Outcome::Passed { .. } => ("passed", None),
                Outcome::Failed { reason } => ("failed", Some(reason)),
                Outcome::Skipped { reason } => ("skipped", Some(reason)),
                Outcome::NotRun => ("not_run", None),
            };
            let millis = u64::try_from(done.took.as_millis()).unwrap_or(u64::MAX);
            json!({ "name": done.name, "status": status, "reason": reason, "duration_ms": millis, "kept": done.kept })
        })
        .collect();
    json!({
        "schema_version": 1,
        "passed": totals.passed,
        "failed": totals.failed,
        "skipped": totals.skipped,
        "not_run": totals.not_run,
        "snapshots_written": totals.updated,
        "duration_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        "scenarios": scenarios,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_statuses() {
        let totals = |failed, skipped| Totals { passed: 1, failed, skipped, ..Totals::default() };
        assert_eq!(totals(0, 0).exit_status(), 0);
        assert_eq!(totals(1, 1).exit_status(), 1);
        assert_eq!(totals(0, 1).exit_status(), 3);
    }

    #[test]
    fn the_summary_ends_with_the_counts() {
        let totals = Totals { passed: 2, ..Totals::default() };
        let text = summary(totals, Duration::from_millis(1_234));
        assert!(text.ends_with("\n2 passed, 0 failed, 0 skipped\n"), "{text}");
    }
}
