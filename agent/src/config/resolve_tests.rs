//! Configurations that cannot be built, and what is said about them; values that mean something else than
//! they seem to.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::super::Transport;
use super::*;
use crate::clock::Clock;
use crate::environment::Account;

const SECRET: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

pub(crate) fn environment(variables: &[(&str, &str)]) -> Environment {
    let complete = [
        ("Z4J_BRAIN_URL", "https://tasks.example.com"),
        ("Z4J_TOKEN", "s3cr3t-token"),
        ("Z4J_PROJECT_ID", "picker"),
        ("Z4J_HMAC_SECRET", SECRET),
    ];
    let mut all: BTreeMap<_, _> = complete.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    all.extend(variables.iter().map(|(k, v)| ((*k).into(), (*v).into())));
    Environment {
        variables: all,
        current_dir: None,
        account: Account { uid: 33, gid: 33, name: Some("www-data".into()), group: None, home: None },
        host_name: "host".into(),
        pid: 7281,
        clock: Clock::system(),
        resolv_conf: "/etc/resolv.conf".into(),
        mountinfo: "/proc/self/mountinfo".into(),
    }
}

fn refusal(environment: &Environment) -> Option<ConfigError> {
    resolve(environment, &ConfigFlags::default()).err()
}

#[test]
fn a_complete_environment_is_taken() -> Result<(), ConfigError> {
    let resolved = resolve(&environment(&[("Z4J_AGENT_NAME", " web ")]), &ConfigFlags::default())?;
    assert_eq!(resolved.config.agent_name.as_deref(), Some("web"));
    assert_eq!(resolved.config.transport, Transport::Auto);
    assert!(matches!(resolved.config.signing, Signing::Ready(_)));
    assert!(resolved.warnings.is_empty());
    Ok(())
}

#[test]
fn a_flag_wins_over_the_environment() -> Result<(), ConfigError> {
    let flags = ConfigFlags::of(&[("transport", "longpoll")]);
    let resolved = resolve(&environment(&[("Z4J_TRANSPORT", "ws")]), &flags)?;
    assert_eq!(resolved.config.transport, Transport::Longpoll);
    Ok(())
}

#[test]
fn every_missing_setting_is_named() {
    let error = refusal(&environment(&[("Z4J_TOKEN", ""), ("Z4J_PROJECT_ID", " ")]));
    let names = vec!["Z4J_TOKEN", "Z4J_PROJECT_ID"];
    assert_eq!(error, Some(ConfigError::Missing { names }));
    let text = error.map(|error| error.to_string()).unwrap_or_default();
    assert_eq!(text, "Z4J_TOKEN and Z4J_PROJECT_ID are not set");
}

#[test]
fn an_env_file_that_nobody_reads_is_named() -> std::io::Result<()> {
    let dir = tempfile::tempdir()?;
    fs::write(dir.path().join(".env"), "export Z4J_TOKEN=x\n")?;
    let mut lacking = environment(&[("Z4J_TOKEN", "")]);
    lacking.current_dir = Some(dir.path().to_owned());
    let error = refusal(&lacking);
    let fix = error.as_ref().map(ConfigError::fix);
    let file = dir.path().join(".env").display().to_string();
    assert_eq!(error.as_ref().map(ConfigError::code), Some("config.env-file-not-loaded"));
    assert_eq!(fix, Some(format!("EnvironmentFile={file}, and remove `export ` from its lines")));
    // It does not have the other one, so loading it would not do.
    lacking.variables.remove(std::ffi::OsStr::new("Z4J_PROJECT_ID"));
    assert_eq!(refusal(&lacking).as_ref().map(ConfigError::code), Some("config.missing"));
    Ok(())
}

#[test]
fn values_that_cannot_be_used_are_refused_by_name() {
    let rows = [
        ("Z4J_TRANSPORT", "WS", "config.invalid", "none of auto, ws, longpoll"),
        ("Z4J_BRAIN_URL", "tasks.example.com", "config.invalid", "does not begin with https://"),
        ("Z4J_BRAIN_URL", "https://tasks.example.com/\r", "config.invalid", "carriage return"),
        ("Z4J_PROJECT_ID", "\"picker\"", "config.invalid", "begins with a quote"),
        ("Z4J_AGENT_ID", "seven", "config.invalid", "no UUID"),
        ("Z4J_BUFFER_MAX_BYTES", "10", "config.invalid", "below 1048576"),
        ("Z4J_HOME", "relative", "config.invalid", "no absolute path"),
        ("Z4J_CA_FILE", "/nonexistent/ca.pem", "config.invalid", "ENOENT"),
        (
            "Z4J_CA_FILE",
            concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
            "config.invalid",
            "no PEM certificate",
        ),
        ("export Z4J_AGENT_NAME", "x", "config.invalid", "begins with `export `"),
        ("Z4J_BRAIN_URL", "http://tasks.example.com", "config.plaintext", "plain text"),
        ("Z4J_BRAIN_URL", "https://me:pass@h/", "config.invalid", "user name or password"),
    ];
    for (name, value, code, words) in rows {
        let error = refusal(&environment(&[(name, value)]));
        let text = error.as_ref().map(ToString::to_string).unwrap_or_default();
        assert_eq!(error.as_ref().map(ConfigError::code), Some(code), "{name}={value}");
        assert!(text.contains(name) && text.contains(words), "{text}");
        assert!(!text.contains("pass@"), "{text}");
    }
}

#[test]
fn no_error_shows_any_part_of_a_secret() {
    for value in ["\"s3cr3t\"", "s3cr3t with blank", "s3cr3t\r", "s3crét"] {
        let error = refusal(&environment(&[("Z4J_TOKEN", value)]));
        let shown = format!("{error:?} {}", error.as_ref().map(ToString::to_string).unwrap_or_default());
        assert_eq!(error.as_ref().map(ConfigError::code), Some("config.invalid"), "{value}");
        assert!(!shown.contains("s3cr"), "{shown}");
    }
    let shown = resolve(&environment(&[]), &ConfigFlags::default()).map(|ok| format!("{ok:?}"));
    assert!(shown.is_ok_and(|shown| !shown.contains("s3cr3t") && !shown.contains(&SECRET[..8])));
}

#[test]
fn an_unusable_signing_secret_is_left_to_the_probe() -> Result<(), ConfigError> {
    let signing = |value: &str| {
        let environment = environment(&[("Z4J_HMAC_SECRET", value)]);
        resolve(&environment, &ConfigFlags::default()).map(|resolved| resolved.config.signing)
    };
    assert_eq!(signing("")?, Signing::Missing);
    assert!(matches!(signing("c2hvcnQ=")?, Signing::Invalid(..)));
    Ok(())
}

#[test]
fn secrets_are_read_from_files_and_credentials() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    fs::write(dir.path().join("token"), "from-credential\n")?;
    let path = dir.path().display().to_string();
    let credential = environment(&[("Z4J_TOKEN", ""), ("CREDENTIALS_DIRECTORY", &path)]);
    let token = resolve(&credential, &ConfigFlags::default())?.config.token;
    assert_eq!(token.bearer(), "Bearer from-credential");
    fs::write(dir.path().join("other"), "from-file")?;
    let file = dir.path().join("other").display().to_string();
    let flags = ConfigFlags::of(&[("token_file", &file)]);
    assert_eq!(resolve(&environment(&[]), &flags)?.config.token.bearer(), "Bearer from-file");
    Ok(())
}

#[test]
fn a_secret_that_this_user_cannot_read_is_told_by_owner_and_mode() -> std::io::Result<()> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("token");
    fs::write(&file, "x")?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000))?;
    let variables = [("Z4J_TOKEN", ""), ("Z4J_TOKEN_FILE", &file.display().to_string())];
    let error = refusal(&environment(&variables));
    if nix::unistd::Uid::effective().is_root() {
        // Root reads everything; as anybody else, the case below is what happens.
        assert_eq!(error, None);
        return Ok(());
    }
    let text = error.as_ref().map(ToString::to_string).unwrap_or_default();
    assert_eq!(error.as_ref().map(ConfigError::code), Some("config.secret-unreadable"));
    assert!(text.contains("mode 0000") && text.contains("EACCES"), "{text}");
    Ok(())
}

/// It is not shown, for it may be the secret itself.
#[test]
fn what_an_env_file_leaves_around_the_path_of_a_secret_is_told() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("token");
    fs::write(&file, "from-file")?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
    for (left, words) in [
        (format!("\"{}\"", file.display()), "it begins with a quote"),
        (format!("{}\r", file.display()), "it ends in a carriage return"),
    ] {
        let error = refusal(&environment(&[("Z4J_TOKEN", ""), ("Z4J_TOKEN_FILE", &left)]));
        let text = error.map(|error| format!("{error}; {}", error.fix())).unwrap_or_default();
        assert!(text.starts_with(&format!("Z4J_TOKEN_FILE: {words}")), "{text}");
        assert!(!text.contains(&file.display().to_string()), "{text}");
    }
    let variables = [("Z4J_TOKEN", ""), ("Z4J_TOKEN_FILE", &format!("{} ", file.display()))];
    let config = resolve(&environment(&variables), &ConfigFlags::default())?.config;
    assert_eq!(config.token.bearer(), "Bearer from-file");
    Ok(())
}

#[test]
fn dev_mode_is_never_taken_from_the_environment() -> Result<(), ConfigError> {
    let asked = environment(&[("Z4J_DEV_MODE", "true")]);
    let resolved = resolve(&asked, &ConfigFlags::default())?;
    assert!(!resolved.config.dev_mode);
    assert_eq!(resolved.warnings.len(), 1);
    let plain = environment(&[("Z4J_BRAIN_URL", "http://tasks.example.com")]);
    let flags = ConfigFlags::of(&[("dev_mode", "true")]);
    assert!(resolve(&plain, &flags)?.config.dev_mode);
    Ok(())
}

#[test]
fn a_uuid_is_told_from_a_slug() -> Result<(), ConfigError> {
    for (project, is_uuid) in [
        ("picker", false),
        ("fb76ac03-c5fe-4c21-95cc-b9d59cf3f2bc", true),
        ("fb76ac03c5fe4c2195ccb9d59cf3f2bc", false),
    ] {
        let resolved = resolve(&environment(&[("Z4J_PROJECT_ID", project)]), &ConfigFlags::default())?;
        assert_eq!(resolved.config.project_uuid().is_some(), is_uuid, "{project}");
    }
    Ok(())
}

#[test]
fn a_secret_in_place_of_its_files_path_is_not_shown() -> Result<(), Box<dyn std::error::Error>> {
    for value in ["s3cr3t-token", "s3cr3t/token"] {
        let error = refusal(&environment(&[("Z4J_TOKEN", ""), ("Z4J_TOKEN_FILE", value)]));
        let shown = format!("{error:?} {}", error.as_ref().map(ToString::to_string).unwrap_or_default());
        assert!(shown.contains("looks like the secret itself") && !shown.contains("s3cr3t"), "{shown}");
        assert!(error.is_some_and(|error| error.fix().starts_with("use Z4J_TOKEN=")));
    }
    let dir = tempfile::tempdir()?;
    let fifo = dir.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU)?;
    let variables = [("Z4J_TOKEN", ""), ("Z4J_TOKEN_FILE", &fifo.display().to_string())];
    let text = refusal(&environment(&variables)).map(|error| error.to_string()).unwrap_or_default();
    assert!(text.contains("FIFO"), "{text}");
    Ok(())
}

#[test]
fn no_error_shows_what_may_be_secret_in_a_url() {
    for value in ["\"https://me:pw@h/", "me:pw@h", "ftp://h/?token=pw", "https:///me:pw@h", "https://h/#pw"] {
        let error = refusal(&environment(&[("Z4J_BRAIN_URL", value)]));
        let text = error.as_ref().map(ToString::to_string).unwrap_or_default();
        assert_eq!(error.map(|error| error.code()), Some("config.invalid"), "{value}");
        assert!(!text.contains("pw"), "{text}");
    }
}

#[test]
fn a_secret_below_a_closed_directory_is_moved_and_the_directory_stays_closed() {
    let secret = crate::config::UnreadableSecret {
        name: "Z4J_TOKEN_FILE".into(),
        file: "/root/token".into(),
        user: "www-data".into(),
        reason: String::new(),
        refusing: "/root".into(),
        owner: None,
        user_flag: "www-data".into(),
        group: "www-data".into(),
    };
    let fix = "sudo install -D -o www-data -g www-data -m 0400 /root/token /etc/z4j/token\n\
               Environment=Z4J_TOKEN_FILE=/etc/z4j/token";
    assert_eq!(ConfigError::SecretUnreadable(Box::new(secret)).fix(), fix);
}

#[test]
fn a_variable_wins_over_the_file_and_the_file_over_the_default() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("z4j.toml");
    fs::write(dir.path().join("token"), "from-file\n")?;
    let token = dir.path().join("token").display().to_string();
    let text = format!(
        "token_file = '{token}'\ntransport = 'ws'\nbuffer_max_events = 2_000\nheartbeat = false\n\
         redaction_extra_key_patterns = ['a{{1,2}}']\ndev_mode = true\norchestrated = true\n"
    );
    fs::write(&file, text)?;
    let path = file.display().to_string();
    let variables = [
        ("Z4J_TOKEN", ""),
        ("Z4J_CONFIG", path.as_str()),
        ("Z4J_TRANSPORT", "longpoll"),
        ("Z4J_BRAIN_URL", "http://tasks.example.com"),
    ];
    let config = resolve(&environment(&variables), &ConfigFlags::default())?.config;
    assert_eq!((config.transport, config.buffer_max_events), (Transport::Longpoll, 2_000));
    assert_eq!((config.heartbeat, config.agent_status, config.orchestrated), (false, true, Some(true)));
    assert_eq!(config.redaction.key_patterns, ["a{1,2}"]);
    assert_eq!(config.token.bearer(), "Bearer from-file");
    assert_eq!((config.buffer_max_bytes, config.stop_timeout.as_secs()), (268_435_456, 10));
    let flags = ConfigFlags::of(&[("transport", "auto"), ("buffer_max_events", "3000")]);
    let config = resolve(&environment(&variables), &flags)?.config;
    assert_eq!((config.transport, config.buffer_max_events), (Transport::Auto, 3_000));
    Ok(())
}

#[test]
fn a_bad_value_names_setting_value_and_bounds() {
    for (name, value, words) in [
        ("Z4J_BUFFER_MAX_EVENTS", "999", "a whole number from 1000 to 10000000"),
        ("Z4J_BUFFER_MAX_EVENTS", "10000001", "above 10000000"),
        ("Z4J_MAX_PAYLOAD_BYTES", "100", "a whole number from 128 to 8192"),
        ("Z4J_HEARTBEAT", "maybe", "none of true, false"),
        ("Z4J_LOG_LEVEL", "loud", "error, warning, info, debug or trace"),
        ("Z4J_LOG_FORMAT", "xml", "text or json"),
        ("Z4J_WORKER_ROLE", "a role of more than thirty-two characters", "at most 32 characters"),
        ("Z4J_ENGINES", "celery,R Q", "\"R Q\" is no such name"),
        ("Z4J_REDACTION_EXTRA_KEY_PATTERNS", "a,(b", "\"(b\": it is no regular expression: unclosed group"),
        ("Z4J_REDACTION_EXTRA_KEY_PATTERNS", "(?x)foo # b", "unclosed group"),
        ("Z4J_REDACTION_EXTRA_VALUE_PATTERNS", "(?=a)", "look-around"),
        ("Z4J_REDACTION_EXTRA_VALUE_PATTERNS", "(?:tok_[a-z]+)?", "it matches the empty text"),
        ("Z4J_STOP_TIMEOUT", "1h", "at most 600s"),
        ("Z4J_DISABLED", "perhaps", "none of true, false"),
        ("Z4J_CONFIG", "/nonexistent/z4j.toml", "ENOENT"),
    ] {
        let error = refusal(&environment(&[(name, value)]));
        let text = error.as_ref().map(|error| format!("{error}; {}", error.fix())).unwrap_or_default();
        assert_eq!(error.as_ref().map(ConfigError::code), Some("config.invalid"), "{name}={value}");
        assert!(text.starts_with(&format!("{name}={value:?}: ")) && text.contains(words), "{text}");
    }
}

#[test]
fn words_are_taken_in_any_case() -> Result<(), ConfigError> {
    let variables = [("Z4J_LOG_LEVEL", "WARNING"), ("Z4J_LOG_FORMAT", "JSON"), ("Z4J_HEARTBEAT", "No")];
    let config = resolve(&environment(&variables), &ConfigFlags::default())?.config;
    assert_eq!(
        (config.log_level, config.log_format),
        (super::super::LogLevel::Warning, super::super::LogFormat::Json)
    );
    assert!(!config.heartbeat);
    Ok(())
}

#[test]
fn what_has_no_effect_is_said_once_each() -> Result<(), ConfigError> {
    let variables = [
        ("Z4J_TAGS", "a=b"),
        ("Z4J_HEARTBEAT_SECONDS", "5"),
        ("Z4J_HEARTBEAT", ""),
        ("Z4J_BUFFER_DIR", "/x"),
        ("Z4J_ENGINE", "celery"),
        ("Z4J_PURGE_THRESHOLD", "1"),
    ];
    let resolved = resolve(&environment(&variables), &ConfigFlags::default())?;
    assert!(resolved.config.heartbeat);
    let wanted = [
        "Z4J_HEARTBEAT is empty, which is unset here; write Z4J_HEARTBEAT=0 to disable",
        "Z4J_TAGS has no effect",
        "Z4J_HEARTBEAT_SECONDS has no effect",
        "Z4J_BUFFER_DIR has no effect; set Z4J_HOME to the directory that holds the buffer",
        "Z4J_ENGINE is no setting; did you mean Z4J_ENGINES?",
    ];
    assert_eq!(resolved.warnings, wanted);
    Ok(())
}

#[test]
fn nothing_else_is_needed_to_be_disabled() -> Result<(), ConfigError> {
    let mut empty = environment(&[("Z4J_DISABLED", "1")]);
    empty.variables.retain(|name, _| name == "Z4J_DISABLED");
    assert!(is_disabled(&empty, &ConfigFlags::default())?);
    assert!(!is_disabled(&environment(&[]), &ConfigFlags::default())?);
    Ok(())
}

#[test]
fn a_file_that_everybody_may_write_names_no_programs() -> std::io::Result<()> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("z4j.toml");
    fs::write(&file, "[engine.rq]\nadapter = 'exec'\naction.x.argv = ['/bin/true']\n")?;
    let path = file.display().to_string();
    for (mode, refused) in [(0o644, false), (0o646, true)] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode))?;
        let error = refusal(&environment(&[("Z4J_CONFIG", &path)]));
        assert_eq!(error.is_some_and(|error| error.fix().starts_with("chmod o-w ")), refused, "{mode:o}");
    }
    Ok(())
}
