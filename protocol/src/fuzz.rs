//! What holds for any bytes that come as a frame: the property behind the fuzz target `frame`, and its replay.
//!
//! Owns nothing that the product uses: it is built for tests and fuzzing only.

use crate::payload::{Command, ErrorPayload, EventBatch, EventBatchAck, HelloAck, HelloFrame};
use crate::{Binding, Frame, FrameType, HmacSecret, Signer, Timestamp, Value, Verifier};

const NOW: Timestamp = Timestamp::from_unix_micros(1_795_000_000_000_000);

/// What parses has a canonical text that parses to the same value, and verifies once it is signed; what does
/// not parse is refused at a place within the text.
pub fn frame(bytes: &[u8]) {
    // As a first frame it is read by its own rules.
    let _ = HelloFrame::parse(bytes);
    match Value::parse(bytes) {
        Err(error) => assert!(error.offset <= bytes.len(), "{error} of {} bytes", bytes.len()),
        Ok(value) => known(&value),
    }
    if let (Ok(frame), Some(secret)) = (Frame::parse(bytes), secret()) {
        let _ = Verifier::new(&secret, binding()).verify_frame(&frame, NOW);
    }
}

fn known(value: &Value) {
    let Ok(text) = value.to_canonical() else { return };
    let again = Value::parse(text.as_bytes());
    assert_eq!(again.as_ref(), Ok(value), "{text}");
    assert_eq!(again.ok().and_then(|again| again.to_canonical().ok()).as_ref(), Some(&text));
    shapes(value);
    let payload = Value::object([("data", value.clone())]);
    let Some(secret) = secret() else { return };
    let signed = Signer::new(&secret, binding()).sign(FrameType::EventBatch, "id", payload, NOW, [1; 16]);
    if let Ok(wire) = signed {
        let verified = Verifier::new(&secret, binding()).verify(wire.as_bytes(), NOW);
        assert!(verified.is_ok(), "{verified:?}: {wire}");
    }
}

/// Every shape that a payload may be read as.
fn shapes(value: &Value) {
    let _ = value.deserialize::<HelloAck>();
    let _ = value.deserialize::<EventBatch>();
    let _ = value.deserialize::<EventBatchAck>();
    let _ = value.deserialize::<Command>();
    let _ = value.deserialize::<ErrorPayload>();
}

fn secret() -> Option<HmacSecret> {
    HmacSecret::from_bytes(vec![7; 32]).ok()
}

fn binding() -> Binding {
    Binding { agent_id: "agent".to_owned(), project_id: "project".to_owned(), session_id: "s".to_owned() }
}

#[cfg(test)]
#[test]
fn the_corpus_holds() -> std::io::Result<()> {
    for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/frame"))? {
        frame(&std::fs::read(file?.path())?);
    }
    Ok(())
}
