//! What stands in the way at a proxy, judged: the tcp probe ends where the tunnel begins.

use super::{Case, OUT_OF_TIME, Verdict};
use crate::net::Break;
use crate::net::proxy::{Failure, Proxy};

/// ` via proxy HOST:PORT`, where one is on the way.
pub(super) fn via(case: &Case<'_>) -> String {
    case.config.proxy.as_ref().map(|proxy| format!(" via proxy {}", proxy.endpoint())).unwrap_or_default()
}

/// A proxy that takes no connection: the verdict on its address, with a code and a fix that name it.
pub(super) fn unreached(proxy: &Proxy, verdict: Verdict) -> Verdict {
    let code = match verdict.code {
        Some("tcp.refused") => "proxy.refused",
        Some("tcp.timeout" | "tcp.no-route" | "tcp.reset") => "proxy.unreachable",
        // What this machine itself forbids is the same, wherever the way was to lead.
        _ => return verdict,
    };
    let sentence = format!("{}; {} names that proxy", verdict.sentence, proxy.variable);
    let fix = match code {
        "proxy.refused" => format!("start the proxy on {}, or correct {}", proxy.endpoint(), proxy.variable),
        _ => format!("let this machine out to {}, or correct {}", proxy.endpoint(), proxy.variable),
    };
    Verdict::fail(code, sentence, fix)
}

/// A proxy that took the connection and gives no way on.
pub(super) fn no_tunnel(case: &Case<'_>, failure: &Failure) -> Verdict {
    let Some(proxy) = &case.config.proxy else { return Verdict::unknown("was not looked at") };
    let (place, variable) = (proxy.endpoint(), &proxy.variable);
    let brain = case.config.brain_url.endpoint();
    let sentence = format!("the proxy {place} gives no way to {brain}: {failure}");
    match failure {
        Failure::Answered { status: 407, schemes, .. } => {
            let is_basic = |scheme: &String| scheme.eq_ignore_ascii_case("basic");
            if !schemes.is_empty() && !schemes.iter().any(is_basic) {
                let sentence = format!("{sentence}, and takes {} only", schemes.join(", "));
                return Verdict::fail(
                    "proxy.auth",
                    sentence,
                    format!("let {place} take Basic, or no credentials"),
                );
            }
            let fix = if proxy.has_credentials() {
                format!("correct the user and the password in {variable}")
            } else {
                format!("write user and password into {variable}=http://USER:PASSWORD@{place}")
            };
            Verdict::fail("proxy.auth", sentence, fix)
        }
        Failure::Answered { .. } => Verdict::fail(
            "proxy.refused",
            sentence,
            format!("let {brain} through in the rules of the proxy {place}"),
        ),
        Failure::Broken(Break::OutOfTime) => Verdict::unknown(OUT_OF_TIME),
        Failure::NotHttp(_) | Failure::Broken(_) => Verdict::fail(
            "proxy.unreachable",
            sentence,
            format!("correct {variable}: it must name a proxy of HTTP"),
        ),
    }
}
