//! What `[service]` means: who runs, with which environment, and what systemd would mount for it.
//!
//! Owns the meaning of the directives (systemd.exec(5)). Must not mount anything itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::layout::{AGENT_FOLDER, LayoutError};
use super::plan::{Entry, EntryKind, Ids, Mount};
use super::users::{DYNAMIC_UID, Users};
use crate::scenario::{ProtectHome, ProtectSystem, Service};

/// systemd's default search path, with the folder of the agent before it.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where the private /tmp of the service really lies.
const PRIVATE_TMP: &str = "/tmp/systemd-private-0f1e2d3c4b5a69788796a5b4c3d2e1f0-z4j.service-Xq3vLk";
const PRIVATE_VAR_TMP: &str = "/var/tmp/systemd-private-0f1e2d3c4b5a69788796a5b4c3d2e1f0-z4j.service-Yb7tRw";

/// Where `StateDirectory=` and `RuntimeDirectory=` lie.
const STATE: &str = "/var/lib";
const RUNTIME: &str = "/run";

/// How commands of the service are run.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    pub(crate) ids: Ids,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) unset: Vec<String>,
    pub(crate) working_directory: PathBuf,
    pub(crate) umask: u32,
    pub(crate) no_new_privileges: bool,
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
        for (variable, base, names) in [
            ("STATE_DIRECTORY", STATE, &service.state_directory),
            ("RUNTIME_DIRECTORY", RUNTIME, &service.runtime_directory),
        ] {
            let paths = names.0.iter().map(|name| Path::new(base).join(name).display().to_string());
            let paths: Vec<_> = paths.collect();
            if !paths.is_empty() {
                environment.insert(variable.to_owned(), paths.join(":"));
            }
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
        })
    }
}

/// Puts values for specifiers (systemd.unit(5)): those about a user mean the service manager's, root.
fn expand(value: &str) -> Result<String, LayoutError> {
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
            Some('h') => "/root",
            Some('S') => STATE,
            Some('t') => RUNTIME,
            Some('T') => "/tmp",
            Some('u') => "root",
            Some('U') => "0",
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
    for name in &service.state_directory.0 {
        state_directory(service, name, ids, &mut entries, &mut mounts);
    }
    for name in &service.runtime_directory.0 {
        let target = Path::new(RUNTIME).join(name);
        entries.push(Entry::directory(&target, 0o755, ids));
        mounts.push(Mount::Hole { target });
    }
    mounts.extend(service.read_write_paths.iter().map(|path| Mount::Hole { target: path.0.clone() }));
    match service.system_protection() {
        ProtectSystem::Strict => mounts.push(Mount::ReadOnly { target: "/".into() }),
        ProtectSystem::Full => mounts.push(Mount::ReadOnly { target: "/etc".into() }),
        // /usr is read-only in every sandbox.
        ProtectSystem::Yes | ProtectSystem::No => {}
    }
    mounts.extend(home_mounts(service.home_protection()));
    mounts.extend(service.read_only_paths.iter().map(|path| Mount::ReadOnly { target: path.0.clone() }));
    mounts.extend(service.inaccessible_paths.iter().map(|path| hidden(&path.0)));
    mounts.extend(service.temporary_file_system.iter().map(|path| Mount::Tmpfs {
        target: path.0.clone(),
        mode: 0o755,
        bytes: None,
        read_only: false,
    }));
    (entries, mounts)
}

/// With `DynamicUser=` the directory lies below the closed /var/lib/private, behind a link.
fn state_directory(
    service: &Service,
    name: &Path,
    ids: Ids,
    entries: &mut Vec<Entry>,
    mounts: &mut Vec<Mount>,
) {
    let public = Path::new(STATE).join(name);
    let private = Path::new(STATE).join("private");
    let target = if service.dynamic_user.0 { private.join(name) } else { public.clone() };
    if service.dynamic_user.0 {
        entries.push(Entry::directory(&private, 0o755, Ids::ROOT));
        let kind = EntryKind::Link { target: private.join(name) };
        entries.push(Entry { path: public, owner: Ids::ROOT, kind });
    }
    entries.push(Entry::directory(&target, 0o755, ids));
    mounts.push(Mount::Hole { target });
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
