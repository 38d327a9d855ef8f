//! What a peer's WebSocket frames break of RFC 6455 without the library saying so.
//!
//! Owns the heads of the frames that come: where they start, how their length is written, which code a close
//! frame has. Must not keep payloads or change a byte.

use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// The opcode of a close frame (5.2).
const CLOSE: u8 = 0x8;
/// Bytes of the longest head: two, a length of eight, a mask of four.
const MAX_HEAD: usize = 14;
/// Bytes of a close frame's code.
const CODE: usize = 2;

/// Reads along with a connection.
#[derive(Default)]
pub(crate) struct Framing {
    head: [u8; MAX_HEAD],
    /// How much of the head came.
    read: usize,
    /// How much of the payload is still to come.
    left: u64,
    /// The code of a close frame as far as it came.
    code: [u8; CODE],
    code_read: usize,
    /// A close frame came.
    has_closed: bool,
    breach: Option<String>,
}

impl Framing {
    /// These bytes came.
    pub(crate) fn heed(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                let (payload, behind) = bytes.split_at(count);
                self.payload(payload);
                self.left -= count as u64;
                bytes = behind;
            } else {
                self.head[self.read] = *first;
                self.read += 1;
                bytes = rest;
                if self.read >= 2 && self.read == self.head_length() {
                    self.headed();
                }
            }
        }
    }

    /// The first breach since this was asked last.
    pub(crate) const fn take_breach(&mut self) -> Option<String> {
        self.breach.take()
    }

    /// Whether a close frame began.
    pub(crate) const fn has_closed(&self) -> bool {
        self.has_closed
    }

    /// The head of the newest frame, as far as it came.
    pub(crate) fn last_head(&self) -> &[u8] {
        let length = if self.read > 0 { self.read } else { self.head_length() };
        &self.head[..length]
    }

    /// Bytes of the extended length.
    const fn extended(&self) -> usize {
        match self.head[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        }
    }

    const fn mask(&self) -> usize {
        if self.head[1] & 0x80 == 0 { 0 } else { 4 }
    }

    const fn head_length(&self) -> usize {
        2 + self.extended() + self.mask()
    }

    /// A head is whole.
    fn headed(&mut self) {
        let extended = self.extended();
        let written = &self.head[2..2 + extended];
        let length = written.iter().fold(0, |length, byte| length << 8 | u64::from(*byte));
        let (length, least) = match extended {
            2 => (length, 126),
            8 => (length, 1 << 16),
            _ => (u64::from(self.head[1] & 0x7f), 0),
        };
        if length < least {
            let detail = format!("a length of {length} is written in {extended} bytes, not the fewest (5.2)");
            self.breach.get_or_insert(detail);
        }
        self.has_closed |= self.head[0] & 0xf == CLOSE;
        (self.left, self.read, self.code_read) = (length, 0, 0);
    }

    /// Some of the payload; the head is still that of its frame.
    fn payload(&mut self, bytes: &[u8]) {
        if self.head[0] & 0xf != CLOSE || self.code_read == CODE {
            return;
        }
        let at = 2 + self.extended();
        let mask: [u8; CODE] = if self.mask() == 0 { [0; CODE] } else { [self.head[at], self.head[at + 1]] };
        for byte in bytes.iter().take(CODE - self.code_read) {
            self.code[self.code_read] = byte ^ mask[self.code_read];
            self.code_read += 1;
        }
        let code = u16::from_be_bytes(self.code);
        if self.code_read == CODE && !CloseCode::from(code).is_allowed() {
            let detail = format!(
                "a close frame has code {code}, which is none to be sent (7.4); it is answered with 1002"
            );
            self.breach.get_or_insert(detail);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A masked frame whose length is written in so many bytes.
    fn frame(first: u8, payload: &[u8], extended: usize) -> Vec<u8> {
        let length = payload.len() as u64;
        let mut bytes = vec![first];
        match extended {
            0 => bytes.push(0x80 | u8::try_from(payload.len()).unwrap()),
            2 => bytes.push(0x80 | 126),
            _ => bytes.push(0x80 | 127),
        }
        bytes.extend(&length.to_be_bytes()[8 - extended..]);
        let mask = [1, 2, 3, 4];
        bytes.extend(mask);
        bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes
    }

    fn breach(bytes: &[u8], piece: usize) -> Option<String> {
        let mut framing = Framing::default();
        bytes.chunks(piece).for_each(|piece| framing.heed(piece));
        framing.take_breach()
    }

    #[test]
    fn breaches_are_seen_however_the_bytes_come() {
        let (small, medium, large) = (vec![b'x'; 125], vec![b'x'; 65_535], vec![b'x'; 65_536]);
        let good = [
            frame(0x82, b"", 0),
            frame(0x82, &small, 0),
            frame(0x82, &medium, 2),
            frame(0x82, &large, 8),
            frame(0x88, &4_000_u16.to_be_bytes(), 0),
            frame(0x88, b"", 0),
        ];
        let bad = [
            (frame(0x82, &small, 2), "125 is written in 2"),
            (frame(0x82, &medium, 8), "65535 is written in 8"),
            (frame(0x88, &1_004_u16.to_be_bytes(), 0), "code 1004"),
            (frame(0x88, b"\x03\xed and why", 0), "code 1005"),
        ];
        for piece in [1, 3, 1 << 20] {
            assert_eq!(breach(&good.concat(), piece), None);
            for (frame, expected) in &bad {
                let found = breach(&[good.concat(), frame.clone()].concat(), piece).unwrap();
                assert!(found.contains(expected), "{found}");
            }
        }
    }
}
