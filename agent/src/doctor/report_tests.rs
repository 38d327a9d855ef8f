//! The text, to the letter.

use super::*;

/// The sample of the published page, with the layout that it lost on its way there.
const SAMPLE: &str = "\
z4j-doctor (django)
===================
  brain_url:   https://tasks.example.com/
  project_id:  picker
  agent_name:  picker_django
  buffer_path: /tmp/z4j-33/buffer-7281.sqlite
  transport:   auto

  [OK]   buffer_path  OK: buffer dir /tmp/z4j-33 is writable
  [OK]   dns          OK: tasks.example.com -> 198.51.100.42
  [OK]   tcp          OK: TCP connect to tasks.example.com:443
  [OK]   tls          OK: TLS TLSv1.3 to tasks.example.com (cert CN='tasks.example.com')
  [OK]   websocket    OK: ws upgrade to https://tasks.example.com/ succeeded

  engines auto-detected: celery
";

fn finding(name: ProbeName, status: Status, message: &str) -> Finding {
    let ok = match status {
        Status::Ok => Some(true),
        Status::Fail => Some(false),
        Status::Skip | Status::Unknown => None,
    };
    Finding {
        name,
        ok,
        status,
        message: message.to_owned(),
        code: None,
        fix: None,
        details: Map::new(),
        duration_ms: 1,
    }
}

fn report() -> Report {
    let sentences = [
        "OK: buffer dir /tmp/z4j-33 is writable",
        "OK: tasks.example.com -> 198.51.100.42",
        "OK: TCP connect to tasks.example.com:443",
        "OK: TLS TLSv1.3 to tasks.example.com (cert CN='tasks.example.com')",
        "OK: ws upgrade to https://tasks.example.com/ succeeded",
    ];
    let probes = ProbeName::ALL.into_iter().zip(sentences);
    Report {
        schema_version: SCHEMA_VERSION,
        ok: true,
        stage: "probes",
        framework: "django",
        config: ConfigView {
            brain_url: "https://tasks.example.com/".into(),
            project_id: "picker".into(),
            agent_name: Some("picker_django".into()),
            buffer_path: "/tmp/z4j-33/buffer-7281.sqlite".into(),
            transport: "auto",
            dev_mode: false,
        },
        engines: vec!["celery".into()],
        probes: probes.map(|(name, sentence)| finding(name, Status::Ok, sentence)).collect(),
        notes: Vec::new(),
        agent_version: "0.1.0",
        protocol_version: "2",
    }
}

#[test]
fn a_good_report_is_the_published_sample() {
    assert_eq!(report().text(false), SAMPLE);
}

#[test]
fn failures_skips_unknowns_and_notes_have_their_places() {
    let mut bad = report();
    bad.config.agent_name = None;
    bad.engines.clear();
    bad.probes = vec![
        finding(ProbeName::BufferPath, Status::Unknown, "UNKNOWN: the time for the whole run was up"),
        Finding {
            code: Some("tls.expired"),
            fix: Some("one\ntwo".into()),
            ..finding(ProbeName::Tls, Status::Fail, "FAIL: it ended")
        },
        finding(ProbeName::Websocket, Status::Skip, "SKIP: needs tls"),
    ];
    bad.notes = vec![Note {
        code: "note.root",
        subject: "user",
        message: "run as root".into(),
        fix: Some("sudo -u USER z4j doctor".into()),
    }];
    let text = bad.text(false);
    let (_, tail) = text.split_once("  agent_name:").unwrap_or_default();
    assert_eq!(
        tail,
        "  <unset>
  buffer_path: /tmp/z4j-33/buffer-7281.sqlite
  transport:   auto

  [????] buffer_path  UNKNOWN: the time for the whole run was up
  [FAIL] tls          FAIL: it ended
                      fix: one
                           two
                      code: tls.expired
  [SKIP] websocket    SKIP: needs tls

  [NOTE] user         run as root
                      fix: sudo -u USER z4j doctor

  engines auto-detected: <none>
"
    );
}

#[test]
fn strict_takes_notes_and_unknowns_for_failures() {
    let mut report = report();
    assert!(report.is_good(true));
    let note = Note { code: "note.root", subject: "user", message: String::new(), fix: None };
    report.notes.push(note);
    assert!(report.is_good(false) && !report.is_good(true));
    report.notes.clear();
    report.probes[0].status = Status::Unknown;
    assert!(report.is_good(false) && !report.is_good(true));
}

/// Names of an object's members in the schema, beside those of a document.
fn assert_members(schema: &Value, document: &Value) {
    let names = |value: Option<&Value>| {
        let members = value.and_then(Value::as_object);
        members.map(|members| members.keys().cloned().collect::<Vec<_>>()).unwrap_or_default()
    };
    assert_eq!(names(schema.get("properties")), names(Some(document)));
}

#[test]
fn the_schema_names_every_member_and_no_other() -> Result<(), serde_json::Error> {
    let mut report = report();
    report.notes.push(Note { code: "note.root", subject: "user", message: String::new(), fix: None });
    let document: Value = serde_json::from_str(&report.json())?;
    let schema: Value = serde_json::from_str(super::super::JSON_SCHEMA)?;
    let definitions = &schema["$defs"];
    assert_members(&definitions["report"], &document);
    assert_members(&definitions["report"]["properties"]["config"], &document["config"]);
    assert_members(&definitions["probe"], &document["probes"][0]);
    assert_members(&definitions["note"], &document["notes"][0]);
    Ok(())
}
