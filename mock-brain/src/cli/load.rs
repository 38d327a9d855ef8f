//! `load`: simulated agents against a brain, and what came of it.
//!
//! Owns where the address and the credentials are taken from. The measuring is `load`'s.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Method;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use z4j_protocol::{HmacSecret, MAX_EVENTS_PER_BATCH};

use super::output::{complain, print, print_json};
use super::{Failure, StateDir};
use crate::api::agents::EnvAnswer;
use crate::descriptors;
use crate::fault::duration;
use crate::load::{self, Heartbeat, Identity, Login, Minted, Now, Plan, Rate, SLOTS, Secret, Target};
use crate::{Environment, environment::AgentVariables};

/// Most simulated agents: about the ports that a machine has for one address.
const MAX_AGENTS: usize = 50_000;

/// Drive simulated agents against a brain, this one or another.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    mock-brain load --agents 200 --rate 5000 --mint --svg load.svg   # the running mock-brain\n  \
    mock-brain load --agents 10000 --rate 0 --duration 1m --mint     # heartbeats only\n  \
    mock-brain load --rate max --batch 500                           # as fast as acks come\n  \
    mock-brain load https://brain.example.com/ --agents 50 --tokens tokens.txt --rate 100\n  \
    mock-brain load http://127.0.0.1:8000/ --login you@dev.local --password-file pw --project default\n\n\
    The address and what agents connect with come from flags, from Z4J_BRAIN_URL, Z4J_TOKEN, Z4J_HMAC_SECRET \
    and Z4J_PROJECT_ID, or from the mock-brain that runs on the state directory. Agents share what tokens there \
    are; a brain gives each token 64 workers.\n\n\
    Each event is of a task of its own, about 210 bytes. A batch is due by the clock, once the rate has made its \
    events, and its latency counts from then. mock-brain takes 600 connects of an address in a minute and 4096 connections at a time, unless serve is told \
    otherwise (--max-connects 0, --max-connections).\n\n\
    Exit status: 0 if events were acknowledged (with --rate 0: if agents connected), 1 if none, 2 for usage.")]
pub(super) struct Args {
    /// The brain's address [default: Z4J_BRAIN_URL, else the running mock-brain's]
    url: Option<String>,
    /// How many agents
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=MAX_AGENTS as i64))]
    agents: u32,
    /// Events a second of all agents together; 0 for none, `max` for as many as are acknowledged
    #[arg(long, value_name = "R", default_value = "100", value_parser = rate)]
    rate: Rate,
    /// How long events are sent once all are connected
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    duration: Duration,
    /// Events of a batch; fewer where the brain's frame limit is lower, or a small rate makes less than ten batches of it
    #[arg(long, value_name = "B", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=MAX_EVENTS_PER_BATCH as i64))]
    batch: u32,
    /// Batches of an agent that may wait for their acknowledgement
    #[arg(long, value_name = "W", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1000))]
    window: u32,
    /// Send events and no heartbeats
    #[arg(long, conflicts_with = "heartbeat")]
    events_only: bool,
    /// Time between heartbeats [default: as the brain says]
    #[arg(long, value_name = "TIME", value_parser = time)]
    heartbeat: Option<Duration>,
    /// How many connect at a time
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connecting: u32,
    /// The token [default: Z4J_TOKEN]; others can see it in the list of processes
    #[arg(long, value_name = "TOKEN", allow_hyphen_values = true)]
    token: Option<Secret>,
    /// The HMAC secret [default: Z4J_HMAC_SECRET]; others can see it in the list of processes
    #[arg(long, value_name = "SECRET", allow_hyphen_values = true)]
    secret: Option<Secret>,
    /// The project's slug [default: Z4J_PROJECT_ID]
    #[arg(long, value_name = "SLUG")]
    project: Option<String>,
    /// Tokens, one a line, each with its own secret and project behind it where they differ
    #[arg(long, value_name = "FILE", conflicts_with_all = ["token", "mint", "login"])]
    tokens: Option<PathBuf>,
    /// Have the running mock-brain make a token for each agent; they stay, and serve again
    #[arg(long, conflicts_with_all = ["token", "login"])]
    mint: bool,
    /// Log in to the brain's REST interface, and mint a token for each agent; they are revoked at the end
    #[arg(long, value_name = "EMAIL", requires = "password_file", conflicts_with = "token")]
    login: Option<String>,
    /// A file with the password of --login
    #[arg(long, value_name = "FILE", requires = "login")]
    password_file: Option<PathBuf>,
    #[command(flatten)]
    state_dir: StateDir,
    /// PEM file of the certificates to trust [default: the running mock-brain's, for another SSL_CERT_FILE, else the system's]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Send tokens over plain http to other machines, too
    #[arg(long)]
    plaintext: bool,
    /// Draw events/s and latencies over time
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// One JSON document in place of text
    #[arg(long)]
    json: bool,
}

fn rate(text: &str) -> Result<Rate, String> {
    if text == "max" {
        return Ok(Rate::Max);
    }
    let number = text.parse().ok().filter(|rate: &f64| (0.0..=1e9).contains(rate));
    number
        .map(Rate::PerSecond)
        .ok_or_else(|| "a number of events a second, 0 or `max` is expected".to_owned())
}

fn time(text: &str) -> Result<Duration, String> {
    let time = duration::parse(text).filter(|time| !time.is_zero());
    time.ok_or_else(|| "a time is expected, such as 500ms, 10s or 2m".to_owned())
}

impl Args {
    fn plan(&self) -> Plan {
        let heartbeat = match (self.events_only, self.heartbeat) {
            (true, _) => Heartbeat::Never,
            (_, Some(time)) => Heartbeat::Every(time),
            _ => Heartbeat::AsTold,
        };
        Plan {
            agents: self.agents as usize,
            rate: self.rate,
            duration: self.duration,
            batch: self.batch as usize,
            window: self.window as usize,
            heartbeat,
            connecting: self.connecting as usize,
        }
    }
}

pub(super) fn run(args: &Args, environment: &Environment) -> Result<(), Failure> {
    descriptors::raise();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::no(format!("no runtime: {error}")))?;
    runtime.block_on(drive(args, environment))
}

async fn drive(args: &Args, environment: &Environment) -> Result<(), Failure> {
    if let Some(path) = &args.svg {
        // Not only after all the work.
        let opened = std::fs::OpenOptions::new().create(true).append(true).open(path);
        opened.map_err(|error| Failure::usage(format!("--svg {path:?}: {error}")))?;
    }
    let found = find(args, environment).await?;
    let Found { target, identities, minted } = found;
    if args.agents as usize > SLOTS * identities.len() {
        let line = format!(
            "{} agents share {} token(s), and a brain gives each {SLOTS} workers; --mint or --tokens brings more",
            args.agents,
            identities.len()
        );
        complain(&line);
    }
    let bar = progress();
    let report = load::run(args.plan(), target.clone(), identities, |now| bar.set_message(line(now))).await;
    bar.finish_and_clear();
    if let Some((login, minted)) = minted {
        let left = load::revoke(&target, &login, &minted).await;
        if left > 0 {
            complain(&format!("{left} minted agents could not be revoked; their names begin with load-"));
        }
    }
    let report = report.map_err(Failure::no)?;
    if args.json {
        print_json(&report)?;
    } else {
        print(report.text().as_bytes())?;
    }
    if let Some(path) = &args.svg {
        load::draw(path, &report).map_err(Failure::usage)?;
    }
    if report.came_through() { Ok(()) } else { Err(Failure::no("nothing came through")) }
}

fn progress() -> ProgressBar {
    let terminal = std::io::stderr().is_terminal();
    let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(None, target);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        bar.set_style(style);
    }
    bar
}

fn line(now: &Now) -> String {
    let refused = if now.refused > 0 { format!(", {} refused", now.refused) } else { String::new() };
    let seconds = now.elapsed.as_secs_f64();
    if !now.sending {
        return format!("{seconds:4.1} s  {} of {} connected{refused}", now.connected, now.agents);
    }
    let rate = load::shown(now.events_per_second);
    let p99 = now.p99_micros as f64 / 1e3;
    format!(
        "{seconds:4.1} s  {} online{refused}, {} acked, {rate} events/s, p99 {p99:.1} ms",
        now.live, now.acked
    )
}

/// Where agents go, and who they are.
struct Found {
    target: Target,
    identities: Vec<Identity>,
    minted: Option<(Login, Minted)>,
}

async fn find(args: &Args, environment: &Environment) -> Result<Found, Failure> {
    let own: &AgentVariables = &environment.agent;
    let url = args.url.clone().or_else(|| own.brain_url.clone());
    let ca = args.ca.clone().or_else(|| own.cert_file.clone());
    let token = args.token.clone().or_else(|| own.token.clone().map(Secret));
    let secret = args.secret.clone().or_else(|| own.hmac_secret.clone().map(Secret));
    let secret = secret.map(|secret| HmacSecret::parse(&secret.0)).transpose();
    let secret = secret.map_err(|error| Failure::usage(format!("--secret or Z4J_HMAC_SECRET: {error}")))?;
    let project = args.project.clone().or_else(|| own.project_id.clone());
    let at = |url: &str, ca: Option<&Path>| Target::new(url, ca, args.plaintext).map_err(Failure::usage);
    if let Some(path) = &args.tokens {
        let brain = Named::find(args, environment, url, ca).await?;
        let project = project.or(brain.project);
        let identities =
            load::read_tokens(path, secret.as_ref(), project.as_deref()).map_err(Failure::usage)?;
        let target = at(&brain.url, brain.ca.as_deref())?;
        return Ok(Found { target, identities, minted: None });
    }
    if let (Some(email), Some(file)) = (&args.login, &args.password_file) {
        let login = Login { email: email.clone(), password: password(file)? };
        let brain = Named::find(args, environment, url, ca).await?;
        let target = at(&brain.url, brain.ca.as_deref())?;
        let project = project.or(brain.project);
        return by_rest(args, target, login, project.as_deref().unwrap_or("default")).await;
    }
    if let (Some(token), Some(url), false) = (token.clone(), &url, args.mint) {
        let secret =
            secret.ok_or_else(|| Failure::usage("no HMAC secret: say --secret, or set Z4J_HMAC_SECRET"))?;
        let target = at(url, ca.as_deref())?;
        return Ok(Found { target, identities: vec![Identity { token, secret, project }], minted: None });
    }
    if url.is_some() && !args.mint {
        return Err(Failure::usage("no token: say --tokens, --token, --mint or --login, or set Z4J_TOKEN"));
    }
    let client = args.state_dir.client(environment)?;
    let answer = client.ask::<EnvAnswer>(Method::GET, "/mock/v1/env", None).await?;
    // SSL_CERT_FILE may be for another brain; what this one shows is of its own CA.
    let its_own = url.as_ref().is_none_or(|url| *url == answer.brain_url);
    let of_answer = answer.ca_file.clone().map(PathBuf::from);
    let ca = if its_own { args.ca.clone().or(of_answer) } else { ca.or(of_answer) };
    let target = at(url.as_deref().unwrap_or(&answer.brain_url), ca.as_deref())?;
    let identities = if args.mint {
        let minted = load::by_control(&client, args.agents as usize, args.project.as_deref()).await;
        minted.map_err(Failure::no)?
    } else {
        let own = load::identity(answer.credentials).map_err(Failure::no)?;
        // What is given goes before what the running brain has.
        let (token, secret) = (token.unwrap_or(own.token), secret.unwrap_or(own.secret));
        vec![Identity { token, secret, project: project.or(own.project) }]
    };
    Ok(Found { target, identities, minted: None })
}

/// A brain that somebody named, or else the one that runs on the state directory.
struct Named {
    url: String,
    ca: Option<PathBuf>,
    /// The running one's first project.
    project: Option<String>,
}

impl Named {
    async fn find(
        args: &Args,
        environment: &Environment,
        url: Option<String>,
        ca: Option<PathBuf>,
    ) -> Result<Self, Failure> {
        if let Some(url) = url {
            return Ok(Self { url, ca, project: None });
        }
        let client = args.state_dir.client(environment).map_err(|error| Failure {
            line: format!("{}; or say the address of another one", error.line),
            ..error
        })?;
        let answer = client.ask::<EnvAnswer>(Method::GET, "/mock/v1/env", None).await?;
        let ca = args.ca.clone().or(answer.ca_file.map(PathBuf::from));
        let project = load::identity(answer.credentials).map_err(Failure::no)?.project;
        Ok(Self { url: answer.brain_url, ca, project })
    }
}

async fn by_rest(args: &Args, target: Target, login: Login, project: &str) -> Result<Found, Failure> {
    let bar = progress();
    let tell = |number: usize| bar.set_message(format!("{number} of {} tokens minted", args.agents));
    let (minted, made) = load::by_rest(&target, &login, project, args.agents as usize, tell).await;
    bar.finish_and_clear();
    match made {
        Ok(identities) => Ok(Found { target, identities, minted: Some((login, minted)) }),
        Err(why) => {
            load::revoke(&target, &login, &minted).await;
            Err(Failure::no(format!("tokens cannot be minted: {why}")))
        }
    }
}

fn password(path: &Path) -> Result<Secret, Failure> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| Failure::usage(format!("--password-file {path:?}: {error}")))?;
    Ok(Secret(text.trim_end_matches(['\r', '\n']).to_owned()))
}
