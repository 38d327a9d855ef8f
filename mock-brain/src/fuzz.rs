//! What holds for any bytes that somebody writes or sends: the properties behind the fuzz targets `fault`,
//! `brain_settings` and `request`, and their replay.
//!
//! Owns nothing that the product uses: it is built for tests and fuzzing only.

use std::cell::LazyCell;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::fault::FaultSpec;
use crate::settings::Settings;
use crate::{Brain, Options, Profile};

/// Most of an answer that is looked at.
const MOST: u64 = 1 << 20;
/// When an answer that does not end is a finding.
const HANGS: Duration = Duration::from_secs(20);

/// A fault that parses has a text that parses to the same fault; what does not is refused in one line, at a
/// place within the text. So it is with certificate profiles.
pub fn fault(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let places = 1..=text.chars().count() + 1;
    match text.parse::<FaultSpec>() {
        Ok(spec) => assert_eq!(spec.to_string().parse().as_ref(), Ok(&spec), "{spec}"),
        Err(error) => {
            assert!(places.contains(&error.column()), "column {} of {text:?}", error.column());
            assert!(!error.to_string().contains('\n'), "{error}");
        }
    }
    match text.parse::<Profile>() {
        Ok(profile) => assert_eq!(profile.to_string().parse().as_ref(), Ok(&profile), "{profile}"),
        Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
    }
}

/// A file of settings is taken or refused in one line.
pub fn brain_settings(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let settings = Settings::parse(Path::new("/brain.toml"), text).map(|mut settings| {
        // What stands in files elsewhere is not asked for.
        settings.state_dir = Some("/nonexistent".into());
        Settings::default().or(settings)
    });
    if let Err(error) = settings.and_then(|settings| settings.resolve(None)) {
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}

/// A brain of this process, whose agent's token is `token`.
struct Served {
    runtime: Runtime,
    brain: Brain,
}

thread_local! {
    static SERVED: LazyCell<Option<Served>> = const { LazyCell::new(|| serve().ok()) };
}

fn serve() -> Result<Served, Box<dyn std::error::Error>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let options = Options { tls: false, ..Options::default() };
    let brain = runtime.block_on(Brain::start(options, listener))?;
    brain.set_token("demo-agent", "token-of-the-fuzzer")?;
    Ok(Served { runtime, brain })
}

/// Whatever is sent on the agent port, what comes back is HTTP and ends, and the next one is answered.
pub fn request(bytes: &[u8]) {
    SERVED.with(|served| {
        let served = served.as_ref();
        assert!(served.is_some(), "there is no brain to ask");
        let Some(Served { runtime, brain }) = served else { return };
        let answer = runtime.block_on(async { timeout(HANGS, ask(brain, bytes)).await });
        let answer = answer.unwrap_or_else(|_| Ok(b"it hangs".to_vec())).unwrap_or_default();
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1."), "{}", answer.escape_ascii());
    });
}

async fn ask(brain: &Brain, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut socket = TcpStream::connect(brain.local_addr()).await?;
    let (mut from, mut to) = socket.split();
    let mut answer = Vec::new();
    let send = async {
        // Who answers without reading all of it may hang up meanwhile.
        let _ = to.write_all(bytes).await;
        let _ = to.shutdown().await;
    };
    let mut from = (&mut from).take(MOST);
    let (_, read) = tokio::join!(send, from.read_to_end(&mut answer));
    // A reset may follow the answer.
    let _ = read;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replay(target: &str, holds: impl Fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
        for file in std::fs::read_dir(folder).unwrap() {
            holds(&std::fs::read(file.unwrap().path()).unwrap());
        }
    }

    #[test]
    fn the_corpora_hold() {
        replay("fault", fault);
        replay("brain_settings", brain_settings);
        replay("request", request);
        request(b"GET /api/v1/health HTTP/1.1\r\n\r\n");
    }
}
