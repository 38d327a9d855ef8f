use std::fs;
use std::process::Command;

use super::*;
use crate::buffer::Remembered;
use crate::buffer::store::Durability;

#[tokio::test]
async fn files_that_are_cleared_away_are_made_anew() -> TestResult {
    for victims in [&["", "-wal", ".lock"][..], &[""], &["-wal"], &[".lock"]] {
        let world = World::new()?;
        let buffer = world.open(7, ROOMY)?;
        buffer.append((0..1_500).map(event).collect()).await?;
        let results = result("a");
        buffer.finish_command(results.clone()).await?;
        let before = buffer.read(0, ALL).await;
        let id = buffer.status().borrow().buffer_id.clone();
        for suffix in victims {
            fs::remove_file(crate::buffer::files::with_suffix(
                &world.home().join("buffer-7.sqlite"),
                suffix,
            ))?;
        }
        buffer.append(vec![event(1_500)]).await?;
        let rows = buffer.read(0, ALL).await;
        assert_eq!(rows[..1_500], before, "{victims:?}");
        assert_eq!((rows.len(), rows[1_500].id), (1_501, 1_501));
        assert_eq!(buffer.unsettled_results().await, [results]);
        let status = buffer.status().borrow().clone();
        assert_eq!(status.buffer_id, id);
        // It is really there now: another process finds all of it, and nothing twice.
        assert_eq!(names(&world.home()).len(), 3, "{:?}", names(&world.home()));
        buffer.close().await;
        let buffer = world.open(8, ROOMY)?;
        until(&buffer, |status| status.events == 1_501).await?;
    }
    Ok(())
}

/// What another process left keeps its name and its events, also where a new name is looked for beside it.
#[test]
fn a_new_file_is_never_made_of_another_processs() -> TestResult {
    for victim in ["", ".lock"] {
        let world = World::new()?;
        let place = world.chooser(7).choose()?;
        let path = place.path.clone();
        let (mut writer, _status) = open::writer(place, ROOMY, Clock::system())?;
        writer.store.write(Durability::Full, |store| store.insert(1, "{\"n\":1}"))?;
        crash(world.chooser(7).choose()?, &["{\"n\":2}"])?;
        let orphan = world.home().join("buffer-7-1.sqlite");
        assert!(orphan.exists());
        fs::remove_file(crate::buffer::files::with_suffix(&path, victim))?;
        writer.mend().map_err(|refused| refused.to_string())?;
        assert_eq!((writer.store.counters.events, orphan.exists()), (1, true), "{victim}");
        assert_ne!(writer.store.path, orphan);
        // It is adopted as ever.
        for _ in 0..4 {
            writer.duties();
        }
        assert_eq!((writer.store.counters.events, orphan.exists()), (2, false), "{victim}");
    }
    Ok(())
}

#[tokio::test]
async fn a_root_that_is_cleared_away_is_noticed_without_a_write() -> TestResult {
    let world = World::new()?;
    let buffer = world.open(7, ROOMY)?;
    buffer.append(vec![event(1)]).await?;
    fs::remove_dir_all(world.home())?;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    while names(&world.home()).len() < 3 {
        assert!(tokio::time::Instant::now() < deadline, "not noticed");
        tokio::task::yield_now().await;
    }
    assert_eq!(texts(&buffer.read(0, ALL).await), ["{\"n\":1}"]);
    // Something else stands there now: the other root serves.
    fs::remove_dir_all(world.home())?;
    fs::write(world.home(), "no directory")?;
    buffer.append(vec![event(2)]).await?;
    assert_eq!(names(&world.temporary()).len(), 3);
    assert_eq!(texts(&buffer.read(0, ALL).await), ["{\"n\":1}", "{\"n\":2}"]);
    Ok(())
}

/// A small file system; unmounted when dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn new(dir: &Path, options: &str) -> Result<Self, String> {
        fs::create_dir(dir).map_err(|error| error.to_string())?;
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(dir).output();
        match mount {
            Ok(output) if output.status.success() => Ok(Self(dir.to_owned())),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[tokio::test]
async fn a_full_file_system_refuses_and_recovers() -> TestResult {
    let world = World::new()?;
    let mounted = match Mounted::new(&world.home(), "size=6m,mode=0700") {
        Ok(mounted) => mounted,
        Err(why) => {
            eprintln!("skipped: no tmpfs can be mounted here: {why}");
            return Ok(());
        }
    };
    let buffer = world.open(7, ROOMY)?;
    buffer.begin_command("a", None).await?;
    let batch =
        || (0..100).map(|_| NewEvent { text: CanonicalText::kept(format!("\"{}\"", "x".repeat(998))) });
    let mut stored = 0;
    let refused = loop {
        match buffer.append(batch().collect()).await {
            Ok(()) => stored += 100,
            Err(refused) => break refused,
        }
        assert!(stored < 10_000, "6 MiB hold no more than that");
    };
    assert_eq!(refused.code, "ENOSPC");
    assert!(refused.text.contains(".z4j"), "{refused}");
    assert_eq!(
        buffer.status().borrow().refused.as_ref().map(|refused| refused.code.as_str()),
        Some("ENOSPC")
    );
    // Fill the rest, so that nothing at all can be written.
    let filler = world.home().join("filler");
    let _ = fs::write(&filler, vec![0; 8 << 20]);
    let first = buffer.read(0, Limit { events: 10, bytes: usize::MAX }).await;
    buffer.settle(first[0].id, first[9].id).await;
    let _ = buffer.finish_command(result("a")).await;
    assert_eq!(buffer.read(0, Limit { events: 1, bytes: 1 }).await[0].id, first[9].id + 1);
    assert_eq!(buffer.unsettled_results().await, [result("a")]);
    // A command that was carried out is not said to be not.
    assert_eq!(buffer.begin_command("a", None).await, Ok(Remembered::Done(result("a"))));
    fs::remove_file(&filler)?;
    // What is settled makes room, and it goes on by itself.
    for first in (0..10_000).step_by(500) {
        buffer.settle(first, first + 499).await;
    }
    until(&buffer, |status| status.events == 0 && status.refused.is_none()).await?;
    buffer.append(batch().collect()).await?;
    assert_eq!(buffer.unsettled_results().await, [result("a")]);
    drop(buffer);
    drop(mounted);
    Ok(())
}

/// The files of the dead fill a small file system: they are emptied all the same, as room comes free.
#[tokio::test]
async fn a_file_system_full_of_orphans_is_emptied() -> TestResult {
    let world = World::new()?;
    let mounted = match Mounted::new(&world.home(), "size=6m,mode=0700") {
        Ok(mounted) => mounted,
        Err(why) => {
            eprintln!("skipped: no tmpfs can be mounted here: {why}");
            return Ok(());
        }
    };
    let place = world.chooser(7).choose()?;
    let dead = open(place, ROOMY, Clock::system())?;
    let text = |n: usize| format!("{{\"n\":{n},\"pad\":\"{}\"}}", "x".repeat(980));
    let mut count = 0;
    while dead
        .append((count..count + 100).map(|n| NewEvent { text: CanonicalText::kept(text(n)) }).collect())
        .await
        .is_ok()
    {
        count += 100;
    }
    dead.close().await;
    let buffer = world.open(8, ROOMY)?;
    let mut seen = 0;
    while seen < count {
        let status = until(&buffer, |status| status.events > 0).await?;
        let rows = buffer.read(0, ALL).await;
        for row in &rows {
            assert_eq!(row.text.as_str(), text(seen));
            seen += 1;
        }
        assert_eq!(status.loss, crate::buffer::Loss::default());
        buffer.settle(0, rows.last().map_or(0, |row| row.id)).await;
    }
    eventually("its file stays", || !names(&world.home()).contains(&"buffer-7.sqlite".to_owned())).await;
    buffer.append(vec![event(1)]).await?;
    drop(buffer);
    drop(mounted);
    Ok(())
}
