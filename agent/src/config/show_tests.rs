//! What is shown, and that no secret is.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::config::resolve::tests::environment;

fn origin<'a>(shown: &'a Shown, name: &str) -> (Option<&'a str>, Option<&'a str>) {
    let row = shown.settings.iter().find(|row| row.name == name).unwrap();
    (row.value.as_deref(), row.origin)
}

#[test]
fn every_value_has_its_origin() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("z4j.toml");
    let text = "transport = 'ws'\nagent_name = 'web'\nlog_level = 'debug'\nengines = ['rq']\n\
                [engine.celery]\nadapter = 'exec'\naction.retry_task.argv = ['/bin/echo']\n";
    std::fs::write(&file, text).unwrap();
    let path = file.display().to_string();
    let environment = environment(&[("Z4J_CONFIG", &path), ("Z4J_TRANSPORT", "auto"), ("Z4J_TAGS", "a=b")]);
    let shown = Shown::gather(&environment, &ConfigFlags::of(&[("log_level", "Trace")]));
    assert!(shown.ok, "{:?}", shown.error);
    for (name, value, from) in [
        ("Z4J_TRANSPORT", Some("auto"), Some("environment")),
        ("Z4J_AGENT_NAME", Some("web"), Some("file")),
        ("Z4J_LOG_LEVEL", Some("Trace"), Some("flag")),
        ("Z4J_LOG_FORMAT", Some("text"), Some("default")),
        ("Z4J_WORKER_ROLE", None, None),
        ("Z4J_TOKEN", Some("(set, 12 characters)"), Some("environment")),
        ("Z4J_TAGS", Some("a=b"), Some("environment")),
    ] {
        assert_eq!(origin(&shown, name), (value, from), "{name}");
    }
    let text = shown.text();
    assert!(text.contains(&format!("file {path}:2")), "{text}");
    assert!(text.contains("[engine.celery]  exec  retry_task\n[engine.rq]  null\n"), "{text}");
    assert!(!text.contains("Z4J_STRICT_MODE"), "{text}");
    assert_eq!(shown.warnings, ["Z4J_TAGS has no effect"]);
}

#[test]
fn the_proxy_variables_that_count_are_shown_without_credentials() {
    let proxy = "http://me:s3cr3t@proxy.example:3128";
    let variables = [
        ("HTTPS_PROXY", proxy),
        ("ALL_PROXY", "http://other.example"),
        ("NO_PROXY", ".internal"),
        ("HTTP_PROXY", proxy),
    ];
    let shown = Shown::gather(&environment(&variables), &ConfigFlags::default());
    assert_eq!(origin(&shown, "HTTPS_PROXY"), (Some("http://proxy.example:3128"), Some("environment")));
    assert_eq!(origin(&shown, "NO_PROXY"), (Some(".internal"), Some("environment")));
    let text = shown.text();
    assert!(
        !text.contains("s3cr3t") && !text.contains("ALL_PROXY") && !text.contains("HTTP_PROXY "),
        "{text}"
    );
    let text = Shown::gather(&environment(&[("NO_PROXY", "*")]), &ConfigFlags::default()).text();
    assert!(!text.contains("NO_PROXY"), "it has no effect without a proxy: {text}");
}

#[test]
fn what_is_missing_or_wrong_is_shown_with_the_rest() {
    let environment = environment(&[("Z4J_TOKEN", ""), ("Z4J_BUFFER_MAX_EVENTS", "7")]);
    let shown = Shown::gather(&environment, &ConfigFlags::default());
    let text = shown.text();
    assert!(!shown.ok);
    assert_eq!(origin(&shown, "Z4J_TOKEN"), (None, None));
    assert!(text.contains("Z4J_BUFFER_MAX_EVENTS=\"7\": it is below 1000"), "{text}");
    assert!(shown.complaint().is_some_and(|text| text.contains("Z4J_TOKEN is not set")));
    let broken = ConfigFlags::of(&[("config", "/nonexistent/z4j.toml")]);
    let shown = Shown::gather(&environment, &broken);
    assert!(
        shown.complaint().is_some_and(|text| text.contains("--config=\"/nonexistent/z4j.toml\": ENOENT"))
    );
}

proptest! {
    /// Wherever a secret stands, and whatever else is wrong with it, no piece of it is told.
    #[test]
    fn no_piece_of_a_secret_is_shown(
        token in "[!-~]{0,4}[A-Za-z0-9+/_]{12,60}[ -~é\r]{0,4}",
        place in 0..4,
        url in prop::sample::select(vec!["https://h/", "http://h.example/", "nonsense"]),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("credential");
        std::fs::write(&file, &token).unwrap();
        let path = file.display().to_string();
        let empty = [("Z4J_TOKEN", ""), ("Z4J_HMAC_SECRET", ""), ("Z4J_BRAIN_URL", url)];
        let secrets = match place {
            0 => [("Z4J_TOKEN", token.as_str()), ("Z4J_HMAC_SECRET", token.as_str())],
            1 => [("Z4J_TOKEN_FILE", path.as_str()), ("Z4J_HMAC_SECRET_FILE", path.as_str())],
            // Somebody took one setting for the other.
            2 => [("Z4J_TOKEN_FILE", token.trim_start_matches(['/', '.', '~'])), ("Z4J_HMAC_SECRET_FILE", "")],
            _ => [("Z4J_TOKEN", token.as_str()), ("Z4J_HMAC_SECRET_FILE", path.as_str())],
        };
        let mut environment = environment(&[]);
        let all: BTreeMap<_, _> = empty.into_iter().chain(secrets).collect();
        environment.variables.extend(all.into_iter().map(|(name, value)| (name.into(), value.into())));
        let shown = Shown::gather(&environment, &ConfigFlags::default());
        let said = format!("{}{}{:?}{:?}", shown.text(), shown.json(), shown.complaint(), shown.warnings);
        let said = said.replace(&path, "PATH");
        for piece in token.as_bytes().windows(6) {
            if let Ok(piece) = std::str::from_utf8(piece) {
                // Blanks are everywhere.
                prop_assert!(piece.trim().is_empty() || !said.contains(piece), "{piece:?} in {said}");
            }
        }
    }
}
