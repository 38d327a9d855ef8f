//! One request and its answer over a connection that is kept for the next.
//!
//! Owns where an answer ends (RFC 9112, 6.3), since only then the connection can be used again. Must not
//! connect, or send anything twice.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncReadExt, ReadBuf};

use super::Break;
use super::budget::Budget;
use super::http::{self, Answer, Failure, Request};
use super::route::Duplex;

/// Longest body that is read, in bytes: fifty commands of the size that one message may have would be more,
/// but no brain has such.
const MAX_BODY_BYTES: usize = 8 << 20;
/// How long a request may take to be written.
const WRITE: Duration = Duration::from_secs(15);

/// How long an answer is waited for after the request could not be written.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Sends a request and reads its whole answer. Whether the connection can be used again comes with it.
///
/// # Errors
/// The connection ended, or what came is no HTTP.
pub(crate) async fn exchange(
    stream: &mut dyn Duplex,
    host: &str,
    request: &Request,
    wait: Duration,
) -> Result<(Answer, bool), Failure> {
    let sent = http::send(stream, host, request, &within(WRITE)).await;
    // Who refuses a body for its size may hang up before reading it; the answer says more than the failed write.
    let budget = within(if sent.is_ok() { wait } else { LAST_WORDS });
    let (mut answer, rest) = match (http::read_head(stream, &budget).await, &sent) {
        (Err(_), Err(unsent)) => return Err(unsent.clone()),
        (read, _) => read?,
    };
    let read = budget.bound(read_body(stream, &answer, rest)).await;
    let (body, whole) = read.unwrap_or_else(|up| Err(Break::from(up).into()))?;
    answer.body = body;
    let closes =
        answer.header("connection").is_some_and(|value| value.to_ascii_lowercase().contains("close"));
    let usable = whole && !closes && !answer.is_old && sent.is_ok();
    Ok((answer, usable))
}

fn within(each: Duration) -> Budget {
    Budget::new(each, each.saturating_mul(2))
}

/// The stream, if nothing has come over it since it was last used: neither an end nor words that nobody asked
/// for.
pub(crate) fn is_quiet(mut stream: Box<dyn Duplex>) -> Option<Box<dyn Duplex>> {
    let mut byte = [0];
    let mut buf = ReadBuf::new(&mut byte);
    let mut context = Context::from_waker(Waker::noop());
    match Pin::new(&mut *stream).poll_read(&mut context, &mut buf) {
        Poll::Pending => Some(stream),
        Poll::Ready(_) => None,
    }
}

/// The body, and whether the connection is at the start of the next answer behind it.
async fn read_body(
    stream: &mut dyn Duplex,
    answer: &Answer,
    bytes: Vec<u8>,
) -> Result<(Vec<u8>, bool), Failure> {
    if matches!(answer.status, 100..=199 | 204 | 304) {
        return Ok((Vec::new(), bytes.is_empty()));
    }
    let mut input = Input { stream, bytes };
    let encoding = answer.header("transfer-encoding").map(str::to_ascii_lowercase);
    if encoding.is_some_and(|value| value.contains("chunked")) {
        let body = read_chunks(&mut input).await?;
        return Ok((body, input.bytes.is_empty()));
    }
    if let Some(length) = answer.header("content-length") {
        let length = length.trim().parse::<usize>().map_err(|_| Failure::TooLong)?;
        let body = input.take(length).await?;
        return Ok((body, input.bytes.is_empty()));
    }
    // It ends with the connection.
    while input.more().await? {}
    Ok((input.bytes, false))
}

/// Chunks, with the trailer behind them (RFC 9112, 7.1).
async fn read_chunks(input: &mut Input<'_>) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    loop {
        let line = input.line().await?;
        let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
        let digits = std::str::from_utf8(digits).unwrap_or_default().trim();
        let length = usize::from_str_radix(digits, 16).map_err(|_| Failure::NotHttp(line.clone()))?;
        if length == 0 {
            break;
        }
        if body.len().saturating_add(length) > MAX_BODY_BYTES {
            return Err(Failure::TooLong);
        }
        body.extend(input.take(length).await?);
        input.line().await?;
    }
    while !input.line().await?.is_empty() {}
    Ok(body)
}

/// What is read, with the bytes that came early.
struct Input<'s> {
    stream: &'s mut dyn Duplex,
    bytes: Vec<u8>,
}

impl Input<'_> {
    /// Reads on; `false` at the end.
    async fn more(&mut self) -> Result<bool, Failure> {
        if self.bytes.len() > MAX_BODY_BYTES {
            return Err(Failure::TooLong);
        }
        let read = self.stream.read_buf(&mut self.bytes).await;
        Ok(read.map_err(|error| Break::from_io(&error))? > 0)
    }

    async fn take(&mut self, length: usize) -> Result<Vec<u8>, Failure> {
        if length > MAX_BODY_BYTES {
            return Err(Failure::TooLong);
        }
        while self.bytes.len() < length {
            if !self.more().await? {
                return Err(Break::Closed.into());
            }
        }
        let rest = self.bytes.split_off(length);
        Ok(std::mem::replace(&mut self.bytes, rest))
    }

    /// A line, without its end.
    async fn line(&mut self) -> Result<Vec<u8>, Failure> {
        loop {
            if let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') {
                let mut line = self.take(end + 1).await?;
                line.truncate(line.trim_ascii_end().len());
                return Ok(line);
            }
            if !self.more().await? {
                return Err(Break::Closed.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answer(text: &str) -> Result<(Vec<u8>, bool), Failure> {
        let mut stream = tokio::io::join(text.as_bytes(), tokio::io::sink());
        let request = Request { method: "GET", target: "/".into(), headers: Vec::new(), body: None };
        let done = exchange(&mut stream, "h", &request, Duration::from_secs(5)).await;
        done.map(|(answer, usable)| (answer.body, usable))
    }

    #[tokio::test]
    async fn an_answer_ends_where_it_says() {
        let ok = "HTTP/1.1 200 OK\r\n";
        let rows = [
            (format!("{ok}Content-Length: 2\r\n\r\n{{}}"), "{}", true),
            (format!("{ok}Content-Length: 2\r\nConnection: close\r\n\r\n{{}}"), "{}", false),
            (format!("{ok}Content-Length: 2\r\n\r\n{{}}more"), "{}", false),
            ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}".to_owned(), "{}", false),
            (
                format!("{ok}Transfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n2\r\nde\r\n0\r\nT: 1\r\n\r\n"),
                "abcde",
                true,
            ),
            (format!("{ok}\r\nto the end"), "to the end", false),
            ("HTTP/1.1 204 No Content\r\n\r\n".to_owned(), "", true),
        ];
        for (text, body, usable) in rows {
            assert_eq!(answer(&text).await, Ok((body.as_bytes().to_vec(), usable)), "{text}");
        }
    }

    #[tokio::test]
    async fn an_answer_that_is_cut_or_endless_is_no_answer() {
        let ok = "HTTP/1.1 200 OK\r\n";
        let rows = [
            (format!("{ok}Content-Length: 3\r\n\r\n{{}}"), Failure::Broken(Break::Closed)),
            (format!("{ok}Content-Length: 99999999999\r\n\r\n"), Failure::TooLong),
            (format!("{ok}Transfer-Encoding: chunked\r\n\r\nffffffffff\r\n"), Failure::TooLong),
            (format!("{ok}Transfer-Encoding: chunked\r\n\r\n3\r\nab"), Failure::Broken(Break::Closed)),
        ];
        for (text, failure) in rows {
            assert_eq!(answer(&text).await, Err(failure), "{text}");
        }
    }

    #[tokio::test]
    async fn an_answer_that_came_before_the_request_was_written_is_read() {
        let (near, far) = tokio::io::duplex(64);
        drop(far);
        let text = "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\n{}";
        let mut stream = tokio::io::join(text.as_bytes(), near);
        let body = Some("x".repeat(1_000));
        let request = Request { method: "POST", target: "/".into(), headers: Vec::new(), body };
        let done = exchange(&mut stream, "h", &request, Duration::from_secs(5)).await;
        let done = done.map(|(answer, usable)| (answer.status, usable));
        assert_eq!(done, Ok((413, false)));
        let mut stream = tokio::io::join(&b""[..], stream.into_inner().1);
        let done = exchange(&mut stream, "h", &request, Duration::from_secs(5)).await;
        assert_eq!(done.map(|_| ()), Err(Failure::Broken(Break::Reset)));
    }

    #[tokio::test]
    async fn a_connection_that_ended_meanwhile_is_noticed() {
        let (near, far) = tokio::io::duplex(64);
        let near = is_quiet(Box::new(near));
        assert!(near.is_some());
        drop(far);
        assert!(near.and_then(is_quiet).is_none());
    }
}
