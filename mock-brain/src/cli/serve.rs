//! `serve`: one brain with its control API, until a signal ends it.

use std::io::IsTerminal;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tracing_subscriber::EnvFilter;

use super::Failure;
use super::output::{print, print_json};
use crate::api::{self, Api};
use crate::control::{Control, reachable};
use crate::descriptors;
use crate::limits::LimitSettings;
use crate::quote::quote;
use crate::settings::{Resolved, Settings};
use crate::state::CA_FILE;
use crate::variables::shell_word;
use crate::{Brain, Environment, dashboard, random};

/// Run a brain.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  mock-brain serve\n  \
    mock-brain serve --listen 127.0.0.1:0 --state-dir ./brain --json\n  \
    mock-brain serve --name tasks.example.com --fault 'tls.expired first 2'\n  \
    mock-brain serve --certificate expires-in=20s+rsa\n\n\
    On a first start it makes a CA, a server certificate, a project, an agent, its token and HMAC secret, and \
    keeps them in the state directory, and so the journal: events, sessions, violations, commands and frames, \
    the newest 4 GiB and 1,000,000 events of it. Sessions and violations take a quarter of that each at most; \
    commands are bounded by their number, 10,000, alone.")]
pub(super) struct Args {
    /// Where agents connect [default: 127.0.0.1:7700]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Where the control API listens [default: 127.0.0.1:0]
    #[arg(long, value_name = "ADDRESS")]
    control: Option<String>,
    /// Where CA and credentials are kept [default: ${XDG_STATE_HOME:-~/.local/state}/mock-brain]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Speak TLS (the default)
    #[arg(long, overrides_with = "no_tls")]
    tls: bool,
    /// Speak plain HTTP
    #[arg(long, overrides_with = "tls")]
    no_tls: bool,
    /// A name for the certificate beside localhost, 127.0.0.1 and ::1; may be repeated
    #[arg(long, value_name = "HOST")]
    name: Vec<String>,
    /// What the server shows, as `cert profiles` explains: words joined by + [default: valid]
    #[arg(long, value_name = "PROFILE", conflicts_with = "no_tls")]
    certificate: Option<String>,
    /// A name more that a Host header may bear; may be repeated
    #[arg(long, value_name = "NAME")]
    host: Vec<String>,
    /// Agents may only come from these networks; may be repeated [default: any]
    #[arg(long, value_name = "CIDR")]
    admit: Vec<String>,
    /// Believe these proxies' X-Forwarded-For; may be repeated [default: 127.0.0.1]
    #[arg(long, value_name = "CIDR")]
    trusted_proxy: Vec<String>,
    /// The project's slug [default: demo]
    #[arg(long, value_name = "SLUG")]
    project: Option<String>,
    /// The agent's name [default: demo-agent]
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// A fault to start with, as `fault list` explains; may be repeated
    #[arg(long, value_name = "SPEC")]
    fault: Vec<String>,
    /// What the dice of faults with a probability start from [default: 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Keep the journal in memory: events and what else was seen are gone when it ends
    #[arg(long, conflicts_with = "journal_max")]
    memory: bool,
    /// How much of the journal is kept on disk; the oldest goes first; at least 1048576 [default: 4294967296]
    #[arg(long, value_name = "BYTES", value_parser = crate::limits::bytes)]
    journal_max: Option<NonZeroU64>,
    /// A TOML file with the same keys as these flags, which win
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Let --listen and --control be addresses that others can reach
    #[arg(long)]
    allow_remote: bool,
    /// Behave like the real brain, of that release: 1.0 to 1.13 (the default: 1.13)
    #[arg(long, value_name = "VERSION", num_args = 0..=1, require_equals = true, conflicts_with = "strict")]
    like_real: Option<Option<String>>,
    /// Stricter than the real brain where the protocol leaves freedom: hold agents to every rule of `violations --rules`
    #[arg(long)]
    strict: bool,
    /// Send commands without a result again after the next hello_ack, as --strict does and the real brain does not
    #[arg(long)]
    redeliver: bool,
    #[command(flatten)]
    limits: LimitSettings,
    /// Say that it listens in one line of JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    fn settings(self) -> Result<Settings, Failure> {
        let mut file = self.config.as_deref().map(Settings::read).transpose().map_err(Failure::usage)?;
        if let Some(file) = file.as_mut().filter(|_| self.strict) {
            // Flags exclude each other, and win over the file.
            file.like_real = None;
        }
        let flags = Settings {
            listen: self.listen,
            control: self.control,
            state_dir: self.state_dir,
            tls: (self.tls || self.no_tls).then_some(self.tls),
            name: self.name,
            certificate: self.certificate,
            host: self.host,
            admit: self.admit,
            trusted_proxy: self.trusted_proxy,
            project: self.project,
            agent: self.agent,
            fault: self.fault,
            allow_remote: self.allow_remote.then_some(true),
            strict: (self.strict || self.like_real.is_some()).then_some(self.strict),
            redeliver: self.redeliver.then_some(true),
            like_real: self.like_real.flatten(),
            seed: self.seed,
            // A bound on the command line is one for the disk, whatever the file says.
            memory: (self.memory || self.journal_max.is_some()).then_some(self.memory),
            journal_max: self.journal_max,
            limits: self.limits,
            origin: Default::default(),
        };
        Ok(flags.or(file.unwrap_or_default()))
    }
}

pub(super) fn run(args: Args, environment: &Environment) -> Result<(), Failure> {
    let json = args.json;
    let settings = args.settings()?.resolve(environment.state_dir()).map_err(Failure::usage)?;
    start_logging(environment)?;
    descriptors::raise();
    let listener = bind(&settings, "listen", settings.listen)?;
    let control = bind(&settings, "control", settings.control)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::no(format!("no runtime: {error}")))?;
    runtime.block_on(serve(settings, listener, control, json))
}

fn bind(settings: &Resolved, key: &str, address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).map_err(|error| {
        let way_out = SocketAddr::new(address.ip(), 0);
        let line = format!(
            "cannot listen on {address}: {error}; choose another address, or `--{key} {way_out}` for any free port"
        );
        Failure::usage(settings.origin.complaint(key, &line))
    })
}

fn start_logging(environment: &Environment) -> Result<(), Failure> {
    let filter = environment.log.as_deref().unwrap_or("info");
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        Failure::usage(format!("MOCK_BRAIN_LOG={}: {error}; say info or debug", quote(filter)))
    })?;
    let colour = std::io::stderr().is_terminal() && !environment.no_color;
    // A second subscriber in one process would be a test's; it keeps the first.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colour)
        .try_init();
    Ok(())
}

async fn serve(
    settings: Resolved,
    listener: TcpListener,
    control: TcpListener,
    json: bool,
) -> Result<(), Failure> {
    let unusable = |what: &str, error: std::io::Error| Failure::usage(format!("{what}: {error}"));
    // Before anything is announced: whoever reads the announcement may send a signal at once.
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
        return Err(Failure::no("signals cannot be received"));
    };
    let dir = settings.state_dir;
    let brain = Brain::start_with(settings.options, listener, settings.limits);
    let brain = brain.map_err(|error| Failure::usage(settings.origin.start_complaint(&error)))?;
    control.set_nonblocking(true).map_err(|error| unusable("--control", error))?;
    let control = tokio::net::TcpListener::from_std(control).map_err(|error| unusable("--control", error))?;
    let address = control.local_addr().map_err(|error| unusable("--control", error))?;
    let url = format!("http://{}", reachable(address));
    let file = Control { url, token: random::hex::<32>(), pid: std::process::id() };
    file.write(&dir).map_err(Failure::usage)?;
    let scheme = if brain.ca_pem().is_some() { "https" } else { "http" };
    let brain_url = format!("{scheme}://{}/", reachable(brain.local_addr()));
    let ca_file = brain.ca_pem().map(|_| dir.join(CA_FILE).to_string_lossy().into_owned());
    let hub = Arc::clone(&brain.hub);
    let shutdown = Arc::new(Notify::new());
    let api = Api {
        hub,
        token: file.token.clone(),
        address,
        brain_url: brain_url.clone(),
        ca_file: ca_file.clone(),
        state_dir: dir.clone(),
        shutdown: Arc::clone(&shutdown),
    };
    let api = tokio::spawn(api::serve(api, control));
    let said = announce(&brain, &dir, &brain_url, &file, ca_file.as_deref(), json);
    if said.is_ok() {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = shutdown.notified() => {}
        }
    }
    tracing::info!("stopping");
    brain.stop().await;
    api.abort();
    Control::remove(&dir);
    said
}

fn announce(
    brain: &Brain,
    dir: &std::path::Path,
    url: &str,
    control: &Control,
    ca_file: Option<&str>,
    json: bool,
) -> Result<(), Failure> {
    let credentials = brain.credentials();
    if json {
        return print_json(&json!({
            "event": "listening",
            "url": url,
            "control_url": control.url,
            "state_dir": dir,
            "ca_file": ca_file,
            "project_id": credentials.project_id,
            "agent_name": credentials.agent_name,
            "pid": std::process::id(),
        }));
    }
    let dir = dir.to_string_lossy();
    let text = format!(
        "mock-brain listens on {url}\n  project {}, agent {}\n  state   {dir}\n\n\
         To connect an agent from another shell:\n  eval \"$(mock-brain env --state-dir {})\"\n  z4j doctor\n\n\
         To watch and break it, open in a browser:\n  Dashboard: {}\n",
        credentials.project_id,
        credentials.agent_name,
        shell_word(&dir),
        dashboard::link(control),
    );
    print(text.as_bytes())
}
