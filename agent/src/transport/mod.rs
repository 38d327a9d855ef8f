//! How frames travel: over a WebSocket, or over long-poll requests.
//!
//! Owns the exchange with a brain and the exact way in which it ended, as values. It must not decide what
//! follows from that.

pub(crate) mod longpoll;
pub(crate) mod session;
pub(crate) mod websocket;

use z4j_protocol::Timestamp;

use crate::net::http::Answer;

/// What this program calls itself to a peer.
pub(crate) const USER_AGENT: &str = concat!("z4j/", env!("CARGO_PKG_VERSION"));

/// 16 fresh random bytes, the nonce of a frame or of a handshake.
pub(crate) fn random_bytes() -> [u8; 16] {
    let mut bytes = [0; 16];
    if aws_lc_rs::rand::fill(&mut bytes).is_err() {
        bytes = *uuid::Uuid::new_v4().as_bytes();
    }
    bytes
}

/// A frame id: a word and 16 hex digits.
pub(crate) fn frame_id(word: &str) -> String {
    let mut id = uuid::Uuid::new_v4().simple().to_string();
    id.truncate(16);
    format!("{word}_{id}")
}

/// The `Date` of an answer (RFC 9110, 5.6.7: only the first of its three forms may be written).
pub(crate) fn date_of(answer: &Answer) -> Option<Timestamp> {
    let format = time::macros::format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let date = time::PrimitiveDateTime::parse(answer.header("date")?.trim(), format).ok()?;
    let seconds = date.assume_utc().unix_timestamp();
    Some(Timestamp::from_unix_micros(seconds.checked_mul(1_000_000)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_date_of_an_answer() {
        let with = |date: &str| {
            let headers = vec![("date".to_owned(), date.to_owned())];
            date_of(&Answer { headers, ..Answer::default() }).map(|date| date.to_string())
        };
        assert_eq!(with("Sun, 06 Nov 1994 08:49:37 GMT").as_deref(), Some("1994-11-06T08:49:37Z"));
        assert_eq!(with("yesterday"), None);
    }
}
