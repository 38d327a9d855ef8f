//! How agents are connected to this brain: commands to copy.
//!
//! Owns the commands. The secrets stand in one block behind a reveal, and nowhere else on the page.

use maud::{Markup, html};

use super::Board;
use super::text::number;
use crate::api::agents::EnvAnswer;
use crate::registry::Agent;
use crate::variables::{self, shell_word};

/// Most other agents that are linked.
const MOST_AGENTS: usize = 20;

pub(super) fn section(board: &Board, agent: &Agent) -> Markup {
    let api = &board.api;
    let answer = EnvAnswer {
        brain_url: api.brain_url.clone(),
        credentials: agent.credentials(),
        ca_file: api.ca_file.clone(),
    };
    let env = env_command(board, agent);
    html! {
        section aria-labelledby="connect-title" {
            h2 #connect-title { "Connect " (agent.name) }
            p { "Project " code { (agent.project.slug) } ", brain " code { (api.brain_url) } @if agent.revoked { ", revoked" } }
            (block("shell", "z4j, in a shell", &format!("eval \"$({env})\"\nz4j doctor\nz4j run\n")))
            (block("python", "z4j-bare, the Python agent", &python(&env)))
            details { summary { "In the Python application" } (block("app", "", APPLICATION)) }
            details { summary { "Docker" } (block("docker", "", &docker(&env, api.ca_file.is_some()))) }
            details { summary { "systemd" } (block("systemd", "", &systemd(&env, api.ca_file.as_deref()))) }
            details {
                summary { "Show the variables, token and secret included" }
                (block("variables", "", &variables::shell(&variables::of(answer))))
            }
            (others(board, agent))
        }
    }
}

fn env_command(board: &Board, agent: &Agent) -> String {
    let dir = shell_word(&board.api.state_dir.to_string_lossy());
    let primary = board.hub().registry.named(None).is_ok_and(|primary| primary.id == agent.id);
    let agent = if primary {
        String::new()
    } else {
        format!(" --agent {}", shell_word(&board.hub().registry.spelling(agent)))
    };
    format!("mock-brain env --state-dir {dir}{agent}")
}

/// pip comes first: the variables make this brain's CA the only one that is trusted.
fn python(env: &str) -> String {
    format!(
        "python3 -m venv venv\nvenv/bin/pip install z4j-bare z4j-celery\neval \"$({env})\"\n\
         venv/bin/z4j-bare doctor\n"
    )
}

const APPLICATION: &str = "from z4j_bare import install_agent\nfrom z4j_celery import CeleryEngineAdapter\n\n\
    install_agent(engines=[CeleryEngineAdapter(celery_app=app)])\n";

fn docker(env: &str, tls: bool) -> String {
    let ca =
        if tls { " \\\n  -v \"$SSL_CERT_FILE:/z4j-ca.pem:ro\" -e SSL_CERT_FILE=/z4j-ca.pem" } else { "" };
    format!(
        "eval \"$({env})\"\ndocker run --rm --network host \\\n  -e Z4J_BRAIN_URL -e Z4J_TOKEN -e Z4J_HMAC_SECRET \
         \\\n  -e Z4J_PROJECT_ID -e Z4J_AGENT_NAME -e Z4J_AGENT_ID{ca} \\\n  your-image\n"
    )
}

/// The CA is copied to where a service can read it; the last of two equal names counts.
fn systemd(env: &str, ca_file: Option<&str>) -> String {
    let mut text =
        format!("{env} --format systemd | sudo install -D -m 0600 /dev/stdin /etc/z4j/mock-brain.env\n");
    if let Some(ca_file) = ca_file {
        text += &format!(
            "sudo install -m 0644 {} /etc/z4j/mock-brain-ca.pem\n\
             echo SSL_CERT_FILE=/etc/z4j/mock-brain-ca.pem | sudo tee -a /etc/z4j/mock-brain.env\n",
            shell_word(ca_file)
        );
    }
    text + "printf '[Service]\\nEnvironmentFile=/etc/z4j/mock-brain.env\\n' |\n  \
            sudo install -D -m 0644 /dev/stdin /etc/systemd/system/your-app.service.d/mock-brain.conf\n\
            sudo systemctl daemon-reload && sudo systemctl restart your-app.service\n"
}

fn block(id: &str, name: &str, text: &str) -> Markup {
    html! {
        @if !name.is_empty() { h3 { (name) } }
        div.block {
            pre id={ "copy-" (id) } { (text) }
            button.copy type="button" data-copy={ "copy-" (id) } hidden { "Copy" }
        }
    }
}

fn others(board: &Board, shown: &Agent) -> Markup {
    let registry = &board.hub().registry;
    let agents = registry.agents();
    let count = agents.len();
    html! {
        @if count > 1 {
            nav aria-label="Other agents" {
                p {
                    "Other agents: "
                    @for agent in agents.iter().filter(|agent| agent.id != shown.id).take(MOST_AGENTS) {
                        @let name = registry.spelling(agent);
                        a href={ "/?agent=" (encoded(&name)) "#connect-title" } { (name) } " "
                    }
                    @if count > MOST_AGENTS + 1 { "of " (number(count as u64)) }
                }
            }
        }
        p.hint { code { "mock-brain agent add NAME" } " makes another one." }
    }
}

fn encoded(name: &str) -> String {
    url::form_urlencoded::byte_serialize(name.as_bytes()).collect()
}
