//! What holds for any bytes that applications write into the ingest socket.

use std::sync::OnceLock;

use z4j_protocol::{Timestamp, Value};

use super::event::read_event;
use super::lines::Lines;
use crate::redaction::Redactor;

const NOW: Timestamp = Timestamp::from_unix_micros(1_795_000_000_000_000);

/// The first byte says in what portions the rest arrives. A line that is taken makes an event whose text is
/// canonical, and that would be taken again as it is.
pub fn ingest(bytes: &[u8]) {
    static REDACTOR: OnceLock<Option<Redactor>> = OnceLock::new();
    let redactor = REDACTOR.get_or_init(|| Redactor::new(&[], &[], 8_192).ok());
    let (Some((step, bytes)), Some(redactor)) = (bytes.split_first(), redactor) else { return };
    let mut lines = Lines::default();
    for portion in bytes.chunks(usize::from(*step).max(1)) {
        lines.feed(portion);
        drain(&mut lines, redactor);
    }
    lines.end();
    drain(&mut lines, redactor);
}

fn drain(lines: &mut Lines, redactor: &Redactor) {
    while let Some(line) = lines.next() {
        let Some(Ok(Some(event))) = line.text.map(|text| read_event(text, redactor, NOW)) else { continue };
        let text = event.text.as_str();
        let value = Value::parse(text.as_bytes());
        assert_eq!(value.ok().and_then(|value| value.to_canonical().ok()).as_deref(), Some(text));
        let again = read_event(text.as_bytes(), redactor, NOW);
        let same = again.as_ref().is_ok_and(|again| {
            again.as_ref().is_some_and(|again| again.text.as_str() == text && !again.restamped)
        });
        assert!(same, "{text} becomes {again:?}");
    }
}
