//! Command lines, exit statuses, and snapshots on disk.

use crate::world::World;

const SCENARIO: &str = r#"
title = "says hello"
why   = "w"

[host]
hosts = { "tasks.example.com" = "198.51.100.42" }

[[step]]
run      = ["echo", "WORD"]
exit     = 0
snapshot = true
"#;

#[test]
fn a_snapshot_is_missing_then_written_then_held() {
    let world = World::new();
    world.write("scenarios/theme/hello.toml", &SCENARIO.replace("WORD", "hello"));
    let run = |arguments: &[&str]| world.harness(&[&["run", "--agent", "./agent"][..], arguments].concat());

    let missing = run(&[]);
    assert_eq!(missing.status, 1, "{}", missing.all());
    assert!(missing.stdout.contains("there is no snapshot"), "{}", missing.all());
    assert!(world.path("scenarios/theme/hello.1.snap.new").exists());

    let updated = run(&["--update"]);
    assert_eq!(updated.status, 0, "{}", updated.all());
    assert!(updated.stdout.ends_with("\n1 passed, 0 failed, 0 skipped\n"), "{}", updated.all());
    assert!(!world.path("scenarios/theme/hello.1.snap.new").exists());
    assert_eq!(
        world.read("scenarios/theme/hello.1.snap"),
        "---\nsource: \"scenarios/theme/hello.toml\"\nexpression: \"echo hello\"\n---\n\
         exit: 0\n----- stdout -----\nhello\n\n----- stderr -----\n"
    );
    assert_eq!(run(&["hello"]).status, 0, "a name finds it, and it is the same");

    world.write("scenarios/theme/hello.toml", &SCENARIO.replace("WORD", "bye"));
    let different = run(&["theme/hello"]);
    assert_eq!(different.status, 1, "{}", different.all());
    assert!(different.stdout.contains("- hello\n    + bye"), "{}", different.all());
}

#[test]
fn what_cannot_run_here_is_a_skip_with_its_reason() {
    let world = World::new();
    let scenario = SCENARIO.replace("title", "needs = \"container\"\ntitle").replace("WORD", "x");
    world.write("scenarios/s.toml", &scenario);
    let run = world.harness(&["run", "--agent", "./agent"]);
    assert_eq!(run.status, 3, "{}", run.all());
    assert!(run.stdout.contains("skip  s: it needs the container sandbox"), "{}", run.all());

    let foreign = r#"
title = "t"
why = "w"
[host]
hosts = { "tasks.example.com" = "198.51.100.42" }
files = [{ path = "/srv/x", owner = "app" }]
[service]
User = "www-data"
[[step]]
run = ["true"]
exit = 0
"#;
    world.write("scenarios/s.toml", foreign);
    let Some(run) = world.unprivileged_harness(&["run", "--agent", "./agent"]) else { return };
    assert_eq!(run.status, 3, "{}", run.all());
    assert!(run.stdout.contains("belongs to app, which only root can show"), "{}", run.all());
}

#[test]
fn json_is_one_document() {
    let world = World::new();
    world.write("scenarios/s.toml", &SCENARIO.replace("WORD", "x").replace("snapshot = true", ""));
    let run = world.harness(&["run", "--json", "--agent", "./agent"]);
    let report: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((run.status, &report["passed"]), (0, &1.into()), "{}", run.all());
    assert_eq!(report["scenarios"][0]["status"], "passed");

    let list = world.harness(&["list", "--json"]);
    let list: serde_json::Value = serde_json::from_str(&list.stdout).unwrap();
    assert_eq!(list["scenarios"][0]["title"], "says hello");
}

#[test]
fn usage_errors_are_one_line_with_the_way_out() {
    let world = World::new();
    world.write("scenarios/good.toml", &SCENARIO.replace("WORD", "x"));
    world.write("bad.toml", "title = \"t\"\nwhy = 7\n");
    for (arguments, says) in [
        (&["run", "--agent", "./agent", "nosuch"][..], "no scenario is called `nosuch`"),
        (&["run", "--agent", "./agent", "gone.toml"], "cannot read gone.toml"),
        (&["run", "--agent", "./nosuch", "good"], "the agent ./nosuch is not there"),
        (&["run", "--agent", " ", "good"], "--agent is empty"),
        (&["run", "good"], "is not there: build it"),
        (&["run", "--backend", "container"], "[possible values: auto, namespace]"),
        (&["run", "--scenarios", "nowhere"], "cannot read nowhere"),
        (&["validate", "bad.toml"], "bad.toml:2:7: invalid type: integer `7`, expected a string"),
        (&["run", "-j", "0"], "invalid value '0' for '--jobs"),
        (&["nosuch"], "unrecognized subcommand 'nosuch'"),
    ] {
        let run = world.harness(arguments);
        assert_eq!(run.status, 2, "{arguments:?}: {}", run.all());
        assert!(run.stderr.contains(says), "{arguments:?}: {}", run.all());
        assert_eq!(run.stdout, "", "{arguments:?}");
    }
    assert_eq!(world.harness(&["validate"]).status, 0);
}
