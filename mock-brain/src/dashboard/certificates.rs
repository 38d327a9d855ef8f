//! What the server shows, when it ends, and its rotation.

use maud::{Markup, html};

use super::text::{Tone, badge, none, span, table};
use crate::clock;
use crate::hub::Hub;
use crate::pki::{CertificateFacts, WORDS};

pub(super) fn section(hub: &Hub, rows: &Markup, form: &str) -> Markup {
    html! {
        section aria-labelledby="certificates-title" {
            h2 #certificates-title { "Certificates" }
            div #certificate-list {
                (table("certificates", "Certificates", &["Which", "Ends", "Names and key"], None, rows))
            }
            @if hub.pki.is_some() {
                form.line method="post" action="/certificates/rotate" {
                    input type="hidden" name="form" value=(form);
                    label for="profile" { "Rotate: a new certificate and key from the next handshake on" }
                    div {
                        input #profile name="profile" list="profiles" placeholder="profile, or as before"
                            autocomplete="off" spellcheck="false";
                        button { "Rotate" }
                    }
                    datalist #profiles {
                        option value="valid" {}
                        @for word in WORDS { option value=(word.name()) { (word.about()) } }
                    }
                    p.hint { "Words joined by +, as in expired+rsa; " code { "mock-brain cert profiles" } " explains them." }
                }
            }
        }
    }
}

pub(super) fn rows(hub: &Hub) -> Markup {
    let Some(pki) = &hub.pki else {
        return none("certificates", 3, &html! { "Plain HTTP (" code { "--no-tls" } "): there are none." });
    };
    match pki.certificates() {
        Ok(shown) => html! {
            tr #c-profile {
                td colspan="3" { "Shown by profile " code { (shown.profile.to_string()) } }
            }
            @for (place, facts) in shown.chain.iter().enumerate() { (row(&place.to_string(), facts)) }
            (row("root", &shown.root))
        },
        Err(error) => {
            none("certificates", 3, &html! { (badge(Tone::Bad, "unreadable")) " " (error.to_string()) })
        }
    }
}

fn row(place: &str, facts: &CertificateFacts) -> Markup {
    html! {
        tr id={ "c-" (place) } {
            td.text {
                strong { (facts.role) } @if place == "root" { " (not sent)" }
                div.hint { (facts.subject) }
            }
            td { (lasts(facts, clock::now().unix_seconds())) div.hint { (facts.valid[1]) } }
            td.text { (facts.names.join(", ")) div.hint { (facts.key) } }
        }
    }
}

fn lasts(facts: &CertificateFacts, now: i64) -> Markup {
    if let Ok(wait) = u64::try_from(facts.not_before - now)
        && wait > 0
    {
        return badge(Tone::Bad, &format!("begins in {}", span(wait)));
    }
    match u64::try_from(facts.not_after - now) {
        Ok(left) if left >= 86_400 => badge(Tone::Good, &format!("in {}", span(left))),
        Ok(left) => badge(Tone::Warn, &format!("in {}", span(left))),
        Err(_) => badge(Tone::Bad, &format!("{} ago", span(now.abs_diff(facts.not_after)))),
    }
}
