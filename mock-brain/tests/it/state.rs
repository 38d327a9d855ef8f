//! The state directory.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use mock_brain::{Brain, Options};

use crate::support::{listener, start, within};

fn options(dir: &Path) -> Options {
    Options { state_dir: Some(dir.to_owned()), ..Options::default() }
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_restart_keeps_everything() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("a/b");
    let brain = start(options(&dir)).await;
    let (credentials, ca) = (brain.credentials(), brain.ca_pem().unwrap());
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(&dir.join("state.json")), 0o600);
    assert_eq!(std::fs::read_to_string(dir.join("ca.pem")).unwrap(), ca);
    let before = std::fs::read(dir.join("state.json")).unwrap();
    within(brain.stop()).await;
    let brain = start(options(&dir)).await;
    assert!(brain.credentials() == credentials);
    assert_eq!(brain.ca_pem().unwrap(), ca);
    assert_eq!(std::fs::read(dir.join("state.json")).unwrap(), before, "nothing was issued anew");
    within(brain.stop()).await;
    // Other names: another server certificate of the same CA.
    let brain = start(Options { names: vec!["new.example.com".to_owned()], ..options(&dir) }).await;
    assert_eq!(brain.ca_pem().unwrap(), ca);
    assert!(crate::support::tls(&brain, "new.example.com").await.is_ok());
    within(brain.stop()).await;
    // Another agent of the same project: its own token, the same secret.
    let brain = start(Options { agent: "second".to_owned(), tls: false, ..options(&dir) }).await;
    let second = brain.credentials();
    assert_eq!(
        (second.hmac_secret.as_str(), second.project_uuid.as_str()),
        (credentials.hmac_secret.as_str(), credentials.project_uuid.as_str())
    );
    assert_ne!(second.token, credentials.token);
}

#[tokio::test]
async fn directories_that_do_not_serve() {
    let root = tempfile::tempdir().unwrap();
    let refused = |dir: &Path| {
        let options = options(dir);
        async move { Brain::start(options, listener()).await.err().expect("refused").to_string() }
    };
    let held = root.path().join("held");
    let brain = start(options(&held)).await;
    let error = refused(&held).await;
    assert!(error.contains("in use") && error.contains("held"), "{error}");
    drop(brain);

    let file = root.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = refused(&file.join("below")).await;
    assert!(error.contains("--state-dir"), "{error}");

    let open = root.path().join("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
    let error = refused(&open).await;
    assert!(error.contains("writable by others"), "{error}");

    let linked = root.path().join("linked");
    std::fs::create_dir(&linked).unwrap();
    std::fs::set_permissions(&linked, std::fs::Permissions::from_mode(0o700)).unwrap();
    std::os::unix::fs::symlink(root.path().join("elsewhere"), linked.join("lock")).unwrap();
    let error = refused(&linked).await;
    assert!(error.contains("linked/lock") && !root.path().join("elsewhere").exists(), "{error}");

    let broken = root.path().join("broken");
    std::fs::create_dir(&broken).unwrap();
    std::fs::set_permissions(&broken, std::fs::Permissions::from_mode(0o700)).unwrap();
    std::fs::write(broken.join("state.json"), "{\"version\": 1, \"secret-word\"").unwrap();
    let error = refused(&broken).await;
    assert!(error.contains("state.json") && !error.contains("secret-word"), "{error}");
}

#[tokio::test]
async fn names_that_do_not_serve() {
    let cases = [
        Options { project: "No Slug".to_owned(), ..Options::default() },
        Options { project: "-x-".to_owned(), ..Options::default() },
        Options { agent: String::new(), ..Options::default() },
        Options { names: vec!["a b".to_owned()], ..Options::default() },
        Options { names: vec!["..".to_owned()], ..Options::default() },
        Options { names: vec!["münchen".to_owned()], ..Options::default() },
    ];
    for options in cases {
        let text = format!("{options:?}");
        assert!(Brain::start(options, listener()).await.is_err(), "{text}");
    }
}
