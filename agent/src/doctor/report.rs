//! The report: one value that text and JSON are both written from.

use std::fmt::Write;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::words::visible;

/// Version of the JSON document.
pub(super) const SCHEMA_VERSION: u32 = 1;

/// Column at which a probe's sentence begins.
const SENTENCE_COLUMN: usize = 22;

/// A probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub(crate) enum ProbeName {
    /// Whether a buffer can be kept, and where.
    BufferPath,
    /// The brain's name.
    Dns,
    /// A connection to it.
    Tcp,
    /// TLS over that.
    Tls,
    /// The round trip.
    Websocket,
}

impl ProbeName {
    /// Every probe, in the order in which they run.
    pub(crate) const ALL: [Self; 5] = [Self::BufferPath, Self::Dns, Self::Tcp, Self::Tls, Self::Websocket];

    /// The word for it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::BufferPath => "buffer_path",
            Self::Dns => "dns",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Websocket => "websocket",
        }
    }

    /// The probe that must succeed before this one can.
    pub(super) const fn needs(self) -> Option<Self> {
        match self {
            Self::BufferPath | Self::Dns => None,
            Self::Tcp => Some(Self::Dns),
            Self::Tls => Some(Self::Tcp),
            Self::Websocket => Some(Self::Tls),
        }
    }
}

/// How a probe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// Good.
    Ok,
    /// Bad.
    Fail,
    /// Not looked at, since it waits for another probe.
    Skip,
    /// Could not look.
    Unknown,
}

impl Status {
    const fn label(self) -> &'static str {
        match self {
            Self::Ok => "[OK]  ",
            Self::Fail => "[FAIL]",
            Self::Skip => "[SKIP]",
            Self::Unknown => "[????]",
        }
    }
}

/// What is said about one probe.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Finding {
    /// Which.
    pub(crate) name: ProbeName,
    /// True, false, or null where nothing can be said.
    pub(crate) ok: Option<bool>,
    /// How it ended.
    pub(crate) status: Status,
    /// One sentence, with its word in front.
    pub(crate) message: String,
    /// The stable word for a failure.
    pub(crate) code: Option<&'static str>,
    /// The one thing to do.
    pub(crate) fix: Option<String>,
    /// What was seen.
    pub(crate) details: Map<String, Value>,
    /// How long it took.
    pub(crate) duration_ms: u64,
}

/// Something that does not stop the agent but will bite.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Note {
    /// The stable word for it.
    pub(crate) code: &'static str,
    /// What it is about, for the text.
    #[serde(skip)]
    pub(crate) subject: &'static str,
    /// One sentence.
    pub(crate) message: String,
    /// What to do.
    pub(crate) fix: Option<String>,
}

/// The configuration as the report shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ConfigView {
    /// The brain's URL.
    pub(crate) brain_url: String,
    /// The project.
    pub(crate) project_id: String,
    /// The agent's name.
    pub(crate) agent_name: Option<String>,
    /// The buffer.
    pub(crate) buffer_path: String,
    /// How the agent connects.
    pub(crate) transport: &'static str,
    /// Whether plain http is allowed.
    pub(crate) dev_mode: bool,
}

/// The whole report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Report {
    /// Version of this document.
    pub(crate) schema_version: u32,
    /// Whether no probe failed.
    pub(crate) ok: bool,
    /// How far it came: always `probes`; a configuration that cannot be built has a document of its own.
    pub(crate) stage: &'static str,
    /// What the application is built on.
    pub(crate) framework: &'static str,
    /// The configuration.
    pub(crate) config: ConfigView,
    /// Engines that are installed.
    pub(crate) engines: Vec<String>,
    /// The probes, in order.
    pub(crate) probes: Vec<Finding>,
    /// The notes.
    pub(crate) notes: Vec<Note>,
    /// This program's release.
    pub(crate) agent_version: &'static str,
    /// The protocol's version.
    pub(crate) protocol_version: &'static str,
}

impl Report {
    /// Whether everything is as it should be; `strict` takes notes and unknowns for failures.
    pub(crate) fn is_good(&self, strict: bool) -> bool {
        let unknown = self.probes.iter().any(|finding| finding.status == Status::Unknown);
        self.ok && !(strict && (unknown || !self.notes.is_empty()))
    }

    /// The text, to the letter of the published page; `verbose` adds what was seen.
    pub(crate) fn text(&self, verbose: bool) -> String {
        let title = format!("z4j-doctor ({})", self.framework);
        let mut out = format!("{title}\n{}\n", "=".repeat(title.len()));
        let agent_name = self.config.agent_name.as_deref().unwrap_or("<unset>");
        for (label, value) in [
            ("brain_url:", self.config.brain_url.as_str()),
            ("project_id:", &self.config.project_id),
            ("agent_name:", agent_name),
            ("buffer_path:", &self.config.buffer_path),
            ("transport:", self.config.transport),
        ] {
            line(&mut out, &format!("  {label:<12} {value}"));
        }
        out.push('\n');
        for finding in &self.probes {
            finding.write(&mut out, verbose);
        }
        if !self.notes.is_empty() {
            out.push('\n');
        }
        for note in &self.notes {
            line(&mut out, &format!("  [NOTE] {:<12} {}", note.subject, note.message));
            write_fix(&mut out, note.fix.as_deref());
        }
        let engines = if self.engines.is_empty() { "<none>".to_owned() } else { self.engines.join(", ") };
        out.push('\n');
        line(&mut out, &format!("  engines auto-detected: {engines}"));
        out
    }

    /// The JSON document.
    pub(crate) fn json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }
}

impl Finding {
    fn write(&self, out: &mut String, verbose: bool) {
        line(out, &format!("  {} {:<12} {}", self.status.label(), self.name.as_str(), self.message));
        write_fix(out, self.fix.as_deref());
        if let Some(code) = self.code {
            indented(out, &format!("code: {code}"));
        }
        if verbose {
            for (key, value) in &self.details {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                indented(out, &format!("{key}: {value}"));
            }
            indented(out, &format!("took: {} ms", self.duration_ms));
        }
    }
}

fn line(out: &mut String, text: &str) {
    let _ = writeln!(out, "{}", visible(text));
}

fn indented(out: &mut String, text: &str) {
    let _ = writeln!(out, "{:SENTENCE_COLUMN$}{}", "", visible(text));
}

fn write_fix(out: &mut String, fix: Option<&str>) {
    let mut label = "fix: ";
    for text in fix.into_iter().flat_map(str::lines) {
        indented(out, &format!("{label}{text}"));
        label = "     ";
    }
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
