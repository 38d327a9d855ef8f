//! The agent under test: which program it is, and how it is called.
//!
//! Owns finding it. Must not know what an agent does: harness and agent meet on command lines only.

use std::path::{Path, PathBuf};

/// An agent program.
#[derive(Clone, Debug)]
pub(crate) struct AgentProgram {
    file: PathBuf,
    arguments: Vec<String>,
    /// It was named, and may be anybody's.
    foreign: bool,
}

/// Why there is no agent to test.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AgentError {
    #[error("--agent is empty: give a command line such as --agent ./z4j")]
    Empty,
    #[error("--agent has a quote without its end")]
    Quotes,
    #[error("the agent {} is not there: build it (`cargo build -p z4j-agent`) or name one with --agent", .0.display())]
    Missing(PathBuf),
}

impl AgentProgram {
    /// The agent of a command line, or `z4j` beside this program. A name without `/` is looked up in `search`.
    ///
    /// # Errors
    /// There is no such program.
    pub(crate) fn find(command: Option<&str>, beside: &Path, search: &[PathBuf]) -> Result<Self, AgentError> {
        let Some(command) = command else {
            let file = beside.with_file_name("z4j");
            return Ok(Self { foreign: false, ..Self::at(file, Vec::new())? });
        };
        let mut words = shlex::split(command).ok_or(AgentError::Quotes)?.into_iter();
        let program = PathBuf::from(words.next().ok_or(AgentError::Empty)?);
        let arguments = words.collect();
        if program.components().count() > 1 || program.is_absolute() {
            return Self::at(program, arguments);
        }
        let found = search.iter().map(|folder| folder.join(&program)).find(|file| file.is_file());
        Self::at(found.unwrap_or(program), arguments)
    }

    fn at(file: PathBuf, arguments: Vec<String>) -> Result<Self, AgentError> {
        match file.canonicalize() {
            Ok(file) if file.is_file() => Ok(Self { file, arguments, foreign: true }),
            _ => Err(AgentError::Missing(file)),
        }
    }

    /// Whether it was named with `--agent`: then the brain is like the real one, and not strict.
    pub(crate) const fn is_foreign(&self) -> bool {
        self.foreign
    }

    /// The program's file on the real machine.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// The words that start it inside a sandbox, where its folder is on the search path.
    pub(crate) fn words(&self) -> Vec<String> {
        std::iter::once(self.name()).chain(self.arguments.iter().cloned()).collect()
    }

    fn name(&self) -> String {
        self.file.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    fn verb<'w>(&self, words: impl IntoIterator<Item = &'w str>, more: &[String]) -> Vec<String> {
        let mut line = self.words();
        line.extend(words.into_iter().map(str::to_owned));
        line.extend(more.iter().cloned());
        line
    }

    /// Says why an agent does not come online.
    pub(crate) fn doctor(&self, framework: Option<&str>, json: bool, more: &[String]) -> Vec<String> {
        let framework = framework.into_iter().flat_map(|name| ["--framework", name]);
        self.verb(["doctor"].into_iter().chain(framework).chain(json.then_some("--json")), more)
    }

    /// Says whether an agent could come online.
    pub(crate) fn check(&self, json: bool, more: &[String]) -> Vec<String> {
        self.verb(["check"].into_iter().chain(json.then_some("--json")), more)
    }

    /// Runs an agent in the foreground: SIGTERM ends it, SIGHUP has it reconnect. Where a unit file says how,
    /// its own words are taken.
    pub(crate) fn run(&self, by_unit: Option<&[String]>, more: &[String]) -> Vec<String> {
        let Some(words) = by_unit else { return self.verb(["run"], more) };
        self.of_unit(words, more)
    }

    /// A unit file's command line, with this program where it names it by its installed path.
    pub(crate) fn of_unit(&self, words: &[String], more: &[String]) -> Vec<String> {
        let Some((program, rest)) = words.split_first() else { return more.to_vec() };
        let program = program.trim_start_matches(['-', '@', ':', '+', '!']);
        let same = Path::new(program).file_name() == self.file.file_name();
        let mut line = if same { self.words() } else { vec![program.to_owned()] };
        line.extend(rest.iter().chain(more).cloned());
        line
    }

    /// Hands events to a running agent: JSON, one a line, on standard input; exits 0 once all are durable and
    /// says `N accepted, M refused`.
    pub(crate) fn emit(&self, pid: Option<i32>) -> Vec<String> {
        self.of_one(["emit"].as_slice(), pid, &[])
    }

    /// Tells how running agents are: `{"agents": [{"pid": …}]}`.
    pub(crate) fn status(&self) -> Vec<String> {
        self.verb(["status", "--json"], &[])
    }

    /// Has a running agent reconnect.
    pub(crate) fn restart(&self, pid: Option<i32>, more: &[String]) -> Vec<String> {
        self.of_one(["restart"].as_slice(), pid, more)
    }

    fn of_one(&self, words: &[&str], pid: Option<i32>, more: &[String]) -> Vec<String> {
        let pid = pid.map(|pid| pid.to_string());
        let chosen = pid.as_deref().into_iter().flat_map(|pid| ["--pid", pid]);
        self.verb(words.iter().copied().chain(chosen), more)
    }
}
