//! What an agent is configured with, as variables of its environment, and how they are written.
//!
//! Owns the names, their order and the quoting of each form. What is written bears secrets.

use crate::api::agents::EnvAnswer;

/// Names and values.
pub(crate) type Variables = Vec<(&'static str, String)>;

/// The variables of an agent.
pub(crate) fn of(answer: EnvAnswer) -> Variables {
    let credentials = answer.credentials;
    let mut variables = vec![
        ("Z4J_BRAIN_URL", answer.brain_url),
        ("Z4J_TOKEN", credentials.token),
        ("Z4J_HMAC_SECRET", credentials.hmac_secret),
        ("Z4J_PROJECT_ID", credentials.project_id),
        ("Z4J_AGENT_NAME", credentials.agent_name),
        ("Z4J_AGENT_ID", credentials.agent_id),
    ];
    variables.extend(answer.ca_file.map(|path| ("SSL_CERT_FILE", path)));
    variables
}

/// Lines for a shell's `eval`.
pub(crate) fn shell(variables: &Variables) -> String {
    lines(variables, |key, value| format!("export {key}={}", shell_quoted(value)))
}

/// A `.env` file.
pub(crate) fn dotenv(variables: &Variables) -> String {
    lines(variables, |key, value| format!("{key}={}", dotenv_quoted(value)))
}

/// A file for `EnvironmentFile=`.
pub(crate) fn systemd(variables: &Variables) -> String {
    lines(variables, |key, value| format!("{key}={}", systemd_quoted(value)))
}

fn lines(variables: &Variables, line: impl Fn(&str, &str) -> String) -> String {
    variables.iter().map(|(key, value)| line(key, value) + "\n").collect()
}

/// Text as one word of a POSIX shell.
pub(crate) fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:@%+,=".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text.to_owned() } else { shell_quoted(text) }
}

/// Text in single quotes for a POSIX shell.
fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Single quotes are literal for all dotenv readers; a text with one in it takes double quotes.
fn dotenv_quoted(text: &str) -> String {
    if text.contains('\'') {
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$"))
    } else {
        format!("'{text}'")
    }
}

/// systemd.exec(5), EnvironmentFile=: in double quotes, `"`, `\`, `` ` `` and `$` take a backslash.
fn systemd_quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        if matches!(c, '"' | '\\' | '`' | '$') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting() {
        let text = "it's \"$5\" \\ `x`";
        assert_eq!(shell_quoted(text), r#"'it'\''s "$5" \ `x`'"#);
        assert_eq!(dotenv_quoted(text), r#""it's \"\$5\" \\ `x`""#);
        assert_eq!(systemd_quoted(text), r#""it's \"\$5\" \\ \`x\`""#);
    }
}
