//! The verbs `status` and `restart`: which agents are meant, what they say, and the exit code.

use std::fs;
use std::future::Future;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use futures_util::future::join_all;
use serde_json::{Map, Value, json};

use super::client::{AskError, ask, hang_up};
use super::text::agent_text;
use super::{Answer, Request};
use crate::environment::{Environment, user_name};
use crate::instance::{Instance, UNIT_DIRECTORY, live_in, places};
use crate::status::Snapshot;
use crate::words::{errno_text, join_words};

/// The version of the JSON document.
const SCHEMA_VERSION: u64 = 1;

/// Which agents.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Choice {
    /// Only the agent of this process
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pid: Option<u32>,
    /// The agents' home root, in place of ~/.z4j [Z4J_HOME]
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
    /// Look in this directory and nowhere else
    #[arg(long, value_name = "DIR", conflicts_with = "home")]
    dir: Option<PathBuf>,
}

/// Arguments of `status`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct StatusArgs {
    /// One JSON document on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    choice: Choice,
}

/// Arguments of `restart`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct RestartArgs {
    #[command(flatten)]
    choice: Choice,
}

/// What a verb has to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Printed {
    /// For stdout.
    pub(crate) out: String,
    /// For stderr, one sentence each.
    pub(crate) complaints: Vec<String>,
    /// Whether the answer is yes.
    pub(crate) ok: bool,
}

/// Where to look, and whose files count there.
struct Search {
    uid: u32,
    dirs: Vec<PathBuf>,
}

impl Search {
    /// Root asks for the agents of whoever owns the directory that it names.
    fn new(choice: &Choice, environment: &Environment) -> Self {
        let named = choice.dir.as_deref().or(choice.home.as_deref());
        let mine = environment.account.uid;
        let owner = named.and_then(|dir| fs::metadata(dir).ok()).map(|found| found.uid());
        let uid = if mine == 0 { owner.unwrap_or(mine) } else { mine };
        let mut of = environment.clone();
        of.account.uid = uid;
        let dirs = match &choice.dir {
            Some(dir) => vec![dir.clone()],
            None => places(&of, choice.home.as_deref()),
        };
        Self { uid, dirs }
    }

    /// The agents that are meant, each with the user whose it is.
    fn find(&self, choice: &Choice, environment: &Environment) -> Vec<(Instance, u32)> {
        let owned = |dirs: &[PathBuf], uid: u32| {
            live_in(dirs, uid).into_iter().map(|instance| (instance, uid)).collect::<Vec<_>>()
        };
        let mut found = owned(&self.dirs, self.uid);
        let unit = PathBuf::from(UNIT_DIRECTORY);
        let everywhere = choice.dir.is_none() && choice.home.is_none();
        if environment.account.uid == 0 && everywhere && !self.dirs.contains(&unit) {
            let owner = fs::metadata(&unit).map(|found| found.uid());
            found.extend(owner.map(|uid| owned(&[unit], uid)).unwrap_or_default());
        }
        found.retain(|(instance, _)| choice.pid.is_none_or(|pid| instance.pid == pid));
        found
    }

    /// What to say when there is none.
    fn nothing(&self, choice: &Choice, environment: &Environment) -> String {
        let who = user_name(self.uid);
        let what = match choice.pid {
            Some(pid) => format!("no agent of {who} with pid {pid} runs"),
            None => format!("no agent of {who} runs"),
        };
        let looked: Vec<String> = self.dirs.iter().map(|dir| looked_in(dir)).collect();
        let looked =
            if looked.is_empty() { "nowhere: there is no home root".to_owned() } else { join_words(&looked) };
        let way_out = if environment.account.uid == 0 {
            "name a service's directory (--dir, or --home for its Z4J_HOME), or ask as its user: \
             sudo -u USER z4j status"
                .to_owned()
        } else {
            "start one with `z4j run`, or ask as the user whose it is: sudo -u USER z4j status".to_owned()
        };
        format!("{what} (looked in {looked}); {way_out}")
    }
}

/// A directory that was looked in, with what was in the way.
fn looked_in(dir: &Path) -> String {
    match fs::read_dir(dir) {
        Ok(_) => dir.display().to_string(),
        Err(error) => format!("{}: {}", dir.display(), errno_text(&error)),
    }
}

/// `status`
pub(crate) fn status(args: &StatusArgs, environment: &Environment) -> Printed {
    let search = Search::new(&args.choice, environment);
    let found = search.find(&args.choice, environment);
    let asked = run(join_all(found.iter().map(|(instance, uid)| ask(instance, *uid, Request::Status))));
    let asked = match asked {
        Ok(asked) => asked,
        Err(complaint) => return Printed { complaints: vec![complaint], ..Printed::default() },
    };
    let answers: Vec<(&Instance, Result<Box<Snapshot>, AskError>)> =
        found.iter().map(|(instance, _)| instance).zip(asked.into_iter().map(snapshot)).collect();
    let mut printed = Printed { ok: answers.iter().any(|(_, answer)| answer.is_ok()), ..Printed::default() };
    if answers.is_empty() {
        printed.complaints.push(search.nothing(&args.choice, environment));
    }
    printed.out = if args.json {
        let agents: Vec<Value> =
            answers.iter().map(|(instance, answer)| agent_json(instance, answer)).collect();
        format!("{:#}\n", json!({ "schema_version": SCHEMA_VERSION, "agents": agents }))
    } else {
        let now = environment.clock.now();
        let texts: Vec<String> =
            answers.iter().map(|(instance, answer)| agent_text(instance, answer.as_deref(), now)).collect();
        texts.join("\n")
    };
    printed
}

fn snapshot(answer: Result<Answer, AskError>) -> Result<Box<Snapshot>, AskError> {
    match answer? {
        Answer::Status(snapshot) => Ok(snapshot),
        Answer::Refused(why) => Err(AskError::Other(format!("it refuses: {why}"))),
        Answer::Restarting => Err(AskError::Other("it answers another question".to_owned())),
    }
}

/// The snapshot, and how it was come by.
fn agent_json(instance: &Instance, answer: &Result<Box<Snapshot>, AskError>) -> Value {
    let mut agent = match answer.as_ref().map(serde_json::to_value) {
        Ok(Ok(Value::Object(snapshot))) => snapshot,
        _ => Map::from_iter([("pid".to_owned(), json!(instance.pid))]),
    };
    agent.insert("name".to_owned(), json!(instance.name));
    agent.insert("directory".to_owned(), json!(instance.dir));
    agent.insert("answering".to_owned(), json!(answer.is_ok()));
    agent.insert("problem".to_owned(), json!(answer.as_ref().err().map(ToString::to_string)));
    Value::Object(agent)
}

/// `restart`
pub(crate) fn restart(args: &RestartArgs, environment: &Environment) -> Printed {
    let search = Search::new(&args.choice, environment);
    let found = search.find(&args.choice, environment);
    let asked = run(join_all(found.iter().map(|(instance, uid)| ask(instance, *uid, Request::Restart))));
    let mut printed = Printed { ok: !found.is_empty(), ..Printed::default() };
    let asked = asked.unwrap_or_else(|complaint| {
        printed = Printed { complaints: vec![complaint], ..Printed::default() };
        Vec::new()
    });
    for ((instance, _), answer) in found.iter().zip(asked) {
        match restarted(instance, answer) {
            Ok(line) => printed.out.push_str(&format!("agent {}: {line}\n", instance.pid)),
            Err(why) => {
                printed.ok = false;
                printed.complaints.push(format!("agent {} was not told: {why}", instance.pid));
            }
        }
    }
    if found.is_empty() {
        printed.complaints.push(search.nothing(&args.choice, environment));
    }
    printed
}

fn restarted(instance: &Instance, answer: Result<Answer, AskError>) -> Result<&'static str, String> {
    match answer {
        Ok(Answer::Restarting) => Ok("connecting anew"),
        Ok(Answer::Refused(why)) => Err(format!("it refuses: {why}")),
        Ok(Answer::Status(_)) => Err("it answers another question".to_owned()),
        Err(AskError::NoSocket(socket)) => match hang_up(instance) {
            Ok(()) => Ok("connecting anew (told by SIGHUP: it has no control socket)"),
            Err(why) => {
                Err(format!("its control socket {socket} is not there, and no signal was sent: {why}"))
            }
        },
        Err(error) => Err(error.to_string()),
    }
}

/// Runs to the end what waits with deadlines of its own.
fn run<T>(work: impl Future<Output = T>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map(|runtime| runtime.block_on(work)).map_err(|error| format!("no event loop: {error}"))
}
