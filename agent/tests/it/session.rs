//! The round trip, and that it disturbs nobody.

use std::io::{Read, Write};

use crate::brain::{Brain, Manners, read_head, serve, switching};
use crate::pki::{Leaf, Pki};
use crate::world::{Outcome, World, notes, tree};

fn trusting(world: &mut World, pki: &Pki) -> Outcome {
    let file = world.path("ca.pem");
    std::fs::write(&file, pki.root_pem())?;
    world.set("SSL_CERT_FILE", &file.display().to_string());
    Ok(())
}

#[test]
fn a_good_run_prints_the_published_page() -> Outcome {
    let pki = Pki::new("Test")?;
    let manners = Manners { slug: Some("picker"), ..Manners::default() };
    let brain = Brain::start(Some(pki.server(Leaf::GOOD)?), manners)?;
    let mut world = World::new(&brain.url)?;
    trusting(&mut world, &pki)?;
    world.without_home()?;
    world.with_python(&["celery-5.4.0", "z4j_celery-1.13.0", "z4j_django-1.13.0"])?;
    world.set("Z4J_AGENT_NAME", "picker_django");
    let run = world.run(&["doctor", "--framework", "django"])?;
    let port = brain.url.trim_end_matches('/').rsplit(':').next().unwrap_or_default();
    let uid = nix::unistd::geteuid();
    let root = world.path("tmp").join(format!("z4j-{uid}"));
    let root = root.display();
    let (report, pid_free) = without_pid(&run.stdout);
    assert_eq!(run.code, Some(0), "{report}");
    assert_eq!(
        without_machine_notes(&pid_free),
        format!(
            "\
z4j-doctor (django)
===================
  brain_url:   {url}
  project_id:  picker
  agent_name:  picker_django
  buffer_path: {root}/buffer-PID.sqlite
  transport:   auto

  [OK]   buffer_path  OK: buffer dir {root} is writable
  [OK]   dns          OK: 127.0.0.1 -> 127.0.0.1
  [OK]   tcp          OK: TCP connect to 127.0.0.1:{port}
  [OK]   tls          OK: TLS TLSv1.3 to 127.0.0.1 (cert CN='127.0.0.1')
  [OK]   websocket    OK: ws upgrade to {url} succeeded

  engines auto-detected: celery
",
            url = brain.url
        )
    );
    // The fallback is told once, with both paths.
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    assert!(run.stderr.contains("WARNING") && run.stderr.contains(&root.to_string()), "{}", run.stderr);
    assert!(run.stderr.contains(&world.path("home/.z4j").display().to_string()), "{}", run.stderr);
    Ok(())
}

/// The process id in the buffer's name is the one thing that no test can know.
fn without_pid(stdout: &str) -> (&str, String) {
    let Some((before, rest)) = stdout.split_once("buffer-") else { return (stdout, stdout.to_owned()) };
    let after = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    (stdout, format!("{before}buffer-PID{after}"))
}

/// Notes about who runs the tests, and where, with the blank line before them.
fn without_machine_notes(text: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut in_note = false;
    for line in text.lines() {
        in_note = line.starts_with("  [NOTE]") || in_note && line.starts_with("       ");
        if in_note {
            if kept.last() == Some(&"") {
                kept.pop();
            }
            continue;
        }
        kept.push(line);
    }
    kept.join("\n") + "\n"
}

#[test]
fn the_hello_is_the_applications_own() -> Outcome {
    let brain = Brain::start(None, Manners { slug: Some("picker"), ..Manners::default() })?;
    let mut world = World::new(&brain.url)?;
    world.with_python(&["celery-5.4.0", "z4j_celery-1.13.0", "rq-2.0", "z4j_flask-1.13.0"])?;
    world.set("Z4J_AGENT_NAME", "web");
    let report = world.doctor(&["--framework", "flask"])?;
    assert_eq!(notes(&report), ["note.engine-without-adapter"]);
    assert_eq!(report["engines"], serde_json::json!(["celery", "rq"]));
    let seen = brain.seen.recv()?;
    assert!(seen.head.contains("Authorization: Bearer s3cr3t-token"), "{}", seen.head);
    let hello = seen.hello.map(|frame| frame.hello).unwrap_or_default();
    assert_eq!((hello.framework.as_str(), hello.agent_version.as_str()), ("flask", "1.13.0"));
    assert_eq!(hello.engines, ["celery"]);
    assert_eq!(hello.capabilities["celery"].len(), 12);
    assert_eq!(hello.host.name.as_deref(), Some("web"));
    assert!(hello.worker_id.is_some_and(|id| id.starts_with("doctor-")));
    assert_eq!((hello.worker_role, hello.project_id.as_deref()), (None, Some("picker")));
    assert_eq!(hello.runtime_features, ["retry_by_reference", "external_schedule_protocol_v1"]);
    assert_eq!(seen.frames, [("event_batch".to_owned(), serde_json::json!({ "events": [] }))]);
    assert_eq!(seen.close_code, Some(1000));
    Ok(())
}

#[test]
fn a_command_is_declined_and_not_lost_in_silence() -> Outcome {
    let manners = Manners { slug: Some("picker"), command: true, ..Manners::default() };
    let brain = Brain::start(None, manners)?;
    let report = World::new(&brain.url)?.doctor(&[])?;
    assert_eq!(report["ok"], true);
    assert_eq!(report["probes"][4]["details"]["commands_declined"], 1);
    let seen = brain.seen.recv()?;
    let ack = ("command_ack".to_owned(), serde_json::json!({ "delivery_claim_token": "claim" }));
    let result = serde_json::json!({
        "status": "failed",
        "result": null,
        "error": "received by z4j doctor, not run: issue it again",
        "delivery_claim_token": "claim",
    });
    assert_eq!(seen.frames[1..], [ack, ("command_result".to_owned(), result)]);
    Ok(())
}

#[test]
fn what_does_not_match_is_told() -> Outcome {
    let slug = Some("picker");
    let rows = [
        (Manners { slug: Some("other"), ..Manners::default() }, "ws.project-mismatch"),
        (Manners { slug, ahead: 3_600, ..Manners::default() }, "ws.clock-skew"),
        (Manners { slug, ahead: -3_600, ..Manners::default() }, "ws.clock-skew"),
        (Manners { slug, version: Some("3"), ..Manners::default() }, "ws.protocol-refused"),
    ];
    for (manners, code) in rows {
        let brain = Brain::start(None, manners)?;
        assert_eq!(World::new(&brain.url)?.failures(&["--timeout", "2s"])?, [code]);
    }
    Ok(())
}

#[test]
fn a_wrong_secret_is_told_from_a_missing_one() -> Outcome {
    let brain = Brain::start(None, Manners::default())?;
    let other = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY=";
    for (secret, code) in
        [(other, "ws.hmac-mismatch"), ("", "ws.hmac-missing"), ("c2hvcnQ=", "ws.hmac-invalid")]
    {
        let mut world = World::new(&brain.url)?;
        world.set("Z4J_HMAC_SECRET", secret);
        assert_eq!(world.failures(&[])?, [code]);
    }
    Ok(())
}

#[test]
fn a_name_that_no_brain_checks_is_noted() -> Outcome {
    let brain = Brain::start(None, Manners::default())?;
    let mut world = World::new(&brain.url)?;
    assert_eq!(notes(&world.doctor(&[])?), ["note.project-unverified"]);
    world.set("Z4J_PROJECT_ID", "fb76ac03-c5fe-4c21-95cc-b9d59cf3f2bc");
    assert!(notes(&world.doctor(&[])?).is_empty());
    world.set("Z4J_PROJECT_ID", "00000000-0000-4000-8000-000000000000");
    assert_eq!(world.failures(&[])?, ["ws.project-mismatch"]);
    Ok(())
}

#[test]
fn the_doctor_leaves_the_machine_as_it_was() -> Outcome {
    let brain = Brain::start(None, Manners::default())?;
    let mut world = World::new(&brain.url)?;
    world.doctor(&[])?;
    assert!(tree(&world.path("home"))?.is_empty() && tree(&world.path("tmp"))?.is_empty());
    world.without_home()?;
    world.doctor(&[])?;
    world.set("Z4J_HOME", &world.path("deep/er/home").display().to_string());
    world.set("Z4J_BUFFER_PATH", "sub/buffer.sqlite");
    let report = world.doctor(&[])?;
    assert_eq!(report["probes"][0]["code"], serde_json::Value::Null, "{report}");
    assert!(tree(&world.path("tmp"))?.is_empty() && !world.path("deep").exists());
    Ok(())
}

#[test]
fn an_explicit_path_is_held_against_the_roots_and_never_opened() -> Outcome {
    let brain = Brain::start(None, Manners::default())?;
    let mut world = World::new(&brain.url)?;
    let own = world.path("own/place");
    std::fs::create_dir_all(&own)?;
    world.set("Z4J_BUFFER_PATH", &own.join("buffer.sqlite").display().to_string());
    let report = world.doctor(&["--only", "buffer_path"])?;
    assert_eq!(report["probes"][0]["code"], "buffer.outside-roots");
    assert_eq!(report["probes"][0]["fix"], format!("Environment=Z4J_HOME={}", own.display()));
    world.set("Z4J_HOME", &own.display().to_string());
    assert!(world.failures(&["--only", "buffer_path"])?.is_empty());
    std::fs::write(own.join("buffer.sqlite"), "somebody's")?;
    assert_eq!(world.failures(&["--only", "buffer_path"])?, ["buffer.not-a-buffer"]);
    assert_eq!(std::fs::read_to_string(own.join("buffer.sqlite"))?, "somebody's");
    world.set("Z4J_BUFFER_PATH", "/etc/passwd");
    let report = world.doctor(&["--only", "buffer_path"])?;
    assert_eq!(report["probes"][0]["code"], "buffer.outside-roots");
    assert_eq!(report["probes"][0]["fix"], "UnsetEnvironment=Z4J_BUFFER_PATH");
    Ok(())
}

#[test]
fn a_slot_that_another_doctor_takes_is_tried_again_and_no_failure() -> Outcome {
    let taken = std::sync::atomic::AtomicUsize::new(0);
    let (sender, upgrades) = std::sync::mpsc::channel();
    let port = serve(move |mut stream| {
        let head = read_head(&mut stream);
        let _ = sender.send(taken.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        let _ = stream.write_all(switching(&head).as_bytes());
        let _ = stream.read(&mut [0; 64]);
        let _ = stream.write_all(&[0x88, 2, 0x0f, 0xa2]);
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    })?;
    let mut world = World::new(&format!("http://127.0.0.1:{port}/"))?;
    world.set("Z4J_TRANSPORT", "ws");
    let report = world.doctor(&[])?;
    assert_eq!(report["probes"][4]["status"], "unknown", "{report:#}");
    assert!(report["probes"][4]["message"].as_str().is_some_and(|text| text.contains("another doctor")));
    assert_eq!(upgrades.try_iter().count(), 2);
    Ok(())
}

#[test]
fn a_buffer_below_the_temporary_root_leaves_nothing_behind() -> Outcome {
    let mut world = World::new("http://127.0.0.1:1/")?;
    let uid = nix::unistd::geteuid();
    let path = world.path("tmp").join(format!("z4j-{uid}/sub/c.sqlite"));
    world.set("Z4J_BUFFER_PATH", &path.display().to_string());
    assert!(world.failures(&["--only", "buffer_path"])?.is_empty());
    assert!(tree(&world.path("tmp"))?.is_empty(), "{:?}", tree(&world.path("tmp"))?);
    Ok(())
}

#[test]
fn a_signal_during_the_trial_leaves_nothing_behind() -> Outcome {
    use std::os::unix::process::ExitStatusExt;
    let world = World::new("http://127.0.0.1:1/")?;
    let (mut ended, home) = (0, world.path("home"));
    for _ in 0..20 {
        let mut child = world.command(&["doctor", "--only", "buffer_path"]).spawn()?;
        while tree(&home).is_ok_and(|tree| tree.is_empty()) && child.try_wait()?.is_none() {}
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id())?);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        ended += usize::from(child.wait()?.signal() == Some(15));
        assert!(tree(&home)?.is_empty(), "{:?}", tree(&home)?);
    }
    assert!(ended > 0, "no signal came in time");
    Ok(())
}

#[test]
fn a_refusing_path_is_named_as_what_it_is() -> Outcome {
    let mut world = World::new("http://127.0.0.1:1/")?;
    let link = world.path("dangling");
    std::os::unix::fs::symlink("/nonexistent/place", &link)?;
    world.set("Z4J_HOME", &link.display().to_string());
    let report = world.doctor(&["--only", "buffer_path"])?;
    let run = world.run(&["doctor", "--only", "buffer_path"])?;
    assert_eq!(report["probes"][0]["status"], "ok", "{report:#}");
    assert!(run.stderr.contains("dangling is a link"), "{}", run.stderr);
    world.set("Z4J_HOME", &world.path("home").display().to_string());
    std::os::unix::fs::symlink("loop", world.path("home/loop"))?;
    world.set("Z4J_BUFFER_PATH", "loop/b.sqlite");
    let report = world.doctor(&["--only", "buffer_path"])?;
    let message = report["probes"][0]["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains(&format!("{} cannot be used", world.path("home/loop").display())), "{message}");
    Ok(())
}
