//! Small pieces of sentences. Owns wording that several modules share, nothing else.

use std::io;
use std::path::Path;

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

/// A line with its control characters escaped: a path may hold any, and must neither break the layout nor
/// speak to the terminal.
pub(crate) fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// A path as one word of a shell (POSIX Shell Command Language, 2.2).
pub(crate) fn word(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+:,@%=".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

/// A value of a unit's setting (systemd.syntax(7), systemd.unit(5) "Specifiers").
pub(crate) fn systemd(value: &str) -> String {
    let value = value.replace('%', "%%");
    let plain = !value.is_empty() && !value.contains([' ', '\t', '"', '\'', '\\', ';']);
    if plain { value } else { format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")) }
}

/// `Environment=NAME=VALUE`, quoted as a whole where it must be (systemd.exec(5)).
pub(crate) fn assignment(name: &str, value: &str) -> String {
    format!("Environment={}", systemd(&format!("{name}={value}")))
}

/// A URL of a configuration or a peer, without what may be secret in it: user, password, query, fragment.
pub(crate) fn public_url(url: &str) -> String {
    let is_slash = |c: char| c == '/' || c == '\\';
    let scheme = url.split_once(':').map(|(scheme, _)| scheme).filter(|scheme| {
        !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    });
    // `me:pw@host` has no scheme, whatever stands before its colon.
    let start = match scheme {
        Some(scheme) if url[scheme.len() + 1..].starts_with(is_slash) => scheme.len() + 1,
        _ => 0,
    };
    let (head, rest) = url.split_at(start);
    let slashes = rest.len() - rest.trim_start_matches(is_slash).len();
    let (slashes, rest) = rest.split_at(slashes);
    // A password that somebody forgot to encode may hold all of these.
    let rest = rest.rsplit('@').next().unwrap_or_default();
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    format!("{head}{slashes}{rest}")
}

/// `CaUsedAsEndEntity { … }` as words: `ca used as end entity`.
pub(crate) fn plain_words(name: &str) -> String {
    let name = name.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
    let mut out = String::new();
    let mut was_lower = false;
    for c in name.chars() {
        if c.is_ascii_uppercase() && was_lower {
            out.push(' ');
        }
        was_lower = !c.is_ascii_uppercase();
        out.push(c.to_ascii_lowercase());
    }
    out
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

    #[test]
    fn what_is_pasted_is_quoted() {
        assert_eq!(word(Path::new("/etc/z4j/token")), "/etc/z4j/token");
        assert_eq!(word(Path::new("/srv/my app/it's")), "'/srv/my app/it'\\''s'");
        assert_eq!(assignment("Z4J_HOME", "/srv/app"), "Environment=Z4J_HOME=/srv/app");
        assert_eq!(assignment("Z4J_HOME", "/srv/my app/100%"), "Environment=\"Z4J_HOME=/srv/my app/100%%\"");
    }

    #[test]
    fn a_url_is_shown_without_what_may_be_secret() {
        for (url, shown) in [
            ("https://h.example/x", "https://h.example/x"),
            ("https://me:pw@h.example/x?token=1#f", "https://h.example/x"),
            ("//me:pw@h.example/x", "//h.example/x"),
            ("https:\\\\me:pw@h.example", "https:\\\\h.example"),
            ("me:pw@h.example", "h.example"),
            ("https://me:p/w@h.example/x", "https://h.example/x"),
            ("https://me:p#w@h.example/x", "https://h.example/x"),
            ("https://me:p?w@h.example/x?y#z", "https://h.example/x"),
            ("/login?next=1", "/login"),
            ("h.example:8443/x", "h.example:8443/x"),
        ] {
            assert_eq!(public_url(url), shown, "{url}");
        }
    }

    #[test]
    fn a_name_of_a_variant_becomes_words() {
        assert_eq!(plain_words("CaUsedAsEndEntity"), "ca used as end entity");
        assert_eq!(plain_words("InvalidPurposeContext { required: 1 }"), "invalid purpose context");
    }

    #[test]
    fn a_path_cannot_break_the_layout() {
        assert_eq!(visible("/srv/a\nb\u{1b}[31m/ü"), "/srv/a\\nb\\u{1b}[31m/ü");
    }
}
