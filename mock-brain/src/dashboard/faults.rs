//! The faults that are set, and all that can be set.

use std::hash::{DefaultHasher, Hash, Hasher};

use maud::{Markup, html};

use super::text::{Tone, badge, none, number, table};
use crate::fault::catalog::{Entry, LAYERS, Layer, entries};
use crate::hub::Hub;

/// What a layer of the catalog is about.
fn about(layer: &Layer) -> String {
    let what = match layer.name {
        "TCP" => "refused, reset, silent, slow",
        "TLS" => "certificates and versions",
        "HTTP" => "answers of proxies and of the brain",
        "WebSocket" => "closed, cut, held back, badly framed",
        _ => "logins, hellos, acknowledgements, commands",
    };
    format!("{}: {what}", layer.name)
}

pub(super) fn section(rows: &Markup, form: &str, written: &str) -> Markup {
    html! {
        section aria-labelledby="faults-title" {
            h2 #faults-title { "Faults" }
            div #fault-list {
                (table("faults", "Faults that are set", &["Set", "Struck", "Clear"], None, rows))
            }
            form.line method="post" action="/faults/set" {
                input type="hidden" name="form" value=(form);
                label for="spec" { "Set a fault" }
                div {
                    input #spec name="spec" list="examples" value=(written) required
                        placeholder="ws.close(code=4401) at hello-ack first 2" autocomplete="off" spellcheck="false";
                    button { "Set" }
                }
                datalist #examples { @for entry in entries() { option value=(entry.example) {} } }
                p.hint { "NAME[(key=value, …)] [at POINT] [first N | every K | after T] [for N|T] [p=X] [who=…]" }
            }
            div.catalog { @for layer in LAYERS { (group(layer, form)) } }
        }
    }
}

fn group(layer: &Layer, form: &str) -> Markup {
    html! {
        details {
            summary { (about(layer)) }
            ul { @for entry in layer.entries { (choice(entry, form)) } }
        }
    }
}

fn choice(entry: &Entry, form: &str) -> Markup {
    let points: Vec<_> = entry.points.iter().map(|point| point.as_str()).collect();
    html! {
        li {
            h3 { code { (entry.name) } }
            p { (entry.about) }
            @for parameter in entry.parameters {
                p.hint { code { (parameter.name) } ": " (parameter.about) @if parameter.required { ", required" } }
            }
            @if points.len() > 1 { p.hint { "at " (points.join(", ")) } }
            form.line method="post" action="/faults/set" {
                input type="hidden" name="form" value=(form);
                div {
                    input name="spec" value=(entry.example) required autocomplete="off" spellcheck="false"
                        aria-label={ "Text of " (entry.name) };
                    button aria-label={ "Set " (entry.name) } { "Set" }
                }
            }
        }
    }
}

pub(super) fn rows(hub: &Hub, form: &str) -> Markup {
    let faults = hub.faults.list();
    html! {
        @for fault in &faults {
            @let (spec, name) = (fault.spec.to_string(), fault.spec.name());
            tr id={ "f-" (hash(&spec)) } {
                td.text { (badge(Tone::Warn, "set")) " " code { (spec) } }
                td.figure { (number(u64::from(fault.struck))) "×" }
                td { (clear(form, Some(name), "Clear")) }
            }
        }
        @if faults.len() > 1 {
            tr #f-all { td colspan="2" {} td { (clear(form, None, "Clear all")) } }
        }
        @if faults.is_empty() { (none("faults", 3, &html! { (badge(Tone::Good, "none")) " Everything works." })) }
    }
}

fn clear(form: &str, name: Option<&str>, label: &str) -> Markup {
    html! {
        form method="post" action="/faults/clear" {
            input type="hidden" name="form" value=(form);
            @if let Some(name) = name { input type="hidden" name="name" value=(name); }
            button.quiet aria-label=[name.map(|name| format!("Clear {name}"))] { (label) }
        }
    }
}

/// A row's id: the text may have anything in it.
fn hash(spec: &str) -> String {
    let mut hasher = DefaultHasher::new();
    spec.hash(&mut hasher);
    format!("{:x}", hasher.finish())
}
