//! A parsed JSON value with the distinctions that the signature depends on.
//!
//! Owns the tree and plain access to it. It must not know the wire grammar (`parse`), the canonical form
//! (`canonical`) or frames. Unlike `serde_json::Value` it keeps integers of any size, tells `1` from `1.0`,
//! and can hold what JSON text may say but a signature cannot cover, so that the refusal comes at the same
//! point as in the reference.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smol_str::SmolStr;

use crate::integer::Integer;
use crate::parse::ParseError;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number without fraction and exponent.
    Integer(Integer),
    /// A number with a fraction or an exponent; not finite where the text overflows or says `NaN`.
    Float(f64),
    /// A string of Unicode scalar values.
    String(String),
    /// A string with a lone surrogate in it: legal for Python's parser, impossible to encode or sign.
    LoneSurrogate,
    /// An array.
    Array(Vec<Value>),
    /// An object.
    Object(Object),
}

/// A JSON object: its members sorted by code point, each key once (of duplicates the last one stands). Keys are
/// short, and most stand in their place without an allocation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object(Vec<(SmolStr, Value)>);

impl Object {
    /// Sorts members and drops all but the last of equal keys. UTF-8 byte order is code point order.
    pub(crate) fn from_members(mut members: Vec<(SmolStr, Value)>) -> Self {
        if !members.is_sorted_by(|a, b| a.0 < b.0) {
            members.sort_by(|a, b| a.0.cmp(&b.0));
            // Of equal keys the last one stands; nearly no object has any.
            if members.windows(2).any(|pair| pair[0].0 == pair[1].0) {
                members.reverse();
                members.dedup_by(|later, kept| later.0 == kept.0);
                members.reverse();
            }
        }
        Self(members)
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        let index = self.0.binary_search_by(|member| member.0.as_str().cmp(key)).ok()?;
        self.0.get(index).map(|member| &member.1)
    }

    /// Takes the value of a key out of the object.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let index = self.0.binary_search_by(|member| member.0.as_str().cmp(key)).ok()?;
        Some(self.0.remove(index).1)
    }

    /// Sets a key, and returns what stood there.
    pub fn insert(&mut self, key: &str, value: Value) -> Option<Value> {
        match self.0.binary_search_by(|member| member.0.as_str().cmp(key)) {
            Ok(index) => Some(std::mem::replace(&mut self.0[index].1, value)),
            Err(index) => {
                self.0.insert(index, (key.into(), value));
                None
            }
        }
    }

    /// The members in key order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The members in key order, with values that may be changed.
    pub fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = (&str, &mut Value)> {
        self.0.iter_mut().map(|(key, value)| (key.as_str(), value))
    }

    /// The members in key order, taken out.
    #[must_use]
    pub fn into_members(self) -> Vec<(String, Value)> {
        self.0.into_iter().map(|(key, value)| (key.into(), value)).collect()
    }

    /// How many members there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(String, Value)> for Object {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(members: I) -> Self {
        Self::from_members(members.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }
}

impl Value {
    /// Parses JSON text as the reference does (see [`ParseError`] for what is refused).
    ///
    /// # Errors
    /// The text is not one JSON document, or is beyond [`crate::MAX_DEPTH`] or
    /// [`crate::MAX_INTEGER_DIGITS`].
    pub fn parse(wire: &[u8]) -> Result<Self, ParseError> {
        crate::parse::parse(wire)
    }

    /// An object of the given members.
    pub fn object<'a>(members: impl IntoIterator<Item = (&'a str, Value)>) -> Self {
        Self::Object(members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    /// Converts anything serde can write as JSON.
    ///
    /// # Errors
    /// The type cannot be written as JSON.
    pub fn from_serialize<T: Serialize>(source: &T) -> Result<Self, serde_json::Error> {
        let text = serde_json::to_vec(source)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }

    /// Reads a typed structure out of the value.
    ///
    /// # Errors
    /// The value has another shape, or cannot be encoded (a lone surrogate, a number that is not finite).
    pub fn deserialize<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        let text = self.to_canonical().map_err(<serde_json::Error as serde::de::Error>::custom)?;
        serde_json::from_str(&text)
    }

    /// The value of a key, if this is an object that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.as_object()?.get(key)
    }

    /// The object, if it is one.
    #[must_use]
    pub fn as_object(&self) -> Option<&Object> {
        if let Self::Object(object) = self { Some(object) } else { None }
    }

    /// The array, if it is one.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Self]> {
        if let Self::Array(items) = self { Some(items) } else { None }
    }

    /// The text, if it is a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// The truth value, if it is one.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(value) = self { Some(*value) } else { None }
    }

    /// The number, if it is an integer of 0..2^64.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        if let Self::Integer(number) = self { number.as_u64() } else { None }
    }

    /// Whether a lone surrogate stands anywhere in it. Recursion is bounded by the parser's depth limit.
    pub(crate) fn has_lone_surrogate(&self) -> bool {
        match self {
            Self::LoneSurrogate => true,
            Self::Array(items) => items.iter().any(Self::has_lone_surrogate),
            Self::Object(object) => object.iter().any(|(_, value)| value.has_lone_surrogate()),
            _ => false,
        }
    }

    /// Whether it is `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Integer(number.into())
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.to_canonical().map_err(serde::ser::Error::custom)?;
        serde_json::value::RawValue::from_string(text)
            .map_err(serde::ser::Error::custom)?
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<serde_json::value::RawValue>::deserialize(deserializer)?;
        Self::parse(raw.get().as_bytes()).map_err(serde::de::Error::custom)
    }
}
