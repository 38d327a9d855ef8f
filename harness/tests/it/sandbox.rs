//! What the sandbox shows to a service, as root and without privileges: the same.

use crate::world::{Run, World};

const SCENARIO: &str = r#"
title = "t"
why   = "w"

[host]
hosts = { "tasks.example.com" = "198.51.100.42" }

[service]
User        = "www-data"
Environment = ["WRITE=/ /tmp /var/www /home /usr /etc /var/lib/state"]
SERVICE

[[step]]
doctor   = { framework = "django", args = ["--flag"] }
exit     = 0
snapshot = true
"#;

/// What the service sees under those directives: as the user of the tests, and without privileges.
fn seen(world: &World, service: &str) -> String {
    world.write("scenarios/s.toml", &SCENARIO.replace("SERVICE", service));
    let arguments = ["run", "--agent", "./agent", "--update"];
    let snapshot = |run: &Run| {
        assert_eq!(run.status, 0, "{}", run.all());
        let text = world.read("scenarios/s.1.snap");
        std::fs::remove_file(world.path("scenarios/s.1.snap")).unwrap();
        text
    };
    let own = snapshot(&world.harness(&arguments));
    if let Some(run) = world.unprivileged_harness(&arguments) {
        assert_eq!(snapshot(&run), own, "an unprivileged user sees the same");
    }
    own
}

fn writable(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_suffix(": yes")).collect()
}

#[test]
fn a_service_user_sees_a_machine_of_its_own() {
    let world = World::new();
    let text = seen(&world, "");
    assert!(text.contains("\ndoctor --framework django --flag\n33\n"), "{text}");
    assert_eq!(writable(&text), ["/tmp"]);
}

#[test]
fn directives_open_and_close_paths() {
    let world = World::new();
    for (service, expected) in [
        ("ProtectSystem = \"strict\"", vec![]),
        ("ProtectSystem = \"strict\"\nPrivateTmp = true", vec!["/tmp"]),
        ("ProtectSystem = \"strict\"\nStateDirectory = \"state\"", vec!["/var/lib/state"]),
        ("ProtectHome = \"tmpfs\"", vec!["/tmp"]),
        ("InaccessiblePaths = [\"/tmp\"]", vec![]),
        ("ReadOnlyPaths = [\"/tmp\"]", vec![]),
    ] {
        let text = seen(&world, service);
        assert_eq!(writable(&text), expected, "{service}\n{text}");
    }
}

#[test]
fn a_scenario_that_proves_nothing_is_void() {
    let world = World::new();
    let service = "ReadOnlyPaths = [\"/home\"]\nTemporaryFileSystem = [\"/home\"]";
    let scenario = SCENARIO.replace("SERVICE", service).replace("www-data", "root");
    world.write("scenarios/s.toml", &scenario);
    let run = world.harness(&["run", "--agent", "./agent"]);
    assert_eq!(run.status, 1, "{}", run.all());
    assert!(run.stdout.contains("void: the service can write to /home"), "{}", run.all());
}

#[test]
fn a_doctor_that_leaves_something_behind_fails() {
    let world = World::new();
    world.write("agent", "#!/bin/sh\nmkdir /tmp/left\n");
    world.write("scenarios/s.toml", &SCENARIO.replace("SERVICE", "").replace("snapshot = true", ""));
    let run = world.harness(&["run", "--agent", "./agent"]);
    assert_eq!(run.status, 1, "{}", run.all());
    assert!(run.stdout.contains("the doctor changed the machine:\n    + /tmp/left"), "{}", run.all());
}

#[test]
fn a_printed_secret_fails() {
    let world = World::new();
    world.write("agent", "#!/bin/sh\necho \"$Z4J_TOKEN\"\n");
    world.write("scenarios/s.toml", &SCENARIO.replace("SERVICE", ""));
    let run = world.harness(&["run", "--agent", "./agent"]);
    assert_eq!(run.status, 1, "{}", run.all());
    assert!(run.stdout.contains("printed a secret"), "{}", run.all());
}

#[test]
fn a_command_that_hangs_is_killed_and_what_it_said_is_shown() {
    let world = World::new();
    world.write("agent", "#!/bin/sh\necho still here\nexec sleep 100\n");
    let scenario = SCENARIO.replace("SERVICE", "").replace("snapshot = true", "within = \"300ms\"");
    world.write("scenarios/s.toml", &scenario);
    let run = world.harness(&["run", "--agent", "./agent"]);
    assert_eq!(run.status, 1, "{}", run.all());
    assert!(run.stdout.contains("did not end within 300ms"), "{}", run.all());
    assert!(run.stdout.contains("still here"), "{}", run.all());
}
