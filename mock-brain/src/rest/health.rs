//! `health/deep` and `health/system`: what the real brain tells of itself to those who logged in.
//!
//! Owns both shapes. What this program does not have, such as Python, is told as `none`.

use http::StatusCode;
use serde_json::json;

use super::answer::{Answer, json as answer};

/// The checks of the real brain, all of them well: there is no database here that could be ill.
pub(super) fn deep() -> Answer {
    answer(
        StatusCode::OK,
        &json!({
            "status": "ok",
            "coverage": { "startup_equivalent": false, "detail": "an emulator: there is no database to check" },
            "checks": {
                "database": { "status": "ok", "latency_ms": 0.0 },
                "migrations": { "status": "ok", "revision": "none" },
                "audit_chain": { "status": "ok", "activated": false, "scope": "none" },
            },
        }),
    )
}

/// What it runs on. Keys are the real brain's; the texts say what is here.
pub(super) fn system() -> Answer {
    answer(
        StatusCode::OK,
        &json!({
            "z4j_version": env!("CARGO_PKG_VERSION"), "python_version": "none",
            "python_implementation": "mock-brain", "os": std::env::consts::OS,
            "architecture": std::env::consts::ARCH, "pid": std::process::id(), "database_type": "sqlite",
            "database_version": "SQLite",
            "packages": {
                "fastapi": "none", "uvicorn": "none", "sqlalchemy": "none", "pydantic": "none", "celery": "none",
            },
        }),
    )
}
