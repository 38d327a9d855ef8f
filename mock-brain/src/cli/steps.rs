//! `frame verify --session FILE`: sessions of frames with their verdicts.
//!
//! Owns the layout of the file, which is that of the protocol's test vectors.

use std::fmt::Write;
use std::path::Path;

use serde::Deserialize;
use z4j_protocol::{Binding, HmacSecret, Refusal, Timestamp, Verifier};

use super::Failure;
use super::output::print;

/// The file. Keys that are not listed are comments.
#[derive(Deserialize)]
struct File {
    secret_hex: String,
    agent_id: String,
    project_id: String,
    session_id: String,
    /// What the receiver's clock says throughout.
    local_time: String,
    sessions: Vec<Session>,
}

/// Frames that meet one verifier.
#[derive(Deserialize)]
struct Session {
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    frame: String,
    #[serde(default)]
    verdict: Option<String>,
}

impl Step {
    /// Whether the file says otherwise: another class, or, where it says nothing, a refusal.
    fn is_surprised_by(&self, refusal: Option<Refusal>) -> bool {
        let class = refusal.map_or("ok", |refusal| refusal.class().as_str());
        class != self.verdict.as_deref().unwrap_or("ok")
    }
}

pub(super) fn run(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let unusable = |reason: String| Failure::usage(format!("{path:?}: {reason}"));
    let file: File = serde_json::from_slice(bytes).map_err(|error| unusable(error.to_string()))?;
    let secret = unhex(&file.secret_hex).ok_or_else(|| unusable("secret_hex is not hex".to_owned()))?;
    let secret = HmacSecret::from_bytes(secret).map_err(|error| unusable(error.to_string()))?;
    let now = Timestamp::parse(&file.local_time).map_err(|error| unusable(format!("local_time: {error}")))?;
    let binding =
        Binding { agent_id: file.agent_id, project_id: file.project_id, session_id: file.session_id };
    let (mut text, mut surprised) = (String::new(), false);
    for session in &file.sessions {
        let mut verifier = Verifier::new(&secret, binding.clone());
        for step in &session.steps {
            let refusal = verifier.verify(step.frame.as_bytes(), now).err();
            surprised |= step.is_surprised_by(refusal);
            let _ = match refusal {
                None => writeln!(text, "ok"),
                Some(refusal) => writeln!(text, "{refusal}"),
            };
        }
    }
    print(text.as_bytes())?;
    if surprised { Err(Failure::no("")) } else { Ok(()) }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16)?.try_into().ok()).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}
