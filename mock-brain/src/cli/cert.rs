//! `cert show|profiles|rotate|issue`.

use std::fmt::Write;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::builder::NonEmptyStringValueParser;
use http::Method;

use super::output::{print, print_json};
use super::{Failure, StateDir, block_on};
use crate::api::certificates::{Issue, Rotate};
use crate::pki::{CertificateFacts, Certificates, IssuedCertificate, Profile, WORDS, Word};
use crate::{Environment, clock};

/// A certificate that ends within this is told with a warning, in seconds.
const SOON: i64 = 14 * 86_400;

/// Show, rotate and issue certificates.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Show the chain that the server sends, as openssl would, and when each certificate ends
    #[command(
        after_help = "Example:\n  mock-brain cert show\n  mock-brain cert show --json | jq -r '.chain[0].pem'"
    )]
    Show {
        #[command(flatten)]
        state_dir: StateDir,
        /// One JSON document
        #[arg(long)]
        json: bool,
    },
    /// Explain the words of certificate profiles
    #[command(after_help = "Example:\n  mock-brain cert profiles\n  \
        mock-brain serve --certificate wildcard+rsa+tls-1.2")]
    Profiles {},
    /// Issue the server's certificate anew, also with another profile; connections that are open go on
    #[command(after_help = "Examples:\n  mock-brain cert rotate\n  mock-brain cert rotate expired+rsa")]
    Rotate {
        #[command(flatten)]
        state_dir: StateDir,
        /// What is shown from now on [default: as before]
        profile: Option<String>,
        /// One JSON document
        #[arg(long)]
        json: bool,
    },
    /// Write a certificate of this brain's CA with its key, for a server of your own
    #[command(
        after_help = "Examples:\n  mock-brain cert issue tasks.example.com 192.0.2.7 --out /etc/nginx/tls\n  \
        mock-brain cert issue --client worker-1\n\nIt writes NAME.pem (the chain, the server's own certificate \
        first, as nginx's ssl_certificate wants it), NAME-key.pem (mode 0600) and ca.pem."
    )]
    Issue {
        #[command(flatten)]
        state_dir: StateDir,
        /// Names and addresses that it is for; the first one names the files
        #[arg(required = true, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
        names: Vec<String>,
        /// Where to write
        #[arg(long, value_name = "DIR", default_value = ".")]
        out: PathBuf,
        /// For a client, to show to servers that want one
        #[arg(long)]
        client: bool,
        /// What is wrong with it, in the words of `cert profiles`
        #[arg(long, value_name = "PROFILE", default_value = "valid")]
        profile: String,
        /// One JSON document: {"files": […]}
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(command: Command, environment: &Environment) -> Result<(), Failure> {
    match command {
        Command::Show { state_dir, json } => {
            let client = state_dir.client(environment)?;
            let path = "/mock/v1/certificates";
            let shown = block_on(client.ask::<Certificates>(Method::GET, path, None))??;
            if json { print_json(&shown) } else { print(text(&shown).as_bytes()) }
        }
        Command::Profiles {} => print(profiles().as_bytes()),
        Command::Rotate { state_dir, profile, json } => {
            let profile =
                profile.as_deref().map(str::parse::<Profile>).transpose().map_err(Failure::usage)?;
            let body = serde_json::to_string(&Rotate { profile }).map_err(Failure::no)?;
            let client = state_dir.client(environment)?;
            let path = "/mock/v1/certificates/rotate";
            let shown = block_on(client.ask::<Certificates>(Method::POST, path, Some(body)))??;
            if json { print_json(&shown) } else { print(text(&shown).as_bytes()) }
        }
        Command::Issue { state_dir, names, out, client, profile, json } => {
            let profile = profile.parse().map_err(|error: crate::ProfileError| Failure::usage(error))?;
            let order = Issue { names, client, profile };
            let body = serde_json::to_string(&order).map_err(Failure::no)?;
            let asked = state_dir.client(environment)?;
            let path = "/mock/v1/certificates";
            let issued = block_on(asked.ask::<IssuedCertificate>(Method::POST, path, Some(body)))??;
            let first = order.names.first().map_or("certificate", String::as_str);
            let files = save(&out, first, &issued)?;
            if json {
                return print_json(&serde_json::json!({ "files": files }));
            }
            let lines: String = files.iter().map(|file| format!("{}\n", file.display())).collect();
            print(lines.as_bytes())
        }
    }
}

/// Writes the files, and returns where they are.
fn save(out: &Path, name: &str, issued: &IssuedCertificate) -> Result<Vec<PathBuf>, Failure> {
    // Of a wildcard's name and an IPv6 address, what a file may be called on every system.
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let base: String =
        name.replace('*', "wildcard").chars().map(|c| if plain(c) { c } else { '_' }).collect();
    let base = base.trim_start_matches('.');
    std::fs::create_dir_all(out).map_err(|error| Failure::usage(format!("--out {out:?}: {error}")))?;
    let files = [
        (format!("{base}.pem"), &issued.chain, 0o644),
        (format!("{base}-key.pem"), &issued.key, 0o600),
        ("ca.pem".to_owned(), &issued.ca, 0o644),
    ];
    let mut written = Vec::new();
    for (file, content, mode) in files {
        let path = out.join(file);
        write(&path, content, mode).map_err(|error| Failure::usage(format!("{path:?}: {error}")))?;
        written.push(path);
    }
    Ok(written)
}

/// Writes a file that has its mode from the start.
fn write(path: &Path, content: &str, mode: u32) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = std::fs::OpenOptions::new().create_new(true).write(true).mode(mode).open(path)?;
    io::Write::write_all(&mut file, content.as_bytes())
}

fn profiles() -> String {
    let mut out = "Grammar: WORD[+WORD…], or valid\n".to_owned();
    for word in WORDS {
        let value = if matches!(word, Word::ExpiresIn(_)) { "=TIME" } else { "" };
        let _ = writeln!(out, "\n{}{value}\n  {}", word.name(), word.about());
    }
    out
}

/// As `openssl s_client -showcerts` writes a chain, and `openssl x509 -text` its names.
fn text(shown: &Certificates) -> String {
    let mut out = format!("Certificate chain ({})\n", shown.profile);
    for (depth, certificate) in shown.chain.iter().enumerate() {
        describe(&mut out, &format!("{depth:2}"), certificate);
    }
    out.push_str("Not sent: the root that clients are to trust\n");
    describe(&mut out, "  ", &shown.root);
    out
}

fn describe(out: &mut String, depth: &str, certificate: &CertificateFacts) {
    let CertificateFacts { subject, issuer, key, signature, serial, names, not_before, not_after, .. } =
        certificate;
    let [begin, end] = &certificate.valid;
    let _ = writeln!(out, "{depth} s:{subject}\n   i:{issuer}\n   a:PKEY: {key}; sigalg: {signature}");
    let _ = writeln!(out, "   v:NotBefore: {begin}; NotAfter: {end}\n   Serial Number: {serial}");
    if !names.is_empty() {
        let names = names.iter().map(|name| {
            let kind = if name.parse::<std::net::IpAddr>().is_ok() { "IP Address" } else { "DNS" };
            format!("{kind}:{name}")
        });
        let names = names.collect::<Vec<_>>().join(", ");
        let _ = writeln!(out, "   X509v3 Subject Alternative Name: {names}");
    }
    let now = clock::now().unix_seconds();
    let _ = match (*not_before > now, *not_after - now) {
        (true, _) => {
            writeln!(out, "   WARNING: it is not valid yet, and begins in {}", span(*not_before - now))
        }
        (_, left @ ..0) => writeln!(out, "   WARNING: it ended {} ago", span(-left)),
        (_, left @ ..SOON) => writeln!(out, "   WARNING: it ends soon, in {}", span(left)),
        (_, left) => writeln!(out, "   it ends in {}", span(left)),
    };
}

/// A time in its largest unit, rounded down.
fn span(seconds: i64) -> String {
    let units = [("day", 86_400), ("hour", 3_600), ("minute", 60)];
    let (unit, size) = units.into_iter().find(|(_, size)| seconds >= *size).unwrap_or(("second", 1));
    let count = seconds / size;
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}
