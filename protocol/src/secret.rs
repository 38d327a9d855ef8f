//! The project secret that signs frames: its text form, its bounds, and how a brain derives it.
//!
//! Must not print what it holds: `Debug` shows the length only.

use std::fmt;

use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use uuid::Uuid;

/// Shortest secret that may sign, in bytes.
pub const MIN_SECRET_BYTES: usize = 32;

/// The label that a brain puts before the project id when it derives a project's secret.
const DERIVATION_LABEL: &[u8] = b"z4j-project-secret-v1:";

/// URL-safe base64 that writes padding and reads with or without it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Why a text is no usable secret. Never carries any part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Nothing, or only white space.
    #[error("the secret is empty")]
    Empty,
    /// Not URL-safe base64.
    #[error("the secret is not URL-safe base64 (letters, digits, `-` and `_`)")]
    NotBase64,
    /// Fewer than [`MIN_SECRET_BYTES`] bytes.
    #[error("the secret is {bytes} bytes, and at least {MIN_SECRET_BYTES} are needed")]
    TooShort {
        /// Its length after decoding.
        bytes: usize,
    },
}

/// Decodes the configured text of a secret: URL-safe base64, padding optional, outer white space ignored.
///
/// # Errors
/// [`SecretError::Empty`] or [`SecretError::NotBase64`]; the length is not judged here.
pub fn decode_secret(text: &str) -> Result<Vec<u8>, SecretError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(SecretError::Empty);
    }
    BASE64.decode(text).map_err(|_| SecretError::NotBase64)
}

/// A project's signing secret, 32 bytes or more.
#[derive(Clone, PartialEq, Eq)]
pub struct HmacSecret(Vec<u8>);

impl HmacSecret {
    /// Reads the configured text.
    ///
    /// # Errors
    /// The text is empty, not URL-safe base64, or too short.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        Self::from_bytes(decode_secret(text)?)
    }

    /// Takes raw bytes.
    ///
    /// # Errors
    /// There are fewer than [`MIN_SECRET_BYTES`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, SecretError> {
        if bytes.len() < MIN_SECRET_BYTES {
            return Err(SecretError::TooShort { bytes: bytes.len() });
        }
        Ok(Self(bytes))
    }

    /// Derives a project's secret from a brain's master secret: HMAC-SHA256 over a label and the project's
    /// UUID in little-endian field order (protocol.md, Signing).
    #[must_use]
    pub fn derive(master: &[u8], project: Uuid) -> Self {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, master));
        context.update(DERIVATION_LABEL);
        context.update(&project.to_bytes_le());
        Self(context.sign().as_ref().to_vec())
    }

    /// The text that an operator configures (`Z4J_HMAC_SECRET`), padded. Handle it as a secret.
    #[must_use]
    pub fn to_text(&self) -> String {
        BASE64.encode(&self.0)
    }

    /// What tells one project's files from another's without telling the secret: the first 16 hex digits of
    /// its SHA-256, as the published agents mark their buffers.
    #[must_use]
    pub fn deployment(&self) -> String {
        let digest = digest::digest(&digest::SHA256, &self.0);
        digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// The `confirm_token` of a `purge_queue` for a queue that was seen with so many messages, as the
    /// published brain makes it (observed of 1.13).
    #[must_use]
    pub fn purge_token(&self, queue: &str, depth: i64) -> String {
        let message = format!("purge|{queue}|{depth}");
        let tag = hmac::sign(&self.key(), message.as_bytes());
        tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(crate) fn key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.0)
    }
}

impl fmt::Debug for HmacSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HmacSecret({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_byte_of_the_secret() -> Result<(), SecretError> {
        let secret = HmacSecret::from_bytes(vec![0xab; 32])?;
        assert_eq!(format!("{secret:?}"), "HmacSecret(32 bytes)");
        Ok(())
    }

    #[test]
    fn a_purge_is_confirmed_for_a_queue_and_a_depth() -> Result<(), SecretError> {
        let secret = HmacSecret::from_bytes((0..32).collect())?;
        // Python's hmac says so.
        let token = "3f5113ecdeab96756f4c244f1418f012e049f8a4bb1d03c8e242b9775a606739";
        assert_eq!(secret.purge_token("celery", 7), token);
        Ok(())
    }
}
