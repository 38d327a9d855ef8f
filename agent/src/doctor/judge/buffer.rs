//! What the buffer probe saw, judged.

use std::path::{Path, PathBuf};

use nix::libc;

use super::super::evidence::{BufferEvidence, BufferOutcome, Space};
use super::place::{is_an_agents, is_of_many};
use super::{Case, Verdict};
use crate::environment::user_flag;
use crate::mounts::Mount;
use crate::paths::{Cause, Owner, Refusal, outside_sentence};
use crate::words::{assignment, systemd, word};

/// Lines that give a service a directory which survives every sandbox (systemd.exec(5), `StateDirectory=`).
pub(super) const STATE_DIRECTORY: &str = "StateDirectory=z4j\nEnvironment=Z4J_HOME=%S/z4j";

/// Why a directory refuses, as far as the evidence tells.
enum Kind<'a> {
    NotWritable,
    OwnedByOther,
    ReadOnly(&'a Mount),
    /// Read-only by its errno, where the mounts cannot be seen.
    ReadOnlyUnseen,
    Masked(&'a Mount),
    NoSpace(i32),
    Sandbox,
}

impl Kind<'_> {
    const fn code(&self) -> &'static str {
        match self {
            Self::NotWritable => "buffer.not-writable",
            Self::OwnedByOther => "buffer.owned-by-other",
            Self::ReadOnly(_) | Self::ReadOnlyUnseen => "buffer.read-only",
            Self::Masked(_) => "buffer.masked",
            Self::NoSpace(_) => "buffer.no-space",
            Self::Sandbox => "buffer.denied-by-sandbox",
        }
    }
}

/// Judges.
pub(super) fn judge(case: &Case<'_>, seen: &BufferEvidence) -> Verdict {
    let verdict = match &seen.outcome {
        BufferOutcome::Writable { dir } => {
            Verdict::ok(format!("buffer dir {} is writable", dir.display())).with("dir", text(dir))
        }
        BufferOutcome::NoRoot(temporary) => no_root(case, seen, temporary),
        BufferOutcome::Explicit(refusal) => {
            let sentence = format!("{} cannot be used: {}", refusal.wanted.display(), told(seen, refusal));
            refused(case, seen, refusal, sentence)
        }
        BufferOutcome::Outside { written, resolved, roots, serves } => {
            outside(written, resolved, roots, serves.as_deref())
        }
        BufferOutcome::NotABuffer { what } => Verdict::fail(
            "buffer.not-a-buffer",
            format!("Z4J_BUFFER_PATH={} is {what}: it is left alone", seen.path.display()),
            assignment("Z4J_BUFFER_PATH", &beside(&seen.path).display().to_string()),
        ),
        BufferOutcome::Unfinished(why) => Verdict::unknown(why),
        BufferOutcome::Foreign(owner) if case.account.uid == 0 => Verdict::fail(
            "buffer.owned-by-other",
            format!("{} is {owner}: {ROOT_WOULD}", seen.path.display()),
            as_owner(case, *owner),
        ),
        BufferOutcome::Foreign(owner) => Verdict::fail(
            "buffer.owned-by-other",
            format!("{} is {owner}, not by {}", seen.path.display(), case.account.user_text()),
            // In a directory of many users it is somebody's; elsewhere it was left over from another user's run.
            if seen.path.parent().is_none_or(|dir| is_of_many(dir, None)) {
                elsewhere(case, STATE_DIRECTORY)
            } else {
                format!("sudo chown {} {}", case.account.chown_spec(), word(&seen.path))
            },
        ),
    };
    let verdict = verdict.with("path", text(&seen.path)).with("uid", case.account.uid);
    match &seen.home_refusal {
        Some(refusal) => verdict.with("home_root", format!("{}: {refusal}", refusal.wanted.display())),
        None => verdict.with("home_root", seen.home.as_deref().map(text)),
    }
}

/// What root is told of a place that is the service's.
const ROOT_WOULD: &str = "this doctor runs as root, whose files that user could not use";

/// The same run as the user to whom a place belongs.
fn as_owner(case: &Case<'_>, owner: Owner) -> String {
    let user = user_flag(owner.uid);
    format!("sudo -u {user} z4j doctor --framework {}", case.framework.as_str())
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// A free name beside one that is taken.
fn beside(path: &Path) -> PathBuf {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    path.with_file_name(format!("{stem}-z4j.sqlite"))
}

fn no_root(case: &Case<'_>, seen: &BufferEvidence, temporary: &[Refusal]) -> Verdict {
    let Some(main) = seen.home_refusal.as_ref().or(temporary.first()) else {
        return Verdict::unknown("no root was looked at");
    };
    let each = seen.home_refusal.iter().chain(temporary.first());
    let each: Vec<String> =
        each.map(|refusal| format!("{}: {}", refusal.wanted.display(), told(seen, refusal))).collect();
    let none = if seen.home_refusal.is_some() {
        "neither root can hold a buffer"
    } else {
        "there is no home directory, and the temporary root cannot hold a buffer"
    };
    let all: Vec<String> =
        temporary.iter().map(|refusal| format!("{}: {refusal}", refusal.wanted.display())).collect();
    refused(case, seen, main, format!("{none}: {}", each.join("; "))).with("temporary_roots", all)
}

/// The refusal in words, with the mount that explains it.
fn told(seen: &BufferEvidence, refusal: &Refusal) -> String {
    match kind(seen, refusal, None) {
        Kind::ReadOnly(mount) => {
            let why = directive(mount).map(|name| format!(", as {name} makes it")).unwrap_or_default();
            format!("{refusal}: the mount {} is read-only{why}", mount.point.display())
        }
        Kind::Masked(mount) => {
            let how = if mount.fs_type == "tmpfs" && !is_inaccessible(mount) { "tmpfs" } else { "yes" };
            format!("{refusal}: {} is hidden, as ProtectHome={how} makes it", mount.point.display())
        }
        Kind::NoSpace(libc::EDQUOT) => format!("{refusal}: the quota of this user is used up"),
        Kind::NoSpace(libc::EFBIG) => {
            format!("{refusal}: files may not be as large as a buffer, as LimitFSIZE= makes it")
        }
        Kind::NoSpace(_) => match seen.space {
            Some(Space { bytes, inodes }) => {
                let inodes = inodes.map(|inodes| format!(" and {inodes} inodes")).unwrap_or_default();
                format!(
                    "{refusal}: {} KiB{inodes} are free, and a buffer needs 2048 KiB in 3 files",
                    bytes / 1024
                )
            }
            None => refusal.to_string(),
        },
        _ => refusal.to_string(),
    }
}

fn kind<'a>(seen: &'a BufferEvidence, refusal: &Refusal, account: Option<(u32, u32)>) -> Kind<'a> {
    let mount = seen.mounts.as_ref().and_then(|mounts| mounts.of(&refusal.real_component));
    match refusal.cause {
        Cause::ForeignOwner => Kind::OwnedByOther,
        Cause::Errno(errno @ (libc::ENOSPC | libc::EDQUOT | libc::EFBIG)) => Kind::NoSpace(errno),
        Cause::Errno(libc::EACCES | libc::EPERM | libc::EROFS) => match (mount, &refusal.cause) {
            (Some(mount), _) if is_masked(mount) => Kind::Masked(mount),
            (Some(mount), Cause::Errno(libc::EROFS)) => Kind::ReadOnly(mount),
            (_, Cause::Errno(libc::EROFS)) => Kind::ReadOnlyUnseen,
            _ if account.is_some_and(|account| mode_allows(refusal.owner, account, WRITE)) => Kind::Sandbox,
            _ => Kind::NotWritable,
        },
        _ => Kind::NotWritable,
    }
}

fn is_inaccessible(mount: &Mount) -> bool {
    mount.root.contains("systemd/inaccessible")
}

/// What `ProtectHome=yes` (an inaccessible directory) and `ProtectHome=tmpfs` put over the three.
fn is_masked(mount: &Mount) -> bool {
    let home = ["/home", "/root", "/run/user"].iter().any(|point| mount.point == Path::new(point));
    is_inaccessible(mount) || home && mount.fs_type == "tmpfs"
}

/// The setting that makes such a read-only mount (systemd.exec(5)); none if the file system is so itself.
fn directive(mount: &Mount) -> Option<String> {
    if mount.superblock_read_only {
        return None;
    }
    let point = mount.point.display().to_string();
    Some(match point.as_str() {
        "/" => "ProtectSystem=strict".to_owned(),
        "/home" | "/root" | "/run/user" => "ProtectHome=read-only".to_owned(),
        "/usr" | "/boot" | "/efi" => "ProtectSystem=yes".to_owned(),
        "/etc" => "ProtectSystem=full".to_owned(),
        _ => format!("ReadOnlyPaths={point}"),
    })
}

/// What it takes to reach into a directory.
const SEARCH: u32 = 0o1;
/// What it takes to make a file in one.
const WRITE: u32 = 0o3;

/// Whether a directory's permission bits give this user something.
fn mode_allows(owner: Option<Owner>, (uid, gid): (u32, u32), what: u32) -> bool {
    let Some(owner) = owner else { return false };
    let bits = if owner.uid == uid {
        owner.mode >> 6
    } else if owner.gid == gid {
        owner.mode >> 3
    } else {
        owner.mode
    };
    uid == 0 || bits & what == what
}

fn refused(case: &Case<'_>, seen: &BufferEvidence, refusal: &Refusal, sentence: String) -> Verdict {
    if matches!(refusal.cause, Cause::Errno(libc::EMFILE | libc::ENFILE)) {
        return Verdict::out_of_files();
    }
    let kind = kind(seen, refusal, Some((case.account.uid, case.account.gid)));
    let fix = fix(case, seen, &kind, refusal);
    let root_would = matches!(kind, Kind::OwnedByOther) && case.account.uid == 0;
    let sentence = if root_would { format!("{sentence}: {ROOT_WOULD}") } else { sentence };
    Verdict::fail(kind.code(), sentence, fix)
        .with("component", text(&refusal.component))
        .with("owner", refusal.owner.map(|owner| owner.to_string()))
}

fn fix(case: &Case<'_>, seen: &BufferEvidence, kind: &Kind<'_>, refusal: &Refusal) -> String {
    // Whatever is done about the home root, the other one serves as soon as files may be large enough.
    if let BufferOutcome::NoRoot(temporary) = &seen.outcome
        && temporary.iter().any(|refusal| refusal.cause == Cause::Errno(libc::EFBIG))
    {
        return NO_SIZE_LIMIT.to_owned();
    }
    let component = word(&refusal.component);
    match kind {
        // The service's own directory must stay the service's.
        Kind::OwnedByOther if case.account.uid == 0 && refusal.owner.is_some() => {
            refusal.owner.map(|owner| as_owner(case, owner)).unwrap_or_default()
        }
        Kind::OwnedByOther if is_not_to_be_changed(refusal) => elsewhere(case, STATE_DIRECTORY),
        Kind::OwnedByOther => {
            let all = if is_an_agents(&refusal.component, case.account.uid) { "-R " } else { "" };
            format!("sudo chown {all}{} {component}", case.account.chown_spec())
        }
        Kind::ReadOnly(mount) if mount.superblock_read_only => {
            format!("sudo mount -o remount,rw {}", word(&mount.point))
        }
        Kind::ReadOnly(_) | Kind::ReadOnlyUnseen
            if case.config.buffer_path.is_some() || case.config.home.is_some() =>
        {
            let place = existing(&refusal.wanted, &refusal.component);
            format!("ReadWritePaths={}", systemd(&place.display().to_string()))
        }
        Kind::ReadOnly(_) | Kind::ReadOnlyUnseen | Kind::Masked(_) => elsewhere(case, STATE_DIRECTORY),
        Kind::NoSpace(libc::EFBIG) => NO_SIZE_LIMIT.to_owned(),
        Kind::NoSpace(_) => {
            let mount = seen.mounts.as_ref().and_then(|mounts| mounts.of(&refusal.real_component));
            let place = word(mount.map_or(refusal.component.as_path(), |mount| &mount.point));
            format!("make room there: df -h {place}; df -i {place}")
        }
        Kind::Sandbox => {
            format!("lsattr -d {component}; grep -E 'Seccomp|NoNewPrivs' /proc/self/status")
        }
        Kind::NotWritable => open_up(case, refusal),
    }
}

/// What lifts `LimitFSIZE=`.
const NO_SIZE_LIMIT: &str = "LimitFSIZE=infinity";

/// Lines that move the buffer; an explicit path would still lead to where it cannot be.
fn elsewhere(case: &Case<'_>, lines: &str) -> String {
    let unset = if case.config.buffer_path.is_some() { "\nUnsetEnvironment=Z4J_BUFFER_PATH" } else { "" };
    format!("{lines}{unset}")
}

/// Whether a change of the refusing component's owner or mode would break others. Both follow links.
fn is_not_to_be_changed(refusal: &Refusal) -> bool {
    [&refusal.component, &refusal.real_component].iter().any(|path| is_of_many(path, refusal.owner))
}

/// What lets the user write to a place that permissions keep closed.
fn open_up(case: &Case<'_>, refusal: &Refusal) -> String {
    let (component, wanted) = (word(&refusal.component), word(&refusal.wanted));
    let (user, group) = (case.account.user_text(), case.account.group_text());
    match refusal.cause {
        Cause::NotADirectory | Cause::Link if is_of_many(&refusal.component, None) => {
            elsewhere(case, STATE_DIRECTORY)
        }
        Cause::NotADirectory | Cause::Link => {
            let mut old = refusal.component.clone().into_os_string();
            old.push(".old");
            format!("sudo mv {component} {}", word(Path::new(&old)))
        }
        Cause::OpenToOthers if is_not_to_be_changed(refusal) => elsewhere(case, STATE_DIRECTORY),
        Cause::OpenToOthers => format!("sudo chmod 0700 {component}"),
        _ if refusal.component == refusal.wanted && !is_not_to_be_changed(refusal) => {
            format!("sudo chown {} {wanted} && sudo chmod 0700 {wanted}", case.account.chown_spec())
        }
        // Only the last component is missing, and it could be reached: it is made for the user.
        _ if refusal.wanted.parent() == Some(&refusal.component)
            && refusal.component != Path::new("/")
            && mode_allows(refusal.owner, (case.account.uid, case.account.gid), SEARCH) =>
        {
            format!("sudo install -d -o {user} -g {group} -m 0700 {wanted}")
        }
        _ => elsewhere(
            case,
            &format!(
                "sudo install -d -o {user} -g {group} -m 0700 /var/lib/z4j\nEnvironment=Z4J_HOME=/var/lib/z4j"
            ),
        ),
    }
}

/// The part of a wanted directory that exists: systemd refuses a `ReadWritePaths=` that does not.
fn existing(wanted: &Path, component: &Path) -> PathBuf {
    if wanted.starts_with(component) { component.to_owned() } else { wanted.to_owned() }
}

fn outside(written: &Path, resolved: &Path, roots: &[PathBuf], serves: Option<&Path>) -> Verdict {
    let sentence = outside_sentence(written, resolved, roots);
    let fix = match serves {
        Some(dir) => assignment("Z4J_HOME", &dir.display().to_string()),
        None => "UnsetEnvironment=Z4J_BUFFER_PATH".to_owned(),
    };
    Verdict::fail("buffer.outside-roots", sentence, fix)
        .with("written", text(written))
        .with("resolved", text(resolved))
        .with("roots", roots.iter().map(|root| text(root)).collect::<Vec<_>>())
}
