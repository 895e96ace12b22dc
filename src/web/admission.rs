//! Who may not call is told so before anything is said about the body.
//!
//! The extractors of a handler run side by side, and the first to fail answers. Whoever checks the
//! caller closes an [`Admission`] first and opens it for a caller who may; bodies wait for it, so
//! nobody learns about a body, or has it read, without a key.

use std::rc::Rc;

use actix_web::{HttpMessage as _, HttpRequest};
use tokio::sync::Notify;

/// A door in the request's extensions, between the caller and the body.
#[derive(Clone, Debug, Default)]
pub struct Admission(Rc<Notify>);

impl Admission {
    /// Closes the door of a request. The caller must stand before the body in the signature.
    pub fn close(req: &HttpRequest) -> Self {
        let door = Self::default();
        req.extensions_mut().insert(door.clone());
        door
    }

    /// Lets the body through.
    pub fn open(&self) {
        self.0.notify_one();
    }

    /// Returns what waits until the door is open, at once where there is none.
    pub fn wait(req: &HttpRequest) -> impl Future<Output = ()> + use<> {
        let door = req.extensions().get::<Self>().cloned();
        async move {
            if let Some(door) = door {
                door.0.notified().await;
            }
        }
    }
}
