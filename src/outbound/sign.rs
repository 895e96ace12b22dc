//! A notice as the message that is sent: its body, and the three headers of Standard Webhooks.

use serde::Serialize;
use serde_json::Value;

use crate::clock::Timestamp;
use crate::conversion::signature::{
    HEADER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP, WebhookSecret, sign,
};
use crate::ids::NoticeId;

/// The body: `{"type":…,"timestamp":…,"data":…}`.
#[derive(Debug, Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    /// When it was decided; the same in every attempt.
    timestamp: Timestamp,
    data: &'a Value,
}

/// What is sent.
#[derive(Debug, Clone)]
pub struct Message {
    /// The body, exactly as it was signed.
    pub body: Vec<u8>,
    /// The headers that prove it.
    pub headers: [(&'static str, String); 3],
}

/// Returns the bytes of the body of a notice.
pub fn body(kind: &str, decided_at: Timestamp, data: &Value) -> Vec<u8> {
    let body = Body { kind, timestamp: decided_at, data };
    serde_json::to_vec(&body).expect("a text, a time and JSON are JSON")
}

/// Signs a body with every secret in force; a receiver that knows one of them is satisfied.
pub fn message(
    id: NoticeId,
    sent_at: Timestamp,
    body: Vec<u8>,
    secrets: &[WebhookSecret],
) -> Message {
    let id = id.to_string();
    let signatures: Vec<_> = secrets.iter().map(|s| sign(s, &id, sent_at, &body)).collect();
    let headers = [
        (HEADER_SIGNATURE, signatures.join(" ")),
        (HEADER_TIMESTAMP, sent_at.timestamp().to_string()),
        (HEADER_ID, id),
    ];
    Message { body, headers }
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderMap, HeaderValue};
    use serde_json::json;
    use standardwebhooks::Webhook;

    use super::*;
    use crate::clock::Clock;

    fn secret(byte: u8) -> WebhookSecret {
        WebhookSecret::from_bytes(&[byte; 32]).unwrap()
    }

    fn is_believed(message: &Message, secret: &WebhookSecret) -> bool {
        let headers: HeaderMap = message
            .headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap()))
            .collect();
        Webhook::new(&secret.expose()).unwrap().verify(&message.body, &headers).is_ok()
    }

    #[test]
    fn the_reference_library_believes_each_secret_in_force_and_no_other() {
        // The library reads the machine's clock.
        let now = Clock::system().now();
        let body = body("ping", now, &json!({"note": "naïve — 日本"}));
        let message = message(NoticeId::new(), now, body, &[secret(1), secret(2)]);
        assert!(is_believed(&message, &secret(1)));
        assert!(is_believed(&message, &secret(2)));
        assert!(!is_believed(&message, &secret(3)));
        let mut altered = message.clone();
        altered.body[9] ^= 1;
        assert!(!is_believed(&altered, &secret(1)));
    }

    #[test]
    fn the_body_says_what_when_and_keeps_figures_exact() {
        let at = "2026-11-22T10:00:00Z".parse().unwrap();
        let data: Value = serde_json::from_str(r#"{"big":12345678901234567890.10}"#).unwrap();
        let text = String::from_utf8(body("partner.activity_declined", at, &data)).unwrap();
        assert_eq!(
            text,
            r#"{"type":"partner.activity_declined","timestamp":"2026-11-22T10:00:00Z","data":{"big":12345678901234567890.10}}"#
        );
    }
}
