//! What the stories stand on: services, the app under test, a client that plays every role.

pub mod app;
pub mod cut;
pub mod look;
pub mod process;
pub mod services;

pub use app::{Answer, BROWSER, Sale, Scene, TestApp};
pub use process::Process;
