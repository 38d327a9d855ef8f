//! How far a string runs without anything that JSON escapes: eight bytes at a time.
//!
//! Owns that one search, which both the parser and the canonical writer spend most of their time in.

/// A byte in each place of a word.
const fn each(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// The length of the longest beginning without `"`, `\` and characters below 0x20.
pub(crate) fn plain_length(bytes: &[u8]) -> usize {
    let mut length = 0;
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        let Ok(word) = word.try_into() else { break };
        let special = special_bytes(u64::from_le_bytes(word));
        if special != 0 {
            return length + special.trailing_zeros() as usize / 8;
        }
        length += 8;
    }
    let is_plain = |byte: &&u8| **byte >= 0x20 && **byte != b'"' && **byte != b'\\';
    length + words.remainder().iter().take_while(is_plain).count()
}

/// The high bit of each byte that is special; above the lowest of them, others may be set as well, since a
/// subtraction borrows.
const fn special_bytes(word: u64) -> u64 {
    const fn zeros(word: u64) -> u64 {
        word.wrapping_sub(each(1)) & !word
    }
    let control = word.wrapping_sub(each(0x20)) & !word;
    (control | zeros(word ^ each(b'"')) | zeros(word ^ each(b'\\'))) & each(0x80)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_the_length_that_a_plain_loop_finds(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'a'), Just(b'"'), Just(0x1f), Just(0x20), Just(0x9f)], 0..40),
        ) {
            let plain = |byte: &u8| *byte >= 0x20 && *byte != b'"' && *byte != b'\\';
            prop_assert_eq!(plain_length(&bytes), bytes.iter().take_while(|byte| plain(byte)).count());
        }
    }
}
