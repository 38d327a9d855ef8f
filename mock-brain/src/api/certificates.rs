//! `/mock/v1/certificates`: what is shown, a rotation, and certificates for others.
//!
//! Owns the bodies. Must not make a certificate (`pki`).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Api, ApiError, Refusal};
use crate::pki::{Certificates, IssuedCertificate, PkiError, Profile};

/// Another certificate.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rotate {
    /// What is shown from now on; as before if none.
    #[schema(value_type = Option<String>)]
    pub(crate) profile: Option<Profile>,
}

/// A certificate for somebody else.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Issue {
    /// Names and addresses that it bears.
    pub(crate) names: Vec<String>,
    /// For a client, in place of a server.
    #[serde(default)]
    pub(crate) client: bool,
    /// What is wrong with it, if anything.
    #[serde(default)]
    #[schema(value_type = String)]
    pub(crate) profile: Profile,
}

/// What is shown to agents.
#[utoipa::path(get, path = "/mock/v1/certificates", operation_id = "show_certificates", tag = "certificates",
    responses((status = 200, description = "the certificates shown", body = Certificates),
        (status = 500, description = "no certificate can be made: internal", body = ApiError),
        (status = "4XX", description = "refused: what, why and the way out", body = ApiError)))]
pub(super) async fn show(State(api): State<Arc<Api>>) -> Result<Json<Certificates>, Refusal> {
    Ok(Json(api.hub.pki.as_ref().ok_or(PkiError::NoTls)?.certificates()?))
}

/// Show another certificate from now on; connections go on.
#[utoipa::path(post, path = "/mock/v1/certificates/rotate", operation_id = "rotate_certificate",
    tag = "certificates", request_body = Rotate,
    responses((status = 200, description = "the certificates shown", body = Certificates),
        (status = 500, description = "no certificate can be made, or the state directory cannot be written: internal, state", body = ApiError),
        (status = "4XX", description = "refused: what, why and the way out", body = ApiError)))]
pub(super) async fn rotate(
    State(api): State<Arc<Api>>,
    body: Result<Json<Rotate>, JsonRejection>,
) -> Result<Json<Certificates>, Refusal> {
    let Json(Rotate { profile }) = body.map_err(|error| Refusal::unreadable(error.body_text()))?;
    api.hub.rotate_certificate(profile)?;
    show(State(api)).await
}

/// Issue a certificate for another server or a client.
#[utoipa::path(post, path = "/mock/v1/certificates", operation_id = "issue_certificate", tag = "certificates",
    request_body = Issue,
    responses((status = 200, description = "the certificate issued", body = IssuedCertificate),
        (status = 500, description = "no certificate can be made: internal", body = ApiError),
        (status = "4XX", description = "refused: what, why and the way out", body = ApiError)))]
pub(super) async fn issue(
    State(api): State<Arc<Api>>,
    body: Result<Json<Issue>, JsonRejection>,
) -> Result<Json<IssuedCertificate>, Refusal> {
    let Json(Issue { names, client, profile }) =
        body.map_err(|error| Refusal::unreadable(error.body_text()))?;
    let pki = api.hub.pki.as_ref().ok_or(PkiError::NoTls)?;
    Ok(Json(pki.issue(&names, client, profile)?))
}
