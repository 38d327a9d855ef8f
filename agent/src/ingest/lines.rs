//! Bytes → lines, bounded.
//!
//! Owns the buffer between a stream and its lines: a line that is too long is skipped without being kept, and
//! its neighbours are not touched. Must not know what stands on a line.

/// Longest line, without its end.
pub(super) const MAX_LINE_BYTES: usize = 1 << 20;
/// A buffer that grew beyond this is given back once it is empty.
const KEPT_CAPACITY: usize = 128 * 1024;

/// A line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line<'b> {
    /// From 1.
    pub(super) number: u64,
    /// Its bytes without the newline; `None` if there are too many.
    pub(super) text: Option<&'b [u8]>,
}

/// Takes a stream apart.
#[derive(Debug, Default)]
pub(super) struct Lines {
    buffer: Vec<u8>,
    /// Where the next line begins.
    start: usize,
    /// Up to where there is no newline.
    searched: usize,
    /// Inside a line that is too long.
    skipping: bool,
    ended: bool,
    number: u64,
}

impl Lines {
    /// Adds what was read. Call it when [`Lines::next`] has nothing more.
    pub(super) fn feed(&mut self, chunk: &[u8]) {
        self.buffer.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        if self.buffer.is_empty() && self.buffer.capacity() > KEPT_CAPACITY {
            self.buffer = Vec::new();
        }
        self.buffer.extend_from_slice(chunk);
    }

    /// There is no more: what is left is a line.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// The next line that is complete.
    pub(super) fn next(&mut self) -> Option<Line<'_>> {
        let newline = memchr::memchr(b'\n', &self.buffer[self.searched..]).map(|at| self.searched + at);
        let (end, next) = match newline {
            Some(at) => (at, at + 1),
            None => {
                let end = self.buffer.len();
                self.searched = end;
                if !self.ended {
                    self.forget_if_too_long();
                    return None;
                }
                if self.start == end && !self.skipping {
                    return None;
                }
                (end, end)
            }
        };
        let text = &self.buffer[self.start..end];
        let fits = !self.skipping && text.len() <= MAX_LINE_BYTES;
        self.skipping = false;
        self.number += 1;
        (self.start, self.searched) = (next, next);
        Some(Line { number: self.number, text: fits.then_some(text) })
    }

    /// How much is kept of a line that is not complete.
    pub(super) fn partial_bytes(&self) -> usize {
        self.buffer.len() - self.start
    }

    fn forget_if_too_long(&mut self) {
        if self.skipping || self.partial_bytes() > MAX_LINE_BYTES {
            self.skipping = true;
            self.buffer = Vec::new();
            (self.start, self.searched) = (0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(chunks: &[&[u8]]) -> Vec<Option<Vec<u8>>> {
        let (mut lines, mut out) = (Lines::default(), Vec::new());
        let mut drain = |lines: &mut Lines| {
            while let Some(line) = lines.next() {
                out.push(line.text.map(<[u8]>::to_vec));
                assert_eq!(line.number, out.len() as u64);
            }
            assert!(lines.partial_bytes() <= MAX_LINE_BYTES);
        };
        for chunk in chunks {
            lines.feed(chunk);
            drain(&mut lines);
        }
        lines.end();
        drain(&mut lines);
        out
    }

    proptest! {
        #[test]
        fn cuts_where_newlines_are_however_it_arrives(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'a'), any::<u8>()], 0..60),
            size in 1..9_usize,
        ) {
            let chunks: Vec<&[u8]> = bytes.chunks(size).collect();
            let mut expected: Vec<Option<Vec<u8>>> =
                bytes.split(|byte| *byte == b'\n').map(|line| Some(line.to_vec())).collect();
            if expected.last().is_some_and(|last| last.as_ref().is_some_and(Vec::is_empty)) {
                expected.pop();
            }
            prop_assert_eq!(split(&chunks), expected);
        }
    }

    #[test]
    fn a_line_too_long_leaves_its_neighbours() {
        let long = vec![b'x'; MAX_LINE_BYTES + 1];
        let fits = &long[1..];
        let text = [b"a\n", &long[..], b"\nb\n", fits, b"\n", &long[..], &long[..]].concat();
        let expected = vec![Some(b"a".to_vec()), None, Some(b"b".to_vec()), Some(fits.to_vec()), None];
        for size in [7_777, 65_536, text.len()] {
            let chunks: Vec<&[u8]> = text.chunks(size).collect();
            assert_eq!(split(&chunks), expected, "{size}");
        }
    }
}
