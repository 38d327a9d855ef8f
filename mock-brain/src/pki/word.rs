//! The words that certificates are described by: what each one changes, and in which respect.
//!
//! Owns their names, which are the doctor's codes where it has one. A fault `tls.WORD` shows what the profile
//! `WORD` shows. Must not make a certificate.

use std::fmt;
use std::time::Duration;

use crate::fault::duration;

/// In which respect a word changes what a server shows: one word each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Respect {
    /// When it is valid.
    Dates,
    /// Whom it names.
    Names,
    /// Who signed it, and what is sent beside it.
    Chain,
    /// Its kind of key.
    Key,
    /// Which TLS versions are spoken.
    Versions,
    /// What is spoken over TLS.
    Protocol,
    /// Whether the client has to show a certificate.
    Client,
}

/// How many [`Respect`]s there are.
pub(super) const RESPECTS: usize = 7;

/// One change to what a server shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Word {
    /// Its validity is over.
    Expired,
    /// Its validity has not begun.
    NotYetValid,
    /// Its validity ends so long after it was made.
    ExpiresIn(Duration),
    /// It names another host only.
    HostnameMismatch,
    /// Its subject has no common name.
    NoCn,
    /// It has a common name and no alternative names.
    CnOnly,
    /// It names every host of the domain by `*`.
    Wildcard,
    /// It signs itself.
    SelfSigned,
    /// Its CA is another one.
    UntrustedCa,
    /// A proxy that inspects TLS made it.
    Intercepted,
    /// The chain lacks the intermediate.
    MissingIntermediate,
    /// The intermediate is sent first.
    WrongOrder,
    /// A certificate is sent that has nothing to do with it.
    ExtraCertificate,
    /// The root is sent too, cross-signed by an old one whose time is over.
    CrossSignedExpired,
    /// More certificates are sent than fit into a handshake.
    HugeChain,
    /// Its key is RSA of 2048 bits.
    Rsa,
    /// Its key is RSA of 4096 bits.
    Rsa4096,
    /// Its key is ECDSA on P-384.
    EcdsaP384,
    /// Its key is Ed25519.
    Ed25519,
    /// Only TLS 1.2 is spoken.
    Tls12,
    /// Only TLS 1.3 is spoken.
    Tls13,
    /// Only HTTP/2 is spoken.
    H2Only,
    /// The client has to show a certificate.
    ClientCertRequired,
}

/// Every word, sorted by respect; that with a time has none.
pub const WORDS: &[Word] = &[
    Word::Expired,
    Word::NotYetValid,
    Word::ExpiresIn(Duration::ZERO),
    Word::HostnameMismatch,
    Word::NoCn,
    Word::CnOnly,
    Word::Wildcard,
    Word::SelfSigned,
    Word::UntrustedCa,
    Word::Intercepted,
    Word::MissingIntermediate,
    Word::WrongOrder,
    Word::ExtraCertificate,
    Word::CrossSignedExpired,
    Word::HugeChain,
    Word::Rsa,
    Word::Rsa4096,
    Word::EcdsaP384,
    Word::Ed25519,
    Word::Tls12,
    Word::Tls13,
    Word::H2Only,
    Word::ClientCertRequired,
];

impl Word {
    /// The name of the fault that shows it, in which respect it changes something, and what is shown.
    #[expect(clippy::too_many_lines, reason = "a table")]
    const fn facts(self) -> (&'static str, Respect, &'static str) {
        match self {
            Self::Expired => ("tls.expired", Respect::Dates, "The certificate's validity ended a day ago."),
            Self::NotYetValid => {
                ("tls.not-yet-valid", Respect::Dates, "The certificate's validity begins in a day.")
            }
            Self::ExpiresIn(_) => (
                "tls.expires-in",
                Respect::Dates,
                "The certificate ends so long after it was made, which is at the start, at a rotation, or at its \
                 first use as a fault.",
            ),
            Self::HostnameMismatch => (
                "tls.hostname-mismatch",
                Respect::Names,
                "The certificate is good and names another host only.",
            ),
            Self::NoCn => (
                "tls.no-cn",
                Respect::Names,
                "The certificate's subject has no common name; its alternative names are there.",
            ),
            Self::CnOnly => (
                "tls.cn-only",
                Respect::Names,
                "The certificate has a common name and no alternative names, as before 2017: clients refuse it.",
            ),
            Self::Wildcard => (
                "tls.wildcard",
                Respect::Names,
                "The certificate names every host of the domain, as *.example.com does.",
            ),
            Self::SelfSigned => {
                ("tls.self-signed", Respect::Chain, "The certificate signs itself; there is no CA.")
            }
            Self::UntrustedCa => {
                ("tls.untrusted-ca", Respect::Chain, "A full chain of a CA that nobody was told of.")
            }
            Self::Intercepted => (
                "tls.intercepted",
                Respect::Chain,
                "The certificate was made on the way, by the authority of a company's proxy that inspects TLS.",
            ),
            Self::MissingIntermediate => (
                "tls.missing-intermediate",
                Respect::Chain,
                "The server shows its own certificate without the intermediate that signed it.",
            ),
            Self::WrongOrder => (
                "tls.wrong-order",
                Respect::Chain,
                "The chain is complete, and sent in the wrong order: the intermediate first.",
            ),
            Self::ExtraCertificate => (
                "tls.extra-certificate",
                Respect::Chain,
                "The chain is followed by a certificate that has nothing to do with it; clients pass over it.",
            ),
            Self::CrossSignedExpired => (
                "tls.cross-signed-expired",
                Respect::Chain,
                "The root is sent too, cross-signed by an older one, and that signature's time is over: good for \
                 clients that know the root, and a failure for old ones.",
            ),
            Self::HugeChain => (
                "tls.huge-chain",
                Respect::Chain,
                "So many certificates are sent that clients refuse to read them: over 100 KiB.",
            ),
            Self::Rsa => {
                ("tls.rsa", Respect::Key, "The certificate's key is RSA of 2048 bits, in place of ECDSA.")
            }
            Self::Rsa4096 => ("tls.rsa-4096", Respect::Key, "The certificate's key is RSA of 4096 bits."),
            Self::EcdsaP384 => ("tls.ecdsa-p384", Respect::Key, "The certificate's key is ECDSA on P-384."),
            Self::Ed25519 => ("tls.ed25519", Respect::Key, "The certificate's key is Ed25519."),
            Self::Tls12 => ("tls.tls-1.2", Respect::Versions, "TLS 1.2 is spoken, and no other version."),
            Self::Tls13 => ("tls.tls-1.3", Respect::Versions, "TLS 1.3 is spoken, and no other version."),
            Self::H2Only => (
                "tls.h2-only",
                Respect::Protocol,
                "HTTP/2 is spoken, and no HTTP/1.1, so that no WebSocket can be: clients that ask for http/1.1 \
                 get the alert no_application_protocol, others HTTP/2 frames.",
            ),
            Self::ClientCertRequired => (
                "tls.client-cert-required",
                Respect::Client,
                "The client has to show a certificate of this brain's CA (cert issue --client makes one).",
            ),
        }
    }

    /// The name of the fault that shows it.
    #[must_use]
    pub const fn fault_name(self) -> &'static str {
        self.facts().0
    }

    /// As it is written, without a value.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.fault_name().split_at("tls.".len()).1
    }

    /// What is shown, in a sentence.
    #[must_use]
    pub const fn about(self) -> &'static str {
        self.facts().2
    }

    pub(super) const fn respect(self) -> Respect {
        self.facts().1
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::ExpiresIn(time) => write!(f, "={}", duration::text(*time)),
            _ => Ok(()),
        }
    }
}
