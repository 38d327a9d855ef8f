//! `dashboard`: the link that opens the running brain's dashboard.
//!
//! Prints a secret: whoever has the link may do what this brain's user may.

use http::Method;

use super::output::{print, print_json};
use super::{Failure, StateDir, block_on};
use crate::api::Items;
use crate::{ActiveFault, Environment, dashboard};

/// Print the link that opens the dashboard.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  mock-brain dashboard\n  xdg-open \"$(mock-brain dashboard)\"\n\n\
    The link holds a secret of the running brain; the next start makes another one.")]
pub(super) struct Args {
    #[command(flatten)]
    state_dir: StateDir,
    /// One JSON document: {"url": …}
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, environment: &Environment) -> Result<(), Failure> {
    let client = args.state_dir.client(environment)?;
    // A brain that was killed leaves its file, and a link to nothing would be printed.
    let _: Items<ActiveFault> = block_on(client.ask(Method::GET, "/mock/v1/faults", None))??;
    let url = dashboard::link(client.control());
    if args.json {
        return print_json(&serde_json::json!({ "url": url }));
    }
    print(format!("{url}\n").as_bytes())
}
