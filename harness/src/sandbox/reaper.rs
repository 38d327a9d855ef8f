//! Children of pid 1, orphans included: who waits for which, and who is left over.
//!
//! Owns waiting: nothing else in init may, or an exit would be lost. Must not know what a child is for.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::process::{Child, Command};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::process::{WaitOptions, WaitStatus, wait};

/// How often leftovers are looked for until they are gone, and how long in between.
const ROUNDS: usize = 2_000;
const ROUND: Duration = Duration::from_millis(1);

/// Collects every child that ends.
#[derive(Clone)]
pub(super) struct Reaper(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    spawned: Condvar,
}

#[derive(Default)]
struct State {
    spawned: u64,
    waiting: HashMap<i32, Sender<i32>>,
}

impl Reaper {
    pub(super) fn start() -> Self {
        let inner = Arc::new(Inner { state: Mutex::default(), spawned: Condvar::new() });
        let reaping = Arc::clone(&inner);
        thread::spawn(move || reaping.reap());
        Self(inner)
    }

    /// Starts a child; its exit status comes over the channel, 128 + N for death by signal N.
    pub(super) fn spawn(&self, command: &mut Command) -> io::Result<(Child, i32, Receiver<i32>)> {
        // Held over the start: a child may end before it is known.
        let mut state = self.0.lock();
        let child = command.spawn()?;
        let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
        let (sender, receiver) = mpsc::channel();
        state.waiting.insert(pid, sender);
        state.spawned += 1;
        self.0.spawned.notify_all();
        Ok((child, pid, receiver))
    }

    /// Signals a child, unless it has ended: then its pid may be somebody else's.
    pub(super) fn signal(&self, pid: i32, signal: Signal) -> nix::Result<()> {
        let state = self.0.lock();
        if state.waiting.contains_key(&pid) { kill(Pid::from_raw(pid), signal) } else { Ok(()) }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reap(&self) {
        loop {
            let seen = self.lock().spawned;
            match wait(WaitOptions::empty()) {
                Ok(Some((pid, status))) => {
                    if let Some(waiting) = self.lock().waiting.remove(&pid.as_raw_nonzero().get()) {
                        // Nobody listens any more.
                        let _ = waiting.send(code(status));
                    }
                }
                Ok(None) | Err(rustix::io::Errno::INTR) => {}
                // There are no children.
                Err(_) => {
                    let state = self.lock();
                    let _state = self.spawned.wait_while(state, |state| state.spawned == seen);
                }
            }
        }
    }
}

fn code(status: WaitStatus) -> i32 {
    status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

/// Every process of the sandbox with its parent; those that have ended and wait for their parent are left out.
pub(super) fn processes() -> BTreeMap<i32, i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // pid (comm) state ppid …; comm may hold anything.
        let mut rest = stat.rsplit_once(')')?.1.split_whitespace();
        let state = rest.next()?;
        let parent = rest.next()?.parse().ok()?;
        (state != "Z" && state != "X").then_some((pid, parent))
    })
    .collect()
}

/// Ends what a command left running: it holds the pipes open, and belongs to no later step. What was there
/// before it stays, and what descends from `roots`.
pub(super) fn end_leftovers(before: &BTreeMap<i32, i32>, roots: &BTreeSet<i32>) {
    let (_never, pause) = mpsc::channel::<()>();
    for _ in 0..ROUNDS {
        let now = processes();
        let left =
            now.keys().filter(|pid| **pid != 1 && !before.contains_key(pid) && !descends(**pid, roots, &now));
        let left: Vec<_> = left.collect();
        if left.is_empty() {
            return;
        }
        for pid in left {
            // It may have ended by itself.
            let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
        // The end of a process that was killed is no event here when it is not a child.
        let _ = pause.recv_timeout(ROUND);
    }
}

fn descends(pid: i32, roots: &BTreeSet<i32>, parents: &BTreeMap<i32, i32>) -> bool {
    let line = std::iter::successors(Some(pid), |pid| parents.get(pid).copied());
    line.take(parents.len() + 1).any(|pid| roots.contains(&pid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_descent_is_followed_and_ends() {
        let parents = BTreeMap::from([(1, 0), (7, 1), (8, 7), (9, 8), (20, 1), (30, 31), (31, 30)]);
        let roots = BTreeSet::from([7]);
        for (pid, expected) in [(7, true), (9, true), (20, false), (1, false), (30, false)] {
            assert_eq!(descends(pid, &roots, &parents), expected, "{pid}");
        }
    }
}
