//! Notes: what does not stop the agent but will bite.

use super::super::evidence::{BufferOutcome, Evidence, TlsEvidence};
use super::super::report::{Finding, Note, ProbeName, Status};
use super::buffer::STATE_DIRECTORY;
use super::names::date;
use super::{Case, longpoll, websocket};
use crate::words::{assignment, printable, word};

/// A certificate that ends within this is worth a note, in seconds.
const EXPIRES_SOON_SECONDS: i64 = 14 * 86_400;

/// Every note, in the order of the probes.
pub(super) fn notes(case: &Case<'_>, evidence: &Evidence, findings: &[Finding]) -> Vec<Note> {
    let is_ok =
        |name: ProbeName| findings.iter().any(|finding| finding.name == name && finding.status == Status::Ok);
    let mut notes = Vec::new();
    notes.extend(root(case));
    notes.extend(proxy(case));
    notes.extend(tmpfs(evidence));
    notes.extend(expires_soon(case, evidence));
    notes.extend(version_skew(case, evidence));
    notes.extend(project_unverified(case, evidence, is_ok(ProbeName::Websocket)));
    notes.extend(longpoll_works(case, evidence));
    notes.extend(without_adapter(case));
    notes
}

fn root(case: &Case<'_>) -> Option<Note> {
    (case.account.uid == 0).then(|| Note {
        code: "note.root",
        subject: "user",
        message: "run as root: the service's user sees other paths and permissions".to_owned(),
        fix: Some(format!("sudo -u USER z4j doctor --framework {}", case.framework.as_str())),
    })
}

/// What a proxy does, this machine cannot see.
fn proxy(case: &Case<'_>) -> Option<Note> {
    let proxy = case.config.proxy.as_ref()?;
    let host = case.config.brain_url.host_text();
    Some(Note {
        code: "note.proxy",
        subject: "tcp",
        message: format!(
            "the way to {host} leads through the proxy {} ({})",
            proxy.endpoint(),
            proxy.variable
        ),
        fix: Some(format!("to go without it: {}", assignment("NO_PROXY", &host))),
    })
}

/// The buffer is where it does not last.
fn tmpfs(evidence: &Evidence) -> Option<Note> {
    let seen = &evidence.buffer.as_ref()?.seen;
    let BufferOutcome::Writable { dir } = &seen.outcome else { return None };
    let mount = seen.mounts.as_ref()?.of(&seen.real_dir)?;
    let (what, fix) = if mount.root.contains("systemd-private-") {
        ("PrivateTmp=, and emptied when the unit stops", STATE_DIRECTORY)
    } else {
        match mount.fs_type.as_str() {
            "tmpfs" | "ramfs" => ("tmpfs, and emptied by a reboot", STATE_DIRECTORY),
            "overlay" => (
                "a container layer, and gone with the container",
                "-v z4j:/var/lib/z4j -e Z4J_HOME=/var/lib/z4j",
            ),
            _ => return None,
        }
    };
    Some(Note {
        code: "note.tmpfs",
        subject: "buffer_path",
        message: format!("{} is on {what}", dir.display()),
        fix: Some(fix.to_owned()),
    })
}

fn expires_soon(case: &Case<'_>, evidence: &Evidence) -> Option<Note> {
    let TlsEvidence::Session(session) = &evidence.tls.as_ref()?.seen else { return None };
    let now = case.now.unix_seconds();
    // What has ended already is not on the way to the root, since the chain was accepted: an old cross-signature.
    let soon = now..now + EXPIRES_SOON_SECONDS;
    let first = session.chain.iter().filter(|certificate| soon.contains(&certificate.not_after));
    let first = first.min_by_key(|certificate| certificate.not_after)?;
    Some(Note {
        code: "note.expires-soon",
        subject: "tls",
        message: format!(
            "the certificate of {} ends {}",
            printable(first.subject.as_bytes(), 200),
            date(first.not_after)
        ),
        fix: Some(format!("renew the certificate of {}", case.config.brain_url.host_text())),
    })
}

/// The application's agent and the brain are of different releases. Our own release says nothing here.
fn version_skew(case: &Case<'_>, evidence: &Evidence) -> Option<Note> {
    let ours = case.core_version.as_deref()?;
    let trial = evidence.websocket.as_ref()?.seen.trial.as_ref()?;
    let theirs = printable(trial.welcome.as_ref()?.ack.brain_version.as_bytes(), 40);
    if theirs.is_empty() || minor(ours) == minor(&theirs) {
        return None;
    }
    Some(Note {
        code: "note.version-skew",
        subject: "websocket",
        message: format!("the brain is {theirs}, z4j-core in the application's environment {ours}"),
        fix: Some(format!("{} install 'z4j-core=={}.*'", pip(case), minor(&theirs))),
    })
}

/// Major and minor of a version.
fn minor(version: &str) -> String {
    version.split('.').take(2).collect::<Vec<_>>().join(".")
}

fn pip(case: &Case<'_>) -> String {
    case.pip.as_ref().map_or_else(|| "pip".to_owned(), |pip| word(pip))
}

fn project_unverified(case: &Case<'_>, evidence: &Evidence, ok: bool) -> Option<Note> {
    let seen = &evidence.websocket.as_ref()?.seen;
    if !ok || websocket::project_is_proven(case, seen) {
        return None;
    }
    let told = seen.trial.as_ref().and_then(|trial| trial.welcome.as_ref());
    let told = told.map(|welcome| welcome.ack.project_id.clone());
    let told = told.or_else(|| Some(seen.longpoll.as_ref()?.ids()?.1));
    let told = printable(told.unwrap_or_default().as_bytes(), 64);
    Some(Note {
        code: "note.project-unverified",
        subject: "websocket",
        message: format!(
            "this brain does not check the name {}; the token's project is {told}",
            case.config.project_id
        ),
        fix: Some(assignment("Z4J_PROJECT_ID", &told)),
    })
}

fn longpoll_works(case: &Case<'_>, evidence: &Evidence) -> Option<Note> {
    let seen = &evidence.websocket.as_ref()?.seen;
    longpoll::works(case, seen).then(|| Note {
        code: "note.longpoll-works",
        subject: "websocket",
        message: "long-poll to the same brain works, token and signature included".to_owned(),
        fix: Some("Environment=Z4J_TRANSPORT=longpoll".to_owned()),
    })
}

fn without_adapter(case: &Case<'_>) -> Vec<Note> {
    let note = |engine: &String| Note {
        code: "note.engine-without-adapter",
        subject: "engines",
        message: format!("{engine} is installed without its adapter z4j-{engine}: its tasks are not seen"),
        fix: Some(format!("{} install z4j-{engine}", pip(case))),
    };
    case.without_adapter.iter().map(note).collect()
}
