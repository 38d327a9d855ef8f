//! What needs more than one crate.

mod architecture;
mod chaos;
mod generated;
mod jobs;
mod program;
