//! HTTP answers: of a brain to either transport, and of a proxy to CONNECT.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf, join, sink};
use tokio::runtime::Builder;

use crate::net::budget::Budget;
use crate::net::exchange::exchange;
use crate::net::http::{self, Answer, Failure, Request};
use crate::net::proxy;

const WAIT: Duration = Duration::from_secs(60);

/// The first byte says in what portions the rest arrives. That makes no difference, and nothing that is kept
/// is longer than what came.
pub fn answer(bytes: &[u8]) {
    let Some((step, bytes)) = bytes.split_first() else { return };
    let Ok(runtime) = Builder::new_current_thread().enable_time().build() else { return };
    let read = |step| runtime.block_on(read(bytes, step));
    let whole = read(bytes.len().max(1));
    assert_eq!(whole, read(usize::from(*step).max(1)), "in portions of {step}");
    for answer in whole.into_iter().flatten() {
        assert!(answer.body.len() <= bytes.len());
        let _ = proxy::schemes(&answer);
        let _ = answer.json();
    }
}

/// What the long-poll transport reads, and what the doctor reads.
async fn read(bytes: &[u8], step: usize) -> [Option<Answer>; 2] {
    let stream = || join(Portions { bytes, step }, sink());
    let request = Request { method: "GET", target: "/".to_owned(), headers: Vec::new(), body: None };
    let kept = exchange(&mut stream(), "brain.test", &request, WAIT).await;
    let looked = look(&mut stream()).await;
    [kept.map(|(answer, _)| answer).ok(), looked.ok()]
}

async fn look(stream: &mut dyn crate::net::route::Duplex) -> Result<Answer, Failure> {
    let budget = Budget::new(WAIT, WAIT);
    let (mut answer, rest) = http::read_head(stream, &budget).await?;
    http::read_body(stream, &mut answer, rest, &budget).await;
    Ok(answer)
}

/// Bytes that arrive so many at a time.
struct Portions<'b> {
    bytes: &'b [u8],
    step: usize,
}

impl AsyncRead for Portions<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let count = self.step.min(self.bytes.len()).min(buf.remaining());
        let (portion, rest) = self.bytes.split_at(count);
        buf.put_slice(portion);
        self.bytes = rest;
        Poll::Ready(Ok(()))
    }
}
