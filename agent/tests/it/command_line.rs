//! Flags, exit codes, and what goes where.

use crate::brain::{Brain, Manners, dead_port};
use crate::world::{Outcome, World};

#[test]
fn flags_that_do_not_parse_are_exit_2() -> Outcome {
    let world = World::new("http://127.0.0.1:1/")?;
    for arguments in [
        &["doctor", "--nope"][..],
        &["doctor", "--timeout", "0s"],
        &["doctor", "--timeout", "soon"],
        &["doctor", "--only", "ping"],
        &["doctor", "--only", "dns", "--skip", "dns"],
        &["doctor", "--only", "websocket", "--no-websocket"],
        &["doctor", "--framework", "rails"],
        &["nothing"],
        &[],
    ] {
        let run = world.run(arguments)?;
        assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{arguments:?}");
    }
    Ok(())
}

#[test]
fn help_has_an_example_and_is_exit_0() -> Outcome {
    let world = World::new("http://127.0.0.1:1/")?;
    for arguments in [&["--help"][..], &["doctor", "--help"], &["check", "--help"], &["version", "--help"]] {
        let run = world.run(arguments)?;
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
        assert!(run.stdout.contains("Example"), "{}", run.stdout);
    }
    Ok(())
}

#[test]
fn no_agent_is_exit_1_and_says_where_was_looked() -> Outcome {
    let world = World::new("http://127.0.0.1:1/")?;
    let run = world.run(&["status", "--json"])?;
    let document: serde_json::Value = serde_json::from_str(&run.stdout)?;
    // Agents below /tmp are found from everywhere.
    let elsewhere = document["agents"].as_array().is_some_and(|agents| {
        let of_machine = |agent: &serde_json::Value| {
            agent["directory"].as_str().is_some_and(|dir| dir.starts_with("/tmp/z4j-"))
        };
        !agents.is_empty() && agents.iter().all(of_machine)
    });
    if elsewhere {
        eprintln!("SKIPPED: an agent of this user runs on this machine");
        return Ok(());
    }
    assert_eq!((run.code, document), (Some(1), serde_json::json!({ "schema_version": 1, "agents": [] })));
    let home = world.path("home/.z4j").display().to_string();
    for verb in ["status", "restart", "reload"] {
        let run = world.run(&[verb])?;
        assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""));
        assert!(run.stderr.contains("no agent of ") && run.stderr.contains(&home), "{}", run.stderr);
    }
    assert!(!world.path("home/.z4j").exists());
    Ok(())
}

#[test]
fn version_schema_and_completions_print_what_a_script_reads() -> Outcome {
    let world = World::new("http://127.0.0.1:1/")?;
    let version: serde_json::Value = serde_json::from_str(&world.run(&["version", "--json"])?.stdout)?;
    assert_eq!(version["protocol_version"], "2");
    let schema: serde_json::Value = serde_json::from_str(&world.run(&["doctor", "--json-schema"])?.stdout)?;
    assert!(schema["$defs"]["report"].is_object());
    for shell in ["bash", "zsh", "fish"] {
        assert!(world.run(&["completions", shell])?.stdout.contains("z4j"));
    }
    Ok(())
}

#[test]
fn a_configuration_that_cannot_be_built_prints_no_probes() -> Outcome {
    let mut world = World::new("http://127.0.0.1:1/")?;
    world.set("Z4J_TOKEN", "").set("Z4J_PROJECT_ID", "");
    for command in ["doctor", "check"] {
        let run = world.run(&[command])?;
        assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""));
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
        assert!(run.stderr.contains("Z4J_TOKEN and Z4J_PROJECT_ID are not set"), "{}", run.stderr);
    }
    let failure = world.doctor(&[])?;
    assert_eq!((&failure["ok"], &failure["stage"]), (&false.into(), &"config".into()));
    assert_eq!(failure["code"], "config.missing");
    std::fs::write(world.path(".env"), "Z4J_TOKEN=a\nZ4J_PROJECT_ID=b\n")?;
    let failure = world.doctor(&[])?;
    assert_eq!(failure["code"], "config.env-file-not-loaded");
    assert_eq!(failure["fix"], format!("EnvironmentFile={}", world.path(".env").display()));
    Ok(())
}

#[test]
fn check_is_one_line() -> Outcome {
    let brain = Brain::start(None, Manners::default())?;
    let run = World::new(&brain.url)?.run(&["check"])?;
    assert_eq!(run.code, Some(0));
    assert_eq!(run.stdout, format!("OK: buffer_path, dns, tcp, tls ({})\n", brain.url));
    let port = dead_port()?;
    let mut world = World::new(&format!("https://127.0.0.1:{port}"))?;
    world.set("Z4J_BUFFER_PATH", "/etc/passwd");
    let run = world.run(&["check"])?;
    assert_eq!(run.code, Some(1));
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{}", run.stdout);
    assert!(lines[0].ends_with("[buffer.outside-roots]") && lines[1].ends_with("[tcp.refused]"));
    Ok(())
}

#[test]
fn probes_can_be_chosen() -> Outcome {
    let port = dead_port()?;
    let world = World::new(&format!("https://127.0.0.1:{port}"))?;
    let names = |arguments: &[&str]| -> Outcome<Vec<String>> {
        let report = world.doctor(arguments)?;
        let probes = report["probes"].as_array().cloned().unwrap_or_default();
        Ok(probes.iter().filter_map(|probe| Some(probe["name"].as_str()?.to_owned())).collect())
    };
    assert_eq!(names(&["--only", "dns"])?, ["dns"]);
    assert_eq!(names(&["--only", "tls"])?, ["tcp", "tls"]);
    assert_eq!(names(&["--skip", "tcp", "--no-websocket"])?, ["buffer_path", "dns", "tcp", "tls"]);
    assert_eq!(names(&["--no-websocket"])?, ["buffer_path", "dns", "tcp", "tls"]);
    Ok(())
}

#[test]
fn an_own_http_url_must_be_of_this_machine() -> Outcome {
    let world = World::new("http://brain.example/")?;
    assert_eq!(world.doctor(&[])?["code"], "config.plaintext");
    let run = world.run(&["doctor", "--brain-url", "https://", "--only", "dns"])?;
    assert!(run.stdout.contains("code: dns.bad-url"), "{}", run.stdout);
    Ok(())
}
