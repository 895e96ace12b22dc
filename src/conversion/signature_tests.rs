//! Tests of webhook signatures: published vectors, the reference library, hostile headers.

use proptest::prelude::*;
use standardwebhooks::Webhook;

use super::*;
use crate::clock::Clock;

/// Bytes 0..31, and the README's example.
const SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const ID: &str = "msg_01JD3V9Q2M7X5K8R4T6Y1Z0ABC";
const TIMESTAMP: &str = "1795342504";
const SIGNATURE: &str = "v1,rJeC0tm9iy9k1pi8QgbGex/XHaw7SexkNvr5Adn8yyk=";
const BODY: &[u8] = br#"{"type":"conversion.created","timestamp":"2026-11-22T10:15:04Z","data":{"click_id":"IBVAYNEAAAfSAAAD6QAAACoBAgMEBVmLbQ-DaK_EdPub","event":"sale","order_id":"A-10045","amount":"149.90","currency":"EUR"}}"#;

fn secret() -> WebhookSecret {
    WebhookSecret::parse(SECRET).unwrap()
}

fn at(seconds: i64) -> Freshness {
    Freshness {
        now: DateTime::from_timestamp(seconds, 999_000_000).unwrap(),
        tolerance: TimeDelta::minutes(5),
    }
}

fn check(id: &str, timestamp: &str, signature: &str) -> Result<SignedMessage, SignatureError> {
    let headers = WebhookHeaders {
        id: &[id.as_bytes()],
        timestamp: &[timestamp.as_bytes()],
        signature: &[signature.as_bytes()],
    };
    verify(&[secret()], &headers, BODY, at(1_795_342_504))
}

#[test]
fn published_vectors_are_signed_and_verified() {
    let sent_at = DateTime::from_timestamp(1_795_342_504, 0).unwrap();
    assert_eq!(sign(&secret(), ID, sent_at, BODY), SIGNATURE);
    let message = SignedMessage { id: ID.to_owned(), timestamp: sent_at };
    assert_eq!(check(ID, TIMESTAMP, SIGNATURE), Ok(message));

    let library = WebhookSecret::parse("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD").unwrap();
    let sent_at = DateTime::from_timestamp(1_649_367_553, 0).unwrap();
    assert_eq!(
        sign(
            &library,
            "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
            sent_at,
            br#"{"email":"test@example.com","username":"test_user"}"#
        ),
        "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="
    );
}

#[test]
fn time_is_checked_both_ways_to_the_second() {
    let headers = WebhookHeaders {
        id: &[ID.as_bytes()],
        timestamp: &[TIMESTAMP.as_bytes()],
        signature: &[SIGNATURE.as_bytes()],
    };
    for (off, fresh) in [(0, true), (300, true), (-300, true), (301, false), (-301, false)] {
        let freshness = at(1_795_342_504 + off);
        let verdict = verify(&[secret()], &headers, BODY, freshness);
        let stale = SignatureError::OutOfTolerance { server_time: freshness.now };
        assert_eq!(verdict.is_ok(), fresh, "{off} s");
        assert!(fresh || verdict == Err(stale));
    }
}

#[test]
fn hostile_ids_timestamps_and_lists_are_refused_by_name() {
    use SignatureError::{BadId, BadTimestamp, NoMatch, OutOfTolerance, TooManySignatures};
    let long = "a".repeat(257);
    for id in ["", "a.b", "a b", "a\u{7f}", "ä", "a\n", &long] {
        assert_eq!(check(id, TIMESTAMP, SIGNATURE), Err(BadId), "{id:?}");
    }
    let bad = [
        "",
        "-1",
        "+1795342504",
        " 1795342504",
        "1795342504 ",
        "1795342504.0",
        "01795342504",
        "0x1",
        "9223372036854775808",
        "9223372036854775807",
        "-9223372036854775808",
        "١٧٩",
    ];
    for timestamp in bad {
        assert_eq!(check(ID, timestamp, SIGNATURE), Err(BadTimestamp), "{timestamp:?}");
    }
    let server_time = at(1_795_342_504).now;
    for timestamp in ["1", "8210266876799"] {
        let verdict = check(ID, timestamp, SIGNATURE);
        assert_eq!(verdict, Err(OutOfTolerance { server_time }), "{timestamp}");
    }
    let url_safe = SIGNATURE.replace('/', "_");
    let body = &SIGNATURE[3..];
    let unlike = [
        "",
        " ",
        "v1",
        "v1,",
        body,
        &format!("v1a,{body}"),
        &format!("V1,{body}"),
        &url_safe,
        SIGNATURE.trim_end_matches('='),
        &format!("{SIGNATURE}="),
        &SIGNATURE[..40],
        &format!("v1, {body}"),
        &SIGNATURE.replace("yyk=", "yyl="),
    ];
    for signature in unlike {
        assert_eq!(check(ID, TIMESTAMP, signature), Err(NoMatch), "{signature:?}");
    }
    let full = format!("{}{SIGNATURE}", "v1a,x ".repeat(15));
    assert!(check(ID, TIMESTAMP, &full).is_ok(), "sixteen are read");
    assert_eq!(check(ID, TIMESTAMP, &format!("v2,x {full}")), Err(TooManySignatures));
}

#[test]
fn missing_and_repeated_headers_are_named() {
    let (id, timestamp, signature) = (ID.as_bytes(), TIMESTAMP.as_bytes(), SIGNATURE.as_bytes());
    let good = WebhookHeaders { id: &[id], timestamp: &[timestamp], signature: &[signature] };
    let check = |headers| verify(&[secret()], &headers, BODY, at(1_795_342_504)).err();
    assert_eq!(check(good), None);
    let cases: [(WebhookHeaders<'_>, SignatureError); 6] = [
        (WebhookHeaders { id: &[], ..good }, SignatureError::MissingHeader(HEADER_ID)),
        (
            WebhookHeaders { timestamp: &[], ..good },
            SignatureError::MissingHeader(HEADER_TIMESTAMP),
        ),
        (
            WebhookHeaders { signature: &[], ..good },
            SignatureError::MissingHeader(HEADER_SIGNATURE),
        ),
        (WebhookHeaders { id: &[id, id], ..good }, SignatureError::DuplicateHeader(HEADER_ID)),
        (
            WebhookHeaders { timestamp: &[timestamp, timestamp], ..good },
            SignatureError::DuplicateHeader(HEADER_TIMESTAMP),
        ),
        (
            WebhookHeaders { signature: &[signature, signature], ..good },
            SignatureError::DuplicateHeader(HEADER_SIGNATURE),
        ),
    ];
    for (headers, error) in cases {
        assert_eq!(check(headers), Some(error));
    }
}

#[test]
fn either_secret_and_any_signature_of_a_rotation_will_do() {
    let old = WebhookSecret::from_bytes(&[7; 24]).unwrap();
    let sent_at = DateTime::from_timestamp(1_795_342_504, 0).unwrap();
    let by_old = sign(&old, ID, sent_at, BODY);
    let both = format!("{by_old} {SIGNATURE}");
    let verify_with = |secrets: &[WebhookSecret], signature: &str| {
        let headers = WebhookHeaders {
            id: &[ID.as_bytes()],
            timestamp: &[TIMESTAMP.as_bytes()],
            signature: &[signature.as_bytes()],
        };
        verify(secrets, &headers, BODY, at(1_795_342_504)).is_ok()
    };
    assert!(verify_with(&[secret()], &both));
    assert!(verify_with(&[secret(), old.clone()], &by_old));
    assert!(verify_with(&[secret(), old.clone()], SIGNATURE));
    assert!(!verify_with(&[secret()], &by_old));
    assert!(!verify_with(&[], &both));
}

#[test]
fn the_reference_library_and_we_accept_each_other() {
    fn no_headers<H: Default, R>(_verify: impl Fn(&Webhook, &[u8], &H) -> R) -> H {
        H::default()
    }
    let reference = Webhook::new(SECRET).unwrap();
    // The library reads the machine's clock, so the message is of now.
    let now = Clock::system().now();
    let timestamp = now.timestamp().to_string();
    let ours = sign(&secret(), ID, now, BODY);
    let theirs = reference.sign(ID, now.timestamp(), BODY).unwrap();
    assert_eq!(ours, theirs);

    let mut headers = no_headers(Webhook::verify);
    headers.insert(HEADER_ID, ID.parse().unwrap());
    headers.insert(HEADER_TIMESTAMP, timestamp.parse().unwrap());
    headers.insert(HEADER_SIGNATURE, ours.parse().unwrap());
    reference.verify(BODY, &headers).unwrap();
    assert!(reference.verify(b"other", &headers).is_err());
}

#[test]
fn secrets_are_parsed_strictly_and_never_printed() {
    assert_eq!(secret().expose(), SECRET);
    assert_eq!(format!("{:?}", secret()), "WebhookSecret(***)");
    let no = |text: &str| WebhookSecret::parse(text).unwrap_err();
    assert_eq!(no("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="), BadSecret::NoPrefix);
    assert_eq!(no(SECRET.trim_end_matches('=')), BadSecret::NotBase64);
    assert_eq!(no("whsec_-_ECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="), BadSecret::NotBase64);
    assert_eq!(no("whsec_"), BadSecret::BadLength(0));
    for len in 0..100 {
        let verdict = WebhookSecret::from_bytes(&vec![1; len]);
        assert_eq!(verdict.is_ok(), (24..=64).contains(&len), "{len} bytes");
    }
}

proptest! {
    #[test]
    fn any_bytes_verify_and_no_altered_bytes_do(
        body in proptest::collection::vec(any::<u8>(), 0..200), seconds in 1i64..4_000_000_000,
        flip: proptest::sample::Index,
    ) {
        let sent_at = DateTime::from_timestamp(seconds, 0).unwrap();
        let signature = sign(&secret(), ID, sent_at, &body);
        let timestamp = seconds.to_string();
        let headers = WebhookHeaders {
            id: &[ID.as_bytes()],
            timestamp: &[timestamp.as_bytes()],
            signature: &[signature.as_bytes()],
        };
        prop_assert!(verify(&[secret()], &headers, &body, at(seconds)).is_ok());
        let mut bent = body;
        bent.push(0);
        let i = flip.index(bent.len());
        bent[i] ^= 1;
        let verdict = verify(&[secret()], &headers, &bent, at(seconds));
        prop_assert_eq!(verdict, Err(SignatureError::NoMatch));
    }

    #[test]
    fn no_header_panics(
        id in ".*", timestamp in "-?[0-9]{0,25}", signature in "(v1,[A-Za-z0-9+/=]{0,50} ?){0,20}",
    ) {
        prop_assert!(check(&id, &timestamp, &signature).is_err());
    }
}
