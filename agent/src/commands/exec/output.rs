//! What a program wrote: the beginning of its output, the end of its complaints, each within a bound.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};
use z4j_protocol::{CanonicalText, Value};

/// How much of the end of stderr is kept, in bytes.
pub(super) const STDERR_BYTES: usize = 4_096;

/// How much is read at once, in bytes.
const CHUNK: usize = 8_192;

/// What a program wrote.
#[derive(Debug, Default)]
pub(super) struct Output {
    /// The beginning of stdout.
    pub(super) stdout: Vec<u8>,
    /// How many bytes of it were left out.
    pub(super) stdout_cut: u64,
    /// The end of stderr.
    pub(super) stderr: Vec<u8>,
    /// Whether there was more before it.
    pub(super) stderr_cut: bool,
}

impl Output {
    /// What the brain is told: the object that stdout is, or its text and the exit status.
    pub(super) fn result(&self, exit_status: Option<i32>) -> Value {
        if let Some(object) = self.object() {
            return object;
        }
        let text = String::from_utf8_lossy(&self.stdout);
        let text = text.trim_end();
        let status = exit_status.and_then(|code| u64::try_from(code).ok());
        let mut members = vec![("exit_status", status.map_or(Value::Null, Value::from))];
        if self.stdout_cut > 0 {
            let marked = format!("{text}[...{} more bytes truncated]", self.stdout_cut);
            members.push(("stdout", marked.as_str().into()));
            members.push(("truncated", Value::Bool(true)));
        } else {
            members.push(("stdout", text.into()));
        }
        Value::object(members)
    }

    /// stdout, if it is one JSON object that can be signed.
    fn object(&self) -> Option<Value> {
        let value = Value::parse(&self.stdout).ok().filter(|_| self.stdout_cut == 0)?;
        let is_object = value.as_object().is_some() && CanonicalText::of(&value).is_ok();
        is_object.then_some(value)
    }
}

/// Reads to the end and keeps the beginning; the rest is read too, so that the program is not stuck.
pub(super) async fn read_head(
    mut from: impl AsyncRead + Unpin,
    most: usize,
    kept: &mut Vec<u8>,
    cut: &mut u64,
) -> io::Result<()> {
    let mut chunk = [0; CHUNK];
    loop {
        let count = from.read(&mut chunk).await?;
        if count == 0 {
            return Ok(());
        }
        let taken = count.min(most.saturating_sub(kept.len()));
        kept.extend_from_slice(&chunk[..taken]);
        *cut = cut.saturating_add((count - taken) as u64);
    }
}

/// Reads to the end and keeps the end.
pub(super) async fn read_tail(
    mut from: impl AsyncRead + Unpin,
    kept: &mut Vec<u8>,
    cut: &mut bool,
) -> io::Result<()> {
    let mut chunk = [0; CHUNK];
    loop {
        let count = from.read(&mut chunk).await?;
        if count == 0 {
            return Ok(());
        }
        kept.extend_from_slice(&chunk[..count]);
        let beyond = kept.len().saturating_sub(STDERR_BYTES);
        kept.drain(..beyond);
        *cut |= beyond > 0;
    }
}
