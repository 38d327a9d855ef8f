use std::time::Instant;

use super::*;

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default().to_owned();
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or_default()
}

fn cpu_micros() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or_default();
    (ticks(11) + ticks(12)) * 10_000
}

#[tokio::test]
#[ignore = "a measurement: cargo test --release -p z4j-agent buffer::tests::measure -- --ignored --nocapture"]
async fn figures() -> TestResult {
    const EVENTS: usize = 100_000;
    let world = World::new()?;
    let text = format!("{{\"data\":{{\"args\":\"{}\"}},\"id\":\"3f2c\"}}", "x".repeat(260));
    let batch = || vec![NewEvent { text: CanonicalText::kept(text.clone()) }; 500];
    let per_event = |micros: u64| micros as f64 / EVENTS as f64;
    let buffer = world.open(7, ROOMY)?;
    let before = resident_kib();
    let (started, cpu) = (Instant::now(), cpu_micros());
    for _ in 0..EVENTS / 500 {
        buffer.append(batch()).await?;
    }
    eprintln!("append {:?}, {:.2} us CPU an event", started.elapsed(), per_event(cpu_micros() - cpu));
    eprintln!("resident {} KiB, {} KiB before", resident_kib(), before);
    buffer.close().await;
    let place = world.chooser(7).choose()?;
    let started = Instant::now();
    let buffer = open(place, ROOMY, Clock::system())?;
    let first = buffer.read(0, Limit { events: 1, bytes: 1 }).await;
    eprintln!("reopen {:?}", started.elapsed());
    assert_eq!(first.len(), 1);
    let (started, cpu) = (Instant::now(), cpu_micros());
    let mut after = 0;
    loop {
        let rows = buffer.read(after, Limit { events: 500, bytes: 1 << 20 }).await;
        let Some(last) = rows.last() else { break };
        buffer.settle(rows[0].id, last.id).await;
        after = last.id;
    }
    until(&buffer, |status| status.events == 0).await?;
    eprintln!(
        "read and settle {:?}, {:.2} us CPU an event",
        started.elapsed(),
        per_event(cpu_micros() - cpu)
    );
    let (started, cpu) = (Instant::now(), cpu_micros());
    for _ in 0..EVENTS / 500 {
        buffer.append(batch()).await?;
        let rows = buffer.read(after, Limit { events: 500, bytes: 1 << 20 }).await;
        let Some(last) = rows.last() else { break };
        buffer.settle(rows[0].id, last.id).await;
        after = last.id;
    }
    eprintln!("through {:?}, {:.2} us CPU an event", started.elapsed(), per_event(cpu_micros() - cpu));
    Ok(())
}
