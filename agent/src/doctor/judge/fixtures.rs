//! Cases and evidence for the tests of the judge.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use z4j_protocol::HmacSecret;
use z4j_protocol::payload::HelloAck;

use super::super::evidence::{
    BufferEvidence, BufferOutcome, DnsEvidence, Space, TcpEvidence, Trial, WebsocketEvidence,
};
use super::*;
use crate::config::{BrainUrl, CaSettings, LogFormat, LogLevel, RedactionSettings, Signing, Transport};
use crate::mounts::MountTable;
use crate::net::certificate::Certificate;
use crate::paths::{Cause, Owner, Refusal};
use crate::secret::Token;
use crate::transport::session::Welcome;

pub(super) type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

pub(super) fn config(url: &str) -> Outcome<Config> {
    Ok(Config {
        brain_url: BrainUrl::parse(url).map_err(|problem| problem.to_string())?,
        token: Token::parse("token")?,
        project_id: "picker".into(),
        signing: Signing::Ready(HmacSecret::from_bytes(vec![1; 32])?),
        agent_name: None,
        agent_id: None,
        transport: Transport::Auto,
        dev_mode: false,
        home: None,
        buffer_path: None,
        buffer_max_bytes: 0,
        buffer_max_events: 0,
        proxy: None,
        ca: CaSettings::default(),
        venv: None,
        worker_role: None,
        heartbeat: true,
        agent_status: true,
        log_level: LogLevel::Info,
        log_format: LogFormat::Text,
        redaction: RedactionSettings {
            key_patterns: Vec::new(),
            value_patterns: Vec::new(),
            string_bytes: 8_192,
        },
        engines: BTreeMap::new(),
        has_engine_tables: false,
        orchestrated: None,
        stop_timeout: Duration::from_secs(10),
        ingest: None,
    })
}

pub(super) fn account() -> Account {
    Account { uid: 33, gid: 33, name: Some("www-data".into()), group: Some("www-data".into()), home: None }
}

pub(super) fn case<'a>(config: &'a Config, account: &'a Account) -> Case<'a> {
    Case {
        config,
        account,
        resolv_conf: "/etc/resolv.conf".into(),
        framework: Framework::Bare,
        engines: Vec::new(),
        without_adapter: Vec::new(),
        pip: None,
        core_version: None,
        selected: ProbeName::ALL.to_vec(),
        now: Timestamp::from_unix_micros(1_800_000_000_000_000),
    }
}

pub(super) fn timed<T>(seen: T) -> Option<Timed<T>> {
    Some(Timed { seen, took: Duration::ZERO })
}

pub(super) fn buffer(outcome: BufferOutcome, home_refusal: Option<Refusal>) -> BufferEvidence {
    BufferEvidence {
        path: "/tmp/z4j-33/buffer-1.sqlite".into(),
        home: Some("/var/www/.z4j".into()),
        home_refusal,
        outcome,
        mounts: Some(MountTable::parse("27 1 254:0 / / rw - ext4 /dev/vda rw")),
        real_dir: "/tmp/z4j-33".into(),
        space: Some(Space { bytes: 1024, inodes: None }),
    }
}

pub(super) fn writable() -> BufferEvidence {
    buffer(BufferOutcome::Writable { dir: "/tmp/z4j-33".into() }, None)
}

pub(super) const BRAIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 42)), 443);

pub(super) fn connected() -> Evidence {
    Evidence {
        buffer: timed(writable()),
        dns: timed(DnsEvidence::Found(vec![BRAIN])),
        tcp: timed(TcpEvidence::Connected(BRAIN)),
        ..Evidence::default()
    }
}

pub(super) fn session() -> TlsEvidence {
    let leaf = Certificate {
        common_name: Some("tasks.example.com".into()),
        not_after: 1_900_000_000,
        ..Certificate::default()
    };
    TlsEvidence::Session(net_tls::Session {
        version: "TLSv1.3".into(),
        chain: vec![leaf],
        asks_client: false,
    })
}

pub(super) fn welcome(slug: Option<&str>, seconds_behind: i64) -> Welcome {
    let now = Timestamp::from_unix_micros(1_800_000_000_000_000);
    Welcome {
        ack: HelloAck {
            protocol_version: "2".into(),
            brain_version: "1.13.0".into(),
            agent_id: "a".into(),
            project_id: "fb76ac03-c5fe-4c21-95cc-b9d59cf3f2bc".into(),
            session_id: "s".into(),
            heartbeat_interval_seconds: 10,
            max_frame_size_bytes: 0,
        },
        project_slug: slug.map(str::to_owned),
        brain_time: Some(now.plus_seconds(-seconds_behind)),
        received_at: now,
    }
}

pub(super) fn trial(welcome: Option<Welcome>, end: TrialEnd) -> WebsocketEvidence {
    let answered_at = Timestamp::from_unix_micros(1_800_000_000_000_000);
    let answer = Some(http::Answer { status: 101, ..http::Answer::default() });
    let trial = Trial { answer, answered_at, welcome, declined: 0, end };
    WebsocketEvidence { trial: Some(trial), ..WebsocketEvidence::default() }
}

pub(super) fn codes(report: &Report) -> Vec<(&'static str, Status, Option<&'static str>)> {
    report.probes.iter().map(|finding| (finding.name.as_str(), finding.status, finding.code)).collect()
}
pub(super) fn refusal(component: &str, cause: Cause, uid: u32, mode: u32) -> Refusal {
    Refusal {
        wanted: "/var/www/.z4j".into(),
        component: component.into(),
        real_component: component.into(),
        cause,
        owner: Some(Owner { uid, gid: uid, mode }),
    }
}
