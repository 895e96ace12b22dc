//! The signed webhook: one message, or many in one body.

pub mod batch;
pub mod batch_http;
pub mod http;
pub mod plain_http;
pub mod wait_http;
