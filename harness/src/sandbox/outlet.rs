//! What init sends to the harness, from whichever thread: whole lines, one after the other.

use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};

use super::wire::{self, Event, Message, Response};

/// The sending end.
#[derive(Clone)]
pub(super) struct Outlet(Arc<Mutex<UnixStream>>);

impl Outlet {
    pub(super) fn new(socket: UnixStream) -> Self {
        Self(Arc::new(Mutex::new(socket)))
    }

    pub(super) fn answer(&self, response: Response) -> std::io::Result<()> {
        self.send(&Message::Answer(response))
    }

    /// Tells what happened. A harness that is gone hears nothing: init is about to end.
    pub(super) fn tell(&self, event: Event) {
        let _ = self.send(&Message::Event(event));
    }

    fn send(&self, message: &Message) -> std::io::Result<()> {
        let socket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        wire::send(&socket, message)
    }
}
