//! What was measured, beside its bounds.

use std::process::ExitCode;

/// Prints rows as they come, and keeps whether all bounds were kept.
pub(crate) struct Table {
    missed: usize,
}

impl Table {
    pub(crate) fn new() -> Self {
        println!("{:52} {:>14} {:>16}", "what", "measured", "bound");
        Self { missed: 0 }
    }

    /// A figure without a bound.
    pub(crate) fn told(&self, what: &str, measured: f64, unit: &str) {
        println!("{what:52} {:>14}", figure(measured, unit));
    }

    /// A figure that must not be less.
    pub(crate) fn least(&mut self, what: &str, measured: f64, bound: f64, unit: &str) {
        self.judged(what, measured, &format!(">= {}", figure(bound, unit)), unit, measured >= bound);
    }

    /// A figure that must not be more.
    pub(crate) fn most(&mut self, what: &str, measured: f64, bound: f64, unit: &str) {
        self.judged(what, measured, &format!("<= {}", figure(bound, unit)), unit, measured <= bound);
    }

    fn judged(&mut self, what: &str, measured: f64, bound: &str, unit: &str, kept: bool) {
        self.missed += usize::from(!kept);
        let verdict = if kept { "ok" } else { "NOT" };
        println!("{what:52} {:>14} {bound:>16}  {verdict}", figure(measured, unit));
    }

    pub(crate) fn verdict(&self) -> ExitCode {
        if self.missed == 0 {
            return ExitCode::SUCCESS;
        }
        println!("{} bounds are not kept", self.missed);
        ExitCode::FAILURE
    }
}

fn figure(number: f64, unit: &str) -> String {
    let digits = if number.abs() < 1_000.0 && number.fract() != 0.0 { 1 } else { 0 };
    let space = if unit.is_empty() || unit.starts_with('/') { "" } else { " " };
    format!("{number:.digits$}{space}{unit}")
}
