//! Every case of `tests/vectors/`, computed by the reference implementation.

use serde_json::Value as Json;
use uuid::Uuid;
use z4j_protocol::{Binding, HmacSecret, Timestamp, Value, Verifier, decode_secret};

fn load(text: &str) -> Json {
    serde_json::from_str(text).unwrap()
}

fn cases(file: &Json) -> &[Json] {
    file["cases"].as_array().unwrap()
}

fn text<'j>(object: &'j Json, key: &str) -> &'j str {
    object[key].as_str().unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn canonical(wire: &[u8]) -> Option<String> {
    Value::parse(wire).ok()?.to_canonical().ok()
}

#[test]
fn canonical_json() {
    let file = load(include_str!("../vectors/canonical_json.json"));
    assert_eq!(cases(&file).len(), 363);
    for case in cases(&file) {
        let name = text(case, "name");
        let wire = text(case, "wire").as_bytes();
        let expected = case.get("canonical").and_then(Json::as_str).map(str::to_owned);
        assert_eq!(canonical(wire), expected, "{name}");
        assert_eq!(case.get("error").is_some(), expected.is_none(), "{name}: the vector says one of the two");
    }
}

/// Floats as Python 3.11's `json` writes them: each is its own canonical text.
#[test]
fn python_floats() {
    for text in include_str!("../vectors/python_floats.txt").lines() {
        assert_eq!(canonical(text.as_bytes()).as_deref(), Some(text));
    }
}

#[test]
fn hmac_secret() {
    let file = load(include_str!("../vectors/hmac_secret.json"));
    assert_eq!(cases(&file).len(), 12);
    for case in cases(&file) {
        let decoded = decode_secret(text(case, "value")).ok().map(|bytes| hex(&bytes));
        let expected = case.get("hex").and_then(Json::as_str).map(str::to_owned);
        assert_eq!(decoded, expected, "{}", text(case, "name"));
    }
}

#[test]
fn project_secret() {
    let file = load(include_str!("../vectors/project_secret.json"));
    assert_eq!(cases(&file).len(), 12);
    for case in cases(&file) {
        let master = unhex(text(case, "master_hex"));
        let project = Uuid::parse_str(text(case, "project_id")).unwrap();
        let secret = HmacSecret::derive(&master, project);
        assert_eq!(secret.to_text(), text(case, "hmac_secret"));
        assert_eq!(secret, HmacSecret::from_bytes(unhex(text(case, "secret_hex"))).unwrap());
    }
}

#[test]
fn sessions() {
    let file = load(include_str!("../vectors/sessions.json"));
    let binding = Binding {
        agent_id: text(&file, "agent_id").to_owned(),
        project_id: text(&file, "project_id").to_owned(),
        session_id: text(&file, "session_id").to_owned(),
    };
    let secret = HmacSecret::from_bytes(unhex(text(&file, "secret_hex"))).unwrap();
    let now = Timestamp::parse(text(&file, "local_time")).unwrap();
    let sessions = file["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 15);
    for session in sessions {
        let mut verifier = Verifier::new(&secret, binding.clone());
        for (step, frame) in session["steps"].as_array().unwrap().iter().enumerate() {
            let verdict = match verifier.verify(text(frame, "frame").as_bytes(), now) {
                Ok(_) => "ok".to_owned(),
                Err(refusal) => refusal.to_string(),
            };
            let reason = frame.get("reason").and_then(Json::as_str).map(|reason| format!(" {reason}"));
            let expected = format!("{}{}", text(frame, "verdict"), reason.unwrap_or_default());
            assert_eq!(verdict, expected, "{} step {step}", text(session, "name"));
        }
    }
}
