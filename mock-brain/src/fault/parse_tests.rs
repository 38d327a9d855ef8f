//! Texts of faults: what they mean, and what is said of those that mean nothing.

use super::*;
use proptest::prelude::*;

#[test]
fn texts_round_trip() {
    let cases = [
        ("tls.expired", "tls.expired"),
        ("  tcp.reset  ", "tcp.reset"),
        ("http.status( code = 502 )", "http.status(code=502)"),
        ("tcp.reset at accept", "tcp.reset"),
        ("tcp.reset at upgrade first 2", "tcp.reset at upgrade first 2"),
        ("tcp.reset first 2 at hello", "tcp.reset at hello first 2"),
        ("tls.expired() first 1", "tls.expired first 1"),
        ("ws.close(code=4401)", "ws.close(code=4401)"),
        ("tcp.reset at client-hello", "tcp.reset at handshake"),
        ("tcp.reset p=0.50 for 3 every 2 at frame 7", "tcp.reset at frame 7 every 2 for 3 p=0.5"),
        ("tcp.refused after 1000ms for 60s", "tcp.refused after 1s for 1m"),
        ("ack.drop who=token:0123ABCD", "ack.drop who=\"token:0123abcd\""),
        ("tcp.latency(ms=200) who=address:::1", "tcp.latency(ms=200) who=\"address:::1\""),
        (r#"ack.drop who="agent:a b""#, r#"ack.drop who="agent:a b""#),
        ("tcp.latency(ms=20, jitter=5, direction=up)", "tcp.latency(ms=20, jitter=5)"),
        ("tcp.bandwidth(bytes_per_s=9, direction=down)", "tcp.bandwidth(bytes_per_s=9, direction=down)"),
        ("tls.version(only=1.2)", "tls.version(only=1.2)"),
        ("tls.expires-in(t=60s) every 2", "tls.expires-in(t=1m) every 2"),
        ("ws.clock-skew(seconds=-300)", "ws.clock-skew(seconds=-300)"),
        ("ws.path(prefix=/z4j)", "ws.path(prefix=\"/z4j\")"),
        ("ack.late(delay=1500ms) at ack", "ack.late(delay=1500ms)"),
        ("http.status(code=403, error=x) at poll", "http.status(code=403, error=\"x\") at poll"),
        ("http.status(retry_after=5, code=429) at post", "http.status(code=429, retry_after=5) at post"),
        ("ws.error-frame(code=x, fatal=false)", "ws.error-frame(code=\"x\")"),
        ("ws.close( reason=x ,code = 4401 )at hello-ack", "ws.close(code=4401, reason=\"x\") at hello-ack"),
        (r#"ws.close(code=1012, reason="a \"b\" \\ c")"#, r#"ws.close(code=1012, reason="a \"b\" \\ c")"#),
    ];
    for (text, canonical) in cases {
        let spec: FaultSpec = text.parse().unwrap();
        assert_eq!(spec.to_string(), canonical, "{text}");
        assert_eq!(canonical.parse(), Ok(spec));
    }
}

#[test]
fn every_example_parses_to_its_own_fault() {
    for entry in catalog::entries() {
        let spec: FaultSpec = entry.example.parse().unwrap();
        assert_eq!(spec.name(), entry.name);
        assert_eq!(spec.to_string().parse(), Ok(spec), "{}", entry.name);
    }
}

/// A text that means nothing, the column of the complaint, and a part of it.
const WRONG: &[(&str, usize, &str)] = &[
    ("", 1, "no such fault"),
    ("ws.clse(code=1)", 1, "did you mean ws.close?"),
    ("dns.not-found", 1, "harness"),
    ("tcp.drop", 1, "harness"),
    ("proxy.refused", 1, "harness"),
    ("tls.version(only=1.4)", 18, "1.1, 1.2, 1.3"),
    ("tls.alert(code=256)", 16, "0..=255"),
    ("ws.path(prefix=\"z4j/\")", 16, "/z4j"),
    ("ws.clock-skew(seconds=0)", 23, "-120"),
    ("tcp.latency(ms=5, direction=left)", 29, "up, down, both"),
    ("tls.expires-in(t=1ms)", 18, "a second or more"),
    ("tls.expired(x=1)", 13, "it has none"),
    ("ws.close", 1, "needs `code`"),
    ("http.status", 1, "needs `code`"),
    ("http.status(code=101)", 18, "200..=599"),
    ("http.status(code=403, error=project_inactive)", 23, "at request: it needs `at poll` or `at post`"),
    ("http.status(error=x, code=403) first 1 at request", 13, "it needs `at poll` or `at post`"),
    ("ws.close(code)", 14, "`=` is expected"),
    ("ws.close(code=4401", 19, "`,` or `)`"),
    ("ws.close(code=99999)", 15, "1000..=4999"),
    ("ws.close(code=1006)", 15, "1006"),
    ("ws.close(code=4401, code=4402)", 21, "twice"),
    ("ws.close(code=4401, why=x)", 21, "known: code, reason"),
    ("ws.close(code=4401, reason=\"x", 28, "no end"),
    ("tls.expired at hello", 16, "strikes at: handshake"),
    ("tcp.reset at", 13, "strikes at: accept, after-bytes, handshake, upgrade, hello"),
    ("tcp.reset first 0", 17, "1 or more"),
    ("tcp.reset first", 16, "1 or more"),
    ("tcp.refused first 1", 13, "until it is cleared"),
    ("tcp.refused for 3", 17, "`for` a time"),
    ("tcp.refused p=0.5", 13, "until it is cleared"),
    ("tcp.reset every 3 first 2", 19, "one of first, every and after"),
    ("tcp.reset after 5", 17, "500ms"),
    ("tcp.reset for x", 15, "a number of strikes or a time"),
    ("tcp.reset for 0", 15, "above 0"),
    ("tcp.reset for 0s", 15, "above 0"),
    ("tcp.refused after 1s for 0ms", 26, "above 0"),
    ("tcp.reset p=2", 13, "above 0 and up to 1"),
    ("tcp.reset p 1", 13, "`=` is expected"),
    ("tcp.reset who=token:0123", 15, "token:FINGERPRINT"),
    ("tcp.reset who=token:z4j_secret", 15, "token:FINGERPRINT"),
    ("tcp.reset who=me", 15, "agent:NAME"),
    ("tcp.reset who=address:x", 15, "address:IP"),
    ("tcp.reset who=agent:a", 1, "only from request on"),
    ("ws.close(code=4401) at upgrade who=worker:w", 1, "only from hello on"),
    ("tcp.reset at after-bytes", 1, "after how many bytes?"),
    ("tcp.reset at frame 0", 20, "from 1 on"),
    ("tcp.reset at hello 3", 20, "no number at hello"),
    ("tcp.latency(ms=0)", 16, "1..=60000"),
    ("ack.late(delay=5)", 16, "500ms or 10s"),
    ("ws.error-frame(code=x, fatal=1)", 30, "true or false"),
    ("tcp.reset at hello at hello", 20, "twice"),
    ("tcp.reset, tls.expired", 10, "`at POINT`, `first N`"),
];

#[test]
fn errors_show_the_place_and_the_way_out() {
    for (text, column, part) in WRONG {
        let error = text.parse::<FaultSpec>().unwrap_err();
        assert_eq!(error.column(), *column, "{error}");
        assert!(error.to_string().contains(part), "{error}");
        assert!(!error.to_string().contains('\n'));
    }
}

#[test]
fn what_is_too_long_in_its_own_words_is_too_long() {
    let spec = |length: usize| format!("ack.drop who=agent:{}", "a".repeat(length)).parse::<FaultSpec>();
    let longest = MAX_TEXT - "ack.drop who=\"agent:\"".len();
    assert_eq!(spec(longest).unwrap().to_string().parse(), spec(longest));
    assert!(spec(longest + 1).unwrap_err().to_string().contains("longer than 1024 bytes"));
}

proptest! {
    #[test]
    fn no_text_panics_and_what_parses_round_trips(text in "(ws\\.close|tcp\\.reset|tls\\.expired)?( at frame 3)?( for 2)?[ -~é]{0,40}") {
        if let Ok(spec) = text.parse::<FaultSpec>() {
            prop_assert_eq!(spec.to_string().parse(), Ok(spec));
        }
    }

    #[test]
    fn any_reason_round_trips(reason in ".{0,30}", code in 3000_u16..5000) {
        let spec = FaultSpec::new(Fault::Ws(crate::fault::Ws::Close { code, reason }), Point::Hello);
        prop_assert_eq!(spec.to_string().parse(), Ok(spec));
    }
}
