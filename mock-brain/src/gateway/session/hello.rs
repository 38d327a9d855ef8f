//! The hello of an agent and its acknowledgement.
//!
//! Owns the first exchange of a session, with the faults that strike in it. Must not decide what a bad hello leads
//! to (`verdict`).

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use z4j_protocol::payload::{Hello, HelloFrame};

use crate::clock;
use crate::fault::{self, Fault, Point};
use crate::gateway::session::Session;
use crate::gateway::session::ending::{Ending, message, unsendable};
use crate::journal::{Entry, Kind};
use crate::registry::Agent;
use crate::verdict::{self, Closing};
use crate::violation::{self, Key, Rule};
use crate::voice::Pen;

/// How long a hello may take until it is late (protocol.md, Session); the real brain waits on.
const HELLO_TIME: Duration = Duration::from_secs(10);

impl Session<'_> {
    /// The first frame. It may take its time: the real brain waits for it as long as pings are answered.
    pub(super) async fn hello(
        &mut self,
        agent: &Arc<Agent>,
    ) -> Result<(Hello, Option<fault::Hello>), Ending> {
        let since = Instant::now();
        let bytes = message(self.link.next().await)?;
        let late = since.elapsed();
        let read = HelloFrame::parse(&bytes).map_err(|refusal| verdict::malformed(refusal.to_string()));
        let judged = read.map(|frame| (verdict::hello(&frame.hello, &agent.project), frame.hello));
        let verdict = match &judged {
            Ok((Ok(()), _)) => "ok",
            Ok((Err(closing), _)) | Err(closing) => &closing.detail,
        };
        let entry = Entry::new(Kind::Handshake, "hello", clock::now()).saying(verdict).with(&bytes);
        self.hub.journal.record(entry.of_session(&self.id).of_agent(Some(agent)));
        let broken = match &judged {
            Ok((Err(closing), _)) | Err(closing) => closing.rule.map(|rule| (rule, closing.detail.clone())),
            Ok((Ok(()), _)) => None,
        };
        self.note(broken, Some(&bytes));
        if self.hub.violations.is_strict() {
            self.note(violation::judge_hello(&bytes), Some(&bytes));
            let text = self.link.was_text().then(|| (Rule::WsText, "a hello in a text message".to_owned()));
            self.note(text, Some(&bytes));
            let is_late = late > HELLO_TIME;
            self.note(is_late.then(|| (Rule::HelloLate, format!("after {} s", late.as_secs()))), None);
        }
        let unruled = |closing: Closing| Closing { rule: None, ..closing };
        let (allowed, hello) = judged.map_err(unruled)?;
        let allowed = allowed.map_err(unruled);
        self.hub.sessions.greeted(self.serial, &hello);
        self.worker.clone_from(&hello.worker_id);
        if let Some(worker) = &hello.worker_id {
            let (key, now) = (Key::of(&agent.token), since.into_std());
            self.note(self.hub.violations.connects.arrived(key, worker, now), None);
        }
        let fault = match self.strike(Point::Hello, 0, 0)? {
            Some(Fault::Hello(fault)) => Some(fault),
            _ => None,
        };
        match fault {
            Some(fault::Hello::NoAck) => loop {
                message(self.link.next().await)?;
            },
            Some(fault::Hello::Late(time)) => tokio::time::sleep(time).await,
            _ => {}
        }
        allowed?;
        Ok((hello, fault))
    }

    pub(super) fn hello_ack(
        &self,
        pen: &mut Pen,
        agent: &Agent,
        hello: &Hello,
        fault: Option<fault::Hello>,
    ) -> Result<String, Ending> {
        let told = if fault == Some(fault::Hello::OtherProject) { &agent.in_other_project() } else { agent };
        let checked_slug = hello.project_id.is_some().then_some(told.project.slug.as_str());
        if fault == Some(fault::Hello::OtherVersion) {
            pen.claim_version("3");
        }
        let ack = pen.hello_ack(told, &self.id, &self.limits, checked_slug, self.now());
        ack.map_err(|error| unsendable(&error))
    }
}
