//! A token as it is looked up.
//!
//! Owns the look-up's key. Must not keep or print the token.

use aws_lc_rs::digest;

/// A token as it is looked up: its SHA-256, so that the look-up's time says nothing about it.
pub(super) type TokenKey = [u8; 32];

/// The key of a token.
pub(super) fn token_key(token: &str) -> TokenKey {
    let mut key = TokenKey::default();
    key.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
    key
}
