//! What needs more than one crate.

mod architecture;
mod generated;
mod jobs;
