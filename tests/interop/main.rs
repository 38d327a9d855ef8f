//! Our programs against the published Python packages, in a virtual environment that `./dev interop` makes.

mod program;
mod python_agent;
mod real_brain;
mod rest;
