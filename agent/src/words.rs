//! Small pieces of sentences. Owns wording that several modules share, nothing else.

use std::io;

use nix::errno::Errno;

/// `a`, `a and b`, `a, b and c`.
pub(crate) fn join_words<T: AsRef<str>>(words: &[T]) -> String {
    match words {
        [] => String::new(),
        [one] => one.as_ref().to_owned(),
        [rest @ .., last] => {
            let rest: Vec<&str> = rest.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", rest.join(", "), last.as_ref())
        }
    }
}

/// `EACCES: Permission denied`.
pub(crate) fn errno_name(errno: i32) -> String {
    let errno = Errno::from_raw(errno);
    format!("{errno:?}: {}", errno.desc())
}

/// What an I/O error says, by its errno where it has one.
pub(crate) fn errno_text(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), errno_name)
}

/// Text of a peer for a sentence: one line, printable, bounded.
pub(crate) fn printable(bytes: &[u8], most: usize) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .filter(|c| *c != char::REPLACEMENT_CHARACTER)
        .take(most)
        .collect();
    out.truncate(out.trim_end().len());
    out.trim_start().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_as_people_do() {
        assert_eq!(join_words::<&str>(&[]), "");
        assert_eq!(join_words(&["a"]), "a");
        assert_eq!(join_words(&["a", "b"]), "a and b");
        assert_eq!(join_words(&["a", "b", "c"]), "a, b and c");
    }

    #[test]
    fn a_peers_text_cannot_break_the_layout() {
        assert_eq!(printable(b"HTTP/1.1 400\r\nX: \x1b[31m", 64), "HTTP/1.1 400  X:  [31m");
        assert_eq!(printable(b"\xff\xfeabc", 2), "ab");
    }
}
