use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::buffer::adopt::Adopter;
use crate::buffer::store::{Durability, Store};
use crate::buffer::{Loss, PlaceError, Remembered};

fn store(place: &Place) -> Result<Store, String> {
    Store::open(&place.path).map_err(|unusable| format!("{unusable:?}"))
}

/// Everything of the dead, into a store.
fn adopt_all(world: &World, own: &mut Store, bounds: Bounds) -> TestResult {
    let mut adopter = Adopter::default();
    let chooser = world.chooser(1);
    adopter.look(own, &chooser.roots(&own.path), (chooser.uid(), &chooser.deployment), bounds, 1);
    while adopter.is_busy() {
        adopter.step(own, bounds, 1)?;
    }
    Ok(())
}

fn held(store: &Store) -> Result<Vec<String>, rusqlite::Error> {
    let rows = store.read(0, ALL, |_| false)?;
    Ok(rows.into_iter().map(|row| row.text.into_string()).collect())
}

#[tokio::test]
async fn everything_of_a_dead_process_is_taken_over() -> TestResult {
    let world = World::new()?;
    let place = world.chooser(7).choose()?;
    let mut dead = store(&place)?;
    dead.write(Durability::Full, |dead| {
        (0..2_500).try_for_each(|n| dead.insert(5, &format!("{{\"n\":{n}}}")))?;
        dead.counters.loss = Loss { capacity_evicted: 5, content_rejected: 1, events: 6, command_results: 0 };
        dead.counters.told = Loss { capacity_evicted: 3, content_rejected: 1, events: 4, command_results: 0 };
        dead.begin("begun", Some("claim"), 5)?;
        dead.finish(&result("done"), 5)?;
        let now = Clock::system().now().unix_micros();
        dead.finish(&result("settled"), now)?;
        dead.settle_result("settled", now)?;
        dead.finish(&result("forgotten"), 5)?;
        dead.settle_result("forgotten", 5)
    })?;
    dead.abandon();
    drop(place);
    let buffer = world.open(8, ROOMY)?;
    buffer.append(vec![event(9_999)]).await?;
    let status = until(&buffer, |status| status.events == 2_501 && status.loss.events == 2).await?;
    assert_eq!(status.loss, Loss { capacity_evicted: 2, content_rejected: 0, events: 2, command_results: 0 });
    let rows = buffer.read(0, ALL).await;
    let adopted: Vec<&str> = texts(&rows).into_iter().filter(|text| *text != "{\"n\":9999}").collect();
    let wanted: Vec<String> = (0..2_500).map(|n| format!("{{\"n\":{n}}}")).collect();
    assert_eq!(adopted, wanted);
    let results = buffer.unsettled_results().await;
    assert_eq!(
        results.iter().map(|result| result.command_id.as_str()).collect::<Vec<_>>(),
        ["begun", "done"]
    );
    assert!(results[0].payload.as_str().contains("\"delivery_claim_token\":\"claim\""));
    assert_eq!(buffer.begin_command("settled", None).await?, Remembered::Done(result("settled")));
    assert_eq!(buffer.begin_command("forgotten", None).await?, Remembered::New);
    let names = names(&world.home());
    assert!(names.iter().all(|name| name.starts_with("buffer-8.sqlite")), "{names:?}");
    Ok(())
}

#[tokio::test]
async fn every_root_is_looked_through_and_the_living_are_left() -> TestResult {
    let world = World::new()?;
    let living = world.open(6, ROOMY)?;
    living.append(vec![event(6)]).await?;
    fs::create_dir(world.temporary())?;
    let mut elsewhere = world.chooser(7);
    elsewhere.home = Some(world.temporary());
    crash(elsewhere.choose()?, &["{\"n\":7}"])?;
    // A process that died between its lock and its database.
    drop(world.chooser(5).choose()?);
    let buffer = world.open(8, ROOMY)?;
    // Either of the living may have found it.
    let found = |buffer: &Buffer| buffer.status().borrow().events;
    eventually("nobody adopts it", || found(&buffer) + found(&living) == 2).await;
    eventually("its files stay", || names(&world.temporary()).is_empty()).await;
    let lock = "buffer-5.sqlite.lock".to_owned();
    eventually("the lock stays", || !names(&world.home()).contains(&lock)).await;
    assert!(names(&world.home()).contains(&"buffer-6.sqlite".to_owned()));
    Ok(())
}

#[tokio::test]
async fn another_projects_events_are_left_for_its_agents() -> TestResult {
    let world = World::new()?;
    let (theirs, ours) = ("b".repeat(16), "a".repeat(16));
    let of = |pid, deployment: &str| Chooser { deployment: deployment.to_owned(), ..world.chooser(pid) };
    crash(of(7, &theirs).choose()?, &["{\"n\":7}"])?;
    crash(of(9, &ours).choose()?, &["{\"n\":9}"])?;
    // A pid that comes again finds a name that is taken.
    let place = of(7, &ours).choose()?;
    assert!(place.path.ends_with("buffer-7-1.sqlite"), "{}", place.path.display());
    let buffer = open(place, ROOMY, Clock::system())?;
    until(&buffer, |status| status.events == 1).await?;
    assert_eq!(texts(&buffer.read(0, ALL).await), ["{\"n\":9}"]);
    assert!(names(&world.home()).contains(&"buffer-7.sqlite".to_owned()));
    Ok(())
}

/// Whose secret is replaced while it runs leaves what it holds to an agent with the new one.
#[tokio::test]
async fn events_go_with_the_secret_that_was_replaced() -> TestResult {
    let world = World::new()?;
    let buffer = world.open(7, ROOMY)?;
    buffer.append(vec![event(1)]).await?;
    buffer.mark("b".repeat(16)).await;
    buffer.append(vec![event(2)]).await?;
    buffer.close().await;
    let chooser = Chooser { deployment: "b".repeat(16), ..world.chooser(8) };
    let successor = open(chooser.choose()?, ROOMY, Clock::system())?;
    until(&successor, |status| status.events == 2).await?;
    Ok(())
}

/// Locks are common beside the files of applications, which may share the home root.
#[tokio::test]
async fn an_applications_files_and_locks_are_left_as_they_are() -> TestResult {
    let world = World::new()?;
    let _ = world.open(7, ROOMY)?;
    let (home, mode) = (world.home(), fs::Permissions::from_mode(0o600));
    let files = [
        ("state.json", "{}"),
        ("state.json.lock", ""),
        ("empty", ""),
        ("empty.lock", ""),
        ("alone.lock", ""),
        ("pid", "x"),
        ("pid.lock", "4711\n"),
        ("buffer-9.sqlite", "SQLite format 3"),
        ("buffer-9.sqlite.lock", ""),
    ];
    for (name, text) in files {
        fs::write(home.join(name), text)?;
        fs::set_permissions(home.join(name), mode.clone())?;
    }
    let chooser = Chooser { written: Some(home.join("state.json")), ..world.chooser(8) };
    assert!(matches!(chooser.choose(), Err(PlaceError::Foreign { .. })));
    let buffer = world.open(9, ROOMY)?;
    assert_eq!(buffer.status().borrow().path, home.join("buffer-9-1.sqlite"));
    crash(world.chooser(10).choose()?, &["{}"])?;
    let found = |buffer: &Buffer| buffer.status().borrow().events;
    let living = world.open(11, ROOMY)?;
    eventually("nothing was looked for", || found(&living) + found(&buffer) == 1).await;
    for (name, text) in files {
        assert_eq!(fs::read_to_string(home.join(name))?, text, "{name}");
    }
    Ok(())
}

#[test]
fn it_stops_when_full_and_goes_on_later() -> TestResult {
    let world = World::new()?;
    let texts: Vec<String> = (0..10).map(|n| format!("{{\"n\":{n}}}")).collect();
    crash(world.chooser(7).choose()?, &texts.iter().map(String::as_str).collect::<Vec<_>>())?;
    let place = world.chooser(8).choose()?;
    let mut own = store(&place)?;
    own.write(Durability::Full, |own| own.insert(1, "live"))?;
    let bounds = Bounds { events: 4, bytes: 1 << 20 };
    adopt_all(&world, &mut own, bounds)?;
    assert_eq!(held(&own)?, ["live", "{\"n\":0}", "{\"n\":1}", "{\"n\":2}"]);
    adopt_all(&world, &mut own, bounds)?;
    assert_eq!(own.counters.events, 4);
    assert_eq!(own.counters.loss, Loss::default());
    own.write(Durability::Full, |own| own.settle(0, 4, 1))?;
    adopt_all(&world, &mut own, Bounds { events: 100, ..bounds })?;
    assert_eq!(held(&own)?, texts[3..]);
    assert_eq!(names(&world.home()).iter().filter(|name| name.starts_with("buffer-7")).count(), 0);
    Ok(())
}

/// Kill -9 of an adopter between its own commit and what it does to the orphan: its successor knows.
#[test]
fn an_adopter_that_dies_halfway_doubles_nothing() -> TestResult {
    for from_orphan in [false, true] {
        let world = World::new()?;
        crash(world.chooser(7).choose()?, &["{\"n\":0}", "{\"n\":1}"])?;
        let orphan = store(&world.chooser(7).choose()?)?;
        let id = orphan.buffer_id.clone();
        orphan.abandon();
        let place = world.chooser(8).choose()?;
        let mut adopter = store(&place)?;
        adopter.write(Durability::Full, |adopter| {
            adopter.insert(1, "{\"n\":0}")?;
            let last_id = 1;
            adopter.note(&super::super::records::Record { buffer_id: id, last_id, ..Default::default() }, 1)
        })?;
        adopter.abandon();
        drop(place);
        // Its successor is a third process, or one that goes on with the orphan itself.
        let place = world.chooser(if from_orphan { 7 } else { 6 }).choose()?;
        let mut own = store(&place)?;
        adopt_all(&world, &mut own, ROOMY)?;
        let mut held = held(&own)?;
        held.sort();
        assert_eq!(held, ["{\"n\":0}", "{\"n\":1}"], "{from_orphan}");
    }
    Ok(())
}

#[test]
fn many_adopters_take_everything_once() -> TestResult {
    let world = World::new()?;
    let wanted: Vec<String> = (0..12).map(|n| format!("{{\"n\":{n}}}")).collect();
    for (pid, text) in (100..).zip(&wanted) {
        crash(world.chooser(pid).choose()?, &[text])?;
    }
    // Those who are done live on, so that nobody adopts them.
    let adopt = &|pid| -> Result<(Place, Store), String> {
        let place = world.chooser(pid).choose().map_err(|error| error.to_string())?;
        let mut own = store(&place)?;
        for _ in 0..5 {
            adopt_all(&world, &mut own, ROOMY).map_err(|error| error.to_string())?;
        }
        Ok((place, own))
    };
    let adopters = std::thread::scope(|scope| {
        let threads: Vec<_> = (1..=4).map(|pid| scope.spawn(move || adopt(pid))).collect();
        let joined = threads.into_iter().map(|thread| thread.join().map_err(|_| "panic".to_owned())?);
        joined.collect::<Result<Vec<_>, _>>()
    })?;
    let found: Vec<Vec<String>> =
        adopters.iter().map(|(_, own)| held(own)).collect::<rusqlite::Result<_>>()?;
    let mut found: Vec<String> = found.into_iter().flatten().collect();
    found.sort_by_key(|text| wanted.iter().position(|wanted| wanted == text));
    assert_eq!(found, wanted);
    Ok(())
}

/// What is taken over leaves room for what is still to come, and the rest stays where it is.
#[test]
fn the_rest_of_an_orphan_stays_until_there_is_room() -> TestResult {
    let world = World::new()?;
    let text = |n: usize| format!("{{\"n\":{n},\"pad\":\"{}\"}}", "x".repeat(10_000));
    let texts: Vec<String> = (0..300).map(text).collect();
    crash(world.chooser(7).choose()?, &texts.iter().map(String::as_str).collect::<Vec<_>>())?;
    let place = world.chooser(8).choose()?;
    let mut own = store(&place)?;
    own.write(Durability::Full, |own| own.insert(1, "live"))?;
    let bounds = Bounds { events: 1_000, bytes: 1 << 20 };
    adopt_all(&world, &mut own, bounds)?;
    let most = bounds.bytes - (64 << 10);
    assert!((most - 11_000..=most).contains(&own.counters.bytes), "{:?}", own.counters);
    let log = crate::buffer::files::with_suffix(&own.path, "-wal");
    assert_eq!(fs::metadata(log)?.len(), 0, "the log is copied back");
    let (first, taken) = (held(&own)?, own.counters.events);
    assert_eq!(first[1..], texts[..first.len() - 1]);
    adopt_all(&world, &mut own, bounds)?;
    assert_eq!((own.counters.events, own.counters.loss), (taken, Loss::default()));
    let mut seen = first;
    while seen.len() < 301 {
        let last = own.counters.last_id;
        own.write(Durability::Full, |own| own.settle(0, last, 1))?;
        adopt_all(&world, &mut own, bounds)?;
        assert!(own.counters.events > 0 && own.counters.bytes <= bounds.bytes);
        seen.extend(held(&own)?);
    }
    assert_eq!(seen[1..], texts);
    Ok(())
}

/// A file that lost its name is made anew before anything is taken over into it.
#[test]
fn nothing_is_taken_over_into_a_file_without_a_name() -> TestResult {
    let world = World::new()?;
    let place = world.chooser(8).choose()?;
    let path = place.path.clone();
    let (mut writer, _status) = open::writer(place, ROOMY, Clock::system())?;
    for file in crate::buffer::files::of(&path) {
        let _ = fs::remove_file(file);
    }
    crash(world.chooser(7).choose()?, &["{\"n\":0}"])?;
    writer.duties();
    assert_eq!(writer.store.counters.events, 1);
    // Killed now, and found by the next.
    let crate::buffer::writer::Writer { store: old, lock, .. } = writer;
    old.abandon();
    drop(lock);
    let place = world.chooser(9).choose()?;
    let mut next = store(&place)?;
    adopt_all(&world, &mut next, ROOMY)?;
    assert_eq!(held(&next)?, ["{\"n\":0}"]);
    Ok(())
}

#[test]
fn results_are_bounded_whatever_brings_them() -> TestResult {
    use crate::buffer::results::{MOST_RESULT_BYTES, MOST_RESULTS, StoredCommand};
    let (long, short) = ("x".repeat(6_000), "x".to_owned());
    let by_bytes = MOST_RESULT_BYTES / 6_000;
    for (text, most, adopted) in
        [(long, by_bytes, false), (short.clone(), MOST_RESULTS, false), (short, MOST_RESULTS, true)]
    {
        let world = World::new()?;
        let place = world.chooser(7).choose()?;
        let mut dead = store(&place)?;
        dead.write(Durability::Normal, |dead| {
            (0..most + 20).try_for_each(|n| {
                let at = i64::try_from(n).unwrap_or_default();
                // The brain has the last ten.
                let settled_at = (n >= most + 10).then_some(at);
                let payload = Some(text.clone());
                dead.insert_command(&StoredCommand {
                    id: format!("{n}"),
                    at,
                    claim: None,
                    payload,
                    settled_at,
                })
            })
        })?;
        let own_place = world.chooser(8).choose()?;
        let mut own = store(&own_place)?;
        let held = if adopted {
            dead.abandon();
            drop(place);
            adopt_all(&world, &mut own, ROOMY)?;
            &own
        } else {
            dead.write(Durability::Normal, |dead| dead.finish(&result("last"), 1 << 40))?;
            &dead
        };
        let kept = held.count_unsettled()?;
        let bytes: usize = held.unsettled()?.iter().map(|result| result.payload.as_str().len()).sum();
        assert!(kept <= MOST_RESULTS && bytes as u64 <= MOST_RESULT_BYTES, "{kept} {bytes}");
        assert!(kept + 1 >= most, "{kept} of {most}");
        // Those that the brain has go first, and are no loss; then the oldest.
        let lost = held.counters.loss;
        assert_eq!(
            (lost.command_results, lost.capacity_evicted),
            (most + 10 + u64::from(!adopted) - kept, lost.command_results)
        );
        let ids: Vec<String> = held.commands()?.into_iter().map(|command| command.id).collect();
        assert!(!ids.contains(&"0".to_owned()) && ids.contains(&(most + 9).to_string()));
    }
    Ok(())
}

/// Two that look at the same moment, and end in the middle of it: each event is held once in the end.
#[tokio::test]
async fn adopters_that_race_take_each_event_once() -> TestResult {
    for round in 0..5 {
        let world = World::new()?;
        let mut wanted = Vec::new();
        for pid in 20..24 {
            let texts: Vec<String> = (0..1_500).map(|n| format!("{{\"n\":{n},\"of\":{pid}}}")).collect();
            crash(world.chooser(pid).choose()?, &texts.iter().map(String::as_str).collect::<Vec<_>>())?;
            wanted.extend(texts);
        }
        let (first, second) = (world.open(1, ROOMY)?, world.open(2, ROOMY)?);
        let events = |buffer: &Buffer| buffer.status().borrow().events;
        eventually("nobody adopts", || events(&first) + events(&second) > round * 1_000).await;
        // The rest of what the first one holds is the second's, or its successor's.
        first.close().await;
        second.close().await;
        let last = world.open(3, ROOMY)?;
        let held = |names: &[String]| names.iter().filter(|name| name.ends_with(".sqlite")).count();
        eventually("orphans stay", || held(&names(&world.home())) == 1).await;
        let rows = last.read(0, ALL).await;
        let mut found = texts(&rows);
        found.sort_unstable();
        wanted.sort();
        assert_eq!(found, wanted);
    }
    Ok(())
}
