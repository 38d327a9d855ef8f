//! One run of a program: its own process group, its pipes, its end.
//!
//! Whatever happens to the future that runs it, the group does not outlive it unwatched.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::super::adapter::stopped;
use super::output::{Output, read_head, read_tail};

/// How long a program has between SIGTERM and SIGKILL.
const KILL_AFTER: Duration = Duration::from_secs(2);
/// How long output is still read after a program's end, if something that it started holds the pipes.
const DRAIN: Duration = Duration::from_millis(500);

/// A program, ready to be run.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) path: PathBuf,
    pub(super) arguments: Vec<String>,
    /// All the variables that it gets.
    pub(super) variables: BTreeMap<OsString, OsString>,
    /// Its standard input.
    pub(super) input: String,
    /// How much of its output is kept.
    pub(super) output_bytes: usize,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// By itself.
    Exited(ExitStatus),
    /// Its time was up.
    TimedOut,
    /// The agent stopped.
    Stopped,
}

/// A process group, killed when nobody watches it any more.
struct Group(Option<Pid>);

impl Group {
    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            let _ = killpg(group, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}

impl Program {
    /// Runs it to its end, for at most this long.
    ///
    /// # Errors
    /// It cannot be started, or watched.
    pub(super) async fn run(
        &self,
        limit: Duration,
        mut stopping: watch::Receiver<bool>,
    ) -> io::Result<(Ended, Output)> {
        let mut child = self.spawn()?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        let mut group = Group(pid.map(Pid::from_raw));
        let mut output = Output::default();
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let ended = {
            let Output { stdout: kept, stdout_cut, stderr: tail, stderr_cut } = &mut output;
            let pipes = async {
                let head = async {
                    if let Some(stdout) = stdout {
                        let _ = read_head(stdout, self.output_bytes, kept, stdout_cut).await;
                    }
                };
                let tail = async {
                    if let Some(stderr) = stderr {
                        let _ = read_tail(stderr, tail, stderr_cut).await;
                    }
                };
                tokio::join!(feed(stdin, self.input.as_bytes()), head, tail);
            };
            tokio::select! {
                status = finish(&mut child, pipes) => Ended::Exited(status?),
                () = sleep(limit) => Ended::TimedOut,
                () = stopped(&mut stopping) => Ended::Stopped,
            }
        };
        match ended {
            // What it left in the background on purpose lives on.
            Ended::Exited(_) => group.0 = None,
            Ended::TimedOut | Ended::Stopped => {
                end(&mut child, &group).await;
                group.0 = None;
            }
        }
        Ok((ended, output))
    }

    fn spawn(&self) -> io::Result<Child> {
        Command::new(&self.path)
            .args(&self.arguments)
            .env_clear()
            .envs(&self.variables)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
    }
}

/// Waits for the program's end and that of its output.
async fn finish(child: &mut Child, pipes: impl Future<Output = ()>) -> io::Result<ExitStatus> {
    tokio::pin!(pipes);
    tokio::select! {
        () = &mut pipes => child.wait().await,
        status = child.wait() => {
            let _ = timeout(DRAIN, &mut pipes).await;
            status
        }
    }
}

/// Hands the command over. A program need not read it.
async fn feed(stdin: Option<ChildStdin>, input: &[u8]) {
    if let Some(mut stdin) = stdin {
        let _ = stdin.write_all(input).await;
    }
}

/// Asks the group to end, then makes it.
async fn end(child: &mut Child, group: &Group) {
    group.signal(Signal::SIGTERM);
    let _ = timeout(KILL_AFTER, child.wait()).await;
    // Whoever is left of the group did not listen. Its number cannot have gone to others meanwhile: the
    // kernel hands numbers out in a circle.
    group.signal(Signal::SIGKILL);
    let _ = timeout(KILL_AFTER, child.wait()).await;
}
