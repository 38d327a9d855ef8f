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

/// Runs one scenario of `run` steps; `host` and `service` are the bodies of their tables.
fn steps(world: &World, host: &str, service: &str, steps: &str) -> Run {
    let text = format!(
        "title = \"t\"\nwhy = \"w\"\n[host]\nhosts = {{ \"tasks.example.com\" = \"198.51.100.42\" }}\n{host}\n\
         [service]\n{service}\n{steps}\n"
    );
    world.write("scenarios/s.toml", &text);
    world.harness(&["run", "--agent", "./agent"])
}

#[test]
fn the_private_tmp_of_a_tmpfs_works() {
    let world = World::new();
    let run = steps(
        &world,
        "tmp = { tmpfs = \"1M\" }",
        "User = \"www-data\"\nPrivateTmp = true",
        "[[step]]\nrun = [\"touch\", \"/tmp/x\"]\nexit = 0",
    );
    assert_eq!(run.status, 0, "{}", run.all());
}

#[test]
fn what_a_command_leaves_running_ends_with_it() {
    let world = World::new();
    let step = "[[step]]\nrun = [\"sh\", \"-c\", \"sleep 1000 & echo started\"]\nexit = 0\nwithin = \"15s\"";
    let started = std::time::Instant::now();
    let run = steps(&world, "", "", step);
    assert_eq!(run.status, 0, "{}", run.all());
    assert!(started.elapsed().as_secs() < 15);
}

#[test]
fn special_files_do_not_stop_a_look_at_the_machine() {
    let world = World::new();
    let make = "[[step]]\nrun = [\"mkfifo\", \"/srv/fifo\"]\nexit = 0\n";
    let look =
        "[[step]]\nexpect = { files = [{ path = \"/srv/fifo\" }, { path = \"/data\", exists = false }] }";
    let run = steps(&world, "", "", &format!("{make}{look}"));
    assert_eq!(run.status, 0, "{}", run.all());
}

#[test]
fn even_root_of_the_sandbox_cannot_undo_it() {
    let world = World::new();
    for command in ["mount -o remount,rw,bind /usr", "mknod /srv/disk b 254 0", "umount /proc"] {
        let step = format!("[[step]]\nrun = [\"sh\", \"-c\", \"{command} 2>/dev/null || exit 7\"]\nexit = 7");
        let run = steps(&world, "", "", &step);
        assert_eq!(run.status, 0, "{command}: {}", run.all());
    }
}

#[test]
fn a_secret_is_not_shown_by_a_command_that_hangs() {
    let world = World::new();
    let step =
        "[[step]]\nrun = [\"sh\", \"-c\", \"echo $Z4J_TOKEN; exec sleep 100\"]\nexit = 0\nwithin = \"300ms\"";
    let run = steps(&world, "", "", step);
    assert_eq!(run.status, 1, "{}", run.all());
    assert!(run.stdout.contains("printed a secret"), "{}", run.all());
}

#[test]
fn names_do_not_lead_out_of_the_sandbox() {
    let world = World::new();
    let step = "[[step]]\nrun = [\"true\"]\nexit = 0";
    let outside = world.path("outside");
    for service in [
        format!("StateDirectory = \"../../../../../../../..{}\"", outside.display()),
        format!("RuntimeDirectory = \"{}\"", outside.display()),
    ] {
        let run = steps(&world, "", &service, step);
        assert_eq!(run.status, 2, "{}", run.all());
        assert!(run.stderr.contains("is not a relative path"), "{}", run.all());
        assert!(!outside.exists());
    }
    let run = steps(&world, "", "", "[[step]]\nname = \"../x\"\nrun = [\"true\"]\nsnapshot = true");
    assert_eq!(run.status, 2, "{}", run.all());
    assert!(run.stderr.contains("is not a step name"), "{}", run.all());
}

#[test]
fn what_could_not_be_is_refused_before_anything_runs() {
    let world = World::new();
    let step = "[[step]]\nrun = [\"true\"]\nexit = 0";
    for (host, service, says) in [
        ("", "User = \"ghost\"", "there is no user `ghost`"),
        ("files = [{ path = \"/usr/x\" }]", "", "the real machine's"),
        ("files = [{ path = \"/a\" }, { path = \"/a\" }]", "", "is made twice"),
        ("users = [{ name = \"a\", uid = 4294967295, home = \"/a\" }]", "", "0..=4294967294"),
        ("users = [{ name = \"a:b\", uid = 7, home = \"/a\" }]", "", "is not a user name"),
        ("", "Environment = [\"A=%i\"]", "is not a specifier"),
    ] {
        let run = steps(&world, host, service, step);
        assert_eq!(run.status, 2, "{}", run.all());
        assert!(run.stderr.contains(says), "{}", run.all());
    }
}

#[test]
fn kept_files_are_as_they_were() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    steps(&world, "", "", "[[step]]\nrun = [\"chmod\", \"0751\", \"/srv\"]\nexit = 0");
    let run = world.harness(&["run", "--agent", "./agent", "--keep"]);
    let kept = run.stdout.lines().find_map(|line| line.trim().strip_prefix("kept: ")).unwrap();
    let kept = std::path::Path::new(kept);
    let mode = std::fs::metadata(kept.join("srv")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o751);
    std::fs::remove_dir_all(kept.parent().unwrap()).unwrap();
}
