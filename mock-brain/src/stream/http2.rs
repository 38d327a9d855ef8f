//! A server that speaks HTTP/2 only, as far as a client that speaks something else hears of it.
//!
//! Owns the two frames of that. Must not become an HTTP/2 server: whoever speaks HTTP/2 is let go too.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Stream;

/// An empty SETTINGS frame, which opens the connection of every HTTP/2 server (RFC 9113, 3.4 and 6.5).
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
/// GOAWAY with PROTOCOL_ERROR: the preface was not HTTP/2's (RFC 9113, 3.4 and 6.8).
const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
/// Length of HTTP/2's preface: what is read before it is judged.
const PREFACE: usize = 24;

/// Speaks HTTP/2 to a client, which does not, and ends the connection.
pub(crate) async fn refuse(stream: &mut Stream) -> io::Result<()> {
    stream.write_all(&SETTINGS).await?;
    let mut preface = [0; PREFACE];
    let _ = stream.read(&mut preface).await?;
    stream.write_all(&GOAWAY).await?;
    stream.shutdown().await
}
