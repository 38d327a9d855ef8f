//! The service of a stage as its manager would start it: environment, words of the command, limits.
//!
//! Must not start anything.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Stage, StageError};
use crate::sandbox::{Command, Launch};
use crate::scenario::Scenario;

impl Stage {
    pub(super) fn command(&self, scenario: &Scenario, arguments: Vec<String>, limit: Duration) -> Command {
        let service = &self.machine.service;
        Command {
            arguments,
            environment: self.environment(scenario),
            environment_files: service.environment_files.clone(),
            unset: service.unset.clone(),
            credentials: service.credentials.clone(),
            input: None,
            launch: Launch {
                ids: service.ids,
                map: !self.machine.plan.privileged,
                umask: service.umask,
                working_directory: service.working_directory.clone(),
                no_new_privileges: service.no_new_privileges,
                capabilities: service.capabilities,
                file_bytes: service.file_bytes,
                open_files: service.open_files,
                watched: false,
            },
            limit_millis: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// A text with the agent's settings for `${Z4J_TOKEN}`, `${Z4J_HMAC_SECRET}` and so on.
    pub(crate) fn filled_in(&self, scenario: &Scenario, text: &str) -> String {
        self.settings(scenario)
            .iter()
            .fold(text.to_owned(), |text, (name, value)| text.replace(&format!("${{{name}}}"), value))
    }

    /// What an agent has to know to reach the brain.
    fn settings<'s>(&'s self, scenario: &'s Scenario) -> [(&'static str, &'s str); 5] {
        let credentials = &self.credentials;
        [
            ("Z4J_BRAIN_URL", &scenario.brain.url.text),
            ("Z4J_TOKEN", &credentials.token),
            ("Z4J_HMAC_SECRET", &credentials.hmac_secret),
            ("Z4J_PROJECT_ID", &credentials.project_id),
            ("Z4J_AGENT_NAME", &credentials.agent_name),
        ]
    }

    /// The manager's environment, then the brain's, then the service's own.
    fn environment(&self, scenario: &Scenario) -> BTreeMap<String, String> {
        let brain = self.settings(scenario).map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut environment = BTreeMap::from(brain);
        environment.extend(self.machine.service.environment.clone());
        for value in environment.values_mut() {
            // Said by the scenario: which of several agents' secrets, say.
            if value.contains("${Z4J_") {
                *value = self.filled_in(scenario, value);
            }
        }
        environment
    }
}

/// The words of `ExecStart=`.
pub(super) fn exec_start(scenario: &Scenario) -> Result<Option<Vec<String>>, StageError> {
    let Some(line) = &scenario.service.exec_start else { return Ok(None) };
    let words = crate::scenario::words(line);
    words.map(Some).map_err(|problem| StageError::Void(format!("ExecStart=: {problem}")))
}

/// `${NAME}` in a word, and `$NAME` as a word of its own, which may become several (systemd.service(5)).
pub(super) fn expand_variables(words: &[String], environment: &BTreeMap<String, String>) -> Vec<String> {
    let mut out = Vec::new();
    for word in words {
        if let Some(value) = word.strip_prefix('$').and_then(|name| environment.get(name)) {
            out.extend(value.split_whitespace().map(str::to_owned));
            continue;
        }
        let word = environment
            .iter()
            .fold(word.clone(), |word, (name, value)| word.replace(&format!("${{{name}}}"), value));
        out.push(word.replace("$$", "$"));
    }
    out
}
