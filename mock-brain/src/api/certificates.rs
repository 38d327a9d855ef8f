//! `/mock/v1/certificates`: what is shown, a rotation, and certificates for others.
//!
//! Owns the bodies. Must not make a certificate (`pki`).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use serde::{Deserialize, Serialize};

use super::{Api, Refusal};
use crate::pki::{Certificates, IssuedCertificate, PkiError, Profile};

/// `POST /mock/v1/certificates/rotate`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rotate {
    /// What is shown from now on; as before if none.
    pub(crate) profile: Option<Profile>,
}

/// `POST /mock/v1/certificates`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Issue {
    pub(crate) names: Vec<String>,
    /// For a client, in place of a server.
    #[serde(default)]
    pub(crate) client: bool,
    #[serde(default)]
    pub(crate) profile: Profile,
}

pub(super) async fn show(State(api): State<Arc<Api>>) -> Result<Json<Certificates>, Refusal> {
    Ok(Json(api.hub.pki.as_ref().ok_or(PkiError::NoTls)?.certificates()?))
}

pub(super) async fn rotate(
    State(api): State<Arc<Api>>,
    body: Result<Json<Rotate>, JsonRejection>,
) -> Result<Json<Certificates>, Refusal> {
    let Json(Rotate { profile }) = body.map_err(|error| Refusal::unreadable(error.body_text()))?;
    api.hub.rotate_certificate(profile)?;
    show(State(api)).await
}

pub(super) async fn issue(
    State(api): State<Arc<Api>>,
    body: Result<Json<Issue>, JsonRejection>,
) -> Result<Json<IssuedCertificate>, Refusal> {
    let Json(Issue { names, client, profile }) =
        body.map_err(|error| Refusal::unreadable(error.body_text()))?;
    let pki = api.hub.pki.as_ref().ok_or(PkiError::NoTls)?;
    Ok(Json(pki.issue(&names, client, profile)?))
}
