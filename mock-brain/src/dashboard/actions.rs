//! What the dashboard's forms do: set and clear faults, rotate the certificate.
//!
//! Owns the forms' fields. What went well leads back to the page, so that a reload does not do it again; what
//! did not is told on top of the page.

use std::sync::Arc;

use axum::Form;
use axum::extract::State;
use axum::extract::rejection::FormRejection;
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;
use serde::Deserialize;

use super::{Board, page};
use crate::api::journal::on_disk;
use crate::api::{ErrorCode, Refusal};
use crate::fault::FaultSpec;
use crate::pki::Profile;

#[derive(Deserialize)]
pub(super) struct SetFault {
    form: String,
    spec: String,
}

#[derive(Deserialize)]
pub(super) struct ClearFaults {
    form: String,
    /// All, if there is none.
    name: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Rotate {
    form: String,
    /// As before, if it is empty.
    profile: String,
}

type Sent<T> = Result<Form<T>, FormRejection>;

pub(super) async fn set_fault(State(board): State<Arc<Board>>, sent: Sent<SetFault>) -> Response {
    let SetFault { spec, .. } = match read(&board, sent, |sent| &sent.form) {
        Ok(sent) => sent,
        Err(refusal) => return refusal.into_response(),
    };
    let set = spec.parse::<FaultSpec>().and_then(|fault| {
        tracing::info!(spec = %fault, "fault set on the dashboard");
        board.api.hub.set_fault(fault)
    });
    match set {
        Ok(()) => Redirect::to("/#fault-list").into_response(),
        Err(error) => refused(&board, &error.to_string(), &spec).await,
    }
}

pub(super) async fn clear_faults(State(board): State<Arc<Board>>, sent: Sent<ClearFaults>) -> Response {
    match read(&board, sent, |sent| &sent.form) {
        Ok(ClearFaults { name, .. }) => {
            board.hub().clear_faults(name.as_deref());
            tracing::info!("faults cleared on the dashboard");
            Redirect::to("/#fault-list").into_response()
        }
        Err(refusal) => refusal.into_response(),
    }
}

pub(super) async fn rotate(State(board): State<Arc<Board>>, sent: Sent<Rotate>) -> Response {
    let Rotate { profile, .. } = match read(&board, sent, |sent| &sent.form) {
        Ok(sent) => sent,
        Err(refusal) => return refusal.into_response(),
    };
    let text = profile.trim();
    let profile = match (!text.is_empty()).then(|| text.parse::<Profile>()).transpose() {
        Ok(profile) => profile,
        Err(error) => return refused(&board, &error.to_string(), "").await,
    };
    // Keys take their time, and the state is written.
    let hub = Arc::clone(&board.api.hub);
    match on_disk(move || hub.rotate_certificate(profile)).await {
        Ok(Ok(())) => Redirect::to("/#certificate-list").into_response(),
        Ok(Err(error)) => refused(&board, &error.to_string(), "").await,
        Err(refusal) => refusal.into_response(),
    }
}

fn read<T>(board: &Board, sent: Sent<T>, form: impl Fn(&T) -> &String) -> Result<T, Refusal> {
    let Form(sent) = sent.map_err(|error| Refusal::unreadable(error.body_text()))?;
    if board.access.is_own_form(form(&sent)) {
        return Ok(sent);
    }
    Err(Refusal::new(ErrorCode::ForeignOrigin, "the form is not of this brain's page: reload the page"))
}

async fn refused(board: &Arc<Board>, why: &str, spec: &str) -> Response {
    let page = page::render(board, &page::Asked::default(), Some(page::Notice { why, spec })).await;
    (StatusCode::UNPROCESSABLE_ENTITY, page).into_response()
}
