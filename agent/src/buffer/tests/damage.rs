use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;

use super::*;
use crate::buffer::Loss;

fn orphan(world: &World, events: usize) -> Result<PathBuf, Box<dyn std::error::Error>> {
    let texts: Vec<String> =
        (0..events).map(|n| format!("{{\"n\":{n},\"pad\":\"{}\"}}", "x".repeat(200))).collect();
    let place = world.chooser(7).choose()?;
    let path = place.path.clone();
    crash(place, &texts.iter().map(String::as_str).collect::<Vec<_>>())?;
    Ok(path)
}

/// Copies the log into the database, so that damage hits what is read.
fn settle_log(path: &Path) -> TestResult {
    let store = super::super::store::Store::open(path).map_err(|unusable| format!("{unusable:?}"))?;
    store.checkpoint()?;
    Ok(())
}

#[tokio::test]
async fn garbage_never_stops_the_start() -> TestResult {
    // Our own earlier file, and that of another.
    for pid in [7, 8] {
        let world = World::new()?;
        let path = orphan(&world, 3)?;
        for file in crate::buffer::files::of(&path) {
            let _ = fs::remove_file(file);
        }
        fs::write(&path, "garbage".repeat(1_000))?;
        let buffer = world.open(pid, ROOMY)?;
        buffer.append(vec![event(1)]).await?;
        let aside = crate::buffer::files::with_suffix(&path, ".corrupt-1");
        let lock = crate::paths::lock_of(&aside);
        eventually("it is not set aside", || aside.exists() && !lock.exists()).await;
        assert_eq!(texts(&buffer.read(0, ALL).await), ["{\"n\":1}"]);
        buffer.settle(0, 9).await;
        buffer.close().await;
        assert_eq!(names(&world.home()), ["buffer-7.sqlite.corrupt-1"], "{pid}");
    }
    Ok(())
}

#[tokio::test]
async fn what_can_be_read_of_a_damaged_file_is_read() -> TestResult {
    for pid in [7, 8] {
        let world = World::new()?;
        let path = orphan(&world, 3_000)?;
        settle_log(&path)?;
        // Two holes: pages in the middle of the table.
        let file = OpenOptions::new().write(true).open(&path)?;
        for page in [60_u64, 61, 120] {
            file.write_all_at(&[0xff; 4_096], page * 4_096)?;
        }
        let buffer = world.open(pid, ROOMY)?;
        // Reading finds the damage.
        let _ = buffer.read(0, ALL).await;
        let aside = crate::buffer::files::with_suffix(&path, ".corrupt-1");
        let lock = crate::paths::lock_of(&aside);
        eventually("it is not set aside", || aside.exists() && !lock.exists()).await;
        let rows = buffer.read(0, ALL).await;
        assert!((2_900..3_000).contains(&rows.len()), "{pid}: {}", rows.len());
        let mut different = texts(&rows);
        different.sort_unstable();
        different.dedup();
        assert_eq!(different.len(), rows.len());
        buffer.append(vec![event(1)]).await?;
        let lost = 3_000 - rows.len() as u64;
        let counted = Loss { content_rejected: lost, events: lost, ..Loss::default() };
        assert_eq!(buffer.status().borrow().loss, counted, "{pid}");
    }
    Ok(())
}

#[tokio::test]
async fn a_cut_log_an_empty_file_and_other_schemas() -> TestResult {
    let world = World::new()?;
    let path = orphan(&world, 100)?;
    let log = crate::buffer::files::with_suffix(&path, "-wal");
    let length = fs::metadata(&log)?.len();
    OpenOptions::new().write(true).open(&log)?.set_len(length / 2)?;
    let buffer = world.open(7, ROOMY)?;
    buffer.append(vec![event(1)]).await?;
    assert!(buffer.read(0, ALL).await.len() <= 101);
    // An empty file: its process died before it wrote the schema.
    let place = world.chooser(9).choose()?;
    fs::write(&place.path, "")?;
    let empty = open(place, ROOMY, Clock::system())?;
    empty.append(vec![event(1)]).await?;
    // A newer schema is left alone, by its own process and by others.
    let place = world.chooser(10).choose()?;
    let newer = place.path.clone();
    crash(place, &["{}"])?;
    settle_log(&newer)?;
    OpenOptions::new().write(true).open(&newer)?.write_all_at(&99_u32.to_be_bytes(), 60)?;
    let before = fs::read(&newer)?;
    let beside = world.open(10, ROOMY)?;
    assert_eq!(beside.status().borrow().path, world.home().join("buffer-10-1.sqlite"));
    beside.append(vec![event(1)]).await?;
    assert_eq!(fs::read(&newer)?, before);
    Ok(())
}

/// A header, and a whole first page: what comes behind it is found all the same, with the log and without.
#[tokio::test]
async fn events_behind_a_damaged_header_are_read() -> TestResult {
    for (bytes, log) in [(16, false), (100, false), (4_096, false), (100, true)] {
        for pid in [7, 8] {
            let world = World::new()?;
            let path = orphan(&world, 500)?;
            if !log {
                settle_log(&path)?;
            }
            let file = OpenOptions::new().write(true).open(&path)?;
            file.write_all_at(&vec![0xff; bytes], 0)?;
            let buffer = world.open(pid, ROOMY)?;
            let aside = crate::buffer::files::with_suffix(&path, ".corrupt-1");
            let lock = crate::paths::lock_of(&aside);
            eventually("it is not set aside", || aside.exists() && !lock.exists()).await;
            let rows = buffer.read(0, ALL).await;
            assert_eq!(rows.len(), 500, "{bytes} {log} {pid}");
            assert_eq!(fs::read(&aside)?[..16], [0xff; 16], "it is kept as it was");
            assert!(names(&world.home()).iter().all(|name| !name.contains("salvage")));
        }
    }
    Ok(())
}

/// SQLite throws the log of an empty database away, and so did we with that of a missing one.
#[tokio::test]
async fn a_log_whose_database_is_gone_or_empty_is_read_and_kept() -> TestResult {
    for (is_gone, pid) in [(true, 7), (true, 8), (false, 7), (false, 8)] {
        let world = World::new()?;
        let path = orphan(&world, 500)?;
        let log = fs::read(crate::buffer::files::with_suffix(&path, "-wal"))?;
        if is_gone {
            fs::remove_file(&path)?;
        } else {
            OpenOptions::new().write(true).open(&path)?.set_len(0)?;
        }
        let buffer = world.open(pid, ROOMY)?;
        let aside = crate::buffer::files::with_suffix(&path, ".corrupt-1");
        let (lock, kept) = (crate::paths::lock_of(&aside), crate::buffer::files::with_suffix(&aside, "-wal"));
        eventually("it is not set aside", || kept.exists() && !lock.exists()).await;
        assert_eq!(buffer.read(0, ALL).await.len(), 500, "{is_gone} {pid}");
        assert_eq!(fs::read(&kept)?, log, "{is_gone} {pid}");
    }
    Ok(())
}

#[tokio::test]
async fn an_explicit_empty_file_with_a_log_is_set_aside() -> TestResult {
    let world = World::new()?;
    let path = world.home().join("own.sqlite");
    let chooser = world.explicit(path.to_str().ok_or("no text")?);
    crash(chooser.choose()?, &["{\"n\":1}"])?;
    OpenOptions::new().write(true).open(&path)?.set_len(0)?;
    let buffer = open(chooser.choose()?, ROOMY, Clock::system())?;
    let kept = crate::buffer::files::with_suffix(&path, ".corrupt-1-wal");
    eventually("it is not set aside", || kept.exists()).await;
    buffer.append(vec![event(2)]).await?;
    buffer.close().await;
    assert!(fs::metadata(&kept)?.len() > 0);
    Ok(())
}
