//! What a brain is started with.
//!
//! Owns the options and their defaults. Must not read them from anywhere.

use std::path::PathBuf;

use ipnet::IpNet;

use crate::fault::FaultSpec;
use crate::pki::Profile;
use crate::voice::Release;

/// What a brain is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Speak TLS with a certificate of the brain's own CA.
    pub tls: bool,
    /// Names that the certificate bears beside localhost, 127.0.0.1 and ::1; the first one is its CN.
    pub names: Vec<String>,
    /// What the server shows, and how it speaks TLS.
    pub certificate: Profile,
    /// Names that a Host header may bear, beside those of the certificate.
    pub hosts: Vec<String>,
    /// Networks that agents may come from; any if empty.
    pub admit: Vec<IpNet>,
    /// Proxies whose X-Forwarded-For is believed; 127.0.0.1 if empty.
    pub trusted_proxies: Vec<IpNet>,
    /// The project's slug.
    pub project: String,
    /// The agent's name.
    pub agent: String,
    /// Hold agents to the rules that the real brain leaves free, too, and be odd where agents must not rely on
    /// accidents.
    pub strict: bool,
    /// Send commands without a result again after the next hello_ack, which the real brain does not; a strict
    /// brain always does. Agents answer duplicates by the command's id.
    pub redeliver: bool,
    /// The release of the real brain that is spoken as.
    pub release: Release,
    /// Where CA and credentials are kept; all in memory if none.
    pub state_dir: Option<PathBuf>,
    /// Keep the journal, and with it events, sessions, violations and commands, in the state directory, and
    /// at most so many bytes of it; all in memory if none.
    pub journal_bytes: Option<u64>,
    /// Faults that are set from the start.
    pub faults: Vec<FaultSpec>,
    /// What the dice of faults with a probability start from.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tls: true,
            names: Vec::new(),
            certificate: Profile::default(),
            hosts: Vec::new(),
            admit: Vec::new(),
            trusted_proxies: Vec::new(),
            project: "demo".to_owned(),
            agent: "demo-agent".to_owned(),
            strict: false,
            redeliver: false,
            release: Release::NEWEST,
            state_dir: None,
            journal_bytes: None,
            faults: Vec::new(),
            seed: 0,
        }
    }
}
