use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::*;

/// The other process: appends until it is killed, and says what is durable. Given no directory it does
/// nothing.
#[tokio::test]
#[ignore = "run by the test below, as a process of its own"]
async fn child() -> TestResult {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    let Some((dir, pid)) = line.trim().split_once('|') else { return Ok(()) };
    let place = chooser(Path::new(dir), pid.parse()?).choose()?;
    let buffer = open(place, ROOMY, Clock::system())?;
    for number in 0.. {
        let from = number * 3;
        buffer.append((from..from + 3).map(|n| event_of(pid, n)).collect()).await?;
        println!("durable {}", from + 3);
    }
    Ok(())
}

fn event_of(pid: &str, number: usize) -> NewEvent {
    NewEvent { text: CanonicalText::kept(format!("{{\"of\":{pid},\"n\":{number}}}")) }
}

#[tokio::test]
async fn what_was_said_to_be_durable_survives_kill_9() -> TestResult {
    let world = World::new()?;
    let mut promised = Vec::new();
    for round in 0..6_usize {
        // Every process finds what the one before it left, and may die while it takes that over.
        let pid = 100 + round;
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--exact", "buffer::tests::crash::child", "--ignored", "--nocapture"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut stdin = child.stdin.take().ok_or("no stdin")?;
        writeln!(stdin, "{}|{pid}", world.dir.path().display())?;
        let stdout = BufReader::new(child.stdout.take().ok_or("no stdout")?);
        let durable = stdout
            .lines()
            .map_while(Result::ok)
            .filter_map(|line| line.strip_prefix("durable ").and_then(|n| n.parse::<usize>().ok()))
            .nth(round * 7);
        child.kill()?;
        child.wait()?;
        promised.push((pid, durable.ok_or("the child said nothing")?));
    }
    let buffer = world.open(1, ROOMY)?;
    let is_left = |name: &String| !name.starts_with("buffer-1.sqlite");
    eventually("something is left", || !names(&world.home()).iter().any(is_left)).await;
    let rows = buffer.read(0, ALL).await;
    for (pid, durable) in promised {
        let of = format!("{{\"of\":{pid},");
        let found: Vec<&str> = texts(&rows).into_iter().filter(|text| text.starts_with(&of)).collect();
        let wanted: Vec<String> =
            (0..found.len()).map(|n| event_of(&pid.to_string(), n).text.into_string()).collect();
        assert_eq!(found, wanted, "each once, in order");
        assert!(found.len() >= durable, "{pid}: {} of {durable}", found.len());
    }
    Ok(())
}
