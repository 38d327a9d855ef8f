//! The doctor's way to a brain that only a proxy knows.

use std::io::{Write, copy};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, channel};

use crate::brain::{Brain, Manners, dead_port, read_head, serve};
use crate::world::{Outcome, World};

/// A proxy for which every host is a port of this machine; the heads that it reads come back.
fn tunnels(port: u16) -> Outcome<(u16, Receiver<String>)> {
    let (sender, heads) = channel();
    let proxy = serve(move |mut stream| {
        let _ = sender.send(read_head(&mut stream));
        let _ = tunnel(stream, port);
    })?;
    Ok((proxy, heads))
}

fn tunnel(mut client: TcpStream, port: u16) -> std::io::Result<()> {
    let mut brain = TcpStream::connect(("127.0.0.1", port))?;
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let (mut from_client, mut to_brain) = (client.try_clone()?, brain.try_clone()?);
    std::thread::spawn(move || {
        let _ = copy(&mut from_client, &mut to_brain);
        to_brain.shutdown(Shutdown::Write)
    });
    copy(&mut brain, &mut client)?;
    client.shutdown(Shutdown::Write)
}

#[test]
fn the_round_trip_goes_through_the_proxy() -> Outcome {
    let brain = Brain::start(None, Manners { slug: Some("picker"), ..Manners::default() })?;
    let port = brain.url.trim_end_matches('/').rsplit(':').next().unwrap_or_default().parse()?;
    let (proxy, heads) = tunnels(port)?;
    let mut world = World::new("http://brain.invalid:8080/")?;
    world.set("http_proxy", &format!("http://me:s3cr3t@127.0.0.1:{proxy}"));
    let run = world.run(&["doctor", "--dev-mode"])?;
    assert_eq!(run.code, Some(0), "{}{}", run.stdout, run.stderr);
    for line in [
        format!("OK: 127.0.0.1 -> 127.0.0.1 via proxy 127.0.0.1:{proxy}"),
        format!("OK: TCP connect to brain.invalid:8080 via proxy 127.0.0.1:{proxy}"),
        "OK: ws upgrade to http://brain.invalid:8080/ succeeded".to_owned(),
        format!("the way to brain.invalid leads through the proxy 127.0.0.1:{proxy} (http_proxy)"),
    ] {
        assert!(run.stdout.contains(&line), "{line}\n{}", run.stdout);
    }
    let head = heads.recv()?;
    assert!(head.starts_with("CONNECT brain.invalid:8080 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nProxy-Authorization: Basic bWU6czNjcjN0\r\n"), "{head}");
    Ok(())
}

#[test]
fn what_the_proxy_refuses_is_the_proxys() -> Outcome {
    let denying = serve(|mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 407 Who are you\r\nProxy-Authenticate: Basic\r\n\r\n");
    })?;
    let mut world = World::new("https://brain.invalid/")?;
    world.set("HTTPS_PROXY", &format!("127.0.0.1:{denying}"));
    assert_eq!(world.failures(&[])?, ["proxy.auth"]);
    world.set("HTTPS_PROXY", &format!("127.0.0.1:{}", dead_port()?));
    assert_eq!(world.failures(&[])?, ["proxy.refused"]);
    world.set("NO_PROXY", ".invalid");
    assert!(world.failures(&[])?.iter().all(|code| code.starts_with("dns.")));
    world.set("NO_PROXY", "").set("HTTPS_PROXY", "socks5://me:s3cr3t@127.0.0.1:1080");
    let run = world.run(&["doctor"])?;
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""));
    assert!(run.stderr.contains("HTTPS_PROXY=\"socks5://127.0.0.1:1080\": a SOCKS proxy"), "{}", run.stderr);
    Ok(())
}
