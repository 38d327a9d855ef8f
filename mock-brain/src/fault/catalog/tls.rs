//! Faults of the TLS layer: those that show what a certificate profile shows, and those of the handshake.

use std::time::Duration;

use super::super::shape::Shape;
use super::{Entry, made, plain, required};
use crate::fault::{Fault, Point, Tls};
use crate::pki::Word;

const HANDSHAKE: &[Point] = &[Point::Handshake];

/// A fault that shows what the profile of a word shows.
const fn shows(word: Word, example: &'static str) -> Entry {
    plain(Fault::Tls(Tls::Shows(word)), HANDSHAKE, word.about(), example)
}

pub(super) const ENTRIES: &[Entry] = &[
    shows(Word::Expired, "tls.expired"),
    shows(Word::NotYetValid, "tls.not-yet-valid"),
    made(
        "tls.expires-in",
        HANDSHAKE,
        &[required("t", "a time of a second or more, such as 20s", Shape::Seconds)],
        Word::ExpiresIn(Duration::ZERO).about(),
        "tls.expires-in(t=20s)",
        |values| Some(Fault::Tls(Tls::Shows(Word::ExpiresIn(values.time("t")?)))),
    ),
    shows(Word::HostnameMismatch, "tls.hostname-mismatch first 1"),
    shows(Word::NoCn, "tls.no-cn"),
    shows(Word::CnOnly, "tls.cn-only"),
    shows(Word::Wildcard, "tls.wildcard"),
    shows(Word::SelfSigned, "tls.self-signed"),
    shows(Word::UntrustedCa, "tls.untrusted-ca"),
    shows(Word::Intercepted, "tls.intercepted for 10m"),
    shows(Word::MissingIntermediate, "tls.missing-intermediate"),
    shows(Word::WrongOrder, "tls.wrong-order"),
    shows(Word::ExtraCertificate, "tls.extra-certificate"),
    shows(Word::CrossSignedExpired, "tls.cross-signed-expired"),
    shows(Word::HugeChain, "tls.huge-chain"),
    made(
        "tls.version",
        HANDSHAKE,
        &[required("only", "1.1, 1.2 or 1.3", Shape::OneOf(&["1.1", "1.2", "1.3"]))],
        "Only that version of TLS is spoken. 1.1 answers clients that begin at 1.2 with the alert \
         protocol_version, as old servers do.",
        "tls.version(only=1.1)",
        |values| {
            Some(Fault::Tls(match values.text("only")?.as_str() {
                "1.2" => Tls::Shows(Word::Tls12),
                "1.3" => Tls::Shows(Word::Tls13),
                _ => Tls::OldVersion,
            }))
        },
    ),
    shows(Word::H2Only, "tls.h2-only every 2"),
    shows(Word::ClientCertRequired, "tls.client-cert-required"),
    plain(
        Fault::Tls(Tls::UnrecognizedName),
        HANDSHAKE,
        "The name that the client asks for is no virtual host of the server, which says so: alert \
         unrecognized_name.",
        "tls.unrecognized-name",
    ),
    made(
        "tls.alert",
        HANDSHAKE,
        &[required(
            "code",
            "the alert's number, 0..=255 (40 handshake_failure, 80 internal_error)",
            Shape::Byte,
        )],
        "The client hello is answered with that fatal alert, and the connection is closed; 40 is what a \
         server says that has no cipher or signature in common.",
        "tls.alert(code=40) first 3",
        |values| Some(Fault::Tls(Tls::Alert(values.text("code")?.parse().ok()?))),
    ),
    plain(
        Fault::Tls(Tls::NotTls),
        HANDSHAKE,
        "The port speaks plain HTTP: the client hello is answered with nginx's 400 in plain text.",
        "tls.not-tls",
    ),
    plain(
        Fault::Tls(Tls::Aborted),
        HANDSHAKE,
        "The connection is closed after the client hello, without an alert.",
        "tls.aborted p=0.5",
    ),
];
