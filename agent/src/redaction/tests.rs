//! What the Python agent does with keys, texts and whole values, observed and held in `vectors.json`; and what
//! is ours.

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Vectors {
    /// So many `a`, what follows them; bytes and last 45 characters of what becomes of it.
    cuts: Vec<(usize, String, usize, String)>,
    keys: Vec<(String, bool)>,
    texts: Vec<(String, bool)>,
    values: Vec<(Value, Value)>,
    extra_keys: Vec<(String, bool)>,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("vectors.json")).unwrap()
}

fn redactor(keys: &[&str], values: &[&str]) -> Result<Redactor, RedactionError> {
    let owned = |patterns: &[&str]| patterns.iter().map(|pattern| (*pattern).to_owned()).collect::<Vec<_>>();
    Redactor::new(&owned(keys), &owned(values), 8_192)
}

fn redacted(redactor: &Redactor, mut value: Value) -> Value {
    redactor.redact(&mut value);
    value
}

fn differing(mut cases: Vec<(String, bool)>, judge: impl Fn(&str) -> bool) -> Vec<(String, bool)> {
    cases.retain(|(text, expected)| judge(text) != *expected);
    cases
}

#[test]
fn keys_as_the_reference() {
    let redactor = redactor(&[], &[]).unwrap();
    let wrong = differing(vectors().keys, |key| redactor.is_sensitive_key(key));
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn texts_as_the_reference() {
    let redactor = redactor(&[], &[]).unwrap();
    let wrong = differing(vectors().texts, |text| redactor.is_sensitive_text(text));
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn values_as_the_reference() {
    let redactor = redactor(&[], &[]).unwrap();
    for (before, after) in vectors().values {
        assert_eq!(redacted(&redactor, before.clone()), after, "{}", before.to_canonical().unwrap());
    }
}

#[test]
fn long_texts_as_the_reference() {
    let redactor = redactor(&[], &[]).unwrap();
    for (count, tail, bytes, expected) in vectors().cuts {
        let mut text = format!("{}{tail}", "a".repeat(count));
        redactor.clean(&mut text, redactor.string_bytes);
        let last: Vec<char> = text.chars().rev().take(45).collect();
        assert_eq!((text.len(), last.iter().rev().collect()), (bytes, expected), "{count} {tail}");
    }
    let long_key = Value::object([("k".repeat(8200).as_str(), Value::from("x"))]);
    let after = redacted(&redactor, long_key);
    let (key, value) = after.as_object().unwrap().iter().next().unwrap();
    assert!(key.ends_with("k[...8 more bytes truncated]"), "{key}");
    assert_eq!(value.as_str(), Some(MARKER));
}

#[test]
fn extra_keys_as_the_reference() {
    let redactor = redactor(&["foo.*", "(?:a|b)c+"], &[]).unwrap();
    let wrong = differing(vectors().extra_keys, |key| redactor.is_sensitive_key(key));
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn extra_patterns_that_cannot_be_used_are_named() {
    let cases = [
        (
            vec!["ok", "("],
            vec![],
            "Z4J_REDACTION_EXTRA_KEY_PATTERNS: pattern 2, \"(\": it is no regular expression: unclosed group",
        ),
        (vec!["a)|(?:b"], vec![], "unopened group"),
        (vec![], vec!["(?=x)"], "look-around"),
        (vec![], vec!["x{1000}{1000}"], "use smaller repetitions"),
        (vec![], vec!["ok", "a*"], "pattern 2, \"a*\": it matches the empty text"),
    ];
    for (keys, values, expected) in cases {
        let error = redactor(&keys, &values).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn extra_values_are_found_anywhere_without_regard_to_case() {
    let redactor = redactor(&[], &["kd-[0-9]+", "ä"]).unwrap();
    let cases = [("nr KD-17!", true), ("kd-", false), ("Ä", true), ("nr 17", false)];
    for (text, expected) in cases {
        assert_eq!(redactor.is_sensitive_text(text), expected, "{text}");
    }
}

#[test]
fn what_cannot_be_signed_is_hidden_below_a_sensitive_key_only() {
    let redactor = redactor(&[], &[]).unwrap();
    let value = Value::parse(br#"{"token":["\ud800",NaN],"x":"\ud800"}"#).unwrap();
    let after = redacted(&redactor, value);
    assert_eq!(after.get("token"), Some(&Value::Array(vec![Value::from(MARKER), Value::from(MARKER)])));
    assert_eq!(after.get("x"), Some(&Value::LoneSurrogate));
}

#[test]
fn what_has_bounds_of_its_own_is_redacted_and_not_cut() {
    let redactor = redactor(&[], &[]).unwrap();
    let long = "x ".repeat(50_000);
    let mail = format!("{long}someone@example.com");
    let mut value = Value::object([("stdout", long.as_str().into()), ("stderr", mail.as_str().into())]);
    redactor.redact_uncut(&mut value);
    assert_eq!(value.get("stdout").and_then(Value::as_str), Some(long.as_str()));
    assert_eq!(value.get("stderr"), Some(&Value::from(MARKER)));
}
