//! Bad input: a clear answer, and nothing lost or half-written.

mod amounts;
mod api;
mod destinations;
mod postbacks;
mod reach;
mod tokens;
mod webhooks;

use std::fmt::Write as _;

use serde_json::Value;

use crate::harness::look::Rows;
use crate::harness::{Answer, Scene, TestApp};

/// What was there before; whoever refuses leaves it so.
pub struct Before {
    rows: Rows,
    stream_len: i64,
}

impl Before {
    pub async fn of(app: &TestApp) -> Self {
        Self { rows: app.rows().await, stream_len: app.stream_len().await }
    }

    /// Entries of the stream then.
    pub fn stream_len(&self) -> i64 {
        self.stream_len
    }

    /// Proves that no row and no entry came or went.
    pub async fn expect_unchanged(&self, app: &TestApp) {
        assert_eq!(app.rows().await, self.rows);
        assert_eq!(app.stream_len().await, self.stream_len);
        assert_eq!(app.app().log.state().spool_events, 0);
    }
}

/// The pointers of a problem's field errors.
pub fn pointers(problem: &Value) -> Vec<&str> {
    let errors = problem["errors"].as_array().map_or(&[][..], Vec::as_slice);
    errors.iter().map(|e| e["pointer"].as_str().unwrap()).collect()
}

/// A link's token, and what stands behind it.
fn token_of(scene: &Scene) -> String {
    let url = url::Url::parse(&scene.link).unwrap();
    url.path().strip_prefix("/r/").unwrap().to_owned()
}

/// Writes every byte as `%xx`, so that nothing on the way can mend it.
fn percent(text: impl AsRef<[u8]>) -> String {
    text.as_ref().iter().fold(String::new(), |mut out, byte| {
        write!(out, "%{byte:02X}").unwrap();
        out
    })
}

/// Names of the headers of an answer, sorted.
fn header_names(answer: &Answer) -> Vec<String> {
    let mut names: Vec<String> = answer.headers.keys().map(ToString::to_string).collect();
    names.sort();
    names
}
