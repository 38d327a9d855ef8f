//! What each check of the gateway decides, as plain functions.
//!
//! Owns the mapping from a failed check to a close code (protocol.md, Session). Must not touch a socket.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use z4j_protocol::payload::{Hello, HelloAck, HelloFrame};
use z4j_protocol::{
    Class, FrameType, MAX_ID_CHARS, PROTOCOL_VERSION, PROTOCOL_VERSION_TEXT, Refusal, Value, close,
};

use crate::quote::quote;
use crate::registry::Project;
use crate::violation::Rule;

/// How a brain ends a session, or how it was ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Closing {
    pub(crate) code: u16,
    pub(crate) reason: String,
    /// Which check refused, for logs and the session list. Never on the wire.
    pub(crate) detail: String,
    /// The rule that the agent broke, if it is to be noted when the session ends.
    pub(crate) rule: Option<Rule>,
}

impl Closing {
    pub(crate) fn new(code: u16, detail: impl Into<String>) -> Self {
        Self { code, reason: String::new(), detail: detail.into(), rule: None }
    }

    pub(crate) fn with_reason(code: u16, reason: &str, detail: impl Into<String>) -> Self {
        Self { code, reason: reason.to_owned(), detail: detail.into(), rule: None }
    }

    /// The agent broke a rule.
    pub(crate) fn breaking(self, rule: Rule) -> Self {
        Self { rule: Some(rule), ..self }
    }
}

/// The token of an Authorization header. The scheme's case does not matter, and white space around the token
/// is tolerated.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?.trim();
    let (scheme, token) = value.split_once([' ', '\t'])?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// Judges a well-formed hello.
pub(crate) fn hello(hello: &Hello, project: &Project) -> Result<(), Closing> {
    if hello.protocol_version != PROTOCOL_VERSION_TEXT {
        return Err(Closing::new(
            close::PROTOCOL,
            format!("protocol_version {}", quote(&hello.protocol_version)),
        )
        .breaking(Rule::HelloVersion));
    }
    match &hello.project_id {
        Some(name) if !project.is_called(name.as_bytes()) => {
            let detail = format!("hello says project {}, the token is of {}", quote(name), project.slug);
            Err(Closing::with_reason(close::FORBIDDEN, "project_mismatch", detail))
        }
        _ => Ok(()),
    }
}

/// Judges a frame of the handshake on an established session: one that is well-formed is ignored later on.
/// The real brain reads both types before it looks at `v` as a signed frame's, which is why this comes first.
/// Here `v` must be there, although the first hello may do without.
pub(crate) fn handshake_again(frame: &Value, wire: &[u8]) -> Result<(), Closing> {
    let complaint = match frame.get("type").and_then(Value::as_str).and_then(FrameType::from_word) {
        Some(FrameType::Hello) => HelloFrame::parse(wire).err().map(|refusal| refusal.to_string()),
        Some(FrameType::HelloAck) => (!is_hello_ack(frame)).then(|| "malformed hello_ack".to_owned()),
        _ => return Ok(()),
    };
    let v = frame.get("v").and_then(Value::as_u64);
    match complaint {
        None if v == Some(PROTOCOL_VERSION) => Ok(()),
        None => Err(malformed("a later hello or hello_ack without v")),
        Some(complaint) => Err(malformed(complaint)),
    }
}

/// A hello that is none.
pub(crate) fn malformed(detail: impl Into<String>) -> Closing {
    Closing::new(close::BAD_FIRST_FRAME, detail).breaking(Rule::HelloMalformed)
}

fn is_hello_ack(frame: &Value) -> bool {
    let id = frame.get("id").and_then(Value::as_str).unwrap_or_default();
    let payload = frame.get("payload").and_then(|payload| payload.deserialize::<HelloAck>().ok());
    payload.is_some() && (1..=MAX_ID_CHARS).contains(&id.chars().count())
}

/// What a refused frame leads to on an established session.
pub(crate) fn refused_frame(refusal: Refusal) -> Closing {
    let code = match refusal.class() {
        Class::InvalidSignature => close::FORBIDDEN,
        Class::ProtocolIncompatible | Class::ProtocolVersionMismatch => close::INTERNAL,
    };
    Closing::new(code, refusal.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn bearer_header_forms() {
        let cases = [
            ("Bearer abc", Some("abc")),
            ("bearer  abc ", Some("abc")),
            ("BEARER \tabc", Some("abc")),
            ("Bearer ", None),
            ("Bearer", None),
            ("Basic abc", None),
        ];
        for (text, token) in cases {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(text))]);
            assert_eq!(bearer(&headers), token, "{text}");
        }
        assert_eq!(bearer(&HeaderMap::new()), None);
    }
}
