//! JSON bodies: their fields, with complaints as the real brain words them.
//!
//! Owns the checks of single fields; all complaints about a body are told at once.

use std::ops::RangeInclusive;

use axum::body::{Body, to_bytes};
use http::StatusCode;
use serde_json::{Map, Value, json};
use tokio::time::timeout;
use uuid::Uuid;

use super::answer::Refused;
use crate::hub::Limits;
use crate::longpoll::is_json;
use crate::web::AgentRequest;

/// The fields of a body, and what is wrong with them.
pub(super) struct Fields {
    map: Map<String, Value>,
    complaints: Vec<Value>,
    /// What is wrong with the fields together; told where each by itself is right.
    together: Option<String>,
}

impl Fields {
    /// Reads the body of a request.
    pub(super) async fn read(request: AgentRequest, limits: &Limits) -> Result<Self, Refused> {
        let is_json = is_json(request.headers());
        let most = usize::try_from(limits.body_bytes).unwrap_or(usize::MAX);
        let body = timeout(limits.body, to_bytes(Body::new(request.into_body()), most)).await;
        let late = |_| Refused::Framework(StatusCode::REQUEST_TIMEOUT, "Request Timeout".into());
        let unreadable =
            |_| Refused::Framework(StatusCode::BAD_REQUEST, "There was an error parsing the body".into());
        let bytes = body.map_err(late)?.map_err(unreadable)?;
        let parsed = if is_json { serde_json::from_slice(&bytes) } else { Ok(Value::Null) };
        match parsed {
            Ok(Value::Object(map)) => Ok(Self { map, complaints: Vec::new(), together: None }),
            Ok(input) => {
                let message = "Input should be a valid dictionary or object to extract fields from";
                Err(Refused::invalid(vec![complaint("model_attributes_type", message, &input)]))
            }
            Err(_) => {
                Err(Refused::invalid(vec![complaint("json_invalid", "JSON decode error", &Value::Null)]))
            }
        }
    }

    /// A text that must be there, so many characters long.
    pub(super) fn text(&mut self, name: &str, chars: RangeInclusive<usize>) -> String {
        if self.map.contains_key(name) {
            return match self.map.get(name) {
                Some(Value::Null) => {
                    self.complain("string_type", name, "Input should be a valid string");
                    String::new()
                }
                _ => self.optional(name, chars).unwrap_or_default(),
            };
        }
        self.missing(name);
        String::new()
    }

    /// A text that may be missing or null.
    pub(super) fn optional(&mut self, name: &str, chars: RangeInclusive<usize>) -> Option<String> {
        let text = match self.map.get(name) {
            None | Some(Value::Null) => return None,
            Some(Value::String(text)) => text.clone(),
            Some(_) => {
                self.complain("string_type", name, "Input should be a valid string");
                return None;
            }
        };
        let (length, least, most) = (text.chars().count(), *chars.start(), *chars.end());
        let plural = |count: usize| if count == 1 { "character" } else { "characters" };
        if length < least {
            let message = format!("String should have at least {least} {}", plural(least));
            self.complain_with("string_too_short", name, &message, json!({ "min_length": least }));
        } else if length > most {
            let message = format!("String should have at most {most} {}", plural(most));
            self.complain_with("string_too_long", name, &message, json!({ "max_length": most }));
        }
        Some(text)
    }

    /// A UUID that must be there.
    pub(super) fn uuid(&mut self, name: &str) -> Uuid {
        let parsed = match self.map.get(name) {
            None => {
                self.missing(name);
                return Uuid::nil();
            }
            Some(value) => value.as_str().and_then(|text| Uuid::try_parse(text).ok()),
        };
        parsed.unwrap_or_else(|| {
            self.complain("uuid_parsing", name, "Input should be a valid UUID");
            Uuid::nil()
        })
    }

    /// A whole number that may be missing or null.
    pub(super) fn number(&mut self, name: &str, range: RangeInclusive<i64>) -> Option<i64> {
        let value = self.map.get(name).filter(|value| !value.is_null())?;
        let Some(number) = value.as_i64() else {
            let (kind, message) = match value.is_f64() {
                true => {
                    ("int_from_float", "Input should be a valid integer, got a number with a fractional part")
                }
                false => ("int_type", "Input should be a valid integer"),
            };
            self.complain(kind, name, message);
            return None;
        };
        if number < *range.start() {
            let message = format!("Input should be greater than or equal to {}", range.start());
            self.complain_with("greater_than_equal", name, &message, json!({ "ge": range.start() }));
        } else if number > *range.end() {
            let message = format!("Input should be less than or equal to {}", range.end());
            self.complain_with("less_than_equal", name, &message, json!({ "le": range.end() }));
        }
        Some(number)
    }

    /// A number that must be there.
    pub(super) fn needed_number(&mut self, name: &str, range: RangeInclusive<i64>) -> i64 {
        if !self.map.contains_key(name) {
            self.missing(name);
        }
        self.number(name, range).unwrap_or_default()
    }

    /// A truth value; false if it is missing.
    pub(super) fn flag(&mut self, name: &str) -> bool {
        match self.map.get(name) {
            None => false,
            Some(Value::Bool(flag)) => *flag,
            Some(_) => {
                self.complain("bool_type", name, "Input should be a valid boolean");
                false
            }
        }
    }

    /// A list that may be missing or null.
    pub(super) fn list(&mut self, name: &str) -> Value {
        if self.has(name) && !self.any(name).is_array() {
            self.complain("list_type", name, "Input should be a valid list");
        }
        self.any(name)
    }

    /// An object that may be missing or null.
    pub(super) fn object(&mut self, name: &str) -> Value {
        if self.has(name) && !self.any(name).is_object() {
            self.complain("dict_type", name, "Input should be a valid dictionary");
        }
        self.any(name)
    }

    /// A value as it stands; null if it is missing.
    pub(super) fn any(&self, name: &str) -> Value {
        self.map.get(name).cloned().unwrap_or_default()
    }

    /// Whether a field is there and not null.
    pub(super) fn has(&self, name: &str) -> bool {
        self.map.get(name).is_some_and(|value| !value.is_null())
    }

    /// Ends the reading.
    pub(super) fn done(mut self) -> Result<(), Refused> {
        if let Some(message) = self.together.filter(|_| self.complaints.is_empty()) {
            self.complaints.push(json!({
                "type": "value_error", "loc": ["body"], "msg": format!("Value error, {message}"),
                "input": self.map, "ctx": { "error": {} },
            }));
        }
        if self.complaints.is_empty() { Ok(()) } else { Err(Refused::invalid(self.complaints)) }
    }

    /// Complains of the fields together.
    pub(super) fn complain_together(&mut self, message: String) {
        self.together = Some(message);
    }

    pub(super) fn missing(&mut self, name: &str) {
        let body = Value::Object(self.map.clone());
        self.complaints.push(json!({
            "type": "missing", "loc": ["body", name], "msg": "Field required", "input": body,
        }));
    }

    pub(super) fn complain(&mut self, kind: &str, name: &str, message: &str) {
        let input = self.any(name);
        self.complaints.push(json!({ "type": kind, "loc": ["body", name], "msg": message, "input": input }));
    }

    pub(super) fn complain_with(&mut self, kind: &str, name: &str, message: &str, context: Value) {
        self.complain(kind, name, message);
        if let Some(Value::Object(complaint)) = self.complaints.last_mut() {
            complaint.insert("ctx".to_owned(), context);
        }
    }
}

fn complaint(kind: &str, message: &str, input: &Value) -> Value {
    json!({ "type": kind, "loc": ["body"], "msg": message, "input": input })
}
