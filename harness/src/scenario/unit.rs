//! A systemd unit file (systemd.syntax(7)) in the words of `[service]`.
//!
//! Owns the syntax: sections, continued lines, comments, quotes, repeated keys and resets. What a directive
//! means, and whether it is known, is `service`'s.

use toml::{Table, Value};

/// How the assignments of a directive add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// The last one counts.
    Text,
    /// A list of words, quoted or not.
    Words,
    /// A list of lines.
    Lines,
    /// One text of all of them; an empty one empties it, and is a value.
    Joined,
}

fn shape(name: &str) -> Shape {
    match name {
        "Environment"
        | "UnsetEnvironment"
        | "ReadOnlyPaths"
        | "ReadWritePaths"
        | "InaccessiblePaths"
        | "TemporaryFileSystem" => Shape::Words,
        "LoadCredential" | "EnvironmentFile" => Shape::Lines,
        "CapabilityBoundingSet"
        | "StateDirectory"
        | "RuntimeDirectory"
        | "CacheDirectory"
        | "LogsDirectory" => Shape::Joined,
        _ => Shape::Text,
    }
}

/// Reads the `[Service]` section of a unit file. `expand` puts values for specifiers.
///
/// # Errors
/// A line that is none: which, and why.
pub(crate) fn parse(text: &str, expand: &dyn Fn(&str) -> Result<String, String>) -> Result<Table, String> {
    let mut table = Table::new();
    let mut section = String::new();
    for (number, line) in logical_lines(text) {
        let at = |problem: String| format!("line {number}: {problem}");
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.clone_into(&mut section);
            continue;
        }
        let (name, value) = line
            .split_once('=')
            .ok_or_else(|| at(format!("`{line}` is neither [Section] nor Name=value")))?;
        let (name, value) = (name.trim(), value.trim());
        match section.as_str() {
            "Service" => {}
            // How the service is found and ordered means nothing here.
            "Unit" | "Install" => continue,
            "" => return Err(at(format!("`{name}` stands in no section"))),
            other => return Err(at(format!("[{other}] is not a section of a service"))),
        }
        // These are expanded later, with what the scenario says beside them.
        let value = if name == "Environment" { value.to_owned() } else { expand(value).map_err(at)? };
        add(&mut table, name, &value).map_err(at)?;
    }
    Ok(table)
}

fn add(table: &mut Table, name: &str, value: &str) -> Result<(), String> {
    let shape = shape(name);
    if value.is_empty() && shape != Shape::Joined {
        table.remove(name);
        return Ok(());
    }
    let more = match shape {
        Shape::Text => Value::String(value.to_owned()),
        Shape::Joined => {
            let before = table.get(name).and_then(Value::as_str).filter(|_| !value.is_empty());
            Value::String(before.map_or_else(|| value.to_owned(), |before| format!("{before} {value}")))
        }
        Shape::Words | Shape::Lines => {
            let before = table.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
            let new = if shape == Shape::Words { words(value)? } else { vec![value.to_owned()] };
            Value::Array(before.into_iter().chain(new.into_iter().map(Value::String)).collect())
        }
    };
    table.insert(name.to_owned(), more);
    Ok(())
}

/// Lines with those that continue them, and the number of the first. Comments and empty lines are left out,
/// also between a line and its continuation.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut out: Vec<(usize, String)> = Vec::new();
    let mut continues = false;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with(['#', ';']) {
            continue;
        }
        let (line, more) = line.strip_suffix('\\').map_or((line, false), |line| (line, true));
        match out.last_mut().filter(|_| continues) {
            Some((_, before)) => {
                before.push(' ');
                before.push_str(line);
            }
            None => out.push((index + 1, line.to_owned())),
        }
        continues = more;
    }
    out.retain_mut(|(_, line)| {
        line.truncate(line.trim_end().len());
        !line.is_empty()
    });
    out
}

/// Words separated by white space; quotes at the start of one hold it together, and `\` escapes.
pub(crate) fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.peek().is_none() {
            return Ok(words);
        }
        let mut word = String::new();
        let mut quote = None;
        while let Some(c) = chars.next() {
            match (quote, c) {
                (None, c) if c.is_whitespace() => break,
                (None, '"' | '\'') => quote = Some(c),
                (Some(open), c) if c == open => quote = None,
                (_, '\\') => word.push(match chars.next().ok_or("it ends with `\\`")? {
                    'n' => '\n',
                    't' => '\t',
                    's' => ' ',
                    c => c,
                }),
                (_, c) => word.push(c),
            }
        }
        if quote.is_some() {
            return Err("a quote has no end".to_owned());
        }
        words.push(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: &str = r#"
[Unit]
Description=z4j agent
After=network-online.target

[Service]
# how it runs
Type=notify
ExecStart=/usr/bin/z4j run \
    # a comment inside
    --config %E/z4j.toml
Environment=A=1 "B=two words"
Environment='C=it is' D=100%%
LoadCredential=token:/etc/z4j/token
LoadCredential=hmac_secret:/etc/z4j/hmac
ReadWritePaths=/old
ReadWritePaths=
ReadWritePaths=-/new /other
CapabilityBoundingSet=
StateDirectory=z4j
StateDirectory=more

[Install]
WantedBy=multi-user.target
"#;

    #[test]
    fn a_unit_file_becomes_a_service() {
        let expand = |text: &str| Ok(text.replace("%E", "/etc"));
        let table = parse(UNIT, &expand).unwrap();
        let expected: Table = toml::from_str(
            r#"
            Type = "notify"
            ExecStart = "/usr/bin/z4j run  --config /etc/z4j.toml"
            Environment = ["A=1", "B=two words", "C=it is", "D=100%%"]
            LoadCredential = ["token:/etc/z4j/token", "hmac_secret:/etc/z4j/hmac"]
            ReadWritePaths = ["-/new", "/other"]
            CapabilityBoundingSet = ""
            StateDirectory = "z4j more"
            "#,
        )
        .unwrap();
        assert_eq!(table, expected);
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        let expand = |text: &str| Ok(text.to_owned());
        for (text, says) in [
            ("[Service]\nType", "line 2: `Type` is neither"),
            ("Type=simple", "line 1: `Type` stands in no section"),
            ("[Socket]\nListenStream=1", "line 2: [Socket] is not"),
            ("[Service]\n\nEnvironment=\"A=1", "line 3: a quote has no end"),
        ] {
            let error = parse(text, &expand).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
