//! What needs more than one crate.

mod architecture;
mod chaos;
mod corpora;
mod generated;
mod jobs;
mod program;
