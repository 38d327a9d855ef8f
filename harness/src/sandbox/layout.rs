//! The machine before the service starts: directories, users, name resolution, trusted roots, programs.
//!
//! Owns what `[host]` means. What `[service]` adds on top is `service`'s.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use super::plan::{Bind, Entry, EntryKind, Ids, Mount, Plan};
use super::service;
use super::users::Users;
use crate::scenario::{Answer, Host, HostFile, Scenario, Size, Tmp};

/// Where the resolver of the sandbox listens, as systemd-resolved does.
const RESOLVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53)), 53);

/// Where the agent's program lies in the sandbox.
pub(crate) const AGENT_FOLDER: &str = "/opt/z4j/bin";

/// The roots that the machine trusts: filled once the brain's authority is known.
pub(crate) const ROOTS_FILE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Directories that every machine has, with their modes; all of them root's.
const DIRECTORIES: &[(&str, u32)] = &[
    ("/dev", 0o755),
    ("/etc", 0o755),
    ("/etc/ssl", 0o755),
    ("/etc/ssl/certs", 0o755),
    ("/home", 0o755),
    ("/opt", 0o755),
    ("/opt/z4j", 0o755),
    (AGENT_FOLDER, 0o755),
    ("/proc", 0o555),
    ("/run", 0o755),
    ("/run/systemd", 0o755),
    ("/run/systemd/inaccessible", 0o755),
    ("/run/systemd/inaccessible/dir", 0o000),
    ("/run/user", 0o755),
    ("/srv", 0o755),
    ("/sys", 0o555),
    ("/tmp", 0o1777),
    ("/usr", 0o755),
    ("/var", 0o755),
    ("/var/lib", 0o755),
    ("/var/tmp", 0o1777),
];

/// Programs and libraries of the real machine, where they are not links into /usr.
const PROGRAM_FOLDERS: &[&str] = &["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];

/// What of /etc a program needs to run at all.
const ETC_FILES: &[&str] = &["/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime"];

/// Where a scenario cannot make files.
const FOREIGN: &[&str] =
    &["/bin", "/dev", "/lib", "/lib32", "/lib64", "/libx32", "/opt/z4j", "/proc", "/sbin", "/sys", "/usr"];

/// A scenario's machine, laid out.
pub(crate) struct Machine {
    pub(crate) plan: Plan,
    pub(crate) users: Users,
    /// How steps are run.
    pub(crate) service: service::Profile,
}

/// Why a machine cannot be laid out as the scenario asks.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LayoutError {
    #[error("there is no user `{0}`: add it to [host] users")]
    NoUser(String),
    #[error("the host `{0}` of [brain] url has no address: add it to [host] hosts or dns")]
    NoAddress(String),
    #[error("`{0}` cannot be made: that folder is the real machine's")]
    Foreign(String),
    #[error("`{0}` is made twice in [host] files")]
    Twice(String),
    #[error(
        "`%{0}` is not a specifier that is known here: %C, %d, %E, %h, %H, %L, %n, %N, %p, %S, %t, %T, %u, %U, %V and %% are"
    )]
    Specifier(char),
    #[error("`{path}` belongs to {owner}, which only root can show: run the harness as root")]
    NeedsRoot { path: String, owner: String },
}

impl Machine {
    /// Lays out a scenario's machine. `root` is an empty directory, `agent` the program under test.
    ///
    /// # Errors
    /// The scenario names a user or a host that it does not describe, or needs owners that only root can set.
    pub(crate) fn lay_out(
        scenario: &Scenario,
        root: &Path,
        agent: &Path,
        privileged: bool,
    ) -> Result<Self, LayoutError> {
        let users = Users::new(&scenario.host.users);
        let brain = brain_address(scenario)?;
        let service = service::Profile::new(&scenario.service, &users)?;
        let mut entries = base_entries(&users, &scenario.host);
        entries.extend(venv_entries(&scenario.host));
        entries.extend(own_entries(&scenario.host, &users, service.ids, privileged)?);
        entries.extend(scenario.host.tmpfs.keys().map(|path| Entry::directory(&path.0, 0o755, Ids::ROOT)));
        let (more_entries, more_mounts) = service::mounts(&scenario.service, service.ids);
        entries.extend(more_entries);
        let mut mounts = more_mounts;
        if scenario.service.closes_tmp() && scenario.host.tmp != Tmp::Disk {
            // A mount of its own is not covered by the read-only root.
            mounts.push(Mount::ReadOnly { target: "/tmp".into() });
        }
        let plan = Plan {
            root: root.to_owned(),
            privileged,
            service: service.ids,
            entries: with_parents(entries),
            binds: binds(agent),
            host_mounts: tmp_mounts(&scenario.host),
            mounts,
            optional: service::optional(&scenario.service),
            addresses: addresses(&scenario.host, brain),
            brain: SocketAddr::new(brain, scenario.brain.url.port),
            resolver: RESOLVER,
            notify: service.notify,
        };
        Ok(Self { plan, users, service })
    }
}

fn base_entries(users: &Users, host: &Host) -> Vec<Entry> {
    let mut entries: Vec<_> =
        DIRECTORIES.iter().map(|(path, mode)| Entry::directory(*path, *mode, Ids::ROOT)).collect();
    entries.push(Entry::directory("/root", 0o700, Ids::ROOT));
    // Debian's /var/www is root's; a login user's home is their own.
    for account in users.iter().filter(|account| account.has_home && account.name != "root") {
        let owner = if account.name == "www-data" { Ids::ROOT } else { account.ids };
        entries.push(Entry::directory(&account.home, 0o755, owner));
    }
    let hosts: String = host.hosts.iter().map(|(name, address)| format!("{address} {name}\n")).collect();
    entries.extend([
        Entry::file("/etc/passwd", users.passwd()),
        Entry::file("/etc/group", users.group()),
        Entry::file("/etc/hosts", format!("127.0.0.1 localhost\n::1 localhost\n{hosts}")),
        Entry::file(
            "/etc/resolv.conf",
            format!("nameserver {}\noptions timeout:1 attempts:1\n", RESOLVER.ip()),
        ),
        Entry::file("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n".to_owned()),
        Entry::file("/etc/hostname", format!("{}\n", super::init::HOST_NAME)),
        Entry::file(ROOTS_FILE, String::new()),
        Entry {
            path: "/run/systemd/inaccessible/reg".into(),
            owner: Ids::ROOT,
            kind: EntryKind::File { mode: 0o000, content: String::new() },
        },
    ]);
    entries
}

/// A virtual environment as a package manager leaves it: one `*.dist-info` a distribution.
fn venv_entries(host: &Host) -> Vec<Entry> {
    let Some(venv) = &host.venv else { return Vec::new() };
    let site_packages = venv.path.0.join("lib/python3.11/site-packages");
    let packages = venv.packages.0.iter().map(|(name, version)| {
        let folder = site_packages.join(format!("{}-{version}.dist-info", name.replace('-', "_")));
        Entry::file(
            folder.join("METADATA"),
            format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"),
        )
    });
    let configuration = Entry::file(venv.path.0.join("pyvenv.cfg"), "version = 3.11.7\n".to_owned());
    std::iter::once(configuration).chain(packages).collect()
}

/// The scenario's own files and directories.
fn own_entries(
    host: &Host,
    users: &Users,
    service: Ids,
    privileged: bool,
) -> Result<Vec<Entry>, LayoutError> {
    let mut seen = BTreeSet::new();
    let mut entry = |wanted: &HostFile| {
        let path = wanted.path.0.clone();
        let shown = || path.display().to_string();
        if FOREIGN.iter().any(|folder| path.starts_with(folder)) {
            return Err(LayoutError::Foreign(shown()));
        }
        if !seen.insert(path.clone()) {
            return Err(LayoutError::Twice(shown()));
        }
        let owner = users.find(&wanted.owner).ok_or_else(|| LayoutError::NoUser(wanted.owner.clone()))?;
        if owner.ids != service && !privileged {
            return Err(LayoutError::NeedsRoot { path: shown(), owner: wanted.owner.clone() });
        }
        let mode = |default: u32| wanted.mode.map_or(default, |mode| mode.0);
        let kind = match &wanted.content {
            Some(content) => EntryKind::File { mode: mode(0o644), content: content.clone() },
            None => EntryKind::Directory { mode: mode(0o755) },
        };
        Ok(Entry { path, owner: owner.ids, kind })
    };
    host.files.iter().map(&mut entry).collect()
}

/// Adds root-owned parents that nobody named. A later entry of the same path replaces an earlier one.
fn with_parents(entries: Vec<Entry>) -> Vec<Entry> {
    let mut by_path = std::collections::BTreeMap::new();
    for entry in entries {
        for parent in entry.path.ancestors().skip(1).filter(|parent| parent.parent().is_some()) {
            by_path.entry(parent.to_owned()).or_insert_with(|| Entry::directory(parent, 0o755, Ids::ROOT));
        }
        by_path.insert(entry.path.clone(), entry);
    }
    by_path.into_values().collect()
}

fn tmp_mounts(host: &Host) -> Vec<Mount> {
    let tmpfs = |target: &Path, mode: u32, size: &Size| Mount::Tmpfs {
        target: target.to_owned(),
        mode,
        bytes: Some(size.0),
        read_only: false,
    };
    let tmp = match &host.tmp {
        Tmp::Tmpfs(size) => Some(tmpfs(Path::new("/tmp"), 0o1777, size)),
        Tmp::Disk => None,
    };
    tmp.into_iter().chain(host.tmpfs.iter().map(|(path, size)| tmpfs(&path.0, 0o755, size))).collect()
}

fn binds(agent: &Path) -> Vec<Bind> {
    let same = |path: &str| Bind { source: path.into(), target: path.into() };
    let there = |path: &&&str| Path::new(path).exists();
    let mut binds = vec![same("/usr")];
    binds.extend(PROGRAM_FOLDERS.iter().filter(there).map(|path| same(path)));
    binds.extend(ETC_FILES.iter().filter(there).map(|path| same(path)));
    let name = agent.file_name().unwrap_or(agent.as_os_str());
    binds.push(Bind { source: agent.to_owned(), target: Path::new(AGENT_FOLDER).join(name) });
    binds
}

fn addresses(host: &Host, brain: IpAddr) -> Vec<IpAddr> {
    let named = host.dns.values().filter_map(|answer| match answer {
        Answer::Address(address) => Some(*address),
        _ => None,
    });
    let all: BTreeSet<_> = host.hosts.values().copied().chain(named).chain([brain]).collect();
    all.into_iter().filter(|address| !address.is_loopback()).collect()
}

fn brain_address(scenario: &Scenario) -> Result<IpAddr, LayoutError> {
    let host = &scenario.brain.url.host;
    if let Ok(address) = host.parse() {
        return Ok(address);
    }
    if host == "localhost" {
        return Ok(Ipv4Addr::LOCALHOST.into());
    }
    let by_dns = match scenario.host.dns.get(host) {
        Some(Answer::Address(address)) => Some(*address),
        _ => None,
    };
    let address = scenario.host.hosts.get(host).copied().or(by_dns);
    address.ok_or_else(|| LayoutError::NoAddress(host.clone()))
}
