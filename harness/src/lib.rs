//! The harness: runs scenario files, each on a stage of its own (a sandbox, a mock brain, a resolver), and
//! holds what the doctor says against snapshots.
//!
//! It uses mock-brain as a library and runs agents as child processes only, whatever their command line is.

mod agent;
mod brain;
pub mod cli;
mod dns;
mod emitted;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod normalise;
mod report;
mod runner;
mod sandbox;
mod scenario;
mod snapshot;
mod stage;
mod stand_in;
mod step;

/// Runs the part of a sandbox that this process was started as, if it was one; then returns its exit status.
#[must_use]
pub fn sandbox_main(arguments: &[std::ffi::OsString]) -> Option<i32> {
    sandbox::inner_main(arguments)
}
