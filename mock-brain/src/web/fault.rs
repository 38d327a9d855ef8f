//! Faults at the points of a request.
//!
//! Owns what the brain itself answers where one strikes. What proxies do is `proxy`'s.

use axum::body::Body;
use http::{HeaderMap, Response};
use serde_json::json;

use crate::fault::table::Site;
use crate::fault::{Fault, Http, LongPoll, Point};
use crate::hub::Hub;
use crate::web::response::{detail, domain_error};
use crate::web::{AgentRequest, Peer};
use crate::{longpoll, proxy, verdict};

/// A fault at one of the points of a request.
pub(crate) fn struck<T>(
    hub: &Hub,
    peer: &Peer,
    point: Point,
    headers: &HeaderMap,
    pick: impl Fn(&Fault) -> Option<T>,
) -> Option<T> {
    if !hub.faults.any() {
        return None;
    }
    let agent = verdict::bearer(headers).and_then(|token| hub.registry.by_token(token));
    let picked = hub.faults.take(&Site::new(point, peer.address.ip()).of(agent.as_ref()), pick);
    if picked.is_some() {
        tracing::info!(peer = %peer.address, point = point.as_str(), "fault in the answer to a request");
    }
    picked
}

/// What a fault makes the brain itself answer to a long-poll request, if one strikes here.
pub(super) async fn refused(
    hub: &Hub,
    peer: &Peer,
    point: Point,
    request: &AgentRequest,
    id: &str,
) -> Option<Response<Body>> {
    // A probe begins a session, and is good with a brain that has lost one: that is how agents come back.
    let is_probe = || point == Point::Poll && longpoll::is_probe(request.uri().query().unwrap_or_default());
    let struck = struck(hub, peer, point, request.headers(), |fault| match fault {
        Fault::Http(_) => Some(fault.clone()),
        Fault::LongPoll(LongPoll::SessionLost) if !is_probe() => Some(fault.clone()),
        _ => None,
    })?;
    match struck {
        Fault::Http(Http::Status { code, retry_after, location, error }) => {
            let message = code.canonical_reason().unwrap_or("refused");
            let mut response = match error {
                Some(error) => domain_error(code, &error, message, id, &json!({})),
                None => detail(code, message),
            };
            proxy::told(&mut response, retry_after, location.as_deref());
            Some(response)
        }
        Fault::Http(Http::Late(time)) => {
            tokio::time::sleep(time).await;
            None
        }
        _ => Some(longpoll::session_lost()),
    }
}
