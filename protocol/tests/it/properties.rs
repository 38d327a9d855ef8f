//! What holds for every input, not only for the vectors.

use proptest::prelude::*;
use z4j_protocol::{
    Binding, CanonicalText, FrameType, HmacSecret, Integer, NONCE_CAPACITY, NONCE_WINDOW_SECONDS, Reason,
    ReplayGuard, Signer, Timestamp, Value, Verifier,
};

const NOW: Timestamp = Timestamp::from_unix_micros(1_795_000_000_000_000);

fn secret() -> HmacSecret {
    HmacSecret::from_bytes(vec![7; 32]).unwrap()
}

fn binding() -> Binding {
    Binding { agent_id: "agent".to_owned(), project_id: "project".to_owned(), session_id: "s".to_owned() }
}

/// JSON text of every shape, with numbers and escapes that canonical JSON spells differently.
fn json_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<i64>().prop_map(|number| number.to_string()),
        "-?[1-9][0-9]{20,40}",
        any::<f64>()
            .prop_filter("finite", |number| number.is_finite())
            .prop_map(|number| format!("{number:e}")),
        "-?(0|[1-9][0-9]{0,5})\\.[0-9]{1,8}([eE][+-]?[0-9]{1,2})?",
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        Just(r#""\u00e9\ud83d\ude00\/\u007f""#.to_owned()),
    ];
    leaf.prop_recursive(5, 48, 6, |inner| {
        let key = any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap());
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(|items| format!("[{}]", items.join(" , "))),
            prop::collection::vec((key, inner), 0..6).prop_map(|members| {
                let members: Vec<_> = members.iter().map(|(key, value)| format!("{key}: {value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

fn canonical(text: &str) -> String {
    Value::parse(text.as_bytes()).unwrap().to_canonical().unwrap()
}

proptest! {
    #[test]
    fn canonical_text_is_a_fixed_point(text in json_text()) {
        let once = canonical(&text);
        prop_assert_eq!(canonical(&once), once);
    }

    #[test]
    fn parsing_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Value::parse(&bytes).map(|value| value.to_canonical());
    }

    #[test]
    fn what_is_signed_verifies_and_nowhere_else(payload in json_text(), id in "[a-z0-9_]{1,64}") {
        let payload = Value::object([("data", Value::parse(payload.as_bytes()).unwrap())]);
        let wire = Signer::new(&secret(), binding()).sign(FrameType::EventBatch, &id, payload, NOW, [1; 16]).unwrap();
        prop_assert!(Verifier::new(&secret(), binding()).verify(wire.as_bytes(), NOW).is_ok());
        let other = Binding { session_id: "t".to_owned(), ..binding() };
        let refusal = Verifier::new(&secret(), other).verify(wire.as_bytes(), NOW).unwrap_err();
        prop_assert_eq!(refusal.reason, Reason::HmacMismatch);
    }

    /// A byte may change how a value is spelled (a space, `1e5` for `1E5`) and leave the signed value alone;
    /// if the value changed, the frame is refused.
    #[test]
    fn a_changed_value_is_refused(payload in json_text(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let payload = Value::object([("data", Value::parse(payload.as_bytes()).unwrap())]);
        let wire = Signer::new(&secret(), binding()).sign(FrameType::Heartbeat, "id", payload, NOW, [1; 16]).unwrap();
        let mut changed = wire.clone().into_bytes();
        let at = at.index(changed.len());
        changed[at] = byte;
        let same_value = Value::parse(&changed).ok().and_then(|value| value.to_canonical().ok())
            == Some(canonical(&wire));
        let verdict = Verifier::new(&secret(), binding()).verify(&changed, NOW);
        prop_assert_eq!(verdict.is_ok(), same_value);
    }

    #[test]
    fn the_guard_takes_no_seq_and_no_recent_nonce_twice(
        frames in prop::collection::vec((1_u64..60, 0_u8..40, 0_i64..90), 1..200)
    ) {
        let mut guard = ReplayGuard::default();
        let mut now = NOW;
        let mut accepted: Vec<(u64, u8, Timestamp)> = Vec::new();
        for (seq, nonce, pause) in frames {
            now = now.plus_seconds(pause);
            let verdict = guard.accept(Integer::from(seq), &nonce.to_string(), now, now);
            let stale = accepted.iter().any(|(earlier, ..)| seq <= *earlier);
            let reused = accepted.iter().any(|(_, earlier, seen_at)| {
                *earlier == nonce && now.micros_since(*seen_at) <= NONCE_WINDOW_SECONDS * 1_000_000
            });
            let expected = match (stale, reused) {
                (true, _) => Err(Reason::SeqNotIncreasing),
                (_, true) => Err(Reason::NonceReused),
                _ => Ok(()),
            };
            prop_assert_eq!(verdict, expected);
            if verdict.is_ok() {
                accepted.push((seq, nonce, now));
            }
        }
    }
}

#[test]
fn the_guard_remembers_the_last_4096_nonces() {
    let mut guard = ReplayGuard::default();
    let mut seq = 0_u64;
    let mut accept = |nonce: u64| {
        seq += 1;
        guard.accept(Integer::from(seq), &nonce.to_string(), NOW, NOW)
    };
    let capacity = NONCE_CAPACITY as u64;
    for nonce in 0..capacity {
        assert_eq!(accept(nonce), Ok(()));
    }
    assert_eq!(accept(0), Err(Reason::NonceReused));
    assert_eq!(accept(capacity), Ok(()));
    assert_eq!(accept(0), Ok(()), "the oldest was forgotten when the 4,097th came");
    assert_eq!(accept(2), Err(Reason::NonceReused));
}

#[test]
fn deep_nesting_verifies_or_is_refused_without_exhausting_the_stack() {
    for (depth, signable) in [(500, true), (1_000_000, false)] {
        let text = format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(Value::parse(text.as_bytes()).is_ok(), signable, "{depth} levels");
    }
}

proptest! {
    #[test]
    fn a_payload_that_is_text_already_makes_the_same_frame(text in json_text(), id in any::<String>()) {
        let value = Value::parse(text.as_bytes()).unwrap();
        let mut by_value = Signer::new(&secret(), binding());
        let mut by_text = Signer::new(&secret(), binding());
        let kept = CanonicalText::of(&value).unwrap();
        for nonce in [[1; 16], [2; 16]] {
            let expected = by_value.sign(FrameType::EventBatch, &id, value.clone(), NOW, nonce).unwrap();
            let text = by_text.sign_text(FrameType::EventBatch, &id, &kept, NOW, nonce);
            prop_assert_eq!(text, expected);
        }
    }
}

#[test]
fn a_batch_of_texts_is_the_batch_of_the_values() {
    for events in [vec![], vec![r#"{"id":"a"}"#], vec![r#"{"id":"a"}"#, r#"{"id":"b"}"#]] {
        let batch = CanonicalText::event_batch(events.iter().copied());
        assert_eq!(canonical(batch.as_str()), batch.as_str());
    }
}

#[test]
fn what_cannot_be_signed_is_no_frame_whatever_it_claims() {
    for (member, reason) in [
        (r#""x":NaN"#, Reason::NotCanonical),
        (r#""x":"\ud800""#, Reason::NotCanonical),
        (r#""hmac":5"#, Reason::HmacType),
        (r#""hmac":"é""#, Reason::HmacType),
        (r#""hmac":"""#, Reason::HmacMissing),
    ] {
        let wire = format!(r#"{{"v":2,"type":"heartbeat","id":"a","payload":{{}},{member}}}"#);
        let refusal = Verifier::new(&secret(), binding()).verify(wire.as_bytes(), NOW).unwrap_err();
        assert_eq!(refusal.reason, reason, "{wire}");
    }
}

#[test]
fn sign_document_fills_in_placeholders_only() {
    let document = |text: &str| Value::parse(text.as_bytes()).unwrap();
    let mut signer = Signer::new(&secret(), binding());
    let placeholders =
        r#"{"v":2,"type":"heartbeat","id":"a","payload":{},"nonce":"","seq":0,"hmac":"","ts":null}"#;
    let wire = signer.sign_document(document(placeholders), NOW, [2; 16]).unwrap();
    assert!(Verifier::new(&secret(), binding()).verify(wire.as_bytes(), NOW).is_ok());
    let own = r#"{"v":2,"type":"heartbeat","id":"a","payload":{},"nonce":"n","seq":41,"ts":"2026-11-24T00:00:00Z"}"#;
    let wire = signer.sign_document(document(own), NOW, [3; 16]).unwrap();
    let frame = z4j_protocol::Frame::parse(wire.as_bytes()).unwrap();
    assert_eq!(frame.object().get("seq").and_then(Value::as_u64), Some(41));
    assert_eq!(frame.object().get("nonce").and_then(Value::as_str), Some("n"));
    assert!(signer.sign_document(document("[]"), NOW, [4; 16]).is_err());
}
