//! `frame canonical|sign|verify`: the wire's arithmetic, for those who write an agent in another language.
//!
//! Owns reading and printing only; canonical form, signature and verdict are z4j-protocol's.

use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};

use z4j_protocol::{Binding, Frame, HmacSecret, Signer, Value, Verifier};

use super::output::print;
use super::{Failure, steps};
use crate::{clock, random};

/// Largest document that is read.
const MAX_BYTES: u64 = 64 << 20;

/// Canonical bytes, signatures, verdicts.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Print the canonical bytes of the JSON document on stdin, and nothing else
    #[command(after_help = "Example:\n  echo '{\"b\": 1.0, \"a\": 1E-7}' | mock-brain frame canonical")]
    Canonical,
    /// Sign the frame on stdin
    #[command(
        after_help = "Example:\n  echo '{\"v\":2,\"type\":\"heartbeat\",\"id\":\"h1\",\"payload\":{}}' | \
        mock-brain frame sign \\\n    --secret-file secret --agent-id A --project-id P --session-id S\n\n\
        ts, nonce and seq are filled in where they are missing."
    )]
    Sign {
        #[command(flatten)]
        keys: Keys,
    },
    /// Verify frames on stdin, one a line, as one session: `ok` or `CLASS REASON` for each
    #[command(
        after_help = "Examples:\n  mock-brain frame verify --secret-file secret --agent-id A --project-id P \
        --session-id S < frames\n  mock-brain frame verify --session sessions.json\n\n\
        Exit 1 if a frame was refused; with --session, if one was that the file's verdict does not refuse."
    )]
    Verify {
        /// Run every session of a file of this layout, with its secret, ids and clock
        #[arg(long, value_name = "FILE", conflicts_with_all = ["secret_file", "agent_id", "project_id", "session_id"])]
        session: Option<PathBuf>,
        #[command(flatten)]
        keys: Option<Keys>,
    },
}

/// What a signature takes beside the frame.
#[derive(Debug, clap::Args)]
pub(super) struct Keys {
    /// A file with the project's secret, url-safe base64
    #[arg(long, value_name = "FILE")]
    secret_file: PathBuf,
    /// The agent's UUID
    #[arg(long, value_name = "UUID")]
    agent_id: String,
    /// The project's UUID, not its slug
    #[arg(long, value_name = "UUID")]
    project_id: String,
    /// The session id of hello_ack, or the long-poll session nonce
    #[arg(long, value_name = "ID")]
    session_id: String,
}

impl Keys {
    fn read(&self) -> Result<(HmacSecret, Binding), Failure> {
        let path = &self.secret_file;
        let text = read_file(&self.secret_file)?;
        let text = String::from_utf8(text).map_err(|_| Failure::usage(format!("{path:?}: not text")))?;
        let secret =
            HmacSecret::parse(&text).map_err(|error| Failure::usage(format!("{path:?}: {error}")))?;
        let binding = Binding {
            agent_id: self.agent_id.clone(),
            project_id: self.project_id.clone(),
            session_id: self.session_id.clone(),
        };
        Ok((secret, binding))
    }
}

pub(super) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Canonical => print(document()?.to_canonical().map_err(Failure::no)?.as_bytes()),
        Command::Sign { keys } => sign(keys),
        Command::Verify { session: Some(file), .. } => steps::run(file, &read_file(file)?),
        Command::Verify { keys: Some(keys), .. } => verify(keys),
        Command::Verify { .. } => {
            Err(Failure::usage("say --session FILE, or --secret-file and the three ids"))
        }
    }
}

fn document() -> Result<Value, Failure> {
    let mut bytes = Vec::new();
    let read = io::stdin().lock().take(MAX_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failure::usage(format!("stdin: {error}")))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Failure::no(format!("stdin: more than {MAX_BYTES} bytes")));
    }
    Value::parse(&bytes).map_err(|error| Failure::no(format!("stdin: {error}")))
}

fn sign(keys: &Keys) -> Result<(), Failure> {
    let (secret, binding) = keys.read()?;
    // A signature on what no verifier looks at twice would only hide the mistake.
    let frame = Frame::from_value(document()?);
    let frame = frame.map_err(|refusal| Failure::no(format!("stdin is no frame to sign: {refusal}")))?;
    if !frame.frame_type().is_signed() {
        let line = format!("stdin: frames of type {} are not signed", frame.frame_type());
        return Err(Failure::no(line));
    }
    let document = Value::Object(frame.object().clone());
    let signed = Signer::new(&secret, binding).sign_document(document, clock::now(), random::bytes());
    print((signed.map_err(Failure::no)? + "\n").as_bytes())
}

fn verify(keys: &Keys) -> Result<(), Failure> {
    let (secret, binding) = keys.read()?;
    let mut verifier = Verifier::new(&secret, binding);
    let mut stdin = io::stdin().lock();
    let (mut line, mut refused) = (Vec::new(), false);
    loop {
        line.clear();
        let read = stdin.by_ref().take(MAX_BYTES).read_until(b'\n', &mut line);
        if read.map_err(|error| Failure::usage(format!("stdin: {error}")))? == 0 {
            break;
        }
        let frame = line.strip_suffix(b"\n").unwrap_or(&line);
        match verifier.verify(frame, clock::now()) {
            Ok(_) => print(b"ok\n")?,
            Err(refusal) => {
                refused = true;
                print(format!("{refusal}\n").as_bytes())?;
            }
        }
    }
    if refused { Err(Failure::no("")) } else { Ok(()) }
}

fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error: io::Error| Failure::usage(format!("{path:?}: {error}"));
    let mut bytes = Vec::new();
    std::fs::File::open(path).map_err(failed)?.take(MAX_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}
