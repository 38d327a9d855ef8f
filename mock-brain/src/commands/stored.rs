//! How parts of a command are written in the journal.
//!
//! Owns the forms of what has no serde form of its own: times are microseconds since 1970.

/// A canonical text, as it is.
pub(super) mod text {
    use serde::{Deserialize, Deserializer, Serializer};
    use z4j_protocol::CanonicalText;

    pub(in crate::commands) fn serialize<S: Serializer>(
        text: &CanonicalText,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_str(text.as_str())
    }

    pub(in crate::commands) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<CanonicalText, D::Error> {
        String::deserialize(from).map(CanonicalText::kept)
    }
}

/// A time.
pub(super) mod time {
    use serde::{Deserialize, Deserializer, Serializer};
    use z4j_protocol::Timestamp;

    pub(in crate::commands) fn serialize<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i64(time.unix_micros())
    }

    pub(in crate::commands) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Timestamp, D::Error> {
        i64::deserialize(from).map(Timestamp::from_unix_micros)
    }
}

/// A time that may not have come.
pub(super) mod times {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use z4j_protocol::Timestamp;

    pub(in crate::commands) fn serialize<S: Serializer>(
        time: &Option<Timestamp>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        time.map(Timestamp::unix_micros).serialize(to)
    }

    pub(in crate::commands) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        Ok(Option::<i64>::deserialize(from)?.map(Timestamp::from_unix_micros))
    }
}
