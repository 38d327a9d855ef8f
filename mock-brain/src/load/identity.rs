//! Who the simulated agents are: tokens, and the secrets that they sign with.
//!
//! Owns the file of many tokens. Nothing here is shown by `Debug`.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use z4j_protocol::HmacSecret;

/// Largest file of tokens.
const MAX_BYTES: u64 = 64 << 20;

/// A text that must not be seen.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

/// What one agent connects with.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) token: Secret,
    pub(crate) secret: HmacSecret,
    /// The project's slug, which goes into the hello where it is known.
    pub(crate) project: Option<String>,
}

/// Reads a file of tokens: one a line, and behind it, where it is not the common one, its secret, and then its
/// project. Empty lines and those that begin with `#` are skipped. The complaint names the line and never
/// quotes it.
pub(crate) fn read_tokens(
    path: &Path,
    secret: Option<&HmacSecret>,
    project: Option<&str>,
) -> Result<Vec<Identity>, String> {
    let told = |reason: &dyn fmt::Display| format!("tokens {path:?}: {reason}");
    let size = std::fs::metadata(path).map_err(|error| told(&error))?.len();
    if size > MAX_BYTES {
        return Err(told(&format_args!("larger than {MAX_BYTES} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| told(&error))?;
    let mut identities = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let mut words = line.split_whitespace();
        let Some(token) = words.next().filter(|word| !word.starts_with('#')) else { continue };
        let own = words.next().map(HmacSecret::parse).transpose();
        let own = own.map_err(|error| told(&format_args!("line {number}: {error}")))?;
        let secret = own.or_else(|| secret.cloned()).ok_or_else(|| {
            told(&format_args!("line {number}: no secret; write it behind the token, or set Z4J_HMAC_SECRET"))
        })?;
        let project = words.next().or(project).map(str::to_owned);
        identities.push(Identity { token: Secret(token.to_owned()), secret, project });
    }
    if identities.is_empty() {
        return Err(told(&"no token in it"));
    }
    Ok(identities)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_tokens() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        let (one, two) = (HmacSecret::from_bytes(vec![1; 32]), HmacSecret::from_bytes(vec![2; 32]));
        let (one, two) = (one.unwrap(), two.unwrap());
        std::fs::write(&path, format!("# mine\n\nfirst\nsecond {} shop\n", two.to_text())).unwrap();
        let read = read_tokens(&path, Some(&one), Some("demo")).unwrap();
        assert_eq!((&read[0].token.0[..], read[0].project.as_deref()), ("first", Some("demo")));
        assert_eq!((&read[1].token.0[..], read[1].project.as_deref()), ("second", Some("shop")));
        assert!(read[0].secret == one && read[1].secret == two);
        let complaint = read_tokens(&path, None, None).unwrap_err();
        assert!(complaint.contains("line 3: no secret") && !complaint.contains("first"), "{complaint}");
        assert!(!format!("{read:?}").contains("second"));
    }
}
