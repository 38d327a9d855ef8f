//! HTTP/1.1 as far as an agent needs it: one request, one answer, both bounded.
//!
//! By hand, because the doctor tells what a refused upgrade looked like: status, headers and body.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Break;
use super::budget::Budget;
use super::route::{Duplex, Route};

/// Longest head of an answer, in bytes.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Longest body that is read, in bytes; the rest is left.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// Most interim answers before the final one.
const MAX_INTERIM: u32 = 16;
/// Most header lines; their bytes are bounded as well.
const MAX_HEADERS: usize = 1024;

/// A request. It is never shown: its headers bear the token.
#[derive(Clone)]
pub(crate) struct Request {
    /// `GET`, `POST`.
    pub(crate) method: &'static str,
    /// Path and query.
    pub(crate) target: String,
    /// Header lines beside `Host`.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// The body, JSON.
    pub(crate) body: Option<String>,
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The status code.
    pub(crate) status: u16,
    /// The words after it.
    pub(crate) reason: String,
    /// Header lines; names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// As much of the body as is read.
    pub(crate) body: Vec<u8>,
    /// Whether it is of HTTP/1.0, whose connections end with the answer.
    pub(crate) is_old: bool,
}

impl Answer {
    /// The first header of a name (given in lower case).
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(&self.body).ok()
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The connection ended.
    Broken(Break),
    /// What came is no HTTP; this is how it began.
    NotHttp(Vec<u8>),
    /// The head is longer than anything sane.
    TooLong,
}

impl From<Break> for Failure {
    fn from(broken: Break) -> Self {
        Self::Broken(broken)
    }
}

/// Sends a request. The `Host` header comes first.
///
/// # Errors
/// The connection ended.
pub(crate) async fn send(
    stream: &mut dyn Duplex,
    host: &str,
    request: &Request,
    budget: &Budget,
) -> Result<(), Failure> {
    let mut text = format!("{} {} HTTP/1.1\r\nHost: {host}\r\n", request.method, request.target);
    for (name, value) in &request.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if let Some(body) = &request.body {
        text.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    text.push_str(request.body.as_deref().unwrap_or_default());
    let write = async {
        stream.write_all(text.as_bytes()).await?;
        stream.flush().await
    };
    match budget.bound(write).await {
        Err(up) => Err(Break::from(up).into()),
        Ok(Err(error)) => Err(Break::from_io(&error).into()),
        Ok(Ok(())) => Ok(()),
    }
}

/// Reads the head of an answer. The bytes behind it come back too.
///
/// # Errors
/// The connection ended, or what came is no HTTP.
pub(crate) async fn read_head(
    stream: &mut dyn Duplex,
    budget: &Budget,
) -> Result<(Answer, Vec<u8>), Failure> {
    let (mut bytes, mut interim) = (Vec::with_capacity(2048), 0);
    let read = async {
        loop {
            if stream.read_buf(&mut bytes).await.map_err(|error| Break::from_io(&error))? == 0 {
                // A head that begins well and is cut off is still HTTP.
                let is_head = bytes.is_empty() || bytes.starts_with(b"HTTP/1.");
                return Err(if is_head { Break::Closed.into() } else { not_http(&bytes) });
            }
            while let Some((answer, length)) = parse_head(&bytes)? {
                // Interim answers announce the final one, 101 alone is final (RFC 9110, 15.2).
                if matches!(answer.status, 100 | 102..=199) {
                    interim += 1;
                    if interim > MAX_INTERIM {
                        return Err(Failure::TooLong);
                    }
                    bytes.drain(..length);
                    continue;
                }
                return Ok((answer, bytes.split_off(length)));
            }
            if bytes.len() > MAX_HEAD_BYTES {
                return Err(Failure::TooLong);
            }
        }
    };
    budget.bound(read).await.unwrap_or_else(|up| Err(Break::from(up).into()))
}

fn not_http(bytes: &[u8]) -> Failure {
    Failure::NotHttp(bytes.iter().take(128).copied().collect())
}

/// The head, and where it ends; `None` if more is needed.
fn parse_head(bytes: &[u8]) -> Result<Option<(Answer, usize)>, Failure> {
    let mut lines = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Response::new(&mut lines);
    match head.parse(bytes) {
        Ok(httparse::Status::Partial) => Ok(None),
        Err(_) => Err(not_http(bytes)),
        Ok(httparse::Status::Complete(length)) => {
            let headers = head.headers.iter().map(|line| {
                (line.name.to_ascii_lowercase(), String::from_utf8_lossy(line.value).into_owned())
            });
            let answer = Answer {
                status: head.code.unwrap_or_default(),
                reason: head.reason.unwrap_or_default().to_owned(),
                headers: headers.collect(),
                body: Vec::new(),
                is_old: head.version != Some(1),
            };
            Ok(Some((answer, length)))
        }
    }
}

/// Reads the body behind a head. One that ends early, late or never is taken as far as it came.
pub(crate) async fn read_body(
    stream: &mut dyn Duplex,
    answer: &mut Answer,
    mut bytes: Vec<u8>,
    budget: &Budget,
) {
    // These have none, whatever their headers say (RFC 9112, 6.3).
    if matches!(answer.status, 100..=199 | 204 | 304) {
        return;
    }
    let chunked = answer
        .header("transfer-encoding")
        .is_some_and(|value| value.to_ascii_lowercase().contains("chunked"));
    let length = answer.header("content-length").and_then(|value| value.trim().parse::<usize>().ok());
    // Chunks say themselves where they end (RFC 9112, 6.3).
    let most = length.filter(|_| !chunked).unwrap_or(MAX_BODY_BYTES).min(MAX_BODY_BYTES);
    let (mut content, mut taken, mut done) = (Vec::new(), 0, false);
    let read = async {
        loop {
            if chunked {
                (taken, done) = unchunk(&bytes, taken, &mut content);
            }
            if done || bytes.len() >= most || !matches!(stream.read_buf(&mut bytes).await, Ok(1..)) {
                break;
            }
        }
    };
    let _ = budget.bound(read).await;
    answer.body = if chunked { content } else { bytes };
    answer.body.truncate(most);
}

/// Takes the content of the chunks (RFC 9112, 7.1) behind `taken`, as far as they are complete. Gives up to where
/// that was, and whether the last one is there.
fn unchunk(bytes: &[u8], mut taken: usize, content: &mut Vec<u8>) -> (usize, bool) {
    while let Some(rest) = bytes.get(taken..)
        && let Ok(httparse::Status::Complete((start, length))) = httparse::parse_chunk_size(rest)
    {
        if length == 0 {
            return (taken, true);
        }
        let end = usize::try_from(length).ok().and_then(|length| start.checked_add(length));
        let Some((end, chunk)) = end.and_then(|end| Some((end, rest.get(start..end)?))) else { break };
        content.extend_from_slice(chunk);
        taken += end + 2;
    }
    (taken, false)
}

/// One request over a connection of its own.
///
/// # Errors
/// There is no connection, or no answer.
pub(crate) async fn once(route: &Route, request: &Request) -> Result<Answer, Failure> {
    let mut link = route.open().await?;
    let mut request = request.clone();
    request.headers.push(("Connection", "close".to_owned()));
    send(&mut *link.stream, &route.url.host_header(), &request, &route.budget).await?;
    let (mut answer, rest) = read_head(&mut *link.stream, &route.budget).await?;
    read_body(&mut *link.stream, &mut answer, rest, &route.budget).await;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_when_it_is_complete() {
        assert_eq!(parse_head(b"HTTP/1.1 404 Not Found\r\nServer: ng"), Ok(None));
        let head = b"HTTP/1.1 404 Not Found\r\nServer: nginx\r\n\r\n{}";
        let parsed = parse_head(head);
        let Ok(Some((answer, length))) = parsed else { panic!("{parsed:?}") };
        assert_eq!((answer.status, answer.header("server"), length), (404, Some("nginx"), head.len() - 2));
        assert!(matches!(parse_head(b"SSH-2.0-OpenSSH\r\n"), Err(Failure::NotHttp(_))));
    }

    #[test]
    fn chunks_are_joined() {
        let whole = b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        for cut in 0..whole.len() {
            let mut content = Vec::new();
            let (taken, _) = unchunk(&whole[..cut], 0, &mut content);
            let (_, done) = unchunk(whole, taken, &mut content);
            assert_eq!((content.as_slice(), done), (&b"abcde"[..], true), "{cut}");
        }
        for never in [&b"5\r\nab"[..], b"ffffffffffffffff\r\nab", b"x"] {
            assert_eq!(unchunk(never, 0, &mut Vec::new()), (0, false));
        }
    }

    #[tokio::test]
    async fn an_interim_answer_is_passed_over_and_a_cut_head_is_no_other_protocol() {
        let budget = Budget::new(std::time::Duration::from_secs(5), std::time::Duration::from_secs(5));
        let many = "X: y\r\n".repeat(500);
        let text = format!("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n{many}\r\nrest");
        let mut stream = tokio::io::join(text.as_bytes(), tokio::io::sink());
        let read = read_head(&mut stream, &budget).await;
        let read = read.map(|(answer, rest)| (answer.status, answer.headers.len(), rest));
        assert_eq!(read, Ok((200, 500, b"rest".to_vec())));
        let endless = "HTTP/1.1 100 Continue\r\n\r\n".repeat(100);
        let mut stream = tokio::io::join(endless.as_bytes(), tokio::io::sink());
        assert_eq!(read_head(&mut stream, &budget).await.map(|_| ()), Err(Failure::TooLong));
        let mut stream = tokio::io::join(&b"HTTP/1.1 200 OK\r\nSer"[..], tokio::io::sink());
        let cut = read_head(&mut stream, &budget).await.map(|_| ());
        assert_eq!(cut, Err(Failure::Broken(Break::Closed)));
    }
}
