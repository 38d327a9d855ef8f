//! The program: announcements, errors, exit codes.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value as Json;

/// The program with an environment of its own.
pub(crate) fn program(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mock-brain"));
    command.env_clear().env("HOME", dir).stdin(Stdio::null());
    command
}

pub(crate) fn run(dir: &Path, arguments: &[&str]) -> Output {
    program(dir).args(arguments).output().unwrap()
}

/// Runs and returns exit code, stdout and stderr.
pub(crate) fn told(dir: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = run(dir, arguments);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// A running `serve`, ended on drop.
pub(crate) struct Serve {
    child: Child,
    pub(crate) announced: Json,
}

impl Serve {
    pub(crate) fn start(dir: &Path, arguments: &[&str]) -> Self {
        Self::of(program(dir), arguments)
    }

    /// A command that leads to the program.
    pub(crate) fn of(mut program: Command, arguments: &[&str]) -> Self {
        let mut child = program
            .args(["serve", "--json", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "serve did not start");
        Self { child, announced: serde_json::from_str(&line).unwrap() }
    }

    /// Sends a signal and returns the exit code and what was logged.
    pub(crate) fn signal(mut self, signal: &str) -> (Option<i32>, String) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (self.child.wait().unwrap().code(), log)
    }
}

impl Serve {
    /// As `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn serve_announces_itself_and_ends_on_signals() {
    let dir = tempfile::tempdir().unwrap();
    for signal in ["-TERM", "-INT"] {
        let serve = Serve::start(dir.path(), &[]);
        let state = dir.path().join(".local/state/mock-brain");
        let told = &serve.announced;
        assert_eq!(told["event"], "listening");
        assert!(told["url"].as_str().unwrap().starts_with("https://127.0.0.1:"));
        assert!(told["control_url"].as_str().unwrap().starts_with("http://127.0.0.1:"));
        assert_eq!(told["state_dir"], state.to_str().unwrap());
        assert_eq!(told["ca_file"], state.join("ca.pem").to_str().unwrap());
        assert_eq!((&told["project_id"], &told["agent_name"]), (&"demo".into(), &"demo-agent".into()));
        assert!(state.join("control.json").exists());
        let (code, log) = serve.signal(signal);
        assert_eq!(code, Some(0), "{log}");
        assert!(!state.join("control.json").exists());
        assert!(!log.contains('\u{1b}'), "colour without a terminal: {log}");
    }
    let serve = Serve::start(dir.path(), &["--no-tls"]);
    assert_eq!(serve.announced["ca_file"], Json::Null);
    assert!(serve.announced["url"].as_str().unwrap().starts_with("http://"));
}

#[test]
fn env_in_each_format() {
    let dir = tempfile::tempdir().unwrap();
    let serve = Serve::start(dir.path(), &["--agent", "it's", "--project", "picker"]);
    let url = serve.announced["url"].as_str().unwrap();
    let ca = serve.announced["ca_file"].as_str().unwrap();
    let (code, json, _) = told(dir.path(), &["env", "--format", "json"]);
    assert_eq!(code, 0);
    let json: Json = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["Z4J_BRAIN_URL"], &json["SSL_CERT_FILE"]), (&url.into(), &ca.into()));
    assert_eq!((&json["Z4J_PROJECT_ID"], &json["Z4J_AGENT_NAME"]), (&"picker".into(), &"it's".into()));
    let (_, shell, _) = told(dir.path(), &["env"]);
    let script = format!("{shell}\nprintf '%s|%s|%s' \"$Z4J_AGENT_NAME\" \"$Z4J_TOKEN\" \"$Z4J_AGENT_ID\"");
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    let expected =
        format!("it's|{}|{}", json["Z4J_TOKEN"].as_str().unwrap(), json["Z4J_AGENT_ID"].as_str().unwrap());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
    let (_, dotenv, _) = told(dir.path(), &["env", "--format", "dotenv"]);
    assert!(dotenv.contains("Z4J_AGENT_NAME=\"it's\"\n"), "{dotenv}");
    let (_, systemd, _) = told(dir.path(), &["env", "--format", "systemd"]);
    assert!(systemd.contains("Z4J_PROJECT_ID=\"picker\"\n"), "{systemd}");
    let (code, _, error) = told(dir.path(), &["env", "--agent", "nobody"]);
    assert_eq!((code, error.contains("there are: it's")), (1, true), "{error}");
    let token = json["Z4J_TOKEN"].as_str().unwrap().to_owned();
    let (_, log) = serve.signal("-TERM");
    assert!(!log.contains(&token));
    // Without flags a restart serves what the directory was first used with.
    let serve = Serve::start(dir.path(), &[]);
    assert_eq!(
        (&serve.announced["project_id"], &serve.announced["agent_name"]),
        (&"picker".into(), &"it's".into())
    );
    assert!(told(dir.path(), &["env"]).1.contains(&token));
}

#[test]
fn errors_are_one_line_with_exit_code_2() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    std::fs::write(path("config.toml"), "listen = '127.0.0.1:0'\nlisten-on = 1\n").unwrap();
    std::fs::write(path("file"), "").unwrap();
    let (config, missing, below) = (path("config.toml"), path("missing.toml"), path("file/below"));
    let taken_listener = std::net::TcpListener::bind(&taken);
    let cases: &[(&[&str], &[&str])] = &[
        (&["--listen", &taken], &[&taken, "in use", "--listen 127.0.0.1:0"]),
        (&["--listen", "0.0.0.0:0"], &["0.0.0.0:0", "not loopback", "--allow-remote"]),
        (&["--listen", "here"], &["--listen \"here\"", "127.0.0.1:7700"]),
        (&["--state-dir", &below], &["file/below", "--state-dir"]),
        (&["--journal-max", "1000000"], &["--journal-max 1000000: too few", "1048576", "--memory"]),
        (&["--config", &missing], &["missing.toml", "No such file", "--config"]),
        (&["--config", &config], &["config.toml\", line 2, \"listen-on\": unknown", "state-dir"]),
        (&["--fault", "tls.expird"], &["column 1", "did you mean tls.expired?"]),
        (&["--fault", "tls.expired", "--no-tls"], &["needs TLS"]),
        (&["--project", "No Slug"], &["No Slug", "slug"]),
        (&["--name", "a b"], &["a b", "DNS name"]),
        (&["--like-real=9.9"], &["9.9", "1.13.0"]),
        (&["--strict", "--like-real"], &["--strict"]),
        (&["--nonsense"], &["--nonsense"]),
        (&["--max-body", "0"], &["--max-body"]),
        (&["--idle-timeout", "5"], &["--idle-timeout", "10s"]),
    ];
    for (arguments, parts) in cases {
        let mut all = vec!["serve"];
        if !arguments.contains(&"--listen") {
            all.extend(["--listen", "127.0.0.1:0"]);
        }
        all.extend(*arguments);
        let (code, out, error) = told(dir.path(), &all);
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}: {error}");
        assert_eq!(error.matches('\n').count(), 1, "{error}");
        assert!(error.starts_with("mock-brain: "), "{error}");
        for part in *parts {
            assert!(error.contains(part), "{arguments:?}: {part} in {error}");
        }
    }
    drop(taken_listener);
}

#[test]
fn a_bad_value_of_a_config_file_names_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.toml");
    let path = config.to_str().unwrap();
    for (value, complaint) in [
        ("listen = 'here'", "config.toml\", listen \"here\": not an IP"),
        ("control = '192.0.2.1:1'", "config.toml\", control 192.0.2.1:1 is not loopback"),
        ("max-body = 65536", "config.toml\", line 1, \"max-body\": unknown field"),
        ("max-body = 65536", "write it below a line [limits]"),
        ("[limits]\nlisten = '127.0.0.1:0'", "write it above the line [limits]"),
        ("strict = true\nlike-real = '1.5'", "the argument 'strict' cannot be used with 'like-real'"),
        ("memory = true\njournal-max = 2000000", "the argument 'memory' cannot be used with 'journal-max'"),
        ("journal-max = 1000", "config.toml\", journal-max 1000: too few"),
        ("project = 'No Slug'", "config.toml\": project \"No Slug\""),
        ("agent = ''", "config.toml\": agent name"),
        ("name = ['a b']", "config.toml\": certificates cannot name \"a b\""),
        ("listen = '192.0.2.1:1'\nallow-remote = true", "config.toml\": cannot listen on 192.0.2.1:1"),
        ("listen = '127.0.0.1:0'\nstate-dir = '/dev/null/x'", "config.toml\": state directory"),
        (
            "listen = '127.0.0.1:0'\nfault = ['tls.expired']\ntls = false",
            "config.toml\": fault \"tls.expired\"",
        ),
        ("[limits]\nidle-timeout = '5'", "config.toml\", line 2, \"idle-timeout\": a time is expected"),
        ("fault = ['tls.expird']", "config.toml\": fault \"tls.expird\", column 1"),
    ] {
        std::fs::write(&config, value).unwrap();
        let (code, _, error) = told(dir.path(), &["serve", "--config", path]);
        assert_eq!((code, error.matches('\n').count()), (2, 1), "{value}: {error}");
        assert!(error.contains(complaint), "{value}: {error}");
    }
    // A flag wins, and then it is the flag that is bad.
    let (_, _, error) = told(dir.path(), &["serve", "--config", path, "--fault", "nope"]);
    assert!(!error.contains("config.toml"), "{error}");
}

#[test]
fn a_second_serve_on_the_same_state_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _serve = Serve::start(dir.path(), &[]);
    let (code, _, error) = told(dir.path(), &["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!((code, error.contains("in use by another mock-brain serve")), (2, true), "{error}");
    assert_eq!(error.matches('\n').count(), 1, "{error}");
}

#[test]
fn a_config_file_has_the_same_keys() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.toml");
    let text = "listen = '127.0.0.1:1'\ntls = false\nproject = 'from-file'\nfault = ['tcp.refused']\nstrict = true\n";
    std::fs::write(&config, text).unwrap();
    let serve = Serve::start(dir.path(), &["--config", config.to_str().unwrap(), "--agent", "flag"]);
    assert_eq!(
        (&serve.announced["project_id"], &serve.announced["agent_name"]),
        (&"from-file".into(), &"flag".into())
    );
    let (_, list, _) = told(dir.path(), &["fault", "list"]);
    assert!(list.contains("ACTIVE: tcp.refused"), "{list}");
}

#[test]
fn without_a_running_brain_the_answer_is_no() {
    let dir = tempfile::tempdir().unwrap();
    for arguments in [&["env"][..], &["events"], &["fault", "set", "tls.expired"], &["fault", "clear"]] {
        let (code, _, error) = told(dir.path(), arguments);
        assert_eq!(code, 1, "{error}");
        assert!(error.contains(".local/state/mock-brain") && error.contains("mock-brain serve"), "{error}");
        assert_eq!(error.matches('\n').count(), 1, "{error}");
    }
    // A brain that was killed leaves its control.json.
    let mut serve = Serve::start(dir.path(), &[]);
    serve.child.kill().unwrap();
    serve.child.wait().unwrap();
    let (code, _, error) = told(dir.path(), &["env"]);
    assert_eq!((code, error.contains("no mock-brain is running")), (1, true), "{error}");
    Serve::start(dir.path(), &[]);
}

#[test]
fn faults_from_the_command_line() {
    let dir = tempfile::tempdir().unwrap();
    let (code, list, _) = told(dir.path(), &["fault", "list"]);
    assert_eq!(code, 0);
    for name in
        ["tcp.refused", "tcp.reset", "tls.untrusted-ca", "ws.close", "hello-ack", "example: tls.expired"]
    {
        assert!(list.contains(name), "{list}");
    }
    assert!(!list.contains("ACTIVE"));
    let _serve = Serve::start(dir.path(), &[]);
    let (code, out, _) = told(dir.path(), &["fault", "set", "tcp.reset", "at", "hello", "first", "2"]);
    assert_eq!((code, out.as_str()), (0, "set: tcp.reset at hello first 2\n"));
    let (_, list, _) = told(dir.path(), &["fault", "list", "--json"]);
    let list: Json = serde_json::from_str(&list).unwrap();
    let active: Vec<_> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|item| item["active"].as_array().unwrap())
        .collect();
    assert_eq!(active, [&serde_json::json!({"spec": "tcp.reset at hello first 2", "struck": 0})]);
    assert_eq!(told(dir.path(), &["fault", "clear", "tcp.reset"]).0, 0);
    assert_eq!(told(dir.path(), &["fault", "clear", "tcp.reset"]).0, 1, "it is not set any more");
    assert_eq!(told(dir.path(), &["fault", "clear", "nonsense"]).0, 2);
    assert_eq!(told(dir.path(), &["fault", "clear"]).0, 0);
    let (code, _, error) = told(dir.path(), &["fault", "set", "tcp.reset evry 2"]);
    assert_eq!((code, error.contains("column 11")), (2, true), "{error}");
}

#[test]
fn help_version_and_completions() {
    let dir = tempfile::tempdir().unwrap();
    let (code, out, _) = told(dir.path(), &["--version"]);
    assert_eq!((code, out.starts_with("mock-brain ")), (0, true));
    for command in ["serve", "env", "events", "completions", "fault set", "frame verify"] {
        let arguments: Vec<_> = command.split(' ').chain(["--help"]).collect();
        let (code, out, _) = told(dir.path(), &arguments);
        assert_eq!((code, out.contains("Example")), (0, true), "{command}: {out}");
    }
    let (code, out, _) = told(dir.path(), &["completions", "bash"]);
    assert_eq!((code, out.contains("mock-brain")), (0, true));
    assert_eq!(told(dir.path(), &[]).0, 2);
}
