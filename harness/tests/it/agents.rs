//! Agents that go on over several steps: started, signalled, ended, and what is held against them.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::world::{Run, World};

/// A stand-in: it waits a moment at a time, since a shell may begin a wait right after a signal came, logs signals,
/// and takes events into a file.
const AGENT: &str = r#"#!/bin/sh
home="${HOME:-/tmp}"
case "$1" in
run)
    trap 'echo "INFO reconnecting" >&2' HUP
    trap 'echo "INFO flushed" >&2; rm -f "$home/pid"; exit 0' TERM
    echo $$ > "$home/pid"
    echo "2026-11-23T21:29:04Z  WARN stand_in: starting $*" >&2
    [ -n "$FAIL" ] && exit 7
    while :; do sleep 0.2 & wait "$!"; done ;;
emit)
    [ -e "$home/pid" ] || { echo "no agent runs" >&2; exit 1; }
    if cat >> "$home/events" 2>/dev/null; then echo "$(wc -l < "$home/events") accepted, 0 refused"; else echo "0 accepted, 1 refused"; exit 1; fi ;;
status)
    echo "{\"schema_version\":1,\"agents\":[{\"pid\":$(cat "$home/pid"),\"link\":{\"state\":\"online\"},\"buffer\":{\"loss\":{\"a\":1,\"b\":2}}}]}" ;;
restart)
    kill -HUP "$(cat "$home/pid")" ;;
esac
"#;

fn world() -> World {
    let world = World::new();
    world.write("agent", AGENT);
    fs::set_permissions(world.path("agent"), fs::Permissions::from_mode(0o755)).unwrap();
    world
}

fn scenario(host: &str, service: &str, steps: &[&str]) -> String {
    let steps: String = steps.iter().map(|step| format!("[[step]]\n{step}\n")).collect();
    format!(
        "title = \"t\"\nwhy = \"w\"\n[host]\nhosts = {{ \"tasks.example.com\" = \"198.51.100.42\" }}\n{host}\n\
         [service]\n{service}\n{steps}"
    )
}

fn run(world: &World, host: &str, service: &str, steps: &[&str]) -> Run {
    world.write("scenarios/s.toml", &scenario(host, service, steps));
    world.harness(&["run", "--agent", "./agent"])
}

/// As the user of the tests and without privileges.
fn passes(host: &str, service: &str, steps: &[&str]) {
    let world = world();
    let own = run(&world, host, service, steps);
    assert_eq!(own.status, 0, "{}", own.all());
    if let Some(run) = world.unprivileged_harness(&["run", "--agent", "./agent"]) {
        assert_eq!(run.status, 0, "without privileges: {}", run.all());
    }
}

fn fails(host: &str, service: &str, steps: &[&str], says: &str) {
    let run = run(&world(), host, service, steps);
    assert_eq!(run.status, 1, "{}", run.all());
    assert!(run.stdout.contains(says), "{}", run.all());
}

const USER: &str = "User = \"app\"";

#[test]
fn an_agent_lives_over_steps_and_ends_when_it_is_told_to() {
    passes(
        "",
        USER,
        &[
            "start = \"agent\"",
            "wait = { log = { pattern = \"starting\" } }",
            "run = [\"true\"]\nexit = 0",
            "emit = 3",
            "status = { \"link.state\" = \"online\" }",
            "expect = { loss = 3 }",
            "reload = \"agent\"",
            "wait = { log = { level = \"INFO\", pattern = \"reconnecting\", count = 1 } }",
            "restart = {}\nexit = 0",
            "wait = { log = { pattern = \"reconnecting\", count = 2 } }",
            "expect = { log = [{ level = \"WARNING\", count = 1 }, { level = \"ERROR\", count = 0 }] }",
            "stop = \"agent\"",
            "expect = { ended = 0, log = { pattern = \"flushed\" }, files = { path = \"/home/app/pid\", exists = false } }",
            "start = \"agent\"",
            "kill = \"agent\"",
            "expect = { ended = 137 }",
        ],
    );
}

#[test]
fn several_agents_run_at_once() {
    passes(
        "",
        "User = \"root\"",
        &[
            "start = \"a\"",
            "start = { name = \"b\", args = [\"--flag\"], environment = { HOME = \"/srv\" } }",
            "wait = { log = { pattern = \"starting run --flag\" } }\nagent = \"b\"",
            "stop = \"a\"",
            "expect = { log = { pattern = \"flushed\", count = 0 } }\nagent = \"b\"",
            "kill = { name = \"b\", signal = \"TERM\" }",
            "wait = { ended = 0 }\nagent = \"b\"",
        ],
    );
}

#[test]
fn an_end_that_nobody_asked_for_fails() {
    let steps = ["start = \"agent\"", "wait = { log = { pattern = \"never\" } }"];
    fails(
        "",
        "User = \"app\"\nEnvironment = [\"FAIL=1\"]",
        &steps,
        "agent ended with 7, and nobody asked it to",
    );
    fails("", "User = \"app\"\nEnvironment = [\"FAIL=1\"]", &steps, "WARN stand_in: starting run");
    passes("", "User = \"app\"\nEnvironment = [\"FAIL=1\"]", &["start = \"agent\"", "wait = { ended = 7 }"]);
}

#[test]
fn what_is_not_seen_in_time_is_told_with_what_is() {
    for (step, says) in [
        ("wait = { events = 5, within = \"50ms\" }", "0 events were accepted instead of at least 5"),
        ("wait = { online = 1, within = \"50ms\" }", "0 sessions are online instead of at least 1"),
        ("status = { link.state = \"offline\" }", "status link.state is \"online\" instead of \"offline\""),
        ("wait = { notify = [\"READY=1\"], within = \"50ms\" }", "agent did not say `READY=1`"),
        ("wait = { files = { path = \"/srv/x\" }, within = \"50ms\" }", "/srv/x is not there"),
        ("expect = { delivered = true }", "2 of 2 events are not at the brain"),
        ("wait = { ended = 0, within = \"50ms\" }", "agent still runs"),
        ("stop = \"other\"", "other does not run: no step has started it"),
    ] {
        fails("", USER, &["start = \"agent\"", "emit = 2", step], says);
    }
}

#[test]
fn a_secret_in_a_log_fails() {
    let world = world();
    world.write(
        "agent",
        "#!/bin/sh\necho \"token $Z4J_TOKEN\" >&2\ntrap 'exit 0' TERM\nmkfifo /tmp/f; read line <> /tmp/f\n",
    );
    let run = run(&world, "", "", &["start = \"agent\"", "wait = { log = { pattern = \"token\" } }"]);
    assert_eq!(run.status, 1, "{}", run.all());
    assert!(run.stdout.contains("agent logged a secret, in line 1 of its log"), "{}", run.all());
    assert!(run.stdout.contains("token {secret}"), "{}", run.all());
}

#[test]
fn the_machine_can_be_changed_while_an_agent_runs() {
    let shell = |command: &str, exit: i32| format!("run = [\"sh\", \"-c\", \"{command}\"]\nexit = {exit}");
    let (wrote, full) = (shell("echo x > /tmp/x", 0), shell("echo x > /tmp/y 2>/dev/null || exit 9", 9));
    let read_only = shell("touch /home/app/z 2>/dev/null || exit 9", 9);
    let content = shell("grep -q changed /etc/z4j.conf", 0);
    let gone = shell("test -e /tmp/x || test -e /var/tmp/keep || exit 9", 9);
    passes(
        "tmp = { tmpfs = \"1M\" }",
        USER,
        &[
            "start = \"agent\"",
            &wrote,
            "fill = \"/tmp\"",
            &full,
            "free = \"/tmp\"",
            &wrote,
            "remount = { path = \"/home\", to = \"read-only\" }",
            &read_only,
            "remount = { path = \"/home\", to = \"writable\" }",
            &shell("touch /home/app/z", 0),
            "write = { path = \"/etc/z4j.conf\", content = \"changed\", mode = \"0644\" }",
            &content,
            "clear-tmp = {}",
            &gone,
            "reboot = {}",
            "wait = { log = { pattern = \"starting\", count = 2 } }",
            "stop = \"agent\"",
            "expect = { ended = 0 }",
        ],
    );
}

#[test]
fn the_machines_root_is_not_bound_by_what_binds_the_service() {
    let touch = "run = [\"sh\", \"-c\", \"touch /srv/x 2>/dev/null || exit 9\"]\nexit = 9";
    let read = "run = [\"grep\", \"-q\", \"hello\", \"/srv/note\"]\nexit = 0";
    passes(
        "",
        "User = \"app\"\nProtectSystem = \"strict\"\nPrivateTmp = true",
        &[
            touch,
            "write = { path = \"/srv/note\", content = \"hello\" }",
            read,
            "run = [\"touch\", \"/tmp/z4j-1\", \"/tmp/other\"]\nexit = 0",
            "clear-tmp = { only = \"z4j-*\" }",
            "run = [\"sh\", \"-c\", \"test -e /tmp/other && ! test -e /tmp/z4j-1\"]\nexit = 0",
            "chmod = { path = \"/srv/note\", mode = \"0600\" }",
            "remove = \"/srv/note\"",
            "expect = { files = { path = \"/srv/note\", exists = false } }",
        ],
    );
}

#[test]
fn the_network_goes_and_comes_back() {
    let connect = |exit: i32| {
        format!(
            "run = [\"bash\", \"-c\", \"timeout 0.3 bash -c '</dev/tcp/198.51.100.42/443' 2>/dev/null || exit 9\"]\nexit = {exit}"
        )
    };
    passes(
        "",
        USER,
        &[
            &connect(0),
            "network = \"cut\"",
            &connect(9),
            "network = \"restore\"",
            &connect(0),
            "network = \"drop\"",
            &connect(9),
            "network = \"restore\"",
            &connect(0),
            "brain = \"down\"",
            &connect(9),
            "brain = \"up\"",
            &connect(0),
        ],
    );
}

const UNIT: &str = r#"
[Unit]
Description=a stand-in
[Service]
Type=notify
User=app
ExecStart=/usr/bin/agent run --config %E/z4j.toml \
    $MORE
Environment=MORE=--more "HOME=/home/app"
EnvironmentFile=-/etc/none
EnvironmentFile=/etc/z4j.env
LoadCredential=token:/etc/z4j/token
RuntimeDirectory=z4j
UMask=0077
LimitFSIZE=4096
CapabilityBoundingSet=
NoNewPrivileges=yes
ProtectKernelTunables=yes
SystemCallFilter=@system-service
ReadWritePaths=-/not/there
Restart=always
ExecReload=/bin/kill -HUP $MAINPID
TimeoutStartSec=5
[Install]
WantedBy=multi-user.target
"#;

/// It tells everything that a unit gives it, and speaks to the service manager (perl is in Debian's base).
const NOTIFIER: &str = r#"#!/bin/bash
trap 'exit 0' TERM
echo "INFO said $* as $(id -u) umask $(umask) limit $(ulimit -f) note $NOTE credential $(wc -c < $CREDENTIALS_DIRECTORY/token)" >&2
echo "INFO caps $(grep CapBnd /proc/self/status) runtime $(stat -c %U $RUNTIME_DIRECTORY)" >&2
trap 'echo "INFO reloaded" >&2' HUP
exec perl -MSocket -e '
    $SIG{TERM} = sub { exit 0 };
    $SIG{HUP} = sub { print STDERR "INFO reloaded\n" };
    socket(my $s, AF_UNIX, SOCK_DGRAM, 0) or die;
    send($s, "STATUS=warming up\n", 0, pack_sockaddr_un($ENV{NOTIFY_SOCKET})) or die "$!";
    send($s, "READY=1\nSTATUS=running", 0, pack_sockaddr_un($ENV{NOTIFY_SOCKET})) or die "$!";
    while (1) { select(undef, undef, undef, 100) }'
"#;

#[test]
fn a_unit_file_is_run_as_it_is() {
    let world = world();
    world.write("agent", NOTIFIER);
    world.write("scenarios/z4j.service", UNIT);
    let host = "files = [{ path = \"/etc/z4j/token\", mode = \"0600\", content = \"${Z4J_TOKEN}\" }, \
                { path = \"/etc/z4j.env\", content = \"NOTE='from a file'\\n\" }]";
    let steps = [
        "start = \"agent\"",
        "wait = { notify = [\"STATUS=warming\", \"READY=1\", \"STATUS=running\"] }",
        "expect = { log = { pattern = \"said run --config /etc/z4j.toml --more as 1000 umask 0077 limit [48] note from a file credential [1-9]\" } }",
        "expect = { log = { pattern = \"CapBnd:\\\\s+0+ runtime app\" } }",
        "expect = { files = [{ path = \"/run/credentials/z4j.service/token\", mode = \"0400\" }] }",
        "reload = \"agent\"",
        "wait = { log = { pattern = \"reloaded\" } }",
        "stop = \"agent\"",
        "expect = { ended = 0 }",
    ];
    let own = run(&world, host, "unit = \"z4j.service\"", &steps);
    assert_eq!(own.status, 0, "{}", own.all());
    let told = world.harness(&["validate"]);
    assert!(told.stdout.contains("s: ProtectKernelTunables, SystemCallFilter only harden"), "{}", told.all());
    assert!(told.stdout.contains("s: Restart mean nothing"), "{}", told.all());

    world.write("scenarios/z4j.service", &UNIT.replace("UMask=0077", "IPAddressDeny=any"));
    let refused = world.harness(&["run", "--agent", "./agent"]);
    assert_eq!(refused.status, 2, "{}", refused.all());
    assert!(refused.stderr.contains("unit z4j.service: unknown field `IPAddressDeny`"), "{}", refused.all());
}

#[test]
fn a_start_that_is_never_ready_fails() {
    let start = "start = \"agent\"\nwithin = \"200ms\"";
    fails("", "User = \"app\"\nType = \"notify\"", &[start], "agent was not ready after 0.2 s; it said []");
    let service = "User = \"app\"\nType = \"notify\"\nEnvironment = [\"FAIL=1\"]";
    fails("", service, &["start = \"agent\""], "agent ended with 7 before it was ready");
}
