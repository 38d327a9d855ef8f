//! What an agent answers on the ingest socket. Owns the shapes that both ends use; see the module's
//! documentation for what they mean.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// A line that is not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LineRefusal {
    /// Its number, from 1.
    pub(crate) line: u64,
    /// A stable word.
    pub(crate) code: Cow<'static, str>,
    /// One sentence.
    pub(crate) reason: String,
}

/// Why no more lines are taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReplyError {
    /// A stable word.
    pub(crate) code: String,
    /// One sentence.
    pub(crate) reason: String,
}

/// One reply.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reply {
    /// Every line up to this one is durable or refused.
    pub(crate) line: u64,
    /// Events of this connection that are durable.
    pub(crate) accepted: u64,
    /// Those of them whose time was replaced.
    #[serde(default)]
    pub(crate) restamped: u64,
    /// Lines refused since the reply before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) refused: Vec<LineRefusal>,
    /// Set in the last reply of a connection that ends before the client ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<ReplyError>,
}

impl Reply {
    /// As a line.
    pub(super) fn to_line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}
