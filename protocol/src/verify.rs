//! Whether an inbound frame may be believed.
//!
//! Owns the order of the checks after the shape (protocol.md, Signing). State changes only when a frame
//! passed all of them. It must not decide what a refusal leads to.

use aws_lc_rs::constant_time;

use crate::frame::{Frame, FrameType};
use crate::integer::Integer;
use crate::loss;
use crate::refusal::{Reason, Refusal};
use crate::replay::ReplayGuard;
use crate::secret::HmacSecret;
use crate::sign::{Binding, Envelope};
use crate::timestamp::{Timestamp, TimestampError};
use crate::value::Value;

/// Characters of a signature: 32 bytes in hex.
const HMAC_CHARS: usize = 64;

/// Verifies the frames of one session in one direction.
pub struct Verifier {
    envelope: Envelope,
    guard: ReplayGuard,
}

impl Verifier {
    /// A verifier at the start of a session.
    #[must_use]
    pub fn new(secret: &HmacSecret, binding: Binding) -> Self {
        Self { envelope: Envelope::new(secret, binding), guard: ReplayGuard::default() }
    }

    /// A verifier as of z4j-core 1.0, whose signatures bear no session at all.
    #[must_use]
    pub fn without_session(secret: &HmacSecret, binding: Binding) -> Self {
        Self { envelope: Envelope::without_session(secret, binding), guard: ReplayGuard::default() }
    }

    /// Reads and verifies one message. A hello or hello_ack bears no signature and passes unchecked, as in
    /// the reference; receivers ignore one that comes after the handshake.
    ///
    /// # Errors
    /// The first rule that the message breaks.
    pub fn verify(&mut self, wire: &[u8], now: Timestamp) -> Result<Frame, Refusal> {
        let frame = Frame::parse(wire)?;
        self.verify_frame(&frame, now)?;
        Ok(frame)
    }

    /// Verifies a frame that has been read.
    ///
    /// # Errors
    /// The first rule that the frame breaks.
    pub fn verify_frame(&mut self, frame: &Frame, now: Timestamp) -> Result<(), Refusal> {
        if !frame.frame_type().is_signed() {
            return Ok(());
        }
        self.check_signature(frame)?;
        check_payload(frame)?;
        let (seq, nonce, ts) = replay_values(frame)?;
        self.guard.accept(seq, nonce, ts, now)?;
        Ok(())
    }

    fn check_signature(&self, frame: &Frame) -> Result<(), Reason> {
        // What cannot be signed is no frame, whatever it claims.
        let expected = self.envelope.signature(frame.object()).map_err(|_| Reason::NotCanonical)?;
        let claimed = match frame.object().get("hmac") {
            None | Some(Value::Null) => "",
            Some(Value::String(claimed)) if claimed.is_ascii() => claimed,
            Some(_) => return Err(Reason::HmacType),
        };
        if claimed.is_empty() {
            return Err(Reason::HmacMissing);
        }
        if claimed.len() != HMAC_CHARS {
            return Err(Reason::HmacLength);
        }
        constant_time::verify_slices_are_equal(claimed.as_bytes(), expected.as_bytes())
            .map_err(|_| Reason::HmacMismatch)
    }
}

fn check_payload(frame: &Frame) -> Result<(), Reason> {
    let payload = frame.payload();
    match frame.frame_type() {
        FrameType::CommandResult => {
            let status = payload.and_then(|payload| payload.get("status")).and_then(Value::as_str);
            let known = matches!(status, Some("success" | "failed"));
            if known { Ok(()) } else { Err(Reason::ResultStatus) }
        }
        FrameType::Heartbeat | FrameType::AgentStatus => {
            let acceptable = payload.is_none_or(loss::is_acceptable);
            if acceptable { Ok(()) } else { Err(Reason::LossCounters) }
        }
        _ => Ok(()),
    }
}

/// `seq`, `nonce` and `ts`, all present and of their types.
fn replay_values(frame: &Frame) -> Result<(Integer, &str, Timestamp), Reason> {
    let seq = match frame.object().get("seq") {
        Some(Value::Integer(number)) if *number >= Integer::Small(1) => number.clone(),
        // Python's True is the integer 1.
        Some(Value::Bool(true)) => Integer::Small(1),
        _ => return Err(Reason::SeqInvalid),
    };
    let nonce = frame.object().get("nonce").and_then(Value::as_str).unwrap_or_default();
    if nonce.is_empty() {
        return Err(Reason::NonceMissing);
    }
    let ts = match frame.object().get("ts") {
        None | Some(Value::Null) => return Err(Reason::TsMissing),
        Some(Value::String(text)) => Timestamp::parse(text).map_err(|error| match error {
            TimestampError::Invalid => Reason::TsInvalid,
            TimestampError::Naive => Reason::TsNaive,
        })?,
        Some(_) => return Err(Reason::TsInvalid),
    };
    Ok((seq, nonce, ts))
}
