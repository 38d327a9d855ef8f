//! The signature over the session-bound envelope, and frames on their way out.
//!
//! Owns the envelope (which bytes are signed) for both directions. It must not judge inbound frames
//! (`verify`), read a clock or make random numbers: time and nonce bytes are passed in.

use std::fmt::Write;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::PROTOCOL_VERSION;
use crate::canonical::{self, CanonicalError};
use crate::frame::FrameType;
use crate::secret::HmacSecret;
use crate::text::CanonicalText;
use crate::timestamp::Timestamp;
use crate::value::{Object, Value};

/// What a signature is bound to beside the frame: the ids that hello_ack told. On long-poll the session
/// nonce stands in place of the session id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The agent's UUID, as text.
    pub agent_id: String,
    /// The project's UUID, as text.
    pub project_id: String,
    /// The session's id, or the long-poll session nonce.
    pub session_id: String,
}

impl Binding {
    /// The bound members in key order.
    fn members(&self) -> [(&str, &str); 3] {
        [("agent_id", &self.agent_id), ("project_id", &self.project_id), ("session_id", &self.session_id)]
    }
}

/// A frame that cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Something in it has no canonical text.
    #[error("the frame cannot be signed: {0}")]
    Canonical(#[from] CanonicalError),
    /// The document given as a frame is no object.
    #[error("a frame is a JSON object")]
    NotAnObject,
}

/// The signing key with its binding: shared by [`Signer`] and `Verifier`.
pub(crate) struct Envelope {
    key: hmac::Key,
    binding: Binding,
    /// How many of the bound members there are: z4j-core 1.0 knew no session.
    bound: usize,
}

impl Envelope {
    pub(crate) fn new(secret: &HmacSecret, binding: Binding) -> Self {
        Self { key: secret.key(), binding, bound: 3 }
    }

    /// One that bears no session, as of z4j-core 1.0.
    pub(crate) fn without_session(secret: &HmacSecret, binding: Binding) -> Self {
        Self { bound: 2, ..Self::new(secret, binding) }
    }

    /// The bound members in key order.
    fn members(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        self.binding.members().into_iter().take(self.bound)
    }

    /// The signature of an object: lower-case hex of the HMAC over its canonical text, without `hmac` and
    /// with the bound members in place of any of their names.
    pub(crate) fn signature(&self, object: &Object) -> Result<String, CanonicalError> {
        let text = self.signed_text(object)?;
        Ok(hex(hmac::sign(&self.key, text.as_bytes()).as_ref()))
    }

    /// The signature over a frame that is written in four parts, in key order. The bound members fall before
    /// the first, after the payload, and after `seq`.
    fn signature_of_parts(&self, head: &str, payload: &str, seq: &str, tail: &str) -> String {
        let bound = |before: char, (name, text): (&str, &str)| {
            let mut out = String::from(before);
            canonical::write_string(&mut out, name);
            out.push(':');
            canonical::write_string(&mut out, text);
            out
        };
        let [agent, project, session] = self.binding.members();
        let (agent, project) = (bound('{', agent), bound(',', project));
        let session = if self.bound == 3 { bound(',', session) } else { String::new() };
        let mut context = hmac::Context::with_key(&self.key);
        for part in [&agent, ",", head, payload, &project, seq, &session, tail] {
            context.update(part.as_bytes());
        }
        hex(context.sign().as_ref())
    }

    fn signed_text(&self, object: &Object) -> Result<String, CanonicalError> {
        let mut out = String::with_capacity(512);
        let mut bound = self.members().peekable();
        out.push('{');
        for (key, value) in object.iter() {
            while let Some((name, text)) = bound.next_if(|(name, _)| *name <= key) {
                write_bound(&mut out, name, text);
            }
            let replaced = self.members().any(|(name, _)| name == key);
            if key == "hmac" || replaced {
                continue;
            }
            write_key(&mut out, key);
            canonical::write_value(&mut out, value)?;
        }
        for (name, text) in bound {
            write_bound(&mut out, name, text);
        }
        out.push('}');
        Ok(out)
    }
}

fn write_key(out: &mut String, key: &str) {
    if out.len() > 1 {
        out.push(',');
    }
    canonical::write_string(out, key);
    out.push(':');
}

fn write_bound(out: &mut String, name: &str, text: &str) {
    write_key(out, name);
    canonical::write_string(out, text);
}

fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
    out
}

/// Signs the frames of one session in one direction; the sequence starts at 1.
pub struct Signer {
    envelope: Envelope,
    last_seq: u64,
}

impl Signer {
    /// A signer at the start of a session.
    #[must_use]
    pub fn new(secret: &HmacSecret, binding: Binding) -> Self {
        Self { envelope: Envelope::new(secret, binding), last_seq: 0 }
    }

    /// A signer as of z4j-core 1.0, whose signatures bear no session at all.
    #[must_use]
    pub fn without_session(secret: &HmacSecret, binding: Binding) -> Self {
        Self { envelope: Envelope::without_session(secret, binding), last_seq: 0 }
    }

    /// The wire text of a new frame. `nonce` is 16 fresh random bytes.
    ///
    /// # Errors
    /// The payload holds a number that is not finite or a lone surrogate.
    pub fn sign(
        &mut self,
        frame_type: FrameType,
        id: &str,
        payload: Value,
        now: Timestamp,
        nonce: [u8; 16],
    ) -> Result<String, FrameError> {
        let frame = unsigned_object(frame_type, id, payload);
        self.complete(frame, now, nonce)
    }

    /// The wire text of a new frame whose payload is canonical text already: the payload is neither parsed
    /// nor written a second time. `nonce` is 16 fresh random bytes.
    pub fn sign_text(
        &mut self,
        frame_type: FrameType,
        id: &str,
        payload: &CanonicalText,
        now: Timestamp,
        nonce: [u8; 16],
    ) -> String {
        self.last_seq += 1;
        let mut head = String::from("\"id\":");
        canonical::write_string(&mut head, id);
        let _ = write!(head, ",\"nonce\":\"{}\",\"payload\":", URL_SAFE_NO_PAD.encode(nonce));
        let seq = format!(",\"seq\":{}", self.last_seq);
        let tail = format!(",\"ts\":\"{now}\",\"type\":\"{frame_type}\",\"v\":{PROTOCOL_VERSION}}}");
        let signature = self.envelope.signature_of_parts(&head, payload.as_str(), &seq, &tail);
        let length = head.len() + payload.as_str().len() + seq.len() + tail.len() + signature.len() + 16;
        let mut out = String::with_capacity(length);
        let _ = write!(out, "{{\"hmac\":\"{signature}\",{head}{}{seq}{tail}", payload.as_str());
        out
    }

    /// Signs a document that somebody else made. `ts`, `nonce` and `seq` are filled in where they are
    /// missing, null, empty or 0 (the reference's placeholders), and otherwise kept.
    ///
    /// # Errors
    /// It is no object, or holds something that has no canonical text.
    pub fn sign_document(
        &mut self,
        document: Value,
        now: Timestamp,
        nonce: [u8; 16],
    ) -> Result<String, FrameError> {
        match document {
            Value::Object(frame) => self.complete(frame, now, nonce),
            Value::LoneSurrogate => Err(CanonicalError::LoneSurrogate.into()),
            _ => Err(FrameError::NotAnObject),
        }
    }

    fn complete(&mut self, mut frame: Object, now: Timestamp, nonce: [u8; 16]) -> Result<String, FrameError> {
        if is_unset(frame.get("ts")) {
            frame.insert("ts", Value::String(now.to_string()));
        }
        if is_unset(frame.get("nonce")) {
            frame.insert("nonce", Value::String(URL_SAFE_NO_PAD.encode(nonce)));
        }
        if is_unset(frame.get("seq")) {
            self.last_seq += 1;
            frame.insert("seq", Value::from(self.last_seq));
        }
        let signature = self.envelope.signature(&frame)?;
        frame.insert("hmac", Value::String(signature));
        Ok(Value::Object(frame).to_canonical()?)
    }
}

/// Whether a member is one of the placeholders that the reference leaves for the signer.
fn is_unset(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Integer(number)) => number.as_u64() == Some(0),
        Some(_) => false,
    }
}

fn unsigned_object(frame_type: FrameType, id: &str, payload: Value) -> Object {
    [
        ("v".to_owned(), Value::from(PROTOCOL_VERSION)),
        ("type".to_owned(), Value::from(frame_type.as_str())),
        ("id".to_owned(), Value::from(id)),
        ("payload".to_owned(), payload),
    ]
    .into_iter()
    .collect()
}

/// The wire text of a frame without signature: hello and hello_ack.
///
/// # Errors
/// The payload holds a number that is not finite or a lone surrogate.
pub fn unsigned_frame(
    frame_type: FrameType,
    id: &str,
    payload: Value,
    now: Timestamp,
) -> Result<String, FrameError> {
    let mut frame = unsigned_object(frame_type, id, payload);
    frame.insert("ts", Value::String(now.to_string()));
    Ok(Value::Object(frame).to_canonical()?)
}
