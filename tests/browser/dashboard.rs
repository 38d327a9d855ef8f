//! What a person sees and does on the dashboard.

use anyhow::ensure;
use serde_json::{Value, json};

use crate::bad_agent;
use crate::brain::Brain;
use crate::chromium::{self, Chromium};
use crate::program::eventually;

/// Marks the page: a page that was loaded anew does not have it.
const MARK: &str = "window.sameone = true; return true";
const IS_MARKED: &str = "return window.sameone === true";

fn event(kind: &str, task: &str, name: &str) -> Value {
    json!({ "kind": kind, "engine": "celery", "task_id": task, "data": { "task_name": name, "queue": "default" } })
}

fn is_same_page(chromium: &Chromium) -> anyhow::Result<()> {
    ensure!(chromium.run(IS_MARKED)? == true, "the page was loaded anew");
    Ok(())
}

#[test]
fn an_agent_its_events_and_faults_are_live() -> anyhow::Result<()> {
    if !chromium::is_here() {
        return Ok(());
    }
    let brain = Brain::start(&["--strict"])?;
    let chromium = Chromium::start(1360, 1000, "light")?;
    chromium.open(&brain.link()?)?;
    ensure!(chromium.url()?.ends_with('/'), "the token is not in the address bar: {}", chromium.url()?);
    chromium.shows("#live", "Live")?;
    chromium.shows("#sessions", "No agent has come yet")?;
    chromium.keep("empty")?;
    chromium.run(MARK)?;
    let _agent = brain.agent()?;
    chromium.shows("#sessions", "demo-agent")?;
    chromium.shows("#sum-live strong", "1")?;
    for (kind, task, name) in [
        ("task.started", "order-1041", "shop.tasks.charge"),
        ("task.succeeded", "order-1041", "shop.tasks.charge"),
        ("task.retried", "mail-77", "shop.tasks.mail"),
        ("task.failed", "mail-77", "shop.tasks.mail"),
    ] {
        brain.emit(&event(kind, task, name))?;
    }
    chromium.shows("#events tr:first-child", "mail-77")?;
    chromium.shows("#events", "order-1041")?;
    chromium.shows("#wire", "event_batch_ack")?;
    chromium.shows("#sum-accepted strong", "4")?;
    brain.verb(&["command", "send", "purge_queue", "--param", "queue=high"])?;
    chromium.shows("#commands", "purge_queue")?;
    is_same_page(&chromium)?;
    faults(&brain, &chromium)?;
    chromium.expect_quiet()
}

/// A fault that is set by a click strikes, and is gone after another one.
fn faults(brain: &Brain, chromium: &Chromium) -> anyhow::Result<()> {
    chromium.click(".catalog details:nth-of-type(2) > summary")?;
    chromium.click("button[aria-label=\"Set tls.expired\"]")?;
    chromium.shows("#faults", "tls.expired")?;
    ensure!(chromium.url()?.ends_with("/#fault-list"), "{}", chromium.url()?);
    ensure!(brain.faults()? == ["tls.expired"]);
    chromium.shows("#live", "Live")?;
    chromium.run(MARK)?;
    let (code, report) = brain.doctor()?;
    ensure!(code != Some(0) && report.contains("tls.expired"), "{report}");
    // It struck at least once, and the page tells how often.
    chromium
        .until("the count", "return parseInt(document.querySelector('#faults .figure').textContent) > 0")?;
    chromium.shows("#wire tr.fault", "tls.expired")?;
    chromium.keep("fault")?;
    is_same_page(chromium)?;
    chromium.keys("#spec", "ack.lte")?;
    chromium.click("label[for=spec] ~ div button")?;
    chromium.shows("[role=alert]", "ack.late")?;
    ensure!(
        chromium.run("return document.getElementById('spec').value")? == "ack.lte",
        "it is there to be mended"
    );
    chromium.click("button[aria-label=\"Clear tls.expired\"]")?;
    chromium.shows("#faults", "Everything works")?;
    ensure!(brain.faults()?.is_empty());
    let (code, report) = brain.doctor()?;
    ensure!(code == Some(0), "{report}");
    // The one line on the console is of the refused form's status.
    let said = chromium.console()?;
    ensure!(said.len() == 1 && said[0].to_string().contains("422"), "{said:#?}");
    Ok(())
}

#[test]
fn a_violation_shows_and_hostile_text_is_text() -> anyhow::Result<()> {
    if !chromium::is_here() {
        return Ok(());
    }
    let name = "<script>document.title='owned'</script>";
    let brain = Brain::start(&["--no-tls", "--strict", "--agent", name])?;
    let chromium = Chromium::start(400, 900, "dark")?;
    chromium.open(&brain.link()?)?;
    chromium.shows("#live", "Live")?;
    chromium.run(MARK)?;
    let _agent = bad_agent::misbehave(&brain, "<img src=x onerror=\"document.title='owned'\">")?;
    chromium.shows("#violations", "<img src=x")?;
    chromium.shows("#sessions", name)?;
    chromium.shows("#sessions", "<b>bad</b>")?;
    ensure!(chromium.run("return document.title")? == "mock-brain");
    ensure!(chromium.run("return document.querySelectorAll('#sessions b, #violations img').length")? == 0);
    chromium.keep("narrow-dark")?;
    // 400 pixels are enough: tables scroll, the page does not.
    let width = chromium.run("return document.documentElement.scrollWidth")?;
    ensure!(width.as_u64().is_some_and(|width| width <= 400), "{width}");
    is_same_page(&chromium)?;
    chromium.expect_quiet()
}

#[test]
fn commands_are_copied_and_streams_paused() -> anyhow::Result<()> {
    if !chromium::is_here() {
        return Ok(());
    }
    let brain = Brain::start(&["--no-tls"])?;
    let chromium = Chromium::start(1360, 1000, "light")?;
    chromium.open(&brain.link()?)?;
    // What is not granted here is denied.
    let permissions = json!({ "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"] });
    chromium.devtools("Browser.grantPermissions", &permissions)?;
    chromium.click("button[data-copy=copy-shell]")?;
    chromium.shows("button[data-copy=copy-shell]", "Copied")?;
    let read = "const done = arguments[0]; navigator.clipboard.readText().then(done, (e) => done(String(e)))";
    let copied = chromium.post("/execute/async", &json!({ "script": read, "args": [] }))?;
    let copied = copied.as_str().unwrap_or_default();
    ensure!(
        copied.starts_with("eval \"$(mock-brain env --state-dir /") && copied.contains("\nz4j run\n"),
        "{copied}"
    );
    // Secrets are seen once somebody wants to see them.
    let [(_, token)] =
        &brain.variables()?.into_iter().filter(|(name, _)| name == "Z4J_TOKEN").collect::<Vec<_>>()[..]
    else {
        anyhow::bail!("one token");
    };
    ensure!(!chromium.text("body")?.contains(token));
    chromium.click("section[aria-labelledby=connect-title] > details:last-of-type > summary")?;
    ensure!(chromium.text("#copy-variables")?.contains(token));
    chromium.click("#pause")?;
    chromium.shows("#live", "Paused")?;
    brain.verb(&["agent", "add", "other"])?;
    brain.verb(&["fault", "set", "ack.drop"])?;
    chromium.click("#pause")?;
    chromium.shows("#live", "Live")?;
    chromium.shows("#faults", "ack.drop")?;
    drop(brain);
    chromium.shows("#live", "trying again")
}

#[test]
fn it_reads_and_acts_without_javascript() -> anyhow::Result<()> {
    if !chromium::is_here() {
        return Ok(());
    }
    let brain = Brain::start(&["--strict"])?;
    let _agent = brain.agent()?;
    brain.verb(&["wait", "--connected", "--timeout", "1m"])?;
    brain.emit(&event("task.failed", "mail-77", "shop.tasks.mail"))?;
    brain.verb(&["wait", "--events", "1", "--timeout", "1m"])?;
    let chromium = Chromium::start(1360, 1000, "dark")?;
    chromium.devtools("Emulation.setScriptExecutionDisabled", &json!({ "value": true }))?;
    // The event counts a moment before its acknowledgement is in the journal.
    let page = eventually("the acknowledgement", || {
        chromium.open(&brain.link()?)?;
        Ok(Some(chromium.text("body")?).filter(|page| page.contains("event_batch_ack")))
    })?;
    for text in
        ["As of now: reload for more", "demo-agent", "mail-77", "event_batch_ack", "in 89 days", "z4j doctor"]
    {
        ensure!(page.contains(text), "{text} in {page}");
    }
    ensure!(!page.contains("Pause") && !page.contains("Copy"), "no button is there that does nothing");
    chromium.click(".catalog details:nth-of-type(2) > summary")?;
    chromium.click("button[aria-label=\"Set tls.self-signed\"]")?;
    // A click need not wait for what the form does.
    let faults_are =
        |wanted: &[&str]| eventually("the faults", || Ok((brain.faults()? == wanted).then_some(())));
    faults_are(&["tls.self-signed"])?;
    chromium.until(
        "the page after it",
        "return document.querySelector('button[aria-label=\"Clear tls.self-signed\"]') !== null",
    )?;
    chromium.click("button[aria-label=\"Clear tls.self-signed\"]")?;
    faults_are(&[])?;
    chromium.keep("without-javascript")?;
    chromium.expect_quiet()
}
