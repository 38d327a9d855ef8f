//! Random numbers: tokens, secrets, nonces, ids. Must not be used where a test wants a fixed outcome.

use std::fmt::Write;

use aws_lc_rs::rand;

/// Fresh random bytes.
///
/// # Panics
/// The kernel gives no randomness; nothing that is signed or kept secret could be trusted then.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    assert!(rand::fill(&mut bytes).is_ok(), "the kernel gives no randomness");
    bytes
}

/// Fresh random bytes as lower-case hex.
pub(crate) fn hex<const N: usize>() -> String {
    bytes::<N>().iter().fold(String::with_capacity(N * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}
