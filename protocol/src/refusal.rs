//! Why a frame is refused: the class that decides what the receiver does, and the rule that refused it.
//!
//! The words are those of `tests/vectors/sessions.json` and are an interface: people match on them.

use std::fmt;

/// What kind of refusal it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The frame is not one of this protocol.
    ProtocolIncompatible,
    /// The frame is of another protocol version.
    ProtocolVersionMismatch,
    /// The frame's signature, or what guards it against replay, does not hold.
    InvalidSignature,
}

impl Class {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ProtocolIncompatible => "protocol_incompatible",
            Self::ProtocolVersionMismatch => "protocol_version_mismatch",
            Self::InvalidSignature => "invalid_signature",
        }
    }
}

/// Declares the reasons with their words and classes in one place.
macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $word:literal in $class:ident,)+) => {
        /// Which rule refused a frame.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason { $($(#[$doc])* $name,)+ }

        impl Reason {
            /// The word for it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)+ }
            }

            /// The class it belongs to.
            #[must_use]
            pub const fn class(self) -> Class {
                match self { $(Self::$name => Class::$class,)+ }
            }
        }
    };
}

reasons! {
    /// The text is not JSON.
    NotJson = "not_json" in ProtocolIncompatible,
    /// The document is no object.
    NotAnObject = "not_an_object" in ProtocolIncompatible,
    /// There is no `v`.
    VersionMissing = "version_missing" in ProtocolIncompatible,
    /// `v` is no integer.
    VersionType = "version_type" in ProtocolIncompatible,
    /// `v` is another version.
    Version = "version" in ProtocolVersionMismatch,
    /// There is no `type`, or it is no string.
    TypeMissing = "type_missing" in ProtocolIncompatible,
    /// A frame type that this protocol does not have.
    TypeUnknown = "type_unknown" in ProtocolIncompatible,
    /// `payload` is neither an object nor null.
    PayloadNotAnObject = "payload_not_an_object" in ProtocolIncompatible,
    /// The frame holds something that canonical JSON cannot say.
    NotCanonical = "not_canonical" in ProtocolIncompatible,
    /// A `command_result` whose status is neither success nor failed.
    ResultStatus = "result_status" in ProtocolIncompatible,
    /// `telemetry_loss` is not of its shape.
    LossCounters = "loss_counters" in ProtocolIncompatible,
    /// `hmac` is no ASCII text.
    HmacType = "hmac_type" in ProtocolIncompatible,
    /// There is no `hmac`.
    HmacMissing = "hmac_missing" in InvalidSignature,
    /// `hmac` is not of 64 characters.
    HmacLength = "hmac_length" in InvalidSignature,
    /// `hmac` is not that of this frame, secret and session.
    HmacMismatch = "hmac_mismatch" in InvalidSignature,
    /// There is no `seq`, or it is no integer of 1 or more.
    SeqInvalid = "seq_invalid" in InvalidSignature,
    /// There is no `nonce`, or it is no string with text.
    NonceMissing = "nonce_missing" in InvalidSignature,
    /// There is no `ts`.
    TsMissing = "ts_missing" in InvalidSignature,
    /// `ts` is no ISO 8601 text.
    TsInvalid = "ts_invalid" in InvalidSignature,
    /// `ts` has no zone.
    TsNaive = "ts_naive" in InvalidSignature,
    /// `ts` is more than 60 seconds from now.
    TsSkew = "ts_skew" in InvalidSignature,
    /// `seq` is not above the last accepted one.
    SeqNotIncreasing = "seq_not_increasing" in InvalidSignature,
    /// `nonce` was seen in this session.
    NonceReused = "nonce_reused" in InvalidSignature,
}

/// A refused frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Refusal {
    /// Which rule refused it.
    pub reason: Reason,
}

impl Refusal {
    /// What kind of refusal it is.
    #[must_use]
    pub const fn class(self) -> Class {
        self.reason.class()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.class().as_str(), self.reason.as_str())
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self { reason }
    }
}
