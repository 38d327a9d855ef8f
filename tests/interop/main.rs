//! Our programs against the published Python packages, in a virtual environment that `./dev interop` makes.

mod brain;
mod mock;
mod our_agent;
mod program;
mod python_agent;
mod real_brain;
mod rest;
mod shapes;
mod tour;
