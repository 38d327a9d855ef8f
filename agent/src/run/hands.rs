//! What a running agent is reached by.
//!
//! Owns where its files go and the order in which they appear: who follows the link is served.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::error::RunError;
use crate::buffer::Buffer;
use crate::config::Config;
use crate::environment::Environment;
use crate::ingest::{self, Intake};
use crate::instance::{self, Claim};
use crate::orders::Orders;
use crate::paths;
use crate::redaction::Redactor;

/// What others reach the agent by: its name, its two sockets, and the intake behind one of them.
pub(super) struct Hands {
    pub(super) claim: Claim,
    pub(super) ingest: PathBuf,
    pub(super) intake: Intake,
    pub(super) serving: JoinHandle<()>,
    pub(super) control: tokio::net::UnixListener,
}

impl Hands {
    pub(super) async fn take(
        config: &Config,
        environment: &Environment,
        buffer: &Buffer,
        redactor: &Arc<Redactor>,
        orders: &watch::Receiver<Orders>,
    ) -> Result<Self, RunError> {
        let buffer_path = buffer.status().borrow().path.clone();
        let beside = buffer_path.parent().map(std::path::Path::to_owned).unwrap_or_default();
        let dir = instance::place(environment, paths::home_root(environment, config).as_deref(), &beside);
        let claim = instance::claim(&dir, environment).map_err(RunError::Files)?;
        // Others are led to it by a link, from another directory.
        let absolute = |path: &PathBuf| environment.current_dir.clone().unwrap_or_default().join(path);
        let ingest = config.ingest.as_ref().map_or_else(|| claim.instance().ingest_socket(), absolute);
        let listener = ingest::bind(&ingest).await?;
        let control = instance::listen(&claim.instance().control_socket()).map_err(RunError::Files)?;
        let intake = Intake::new(buffer.clone(), Arc::clone(redactor), environment.clock);
        let serving = tokio::spawn(ingest::serve(listener, intake.clone(), orders.clone()));
        // Only now: who follows the link is served.
        claim.announce(&ingest).map_err(RunError::Files)?;
        tracing::info!("takes events at {}; buffers in {}", ingest.display(), buffer_path.display());
        Ok(Self { claim, ingest, intake, serving, control })
    }
}
