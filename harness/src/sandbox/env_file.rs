//! `EnvironmentFile=` (systemd.exec(5)): assignments a line, with quotes of its own kind.
//!
//! Owns the parser. Differs from a shell: nothing is expanded, and `export` is no word.

/// The assignments of a file, in order. A line that is none is left out, as systemd does.
pub(super) fn parse(text: &str) -> Vec<(String, String)> {
    let mut rest = text;
    let mut out = Vec::new();
    while !rest.is_empty() {
        rest = rest.trim_start();
        if rest.starts_with(['#', ';']) {
            rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
            continue;
        }
        let end = rest.find(['=', '\n']).unwrap_or(rest.len());
        let (name, tail) = rest.split_at(end);
        let Some(tail) = tail.strip_prefix('=') else {
            rest = tail;
            continue;
        };
        let (value, tail) = value(tail);
        rest = tail;
        let name = name.trim();
        if is_name(name) {
            out.push((name.to_owned(), value));
        }
    }
    out
}

fn is_name(name: &str) -> bool {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    plain && !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// The value that a text begins with, and what follows its line.
fn value(text: &str) -> (String, &str) {
    let mut value = String::new();
    // How much of it stays when white space at the end is cut off: what was quoted does.
    let mut kept = 0;
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (None, '\n') => {
                value.truncate(kept.max(value.trim_end().len()));
                return (value, &text[at + 1..]);
            }
            (None, '\r') => {}
            (None, ' ' | '\t') if value.is_empty() && kept == 0 => {}
            (None, '"' | '\'') if value.trim_end().len() <= kept => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (None | Some('"'), '\\') => match chars.next() {
                None | Some((_, '\n')) => {}
                Some((_, c)) => {
                    if quote.is_some() && !matches!(c, '"' | '\\' | '`' | '$') {
                        value.push('\\');
                    }
                    value.push(c);
                    kept = value.len();
                }
            },
            (quoted, c) => {
                value.push(c);
                if quoted.is_some() {
                    kept = value.len();
                }
            }
        }
    }
    value.truncate(kept.max(value.trim_end().len()));
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_escapes_are_systemds() {
        for (text, value) in [
            ("A=plain", "plain"),
            ("A= spaced out  ", "spaced out"),
            ("A=\"in quotes \"", "in quotes "),
            ("A='single $HOME \\n'", "single $HOME \\n"),
            ("A=\"an \\\"escaped\\\" one\"", "an \"escaped\" one"),
            ("A=it's", "it's"),
            ("A=one\\\ntwo", "onetwo"),
            ("A=$HOME", "$HOME"),
            ("A=x # no comment", "x # no comment"),
            ("A=windows\r\n", "windows"),
            ("A=", ""),
        ] {
            assert_eq!(parse(text), [("A".to_owned(), value.to_owned())], "{text:?}");
        }
    }

    #[test]
    fn what_is_no_assignment_is_left_out() {
        let parsed = parse("# A=1\n;B=2\nnothing\nexport C=3\n\nD=4\n9E=5\nF=6");
        assert_eq!(parsed, [("D".to_owned(), "4".to_owned()), ("F".to_owned(), "6".to_owned())]);
    }
}
