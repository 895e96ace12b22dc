//! Standard Webhooks 1.0.0: who sent this message, unaltered, just now?
//!
//! The signed content is `id.timestamp.body` over the raw bytes, so it is checked before anything
//! is parsed. There is no key id: at most two secrets are in force (rotation), and the header may
//! carry several signatures; any match will do. Versions other than `v1` are skipped.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta};
use subtle::ConstantTimeEq as _;

use crate::clock::Timestamp;
use crate::signing::hmac_sha256;

/// Header with the message's id, which is also its idempotency key.
pub const HEADER_ID: &str = "webhook-id";
/// Header with the time of sending, in whole seconds since 1970.
pub const HEADER_TIMESTAMP: &str = "webhook-timestamp";
/// Header with the list of signatures, separated by spaces.
pub const HEADER_SIGNATURE: &str = "webhook-signature";

const PREFIX: &str = "whsec_";
const SECRET_LEN: std::ops::RangeInclusive<usize> = 24..=64;
/// Ids in use have about 30 characters; more than this is no id.
const ID_LEN_MAX: usize = 256;
/// A sender signs with its current and its old key; sixteen leave room for foreign versions.
const SIGNATURES_MAX: usize = 16;

/// A shared secret of 24 to 64 bytes. Its `Debug` never shows it.
#[derive(Clone)]
pub struct WebhookSecret(Vec<u8>);

/// Says what is wrong with the text of a secret. The text is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSecret {
    /// Every secret begins with `whsec_`.
    #[error("a webhook secret begins with \"{PREFIX}\"")]
    NoPrefix,
    /// The rest is not standard base64 with padding.
    #[error("after \"{PREFIX}\" a webhook secret is standard base64 with padding (not base64url)")]
    NotBase64,
    /// The number of bytes is outside 24 to 64.
    #[error("a webhook secret has 24 to 64 bytes, not {0}")]
    BadLength(usize),
}

/// The values of the three headers as received, each as a list, so that a repeated header is seen.
#[derive(Debug, Clone, Copy)]
pub struct WebhookHeaders<'a> {
    /// Values of [`HEADER_ID`].
    pub id: &'a [&'a [u8]],
    /// Values of [`HEADER_TIMESTAMP`].
    pub timestamp: &'a [&'a [u8]],
    /// Values of [`HEADER_SIGNATURE`].
    pub signature: &'a [&'a [u8]],
}

/// How far the sender's clock may be off, both ways, seen from `now`.
#[derive(Debug, Clone, Copy)]
pub struct Freshness {
    /// The server's time.
    pub now: Timestamp,
    /// The accepted difference; the specification's libraries use five minutes.
    pub tolerance: TimeDelta,
}

/// What the headers of a genuine message say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedMessage {
    /// The sender's id of the message.
    pub id: String,
    /// When it was sent (this attempt), in whole seconds.
    pub timestamp: Timestamp,
}

/// Says why a message is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A header is missing.
    #[error("header {0} is missing")]
    MissingHeader(&'static str),
    /// A header comes twice: which one was signed would be a guess.
    #[error("header {0} is given more than once")]
    DuplicateHeader(&'static str),
    /// The id is empty, too long, or holds a dot or anything but visible ASCII.
    #[error("{HEADER_ID} must be 1 to {ID_LEN_MAX} visible ASCII characters without \".\"")]
    BadId,
    /// The timestamp is not a plain number of seconds.
    #[error("{HEADER_TIMESTAMP} must be a whole number of seconds since 1970")]
    BadTimestamp,
    /// The message is too old or from the future.
    #[error("{HEADER_TIMESTAMP} is too far from the server's time {server_time}")]
    OutOfTolerance {
        /// The server's time, so that a sender with a wrong clock can see it.
        server_time: Timestamp,
    },
    /// The list of signatures is longer than any honest sender's.
    #[error("{HEADER_SIGNATURE} holds more than {SIGNATURES_MAX} signatures")]
    TooManySignatures,
    /// No signature matches a secret in force.
    #[error("no signature matches; sign the raw body with the decoded secret, in standard base64")]
    NoMatch,
}

impl WebhookSecret {
    /// Makes a secret of given bytes, which must be random.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadSecret> {
        if SECRET_LEN.contains(&bytes.len()) {
            Ok(Self(bytes.to_vec()))
        } else {
            Err(BadSecret::BadLength(bytes.len()))
        }
    }

    /// Parses `whsec_` and standard base64 with padding.
    pub fn parse(text: &str) -> Result<Self, BadSecret> {
        let body = text.strip_prefix(PREFIX).ok_or(BadSecret::NoPrefix)?;
        Self::from_bytes(&STANDARD.decode(body).map_err(|_| BadSecret::NotBase64)?)
    }

    /// Returns the text to hand to the shop, once.
    pub fn expose(&self) -> String {
        format!("{PREFIX}{}", STANDARD.encode(&self.0))
    }

    /// Returns the bytes, to be sealed.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn mac(&self, id: &[u8], timestamp: &[u8], body: &[u8]) -> [u8; 32] {
        hmac_sha256(&self.0, &[id, b".", timestamp, b".", body])
    }
}

impl std::fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WebhookSecret(***)")
    }
}

/// Returns the signature of a message, `v1,` and base64.
pub fn sign(secret: &WebhookSecret, id: &str, sent_at: Timestamp, body: &[u8]) -> String {
    let timestamp = sent_at.timestamp().to_string();
    let mac = secret.mac(id.as_bytes(), timestamp.as_bytes(), body);
    format!("v1,{}", STANDARD.encode(mac))
}

/// Checks a message against the secrets in force, at most two.
///
/// Headers come first, then the time, then the signatures over the raw `body`; the comparison
/// takes constant time.
pub fn verify(
    secrets: &[WebhookSecret],
    headers: &WebhookHeaders<'_>,
    body: &[u8],
    freshness: Freshness,
) -> Result<SignedMessage, SignatureError> {
    let id = single(headers.id, HEADER_ID)?;
    let timestamp = single(headers.timestamp, HEADER_TIMESTAMP)?;
    let signatures = single(headers.signature, HEADER_SIGNATURE)?;
    let parsed_id = parse_id(id).ok_or(SignatureError::BadId)?;
    let sent_at = parse_timestamp(timestamp).ok_or(SignatureError::BadTimestamp)?;
    // Both are calendar dates, so the difference cannot overflow.
    let off_seconds = freshness.now.timestamp().abs_diff(sent_at.timestamp());
    let tolerance_seconds = u64::try_from(freshness.tolerance.num_seconds()).unwrap_or(0);
    if off_seconds > tolerance_seconds {
        return Err(SignatureError::OutOfTolerance { server_time: freshness.now });
    }
    let given = parse_signatures(signatures)?;
    let is_match = secrets.iter().any(|secret| {
        let expected = secret.mac(id, timestamp, body);
        given.iter().any(|mac| bool::from(mac.ct_eq(&expected)))
    });
    if is_match {
        Ok(SignedMessage { id: parsed_id.to_owned(), timestamp: sent_at })
    } else {
        Err(SignatureError::NoMatch)
    }
}

fn single<'a>(values: &[&'a [u8]], name: &'static str) -> Result<&'a [u8], SignatureError> {
    match values {
        [] => Err(SignatureError::MissingHeader(name)),
        [value] => Ok(value),
        [_, _, ..] => Err(SignatureError::DuplicateHeader(name)),
    }
}

fn parse_id(id: &[u8]) -> Option<&str> {
    let is_fine = (1..=ID_LEN_MAX).contains(&id.len())
        && id.iter().all(|&c| c.is_ascii_graphic() && c != b'.');
    if is_fine { std::str::from_utf8(id).ok() } else { None }
}

/// Takes digits alone, without sign, space or leading zero: one time has one spelling.
fn parse_timestamp(text: &[u8]) -> Option<Timestamp> {
    let is_plain = text.iter().all(u8::is_ascii_digit) && text.first() != Some(&b'0');
    if !is_plain {
        return None;
    }
    let seconds = std::str::from_utf8(text).ok()?.parse().ok()?;
    DateTime::from_timestamp(seconds, 0)
}

/// Returns the well-formed `v1` signatures; what cannot match is skipped, as the specification
/// asks for versions to come.
fn parse_signatures(list: &[u8]) -> Result<Vec<[u8; 32]>, SignatureError> {
    let parts = || list.split(|&c| c == b' ').filter(|part| !part.is_empty());
    if parts().nth(SIGNATURES_MAX).is_some() {
        return Err(SignatureError::TooManySignatures);
    }
    let decode = |part: &[u8]| STANDARD.decode(part.strip_prefix(b"v1,")?).ok()?.try_into().ok();
    Ok(parts().filter_map(decode).collect())
}

#[cfg(test)]
#[path = "signature_tests.rs"]
mod tests;
