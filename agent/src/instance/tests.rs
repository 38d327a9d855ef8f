//! Claims and the search for them, over directories of the test's own.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::*;
use crate::environment::Environment;

fn environment(pid: u32) -> Environment {
    let mut environment = Environment { pid, ..Environment::capture() };
    environment.variables.clear();
    environment
}

fn names(dir: &Path, environment: &Environment) -> Vec<String> {
    let found = live_in(&[dir.to_owned()], environment.account.uid);
    found.into_iter().map(|instance| instance.name).collect()
}

fn mode(path: &Path) -> io::Result<u32> {
    Ok(fs::symlink_metadata(path)?.permissions().mode() & 0o777)
}

#[test]
fn agents_with_one_pid_share_a_directory() -> io::Result<()> {
    let dir = tempfile::tempdir()?;
    let environment = environment(1);
    let first = claim(dir.path(), &environment)?;
    let second = claim(dir.path(), &environment)?;
    assert_eq!(second.instance().name, "agent-1-2");
    let pidfile = first.instance().pidfile();
    assert_eq!((fs::read_to_string(&pidfile)?.as_str(), mode(&pidfile)?), ("1\n", 0o600));
    let mut found = names(dir.path(), &environment);
    found.sort();
    assert_eq!(found, ["agent-1", "agent-1-2"]);
    drop(first);
    assert_eq!(names(dir.path(), &environment), ["agent-1-2"]);
    assert!(!pidfile.exists() && second.instance().pidfile().exists());
    Ok(())
}

#[test]
fn what_a_dead_agent_left_is_taken_over() -> io::Result<()> {
    let dir = tempfile::tempdir()?;
    let environment = environment(7);
    fs::write(dir.path().join("agent-7.pid"), "left over, and longer than a pid")?;
    for file in ["agent-7.sock", "agent-7.control.sock"] {
        drop(UnixListener::bind(dir.path().join(file))?);
    }
    assert_eq!(names(dir.path(), &environment), Vec::<String>::new());
    let claim = claim(dir.path(), &environment)?;
    assert_eq!(claim.instance().name, "agent-7");
    assert_eq!(fs::read_to_string(claim.instance().pidfile())?, "7\n");
    assert!(!claim.instance().ingest_socket().exists() && !claim.instance().control_socket().exists());
    drop(claim);
    assert_eq!(fs::read_dir(dir.path())?.count(), 0);
    Ok(())
}

#[tokio::test]
async fn a_name_whose_files_are_gone_is_taken_again() -> io::Result<()> {
    let dir = tempfile::tempdir()?;
    let (place, environment) = (dir.path().join("z4j-7"), environment(7));
    let mut claim = claim(&place, &environment)?;
    let ingest = claim.instance().ingest_socket();
    claim.announce(&ingest)?;
    assert!(!claim.mend(&ingest)?);
    fs::remove_dir_all(&place)?;
    assert_eq!(names(&place, &environment), Vec::<String>::new());
    assert!(claim.mend(&ingest)?);
    assert_eq!(names(&place, &environment), ["agent-7"]);
    assert_eq!(fs::read_link(place.join(CURRENT_SOCKET))?, PathBuf::from("agent-7.sock"));
    assert_eq!(mode(&place)?, 0o700);

    // What others may write, and a name that is another agent's by now, stay as they are.
    fs::remove_file(claim.instance().pidfile())?;
    fs::set_permissions(&place, fs::Permissions::from_mode(0o777))?;
    assert!(claim.mend(&ingest).is_err_and(|error| error.to_string().contains("somebody else's")));
    fs::set_permissions(&place, fs::Permissions::from_mode(0o700))?;
    let other = super::claim(&place, &environment)?;
    assert!(claim.mend(&ingest).is_err_and(|error| error.to_string().contains("another agent's")));
    drop(claim);
    assert_eq!(names(&place, &environment), ["agent-7"]);
    drop(other);
    Ok(())
}

#[test]
fn a_link_or_a_foreign_file_is_no_pidfile() -> io::Result<()> {
    let dir = tempfile::tempdir()?;
    let environment = environment(7);
    let target = dir.path().join("precious");
    fs::write(&target, "precious")?;
    symlink(&target, dir.path().join("agent-7.pid"))?;
    nix::unistd::mkfifo(&dir.path().join("agent-7-2.pid"), nix::sys::stat::Mode::S_IRWXU)?;
    let claim = claim(dir.path(), &environment)?;
    assert_eq!(claim.instance().name, "agent-7-3");
    assert_eq!(fs::read_to_string(&target)?, "precious");
    let stranger = environment.account.uid + 1;
    assert_eq!(live_in(&[dir.path().to_owned()], stranger), Vec::new());
    Ok(())
}

#[tokio::test]
async fn the_link_leads_to_the_newest_that_lives() -> io::Result<()> {
    let dir = tempfile::tempdir()?;
    let current = dir.path().join(CURRENT_SOCKET);
    let (old, new) = (claim(dir.path(), &environment(8))?, claim(dir.path(), &environment(9))?);
    let old_listener = listen(&old.instance().ingest_socket())?;
    old.announce(&old.instance().ingest_socket())?;
    let elsewhere = dir.path().join("elsewhere");
    let new_listener = listen(&elsewhere)?;
    new.announce(&elsewhere)?;
    assert_eq!(fs::read_link(&current)?, PathBuf::from("agent-9.sock"));
    assert_eq!(mode(&elsewhere)?, 0o600);
    UnixStream::connect(&current)?;
    new_listener.accept().await?;
    drop(new);
    UnixStream::connect(&current)?;
    old_listener.accept().await?;
    // Somebody else's link stays.
    let third = claim(dir.path(), &environment(10))?;
    third.announce(&third.instance().ingest_socket())?;
    drop(old);
    assert_eq!(fs::read_link(&current)?, PathBuf::from("agent-10.sock"));
    drop(third);
    assert!(fs::symlink_metadata(&current).is_err() && elsewhere.exists());
    Ok(())
}

#[test]
fn the_runtime_directory_serves_if_it_is_ours() -> io::Result<()> {
    let dir = tempfile::tempdir()?;
    let (run, buffer) = (dir.path().join("run"), dir.path().join("buffer"));
    fs::create_dir(&run)?;
    let mut environment = environment(7);
    assert_eq!(place(&environment, None, &buffer), buffer);
    let list = format!("{}:{}", run.display(), dir.path().display());
    environment.variables.insert("RUNTIME_DIRECTORY".into(), list.into());
    assert_eq!(place(&environment, None, &buffer), run);
    assert_eq!(places(&environment, Some(&buffer))[..2], [run.clone(), buffer.clone()]);
    fs::set_permissions(&run, fs::Permissions::from_mode(0o777))?;
    assert_eq!(place(&environment, None, &buffer), buffer);
    let long = dir.path().join("x".repeat(90));
    fs::create_dir(&long)?;
    environment.variables.insert("RUNTIME_DIRECTORY".into(), long.clone().into());
    assert_eq!(place(&environment, None, &buffer), buffer);
    let refused = claim(&long, &environment).map(|_| ()).map_err(|error| error.to_string()).err();
    assert!(refused.is_some_and(|text| text.contains("107") && text.contains("Z4J_HOME")));
    Ok(())
}

#[test]
fn an_agent_is_found_in_its_root_whatever_its_buffer_is_called() -> io::Result<()> {
    let dir = tempfile::tempdir()?;
    let (home, environment) = (fs::canonicalize(dir.path())?.join("home"), environment(7));
    let buffers = home.join("sub/buffers");
    fs::create_dir_all(&buffers)?;
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700))?;
    let claim = claim(&place(&environment, Some(&home), &buffers), &environment)?;
    assert_eq!(live(&environment, Some(&home)), [claim.instance().clone()]);
    // A root that others may write has no sockets.
    fs::set_permissions(&home, fs::Permissions::from_mode(0o777))?;
    assert_eq!(place(&environment, Some(&home), &buffers), buffers);
    Ok(())
}

#[test]
fn what_killed_agents_left_is_swept() -> io::Result<()> {
    let dir = tempfile::tempdir()?;
    let path = |file: &str| dir.path().join(file);
    for name in ["agent-3", "agent-4-2", "agent-5"] {
        fs::write(path(&format!("{name}.pid")), "3\n")?;
        drop(UnixListener::bind(path(&format!("{name}.control.sock")))?);
    }
    symlink("/somewhere/else.sock", path("agent-3.sock"))?;
    symlink("agent-3.sock", path(CURRENT_SOCKET))?;
    // What is no socket was put there by somebody, and so it stays with its pidfile.
    fs::write(path("agent-5.sock"), "precious")?;
    // What is no agent's stays too.
    fs::write(path("agent-bare.pid"), "5\n")?;
    drop(UnixListener::bind(path("other.sock"))?);
    let living = claim(dir.path(), &environment(8))?;
    let own = claim(dir.path(), &environment(9))?;
    let mut left: Vec<_> = fs::read_dir(dir.path())?
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    left.sort();
    let wanted =
        ["agent-5.pid", "agent-5.sock", "agent-8.pid", "agent-9.pid", "agent-bare.pid", "other.sock"];
    assert_eq!(left, wanted);
    assert_eq!(fs::read_to_string(path("agent-5.sock"))?, "precious");
    drop((living, own));
    Ok(())
}

#[test]
fn a_file_at_the_name_of_a_socket_is_left_alone() -> io::Result<()> {
    let dir = tempfile::tempdir()?;
    fs::write(dir.path().join("agent-7.sock"), "precious")?;
    let claim = claim(dir.path(), &environment(7))?;
    assert_eq!(claim.instance().name, "agent-7-2");
    drop(claim);
    assert_eq!(fs::read_to_string(dir.path().join("agent-7.sock"))?, "precious");
    Ok(())
}

#[tokio::test]
async fn a_link_that_leads_to_no_live_agent_is_made_again() -> io::Result<()> {
    let dir = tempfile::tempdir()?;
    let current = dir.path().join(CURRENT_SOCKET);
    let mut living = claim(dir.path(), &environment(8))?;
    let ingest = living.instance().ingest_socket();
    let _listener = listen(&ingest)?;
    living.announce(&ingest)?;
    // One that was killed leaves its socket.
    drop(UnixListener::bind(dir.path().join("agent-9.sock"))?);
    let elsewhere = dir.path().join("elsewhere.sock");
    drop(UnixListener::bind(&elsewhere)?);
    for (target, wanted) in [
        (Some("agent-9.sock"), "agent-8.sock"),
        (None, "agent-8.sock"),
        (Some("nowhere.sock"), "agent-8.sock"),
        (Some("elsewhere.sock"), "elsewhere.sock"),
    ] {
        fs::remove_file(&current)?;
        if let Some(target) = target {
            symlink(target, &current)?;
        }
        assert!(!living.mend(&ingest)?);
        assert_eq!(fs::read_link(&current)?, PathBuf::from(wanted), "{target:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_file_in_the_place_of_the_link_stays() -> io::Result<()> {
    let dir = tempfile::tempdir()?;
    let current = dir.path().join(CURRENT_SOCKET);
    fs::write(&current, "precious")?;
    let mut claim = claim(dir.path(), &environment(7))?;
    let ingest = claim.instance().ingest_socket();
    let _listener = listen(&ingest)?;
    claim.announce(&ingest)?;
    assert!(!claim.mend(&ingest)?);
    assert_eq!(fs::read_to_string(&current)?, "precious");
    // Once it is gone, the link is made.
    fs::remove_file(&current)?;
    assert!(!claim.mend(&ingest)?);
    assert_eq!(fs::read_link(&current)?, PathBuf::from("agent-7.sock"));
    Ok(())
}

#[test]
fn an_agent_beside_a_buffer_of_its_own_is_found() -> io::Result<()> {
    let dir = tempfile::tempdir()?;
    let place = dir.path().join("deep/er");
    let mut environment = environment(7);
    let claim = claim(&place, &environment)?;
    let found = |environment: &Environment| live(environment, Some(dir.path())).contains(claim.instance());
    assert!(!found(&environment));
    environment.variables.insert("Z4J_BUFFER_PATH".into(), place.join("buffer.sqlite").into());
    assert!(found(&environment));
    symlink(&place, dir.path().join("other"))?;
    environment.variables.insert("Z4J_BUFFER_PATH".into(), dir.path().join("other/b").into());
    assert_eq!(live(&environment, Some(&place)).len(), 1);
    Ok(())
}
