use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::*;
use crate::buffer::PlaceError;

#[test]
fn the_default_name_or_the_next_one() -> TestResult {
    let world = World::new()?;
    let first = world.chooser(7).choose()?;
    assert_eq!(first.path, world.home().join("buffer-7.sqlite"));
    assert_eq!(first.warnings, Vec::<String>::new());
    assert_eq!(fs::metadata(world.home())?.mode() & 0o777, 0o700);
    assert_eq!(world.chooser(7).choose()?.path, world.home().join("buffer-7-1.sqlite"));
    drop(first);
    assert_eq!(world.chooser(7).choose()?.path, world.home().join("buffer-7.sqlite"));
    Ok(())
}

#[tokio::test]
async fn what_is_foreign_is_left_alone() -> TestResult {
    let world = World::new()?;
    fs::create_dir(world.home())?;
    fs::set_permissions(world.home(), Permissions::from_mode(0o700))?;
    // Names of the Python agents, with no lock; a log without a database; a link; a directory.
    fs::write(world.home().join("buffer-7.sqlite"), "theirs")?;
    fs::write(world.home().join("buffer-7-1.sqlite-wal"), "theirs")?;
    std::os::unix::fs::symlink("/etc/passwd", world.home().join("buffer-7-2.sqlite"))?;
    fs::create_dir(world.home().join("buffer-7-3.sqlite"))?;
    let place = world.chooser(7).choose()?;
    assert_eq!(place.path, world.home().join("buffer-7-4.sqlite"));
    let buffer = open(place, ROOMY, Clock::system())?;
    buffer.append(vec![event(1)]).await?;
    assert_eq!(fs::read_to_string(world.home().join("buffer-7.sqlite"))?, "theirs");
    assert_eq!(fs::read_to_string(world.home().join("buffer-7-1.sqlite-wal"))?, "theirs");
    for name in ["buffer-7-4.sqlite", "buffer-7-4.sqlite-wal", "buffer-7-4.sqlite.lock"] {
        assert_eq!(fs::metadata(world.home().join(name))?.mode() & 0o777, 0o600, "{name}");
    }
    let refused = world.explicit("buffer-7.sqlite").choose().map(|place| place.path);
    assert!(matches!(refused, Err(PlaceError::Foreign { .. })), "{refused:?}");
    Ok(())
}

#[test]
fn an_explicit_path_is_clamped_and_shared_by_siblings() -> TestResult {
    let world = World::new()?;
    let refused = world.explicit("/etc/b.sqlite").choose().map_err(|error| error.to_string());
    let text = refused.err().unwrap_or_default();
    for part in ["Z4J_BUFFER_PATH=/etc/b.sqlite", "outside both roots", ".z4j", "tmp/z4j-", "unset"] {
        assert!(text.contains(part), "{text}");
    }
    let elsewhere = world.dir.path().join("elsewhere");
    fs::create_dir(&elsewhere)?;
    let path = elsewhere.join("b.sqlite").display().to_string();
    let text = world.explicit(&path).choose().map_err(|error| error.to_string()).err().unwrap_or_default();
    assert!(text.contains(&format!("set Z4J_HOME={}", elsewhere.display())), "{text}");
    let first = world.explicit("sub/b.sqlite").choose()?;
    assert!(first.path.ends_with("home/.z4j/sub/b.sqlite"));
    assert_eq!(first.warnings, Vec::<String>::new());
    let second = world.explicit("sub/b.sqlite").choose()?;
    assert!(second.path.ends_with("home/.z4j/sub/b-1.sqlite"));
    assert_eq!(second.warnings.len(), 1);
    assert!(second.warnings[0].contains("live agent"), "{:?}", second.warnings);
    Ok(())
}

#[test]
fn a_fallback_is_one_warning_that_names_both_paths() -> TestResult {
    let world = World::new()?;
    fs::write(world.home(), "no directory")?;
    // Somebody took the first name.
    fs::create_dir(world.temporary())?;
    fs::set_permissions(world.temporary(), Permissions::from_mode(0o777))?;
    let place = world.chooser(7).choose()?;
    let sibling = format!("{}-1", world.temporary().display());
    assert_eq!(place.path, PathBuf::from(&sibling).join("buffer-7.sqlite"));
    let [warning] = place.warnings.as_slice() else { return Err(format!("{:?}", place.warnings).into()) };
    let wanted = world.home().join("buffer-7.sqlite").display().to_string();
    let squatted = format!("{} was passed over", world.temporary().display());
    for part in [&wanted, &place.path.display().to_string(), "no directory", &squatted] {
        assert!(warning.contains(part), "{warning}");
    }
    Ok(())
}
