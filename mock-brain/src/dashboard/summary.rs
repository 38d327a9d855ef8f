//! The figures on top of the page.

use maud::{Markup, html};

use super::text::{number, span};
use crate::clock;
use crate::hub::Hub;

pub(super) fn items(hub: &Hub) -> Markup {
    let (accepted, duplicates) = (hub.store.accepted(), hub.store.duplicates());
    let (violations, faults) = (hub.violations.count(), hub.faults.list().len());
    let (certificate, class, left) = certificate(hub);
    let strict =
        if hub.violations.is_strict() { "of all rules" } else { "of the rules that are always looked at" };
    html! {
        (item("live", "#sessions-title", "Live sessions", &number(hub.sessions.live() as u64), "", "of agents"))
        (item("accepted", "#events-title", "Events", &number(accepted), "", &format!("{} came again", number(duplicates))))
        (item("violations", "#violations-title", "Violations", &number(violations as u64),
            if violations > 0 { "bad" } else { "" }, strict))
        (item("faults", "#faults-title", "Faults", &number(faults as u64), if faults > 0 { "warn" } else { "" },
            if faults > 0 { "set: something breaks on purpose" } else { "none set" }))
        (item("certificate", "#certificates-title", "Certificate", &certificate, class, left))
    }
}

fn item(id: &str, href: &str, name: &str, value: &str, class: &str, note: &str) -> Markup {
    html! {
        div id={ "sum-" (id) } class=(class) {
            dt { a href=(href) { (name) } }
            dd { strong { (value) } " " span { (note) } }
        }
    }
}

/// How long the server's certificate lasts.
fn certificate(hub: &Hub) -> (String, &'static str, &'static str) {
    let Some(pki) = &hub.pki else { return ("none".to_owned(), "", "plain HTTP") };
    let ends = pki.certificates().ok().and_then(|shown| Some(shown.chain.first()?.not_after));
    match ends.map(|ends| u64::try_from(ends - clock::now().unix_seconds())) {
        Some(Ok(left)) => (span(left), if left < 86_400 { "warn" } else { "" }, "left"),
        Some(Err(_)) => ("ended".to_owned(), "bad", "agents refuse it"),
        None => ("unknown".to_owned(), "bad", "it cannot be read"),
    }
}
