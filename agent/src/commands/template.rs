//! One argument of a program, with placeholders for what a command says.
//!
//! What a command says is data: it fills one argument, is never split or expanded, and cannot become an
//! option unless the operator says so. Must not run anything.

use z4j_protocol::{CanonicalText, Value};

/// Longest argument that Linux takes, in bytes, its end included (execve(2), `MAX_ARG_STRLEN`).
const MAX_ARGUMENT_BYTES: usize = 131_072;

/// An argument: text and placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Value(Placeholder),
}

/// `{name}`; `{name?}`: the argument is dropped where there is no value; `{name!}`: the value may begin with
/// a hyphen though the argument begins with it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Placeholder {
    name: String,
    optional: bool,
    any_start: bool,
}

/// What placeholders can name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Values<'a> {
    /// The command's id.
    pub(crate) id: &'a str,
    /// Its action.
    pub(crate) action: &'a str,
    /// Looked at first.
    pub(crate) parameters: &'a Value,
    /// Looked at second.
    pub(crate) target: &'a Value,
}

impl Values<'_> {
    /// `name`: the parameter, else the target's. `target.name` and `parameters.name` say which;
    /// `command.id` and `command.action` are the command's own. null is no value.
    fn text(&self, name: &str) -> Option<String> {
        match name {
            "command.id" => return Some(self.id.to_owned()),
            "command.action" => return Some(self.action.to_owned()),
            _ => {}
        }
        let value = match name.split_once('.') {
            Some(("target", name)) => self.target.get(name),
            Some(("parameters", name)) => self.parameters.get(name),
            _ => self.parameters.get(name).filter(|value| !value.is_null()).or_else(|| self.target.get(name)),
        };
        match value? {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            value => CanonicalText::of(value).ok().map(CanonicalText::into_string),
        }
    }
}

impl Template {
    /// Reads an argument as the operator wrote it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.contains('\0') {
            return Err("a NUL byte cannot stand in an argument".to_owned());
        }
        let (mut parts, mut literal, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                literal.push_str(brace);
                rest = after;
                continue;
            }
            let end = rest.find('}').filter(|_| brace == "{");
            let Some(end) = end else { return Err(format!("{text:?} has a brace without its partner")) };
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            parts.push(Part::Value(Placeholder::parse(&rest[..end])?));
            rest = &rest[end + 1..];
        }
        literal.push_str(rest);
        if !literal.is_empty() || parts.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self(parts))
    }

    /// The argument for a command; none if it is dropped.
    ///
    /// # Errors
    /// Why there is none: a value is missing, or cannot stand there.
    pub(crate) fn fill(&self, values: &Values<'_>) -> Result<Option<String>, String> {
        let mut out = String::new();
        // Whether all of it so far came from the command, and which placeholder could make it an option.
        let mut guarded: Option<&str> = None;
        for part in &self.0 {
            let placeholder = match part {
                Part::Text(text) => {
                    out.push_str(text);
                    continue;
                }
                Part::Value(placeholder) => placeholder,
            };
            let name = &placeholder.name;
            let Some(value) = values.text(name) else {
                if placeholder.optional {
                    return Ok(None);
                }
                return Err(format!("the command has no `{name}`, which the action's argv asks for"));
            };
            if value.contains('\0') {
                return Err(format!("`{name}` holds a NUL byte, which no argument can"));
            }
            if out.is_empty() && value.starts_with('-') && !placeholder.any_start {
                guarded = Some(name);
            }
            out.push_str(&value);
        }
        if let Some(name) = guarded {
            return Err(format!(
                "`{name}` begins with a hyphen, so the program could take it for an option; write it behind \
                 a text, as in --{name}={{{name}}}, or allow it with {{{name}!}}"
            ));
        }
        if out.len() >= MAX_ARGUMENT_BYTES {
            return Err(format!("an argument would be {} bytes long, and Linux takes 131071", out.len()));
        }
        Ok(Some(out))
    }
}

impl Placeholder {
    fn parse(text: &str) -> Result<Self, String> {
        let name = text.trim_end_matches(['?', '!']);
        let marks = &text[name.len()..];
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        if name.is_empty() || !name.chars().all(is_name) || marks.len() > 2 {
            return Err(format!("`{{{}}}` is no placeholder", text.escape_debug()));
        }
        Ok(Self { name: name.to_owned(), optional: marks.contains('?'), any_start: marks.contains('!') })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fill(template: &str, parameters: &str) -> Result<Option<String>, String> {
        let parameters = Value::parse(parameters.as_bytes()).unwrap();
        let target = Value::parse(br#"{"id":"celery:7","type":"task","queue":"of the target"}"#).unwrap();
        let values = Values { id: "c-1", action: "retry_task", parameters: &parameters, target: &target };
        Template::parse(template).unwrap().fill(&values)
    }

    #[test]
    fn values_stand_where_they_are_named() {
        for (template, parameters, argument) in [
            ("plain", "{}", Some("plain")),
            ("", "{}", Some("")),
            ("{{a}} {a}", r#"{"a":1}"#, Some("{a} 1")),
            ("{a}", r#"{"a":"x y; rm -rf $HOME"}"#, Some("x y; rm -rf $HOME")),
            ("{a}", r#"{"a":true}"#, Some("true")),
            ("{a}", r#"{"a":1e-7}"#, Some("1e-07")),
            ("{a}", r#"{"a":{"b":[1,"\u00e9"]}}"#, Some(r#"{"b":[1,"é"]}"#)),
            ("{queue}", r#"{"queue":null}"#, Some("of the target")),
            ("{target.id}/{command.id}/{command.action}", "{}", Some("celery:7/c-1/retry_task")),
            ("--queue={parameters.queue?}", "{}", None),
            ("{a?}", r#"{"a":""}"#, Some("")),
            ("{a!}", r#"{"a":-5}"#, Some("-5")),
            ("{a?!}", r#"{"a":"-x"}"#, Some("-x")),
            ("--a={a}", r#"{"a":"-x"}"#, Some("--a=-x")),
        ] {
            assert_eq!(fill(template, parameters), Ok(argument.map(str::to_owned)), "{template}");
        }
    }

    #[test]
    fn what_cannot_be_an_argument_is_refused_by_name() {
        for (template, parameters, words) in [
            ("{task_id}", "{}", "no `task_id`"),
            ("{a}", r#"{"a":"x\u0000"}"#, "`a` holds a NUL byte"),
            ("{a}", r#"{"a":"--delete"}"#, "`a` begins with a hyphen"),
            ("{a}{b}", r#"{"a":"","b":"-x"}"#, "`b` begins with a hyphen"),
            ("{a!}{b}", r#"{"a":"","b":"-x"}"#, "`b` begins with a hyphen"),
            ("{a}", r#"{"a":-5}"#, "begins with a hyphen"),
        ] {
            let refused = fill(template, parameters).err().unwrap_or_default();
            assert!(refused.contains(words), "{template}: {refused}");
        }
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_ARGUMENT_BYTES));
        assert!(fill("{a}", &long).is_err());
        for template in ["{", "}", "{a", "a}", "{a b}", "{}", "{?}", "{a???}", "\0"] {
            assert!(Template::parse(template).is_err(), "{template:?}");
        }
    }

    proptest! {
        /// Whatever a command says, an argument that the operator did not begin is no option.
        #[test]
        fn no_value_becomes_an_option(first in "-{0,2}[a-z]{0,2}", second in "-{0,2}[a-z]{0,2}") {
            let parameters = Value::object([("a", first.as_str().into()), ("b", second.as_str().into())]);
            let target = Value::Null;
            let values = Values { id: "", action: "", parameters: &parameters, target: &target };
            let filled = Template::parse("{a}{b}").unwrap().fill(&values);
            prop_assert!(filled.is_err() || !filled.unwrap().unwrap().starts_with('-'));
        }

        /// Text without braces is taken as it is, and nothing panics.
        #[test]
        fn any_text_parses_or_is_refused(text in "\\PC{0,40}") {
            let parsed = Template::parse(&text);
            let has_brace = text.contains(['{', '}']);
            prop_assert!(has_brace || parsed == Ok(Template(vec![Part::Text(text.clone())])));
        }
    }
}
