//! The dashboard in a real Chromium, driven by WebDriver. `./dev browser` installs both where they are missing.

#[expect(dead_code, reason = "shared with the tests against the Python packages, which need more of it")]
#[path = "../interop/program.rs"]
mod program;

mod bad_agent;
mod brain;
mod chromium;
mod dashboard;
mod webdriver;
