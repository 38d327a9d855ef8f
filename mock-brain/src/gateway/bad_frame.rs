//! Frames that break RFC 6455, or what of it few clients have met, byte by byte.
//!
//! Owns their bytes. Must not decide when they are sent.

use bytes::Bytes;

use crate::fault::BadFrame;

/// First bytes of a frame (5.2): FIN and the opcode.
const BINARY: u8 = 0x82;
const FIRST_PART: u8 = 0x02;
const LAST_PART: u8 = 0x80;
const TEXT: u8 = 0x81;
const PING: u8 = 0x89;
const RESERVED_OPCODE: u8 = 0x83;
const RESERVED_BIT: u8 = 0xc2;
/// Says that a mask follows.
const MASKED: u8 = 0x80;
/// How long a frame says it is that does not end: a terabyte.
const ENDLESS: u64 = 1 << 40;

/// A bad frame by itself.
pub(super) fn bytes(kind: BadFrame) -> Vec<u8> {
    match kind {
        // With a mask of zeros the payload is as it is.
        BadFrame::Masked => vec![BINARY, MASKED | 2, 0, 0, 0, 0, b'{', b'}'],
        BadFrame::Opcode => vec![RESERVED_OPCODE, 2, b'{', b'}'],
        BadFrame::Rsv => vec![RESERVED_BIT, 2, b'{', b'}'],
        BadFrame::Utf8 => vec![TEXT, 2, 0xff, 0xfe],
        BadFrame::Oversize => {
            let mut bytes = vec![BINARY, 127];
            bytes.extend(ENDLESS.to_be_bytes());
            bytes.extend([b' '; 64]);
            bytes
        }
        BadFrame::Fragmented => Vec::new(),
    }
}

/// A message in two parts, with a ping between them (5.4).
pub(super) fn in_parts(message: &Bytes) -> Vec<u8> {
    let (first, second) = message.split_at(message.len() / 2);
    let mut out = part(FIRST_PART, first);
    out.extend([PING, 1, b'?']);
    out.extend(part(LAST_PART, second));
    out
}

fn part(head: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![head, 127];
    out.extend((payload.len() as u64).to_be_bytes());
    out.extend(payload);
    out
}
