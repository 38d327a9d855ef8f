//! `reset` and `clock`: what a running brain forgets, and how wrong its clock is.

use http::Method;

use super::agent::body;
use super::output::{print, print_json};
use super::{Failure, StateDir, block_on};
use crate::Environment;
use crate::api::clock::{Clock, SetClock};
use crate::api::seen::Reset;
use crate::fault::duration;
use crate::quote::quote;

/// Make the running brain forget what it saw.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  mock-brain reset\n\n\
    Events, sessions that ended, violations, commands and the journal are forgotten, faults are cleared, and the \
    clock is right again. Projects, agents, certificates and live sessions stay.")]
pub(super) struct Args {
    #[command(flatten)]
    state_dir: StateDir,
    /// One JSON document
    #[arg(long)]
    json: bool,
}

pub(super) fn reset(args: &Args, environment: &Environment) -> Result<(), Failure> {
    let client = args.state_dir.client(environment)?;
    let reset = block_on(client.ask::<Reset>(Method::POST, "/mock/v1/reset", None))??;
    if args.json {
        print_json(&reset)
    } else {
        print(format!("reset; {} sessions live\n", reset.sessions).as_bytes())
    }
}

/// Show the running brain's clock, or make it wrong.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  mock-brain clock\n  mock-brain clock +5m\n  mock-brain clock -90s\n  \
    mock-brain clock 0s\n\n\
    Frames are signed and judged, and answers dated, by this clock. Time-outs, certificates and the journal go by \
    the machine's.")]
pub(super) struct ClockArgs {
    #[command(flatten)]
    state_dir: StateDir,
    /// How far it is ahead of the machine's, or behind with a minus; 0s sets it right
    #[arg(value_name = "[+|-]TIME", allow_hyphen_values = true)]
    offset: Option<String>,
    /// One JSON document
    #[arg(long)]
    json: bool,
}

pub(super) fn clock(args: &ClockArgs, environment: &Environment) -> Result<(), Failure> {
    let (method, request) = match &args.offset {
        None => (Method::GET, None),
        Some(text) => (Method::PUT, Some(body(&SetClock { offset_ms: millis(text)? })?)),
    };
    let client = args.state_dir.client(environment)?;
    let clock = block_on(client.ask::<Clock>(method, "/mock/v1/clock", request))??;
    if args.json {
        return print_json(&clock);
    }
    let offset = match clock.offset_ms {
        0 => "as the machine's".to_owned(),
        ahead @ 1.. => format!("{} ahead", written(ahead)),
        behind => format!("{} behind", written(behind)),
    };
    print(format!("{}  {offset}\n", clock.now).as_bytes())
}

fn written(millis: i64) -> String {
    duration::text(std::time::Duration::from_millis(millis.unsigned_abs()))
}

fn millis(text: &str) -> Result<i64, Failure> {
    let (sign, time) = match text.strip_prefix('-') {
        Some(time) => (-1, time),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let time = duration::parse(time).and_then(|time| i64::try_from(time.as_millis()).ok());
    time.map(|millis| sign * millis).ok_or_else(|| {
        Failure::usage(format!(
            "clock {}: a time up to 24h is expected, such as +5m, -90s or 0s",
            quote(text)
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets() {
        let cases = [("+5m", 300_000), ("-90s", -90_000), ("0s", 0), ("250ms", 250)];
        for (text, expected) in cases {
            assert_eq!(millis(text), Ok(expected), "{text}");
        }
        for bad in ["", "-", "5", "--5s", "+-5s", "25h"] {
            assert!(millis(bad).is_err(), "{bad}");
        }
    }
}
