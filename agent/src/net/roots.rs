//! Root certificates: where they come from.
//!
//! `SSL_CERT_FILE` and `SSL_CERT_DIR` replace the system's, `Z4J_CA_FILE` adds to them.

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::certificate::Certificate;
use crate::config::CaSettings;
use crate::files;
use crate::words::errno_text;

/// Most of a file of certificates that is read, in bytes; the system's own is a quarter of a megabyte.
const MAX_PEM_BYTES: u64 = 16 << 20;

/// The root certificates of a configuration.
#[derive(Clone, Debug)]
pub(crate) struct Roots {
    /// For verification.
    pub(crate) store: Arc<RootCertStore>,
    /// Where they come from, for people.
    pub(crate) source: String,
    /// What could not be read.
    pub(crate) problems: Vec<String>,
    certificates: Vec<CertificateDer<'static>>,
}

/// Loads the root certificates.
pub(crate) fn load(settings: &CaSettings) -> Roots {
    let mut loaded = Loaded::default();
    if let Some(file) = &settings.cert_file {
        loaded.file("SSL_CERT_FILE", file);
    }
    if let Some(dirs) = &settings.cert_dir {
        // A list, as OpenSSL has it (SSL_CTX_load_verify_locations(3)).
        std::env::split_paths(dirs)
            .filter(|dir| !dir.as_os_str().is_empty())
            .for_each(|dir| loaded.dir(&dir));
    }
    if settings.cert_file.is_none() && settings.cert_dir.is_none() {
        loaded.system();
    }
    if let Some(file) = &settings.extra_file {
        loaded.file("Z4J_CA_FILE", file);
    }
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(loaded.certificates.iter().cloned());
    Roots {
        store: Arc::new(store),
        source: source(settings),
        problems: loaded.problems,
        certificates: loaded.certificates,
    }
}

/// What was read so far.
#[derive(Default)]
struct Loaded {
    certificates: Vec<CertificateDer<'static>>,
    problems: Vec<String>,
}

impl Loaded {
    /// Reads the system's store: where OpenSSL's distributions keep it.
    ///
    /// `rustls_native_certs::load_native_certs` is not asked: it reads the variables once more, and takes an
    /// empty one for the path of a file, which counts as unset everywhere else here.
    fn system(&mut self) {
        let places = openssl_probe::probe();
        let mut native = vec![rustls_native_certs::load_certs_from_paths(places.cert_file.as_deref(), None)];
        let dirs = places.cert_dir.iter();
        native.extend(dirs.map(|dir| rustls_native_certs::load_certs_from_paths(None, Some(dir))));
        for loaded in native {
            self.certificates.extend(loaded.certs);
            self.problems.extend(loaded.errors.iter().map(ToString::to_string));
        }
        // The directories hold what the file holds.
        self.certificates.sort_unstable_by(|one, other| one.as_ref().cmp(other.as_ref()));
        self.certificates.dedup();
    }

    /// Reads a PEM file; `name` is the setting that names it.
    fn file(&mut self, name: &str, file: &Path) {
        let bytes = match files::read(file, MAX_PEM_BYTES) {
            Ok(bytes) => bytes,
            Err(error) => {
                return self.problems.push(format!("{name}={}: {}", file.display(), errno_text(&error)));
            }
        };
        let found: Vec<_> = CertificateDer::pem_slice_iter(&bytes).flatten().collect();
        if found.is_empty() {
            self.problems.push(format!("{name}={}: it holds no PEM certificate", file.display()));
        }
        self.certificates.extend(found);
    }

    /// Reads a directory of hashed names.
    fn dir(&mut self, dir: &Path) {
        if let Err(error) = std::fs::read_dir(dir) {
            self.problems.push(format!("SSL_CERT_DIR={}: {}", dir.display(), errno_text(&error)));
            return;
        }
        let loaded = rustls_native_certs::load_certs_from_paths(None, Some(dir));
        self.certificates.extend(loaded.certs);
        self.problems.extend(loaded.errors.iter().map(ToString::to_string));
    }
}

impl Roots {
    /// Whether a root could stand above an unknown issuer: it has the same organisation. Then an intermediate
    /// is missing, rather than the root unknown.
    pub(crate) fn has_kin_of(&self, certificate: &Certificate) -> bool {
        let Some(organization) = &certificate.issuer_organization else { return false };
        let mut roots = self.certificates.iter().filter_map(|der| Certificate::parse(der));
        roots.any(|root| root.subject_organization.as_ref() == Some(organization))
    }
}

fn source(settings: &CaSettings) -> String {
    let named = |name: &str, path: &Path| format!("{name}={}", path.display());
    let mut parts: Vec<String> = Vec::new();
    parts.extend(settings.cert_file.as_deref().map(|path| named("SSL_CERT_FILE", path)));
    parts.extend(settings.cert_dir.as_deref().map(|path| named("SSL_CERT_DIR", path)));
    if parts.is_empty() {
        parts.push("the system's store".to_owned());
    }
    parts.extend(settings.extra_file.as_deref().map(|path| named("Z4J_CA_FILE", path)));
    crate::words::join_words(&parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROBE: &str = "Z4J_TEST_SYSTEM_ROOTS";

    /// Run by the test below, as a process of its own with the variables in question.
    #[test]
    fn child() {
        let environment = crate::environment::Environment::capture();
        if environment.path(PROBE).is_some() {
            let settings = CaSettings {
                cert_file: environment.path("SSL_CERT_FILE"),
                cert_dir: environment.path("SSL_CERT_DIR"),
                extra_file: None,
            };
            let roots = load(&settings);
            println!("{PROBE}: {} {:?}", roots.store.len(), roots.problems);
        }
    }

    #[test]
    fn an_empty_variable_is_an_unset_one() -> std::io::Result<()> {
        let found = |value: Option<&str>| -> std::io::Result<String> {
            let mut command = std::process::Command::new(std::env::current_exe()?);
            command.args(["--exact", "net::roots::tests::child", "--nocapture"]).env(PROBE, "1");
            for name in ["SSL_CERT_FILE", "SSL_CERT_DIR"] {
                match value {
                    Some(value) => command.env(name, value),
                    None => command.env_remove(name),
                };
            }
            let output = String::from_utf8_lossy(&command.output()?.stdout).into_owned();
            Ok(output
                .split_once(&format!("{PROBE}: "))
                .and_then(|(_, rest)| rest.lines().next())
                .unwrap_or("nothing")
                .to_owned())
        };
        let unset = found(None)?;
        assert_ne!(unset, "nothing");
        assert_eq!(found(Some(""))?, unset);
        Ok(())
    }

    #[test]
    fn what_cannot_be_read_is_named_by_its_setting() -> std::io::Result<()> {
        let dir = tempfile::tempdir()?;
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU)?;
        let settings = CaSettings {
            cert_file: Some("/nonexistent/ca.pem".into()),
            cert_dir: Some(format!("{}:/nonexistent/certs", dir.path().display()).into()),
            extra_file: Some(fifo),
        };
        let roots = load(&settings);
        assert!(roots.store.is_empty());
        let expected =
            ["SSL_CERT_FILE=/nonexistent/ca.pem: ENOENT", "SSL_CERT_DIR=/nonexistent/certs: ENOENT"];
        for (problem, start) in roots.problems.iter().zip(expected) {
            assert!(problem.starts_with(start), "{problem}");
        }
        assert!(
            roots.problems.last().is_some_and(|problem| problem.contains("FIFO")),
            "{:?}",
            roots.problems
        );
        Ok(())
    }
}
