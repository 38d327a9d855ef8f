//! Why there is no session, or none any more, and how soon to try again.
//!
//! Owns the class of a failure. The words and the code are the doctor's.

use std::time::Duration;

use z4j_protocol::close;
use z4j_protocol::payload::SCHEDULER_UPGRADE;

use crate::doctor::diagnosis::Diagnosis;
use crate::net::http::Answer;
use crate::status::FailureClass;
use crate::transport::session::End;

/// Longest wait that a brain may ask for with `Retry-After`.
const LONGEST_REQUESTED: Duration = Duration::from_secs(30);

/// A failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// Its class.
    pub(super) class: FailureClass,
    /// What the doctor says of it.
    pub(super) diagnosis: Diagnosis,
    /// How long the brain asked to wait.
    pub(super) retry_after: Option<Duration>,
}

impl Failure {
    /// A failure of a class.
    pub(super) const fn of(class: FailureClass, diagnosis: Diagnosis) -> Self {
        Self { class, diagnosis, retry_after: None }
    }

    /// One of the network, or one that may pass.
    pub(super) const fn connection(diagnosis: Diagnosis) -> Self {
        Self::of(FailureClass::Connection, diagnosis)
    }

    /// A failure that the doctor has no code for.
    pub(super) fn uncoded(class: FailureClass, sentence: impl Into<String>) -> Self {
        Self::of(class, Diagnosis::uncoded(sentence))
    }

    /// An HTTP answer that ends the session.
    pub(super) fn answered(answer: &Answer, diagnosis: Diagnosis) -> Self {
        Self { retry_after: retry_after(answer), ..Self::of(class_of_answer(answer), diagnosis) }
    }
}

/// The class of a close code. It means the same before the handshake and after it.
const fn class_of_close(code: u16) -> FailureClass {
    match code {
        close::TOKEN | close::FORBIDDEN | close::REVOKED => FailureClass::Auth,
        close::PROTOCOL | close::VERSION => FailureClass::Incompatible,
        _ => FailureClass::Connection,
    }
}

/// The class of what ended a WebSocket.
pub(super) const fn class_of_end(end: &End) -> FailureClass {
    match end {
        End::Closed { code: Some(code), .. } => class_of_close(*code),
        End::Closed { code: None, .. } | End::Broken(_) | End::Malformed(_) | End::Refused(_) => {
            FailureClass::Connection
        }
    }
}

/// The class of an answer that is no success.
pub(super) fn class_of_answer(answer: &Answer) -> FailureClass {
    let says = |words: &[&str]| {
        let body = answer.json();
        let word = body.as_ref().and_then(|body| body.get("error")?.as_str());
        word.is_some_and(|word| words.contains(&word))
    };
    match answer.status {
        401 => FailureClass::Auth,
        403 if says(&["project_inactive", "ip_denied", "project_mismatch"]) => FailureClass::Auth,
        _ => FailureClass::Connection,
    }
}

/// The class of a fatal `error` frame.
pub(super) fn class_of_complaint(code: &str) -> FailureClass {
    match code {
        SCHEDULER_UPGRADE | "agent_incompatible" | "protocol_incompatible" => FailureClass::Incompatible,
        _ => FailureClass::Protocol,
    }
}

/// `Retry-After` in seconds (RFC 9110, 10.2.3; a date is not read), bounded. Fractions are no part of that
/// and come all the same.
pub(super) fn retry_after(answer: &Answer) -> Option<Duration> {
    let seconds =
        answer.header("retry-after")?.trim().parse::<f64>().ok().filter(|seconds| !seconds.is_nan())?;
    let seconds = seconds.min(LONGEST_REQUESTED.as_secs_f64());
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Break;

    #[test]
    fn a_close_code_has_its_class() {
        use FailureClass::{Auth, Connection, Incompatible};
        let rows = [
            (4401, Auth),
            (4403, Auth),
            (4003, Auth),
            (4426, Incompatible),
            (4427, Incompatible),
            (4400, Connection),
            (4002, Connection),
            (4408, Connection),
            (4429, Connection),
            (1000, Connection),
            (1011, Connection),
            (1012, Connection),
        ];
        for (code, class) in rows {
            let end = End::Closed { code: Some(code), reason: String::new() };
            assert_eq!(class_of_end(&end), class, "{code}");
        }
        assert_eq!(class_of_end(&End::Broken(Break::Reset)), Connection);
    }

    #[test]
    fn an_answer_has_its_class() {
        let rows = [
            (401, "", FailureClass::Auth),
            (403, r#"{"error":"project_inactive"}"#, FailureClass::Auth),
            (403, r#"{"error":"ip_denied"}"#, FailureClass::Auth),
            (403, "<html>", FailureClass::Connection),
            (404, "", FailureClass::Connection),
            (503, "", FailureClass::Connection),
        ];
        for (status, body, class) in rows {
            let answer = Answer { status, body: body.into(), ..Answer::default() };
            assert_eq!(class_of_answer(&answer), class, "{status} {body}");
        }
    }

    #[test]
    fn a_requested_wait_is_bounded() {
        let wait = |text: &str| {
            let headers = vec![("retry-after".to_owned(), text.to_owned())];
            retry_after(&Answer { status: 503, headers, ..Answer::default() })
        };
        assert_eq!(wait("1"), Some(Duration::from_secs(1)));
        assert_eq!(wait(" 1.5 "), Some(Duration::from_millis(1_500)));
        assert_eq!(wait("86400"), Some(LONGEST_REQUESTED));
        for no_time in ["-1", "NaN", "", "soon"] {
            assert_eq!(wait(no_time).unwrap_or_default(), Duration::ZERO, "{no_time}");
        }
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:37 GMT"), None);
    }

    #[test]
    fn a_complaint_has_its_class() {
        assert_eq!(class_of_complaint("scheduler_upgrade_required"), FailureClass::Incompatible);
        assert_eq!(class_of_complaint("anything"), FailureClass::Protocol);
    }
}
