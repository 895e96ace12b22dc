//! The signature of a postback: over every interpreted parameter, the source and the time.
//!
//! The canonical text has one line `name=value` for each interpreted parameter as it was sent,
//! without `key` and `sig`, with `source_id` added, sorted by name. Values are those after
//! percent-decoding; none has a control character, so no line can pass for two. What is not
//! interpreted is not signed either: it decides nothing.

use chrono::{DateTime, TimeDelta};
use subtle::ConstantTimeEq as _;

use super::profile::Meaning;
use super::{Field, Postback, value_of};
use crate::clock::Timestamp;
use crate::conversion::signature::WebhookSecret;
use crate::ids::SourceId;
use crate::signing::hmac_sha256;

/// Why a postback's signature is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    /// It came without its time.
    #[error("ts: is missing or no whole number; send seconds since 1970 beside sig")]
    NoTime,
    /// It is too old or from the future.
    #[error("ts: is too far from the server's time {server_time}; check the clock")]
    OutOfTolerance {
        /// The server's time.
        server_time: Timestamp,
    },
    /// It is not 64 hexadecimal digits.
    #[error("sig: is not 64 hexadecimal digits; send HMAC-SHA256 in hex")]
    NotHex,
    /// No secret in force makes it.
    #[error("sig: does not match; sign the canonical text with the source's webhook secret")]
    NoMatch,
}

/// Returns the text that is signed.
pub fn canonical(source_id: SourceId, fields: &[Field]) -> String {
    let mut lines: Vec<String> = fields.iter().map(|f| format!("{}={}", f.name, f.value)).collect();
    lines.push(format!("source_id={source_id}"));
    lines.sort();
    lines.join("\n")
}

/// Returns the signature of a canonical text, in lower-case hexadecimal.
pub fn sign(secret: &WebhookSecret, canonical: &str) -> String {
    super::hex(&hmac_sha256(secret.as_bytes(), &[canonical.as_bytes()]))
}

/// Checks a signature against the secrets in force and returns the time that was signed.
pub fn verify(
    postback: &Postback,
    signature: &str,
    source_id: SourceId,
    secrets: &[WebhookSecret],
    now: Timestamp,
    tolerance: TimeDelta,
) -> Result<Timestamp, BadSignature> {
    let sent_at = value_of(&postback.fields, Meaning::SentAt)
        .and_then(|text| text.parse::<u32>().ok())
        .and_then(|seconds| DateTime::from_timestamp(i64::from(seconds), 0))
        .ok_or(BadSignature::NoTime)?;
    if (now - sent_at).abs() > tolerance {
        return Err(BadSignature::OutOfTolerance { server_time: now });
    }
    let is_hex = signature.len() == 64 && signature.bytes().all(|b| b.is_ascii_hexdigit());
    if !is_hex {
        return Err(BadSignature::NotHex);
    }
    let given = signature.to_ascii_lowercase();
    let text = canonical(source_id, &postback.fields);
    let is_match = secrets
        .iter()
        .any(|secret| bool::from(sign(secret, &text).as_bytes().ct_eq(given.as_bytes())));
    if is_match { Ok(sent_at) } else { Err(BadSignature::NoMatch) }
}
