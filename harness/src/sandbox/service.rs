//! What `[service]` means: who runs, with which environment, and what systemd would mount for it.
//!
//! Owns the meaning of the directives (systemd.exec(5)). Must not mount anything itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::layout::{AGENT_FOLDER, LayoutError};
use super::plan::{Entry, EntryKind, Ids, Mount};
use super::users::{DYNAMIC_UID, Users};
use crate::scenario::{Credential, MaybePath, Mode, ProtectHome, ProtectSystem, Service};

/// systemd's default search path, with the folder of the agent before it.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where the private /tmp of the service really lies.
const PRIVATE_TMP: &str = "/tmp/systemd-private-0f1e2d3c4b5a69788796a5b4c3d2e1f0-z4j.service-Xq3vLk";
const PRIVATE_VAR_TMP: &str = "/var/tmp/systemd-private-0f1e2d3c4b5a69788796a5b4c3d2e1f0-z4j.service-Yb7tRw";

/// Where `StateDirectory=` and `RuntimeDirectory=` lie.
const STATE: &str = "/var/lib";
const RUNTIME: &str = "/run";

/// Where `LoadCredential=` puts what it loads.
pub(super) const CREDENTIALS: &str = "/run/credentials/z4j.service";

/// How commands of the service are run.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    pub(crate) ids: Ids,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) unset: Vec<String>,
    pub(crate) working_directory: PathBuf,
    pub(crate) umask: u32,
    pub(crate) no_new_privileges: bool,
    pub(crate) capabilities: Option<u64>,
    pub(crate) file_bytes: Option<u64>,
    pub(crate) open_files: Option<u64>,
    /// Whether it says when it is ready.
    pub(crate) notify: bool,
    pub(crate) environment_files: Vec<MaybePath>,
    pub(crate) credentials: Vec<Credential>,
    /// What is empty after the service has ended, or the machine has.
    pub(crate) volatile: Vec<PathBuf>,
}

impl Profile {
    /// The profile of a service.
    ///
    /// # Errors
    /// `User=` or `Group=` names nobody.
    pub(crate) fn new(service: &Service, users: &Users) -> Result<Self, LayoutError> {
        let find = |name: &String| users.find(name).ok_or_else(|| LayoutError::NoUser(name.clone()));
        let mut environment = BTreeMap::from([("PATH".to_owned(), format!("{AGENT_FOLDER}:{PATH}"))]);
        let mut ids = Ids::ROOT;
        if service.dynamic_user.0 {
            // HOME is not exported where it would be "/" (systemd.exec(5), User=).
            ids = Ids { uid: DYNAMIC_UID, gid: DYNAMIC_UID };
        } else if let Some(name) = &service.user {
            let account = find(name)?;
            ids = account.ids;
            environment.insert("HOME".to_owned(), account.home.display().to_string());
            environment.insert("USER".to_owned(), account.name.clone());
            environment.insert("LOGNAME".to_owned(), account.name.clone());
        }
        if let Some(group) = &service.group {
            ids.gid = find(group)?.ids.gid;
        }
        let directories = directories(service);
        for variable in VARIABLES {
            let of_it = directories.iter().filter(|directory| directory.variable == variable);
            let paths: Vec<_> = of_it.map(|directory| directory.path.display().to_string()).collect();
            if !paths.is_empty() {
                environment.insert(variable.to_owned(), paths.join(":"));
            }
        }
        if !service.load_credential.is_empty() {
            environment.insert("CREDENTIALS_DIRECTORY".to_owned(), CREDENTIALS.to_owned());
        }
        for pair in &service.environment {
            environment.insert(pair.name.clone(), expand(&pair.value)?);
        }
        Ok(Self {
            ids,
            environment,
            unset: service.unset_environment.clone(),
            working_directory: service.working_directory.as_ref().map_or("/".into(), |path| path.0.clone()),
            umask: service.umask.map_or(0o022, |mode| mode.0),
            no_new_privileges: service.forbids_new_privileges(),
            capabilities: service.capability_bounding_set.map(|set| set.0),
            file_bytes: service.limit_file_size.and_then(|limit| limit.0),
            open_files: service.limit_open_files.and_then(|limit| limit.0),
            notify: service.kind.notifies(),
            environment_files: service.environment_file.clone(),
            credentials: service.load_credential.clone(),
            volatile: volatile(service),
        })
    }
}

const VARIABLES: [&str; 4] = ["STATE_DIRECTORY", "RUNTIME_DIRECTORY", "CACHE_DIRECTORY", "LOGS_DIRECTORY"];

/// A directory that systemd keeps for the service.
struct Directory {
    variable: &'static str,
    /// What the service is told.
    path: PathBuf,
    /// Where it lies: with `DynamicUser=` below a closed directory, behind a link.
    target: PathBuf,
    mode: u32,
}

fn directories(service: &Service) -> Vec<Directory> {
    let mode = |mode: Option<Mode>| mode.map_or(0o755, |mode| mode.0);
    let kinds = [
        (STATE, &service.state_directory, mode(service.state_directory_mode)),
        (RUNTIME, &service.runtime_directory, mode(service.runtime_directory_mode)),
        ("/var/cache", &service.cache_directory, 0o755),
        ("/var/log", &service.logs_directory, 0o755),
    ];
    let all = VARIABLES.into_iter().zip(kinds).flat_map(|(variable, (base, names, mode))| {
        names.0.iter().map(move |name| {
            let path = Path::new(base).join(name);
            let private = service.dynamic_user.0 && base != RUNTIME;
            let target = if private { Path::new(base).join("private").join(name) } else { path.clone() };
            Directory { variable, path, target, mode }
        })
    });
    all.collect()
}

/// What does not outlive the machine: systemd removes it when the service ends.
fn volatile(service: &Service) -> Vec<PathBuf> {
    let runtime = service.runtime_directory.0.iter().map(|name| Path::new(RUNTIME).join(name));
    let private = [PRIVATE_TMP, PRIVATE_VAR_TMP].map(|path| Path::new(path).join("tmp"));
    let private = private.into_iter().filter(|_| service.has_private_tmp());
    let own = service.temporary_file_system.iter().filter(|mount| !mount.read_only);
    runtime.chain(private).chain(own.map(|mount| mount.path.clone())).collect()
}

/// Puts values for specifiers (systemd.unit(5)): those about a user mean the service manager's, root.
pub(crate) fn expand(value: &str) -> Result<String, LayoutError> {
    let mut out = String::new();
    let mut rest = value.chars();
    while let Some(c) = rest.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        out.push_str(match rest.next() {
            Some('%') => "%",
            Some('C') => "/var/cache",
            Some('d') => CREDENTIALS,
            Some('E') => "/etc",
            Some('h') => "/root",
            Some('H') => super::init::HOST_NAME,
            Some('L') => "/var/log",
            Some('n') => "z4j.service",
            Some('N' | 'p') => "z4j",
            Some('S') => STATE,
            Some('t') => RUNTIME,
            Some('T') => "/tmp",
            Some('u') => "root",
            Some('U') => "0",
            Some('V') => "/var/tmp",
            other => return Err(LayoutError::Specifier(other.unwrap_or(' '))),
        });
    }
    Ok(out)
}

/// What the directives add to the machine, in the order in which it must be mounted: holes before what
/// becomes read-only around them.
pub(crate) fn mounts(service: &Service, ids: Ids) -> (Vec<Entry>, Vec<Mount>) {
    let mut entries = Vec::new();
    let mut mounts = Vec::new();
    if service.has_private_tmp() {
        for (source, target) in [(PRIVATE_TMP, "/tmp"), (PRIVATE_VAR_TMP, "/var/tmp")] {
            let source = Path::new(source).join("tmp");
            entries.push(Entry::directory(&source, 0o1777, Ids::ROOT));
            mounts.push(Mount::Over { source, target: target.into(), read_only: false });
        }
    }
    for directory in directories(service) {
        if directory.path != directory.target {
            let private = directory.target.parent().unwrap_or(&directory.target);
            entries.push(Entry::directory(private, 0o755, Ids::ROOT));
            let kind = EntryKind::Link { target: directory.target.clone() };
            entries.push(Entry { path: directory.path, owner: Ids::ROOT, kind });
        }
        entries.push(Entry::directory(&directory.target, directory.mode, ids));
        mounts.push(Mount::Hole { target: directory.target });
    }
    if !service.load_credential.is_empty() {
        entries.push(Entry::directory(CREDENTIALS, 0o500, ids));
    }
    mounts.extend(service.read_write_paths.iter().map(|path| Mount::Hole { target: path.path.clone() }));
    match service.system_protection() {
        ProtectSystem::Strict => mounts.push(Mount::ReadOnly { target: "/".into() }),
        ProtectSystem::Full => mounts.push(Mount::ReadOnly { target: "/etc".into() }),
        // /usr is read-only in every sandbox.
        ProtectSystem::Yes | ProtectSystem::No => {}
    }
    mounts.extend(home_mounts(service.home_protection()));
    mounts.extend(service.read_only_paths.iter().map(|path| Mount::ReadOnly { target: path.path.clone() }));
    mounts.extend(service.inaccessible_paths.iter().map(|path| hidden(&path.path)));
    mounts.extend(service.temporary_file_system.iter().map(|mount| Mount::Tmpfs {
        target: mount.path.clone(),
        mode: mount.mode,
        bytes: mount.bytes,
        read_only: mount.read_only,
    }));
    (entries, mounts)
}

/// Mounts that are left out where there is nothing to mount on.
pub(crate) fn optional(service: &Service) -> Vec<PathBuf> {
    let lists = [&service.read_write_paths, &service.read_only_paths, &service.inaccessible_paths];
    lists.into_iter().flatten().filter(|path| path.optional).map(|path| path.path.clone()).collect()
}

fn home_mounts(protection: ProtectHome) -> Vec<Mount> {
    let one = |target: &str| {
        let target = PathBuf::from(target);
        match protection {
            ProtectHome::No => None,
            ProtectHome::Yes => Some(hidden(&target)),
            ProtectHome::ReadOnly => Some(Mount::ReadOnly { target }),
            ProtectHome::Tmpfs => Some(Mount::Tmpfs { target, mode: 0o755, bytes: None, read_only: true }),
        }
    };
    ["/home", "/root", "/run/user"].into_iter().filter_map(one).collect()
}

fn hidden(path: &Path) -> Mount {
    let source = "/run/systemd/inaccessible/dir".into();
    Mount::Over { source, target: path.to_owned(), read_only: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(text: &str) -> Service {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn a_dynamic_user_gets_what_systemd_implies() {
        let service = service("DynamicUser = true\nStateDirectory = \"z4j\"");
        let profile = Profile::new(&service, &Users::new(&[])).unwrap();
        assert_eq!(profile.ids.uid, DYNAMIC_UID);
        assert!(!profile.environment.contains_key("HOME"));
        assert!(profile.no_new_privileges);
        let (_, mounts) = mounts(&service, profile.ids);
        let at = |wanted: &Mount| mounts.iter().position(|mount| mount == wanted);
        let hole = at(&Mount::Hole { target: "/var/lib/private/z4j".into() });
        let closed = at(&Mount::ReadOnly { target: "/".into() });
        assert!(hole.is_some() && hole < closed, "{mounts:?}");
        assert!(at(&Mount::ReadOnly { target: "/home".into() }).is_some());
    }

    #[test]
    fn an_explicit_directive_wins_over_an_implied_one() {
        let service = service("DynamicUser = true\nProtectHome = false\nProtectSystem = \"full\"");
        assert_eq!(service.home_protection(), ProtectHome::No);
        assert_eq!(service.system_protection(), ProtectSystem::Full);
    }

    #[test]
    fn specifiers_are_the_managers() {
        assert_eq!(expand("%S/picker 100%%").unwrap(), "/var/lib/picker 100%");
        assert!(expand("50%").is_err() && expand("%i").is_err());
    }

    #[test]
    fn an_unknown_user_is_named() {
        let error = Profile::new(&service("User = \"ghost\""), &Users::new(&[])).unwrap_err();
        assert!(error.to_string().contains("`ghost`"));
    }
}
