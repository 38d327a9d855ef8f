//! Brains that attack over long-poll: with heads, bodies, and what stands in them.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::brain::{http, read_body, read_head};
use crate::hostile::{Attack, answer, survives, until_gone};
use crate::world::Outcome;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";

const LONGPOLL: &[Attack] = &[
    ("a head without end", |stream| answer(stream, "HTTP/1.1 200 OK\r\n", &b"A: b\r\n".repeat(1_000))),
    ("a body without end", |stream| answer(stream, &format!("{OK}\r\n"), &[b' '; 1 << 16])),
    ("a body of a terabyte", |stream| {
        answer(stream, &format!("{OK}Content-Length: 1099511627776\r\n\r\n"), &[b' '; 1 << 16])
    }),
    ("chunks without end", |stream| {
        answer(
            stream,
            &format!("{OK}Transfer-Encoding: chunked\r\n\r\n"),
            &[b"1000\r\n".as_slice(), &[b' '; 4096], b"\r\n"].concat(),
        )
    }),
    ("a chunk of 2^63 bytes", |stream| {
        answer(
            stream,
            &format!("{OK}Transfer-Encoding: chunked\r\n\r\n8000000000000000\r\n"),
            &[b' '; 1 << 16],
        )
    }),
    ("trailers without end", |stream| {
        answer(stream, &format!("{OK}Transfer-Encoding: chunked\r\n\r\n0\r\n"), &b"A: b\r\n".repeat(1_000))
    }),
    ("gzip that nobody asked for", |stream| {
        let mut stream = stream;
        read_head(&mut stream);
        stream.write_all(
            format!("{OK}Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\u{8}\0\0").as_bytes(),
        )?;
        until_gone(&mut stream)
    }),
    ("a million arrays", |stream| whole(stream, &"[".repeat(1_000_000))),
    ("a million frames", |stream| {
        whole(stream, &format!("{{\"frames\":[{}\"\"]}}", "\"\",".repeat(1_000_000)))
    }),
    ("a frame of a million arrays", |stream| {
        whole(stream, &format!("{{\"frames\":[\"{}\"]}}", "[".repeat(1_000_000)))
    }),
];

fn whole(mut stream: TcpStream, body: &str) -> Outcome {
    let head = read_head(&mut stream);
    read_body(&mut stream, &head);
    stream.write_all(http("200 OK", body).as_bytes())?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut rest = Vec::new();
    stream.take(1 << 20).read_to_end(&mut rest)?;
    Ok(())
}

#[test]
fn over_long_poll() -> Outcome {
    survives("longpoll", LONGPOLL, 96)
}
