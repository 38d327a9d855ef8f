//! Certificates and handshakes that do not hold: each by its own code.

use std::io::{Read, Write};

use crate::brain::{dead_port, secure, serve};
use crate::pki::{Chain, Leaf, Pki};
use crate::world::{Outcome, World};

fn world(port: u16, pki: &Pki) -> Outcome<World> {
    let mut world = World::new(&format!("https://127.0.0.1:{port}"))?;
    let file = world.path("ca.pem");
    std::fs::write(&file, pki.root_pem())?;
    world.set("SSL_CERT_FILE", &file.display().to_string());
    Ok(world)
}

#[test]
fn a_certificate_is_told_by_what_is_wrong_with_it() -> Outcome {
    let ours = Pki::new("Ours")?;
    let theirs = Pki::new("Theirs")?;
    let rows = [
        (&ours, Leaf { from: -9, until: -1, ..Leaf::GOOD }, "tls.expired", "ended"),
        (&ours, Leaf { from: 1, ..Leaf::GOOD }, "tls.not-yet-valid", "begins"),
        (&ours, Leaf { name: "other.example", ..Leaf::GOOD }, "tls.hostname-mismatch", "other.example"),
        (&ours, Leaf { chain: Chain::Alone, ..Leaf::GOOD }, "tls.missing-intermediate", "CN=intermediate"),
        (&theirs, Leaf::GOOD, "tls.untrusted-ca", "CN=root"),
        (&theirs, Leaf { chain: Chain::SelfSigned, ..Leaf::GOOD }, "tls.self-signed", "by itself"),
        (&theirs, Leaf { chain: Chain::Authority, ..Leaf::GOOD }, "tls.self-signed", "CA:TRUE"),
    ];
    for (pki, leaf, code, words) in rows {
        let config = pki.server(leaf)?;
        let port = serve(move |stream| {
            if let Ok(mut stream) = secure(stream, &config) {
                let _ = stream.read(&mut [0; 16]);
            }
        })?;
        let report = world(port, &ours)?.doctor(&[])?;
        let probe = &report["probes"][3];
        assert_eq!(probe["code"], code, "{probe:#}");
        assert!(probe["message"].as_str().is_some_and(|text| text.contains(words)), "{probe:#}");
        assert_eq!(report["probes"][4]["message"], "SKIP: needs tls");
    }
    Ok(())
}

#[test]
fn what_is_no_tls_is_told_from_a_peer_that_hangs_up() -> Outcome {
    let pki = Pki::new("Ours")?;
    let plain = serve(|mut stream| {
        let _ = stream.read(&mut [0; 16]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        // What is still to be read would turn the close into a reset.
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    })?;
    let silent = serve(|mut stream| {
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    })?;
    // Linux answers a close with unread data by a reset (RFC 2525, 2.17).
    let reset = serve(|stream| {
        let _ = stream.peek(&mut [0; 16]);
    })?;
    let rows = [
        (plain, "tls.not-tls"),
        (silent, "tls.aborted"),
        (reset, "tcp.reset"),
        (dead_port()?, "tcp.refused"),
    ];
    for (port, code) in rows {
        assert_eq!(world(port, &pki)?.failures(&[])?, [code]);
    }
    Ok(())
}

#[test]
fn a_machine_without_roots_says_so() -> Outcome {
    let port = serve(drop)?;
    let mut world = World::new(&format!("https://127.0.0.1:{port}"))?;
    let file = world.path("empty.pem");
    std::fs::write(&file, "")?;
    world.set("SSL_CERT_FILE", &file.display().to_string());
    assert_eq!(world.failures(&[])?, ["tls.no-roots"]);
    Ok(())
}

#[test]
fn an_extra_root_adds_to_the_others() -> Outcome {
    let (ours, theirs) = (Pki::new("Ours")?, Pki::new("Theirs")?);
    let config = theirs.server(Leaf::GOOD)?;
    let port = serve(move |stream| {
        if let Ok(mut stream) = secure(stream, &config) {
            let _ = stream.read(&mut [0; 16]);
        }
    })?;
    let mut world = world(port, &ours)?;
    let file = world.path("extra.pem");
    std::fs::write(&file, theirs.root_pem())?;
    world.set("Z4J_CA_FILE", &file.display().to_string());
    assert!(world.failures(&["--no-websocket"])?.is_empty());
    Ok(())
}

#[test]
fn a_peer_that_never_answers_is_left_in_time() -> Outcome {
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(receiver);
    // Holds every connection open until the test ends.
    let port = serve(move |stream| {
        let _ = held.lock().map(|held| held.recv());
        drop(stream);
    })?;
    let pki = Pki::new("Ours")?;
    let start = std::time::Instant::now();
    assert_eq!(world(port, &pki)?.failures(&["--timeout", "300ms"])?, ["tls.aborted"]);
    // Twice the time, and what a busy machine needs to start a process.
    assert!(start.elapsed() < std::time::Duration::from_secs(5));
    drop(sender);
    Ok(())
}
