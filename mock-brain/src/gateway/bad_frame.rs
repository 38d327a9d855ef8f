//! Frames that break RFC 6455, byte by byte.
//!
//! Owns their bytes. Must not decide when they are sent.

use crate::fault::BadFrame;

/// First bytes of a frame (5.2): FIN and the opcode.
const BINARY: u8 = 0x82;
const TEXT: u8 = 0x81;
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
        // It is a good message in parts, and not sent by itself.
        BadFrame::Fragmented => Vec::new(),
    }
}
