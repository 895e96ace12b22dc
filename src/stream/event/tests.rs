//! The wire format: round trips, damage, and the bytes of version 1.

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// A batch whose every field has a value of its own.
fn sample() -> (ClickRecord, ClickRecord, ConversionRecord) {
    let bare = ClickRecord { payload: [7; 21], class: 1, ..ClickRecord::default() };
    let full = ClickRecord {
        payload: std::array::from_fn(|i| i as u8),
        class: 2,
        reason: 3,
        device: 4,
        browser: 5,
        is_unique_candidate: true,
        is_qr: true,
        is_gpc: true,
        // Its bits came later, so the golden bytes have none.
        paid: 0,
        visitor: Some(*b"visitor!"),
        country: Some(*b"NL"),
        referrer_host: Some("blog.example".into()),
        subs: [Some("один".into()), None, Some(String::new()), None, Some("five".into())],
        erid: Some("2VtzqxAbCdE".into()),
        // As do the deep link's.
        landing: None,
    };
    let report = r#"{"amount":149.90,"items":[],"note":"„x“"}"#;
    let conversion = ConversionRecord {
        receipt: Uuid::from_u128(1),
        program_id: Uuid::from_u128(2),
        source_id: Uuid::from_u128(3),
        channel: "webhook".into(),
        message_id: "msg_1".into(),
        content_hash: std::array::from_fn(|i| i as u8 * 8),
        received_at: "2026-11-22T10:15:04.123456Z".parse().unwrap(),
        sent_at: "2026-11-22T10:15:04Z".parse().unwrap(),
        trust: "signed".into(),
        report: serde_json::from_str(report).unwrap(),
    };
    (bare, full, conversion)
}

fn events(bytes: &[u8]) -> Vec<StreamEvent> {
    unpack(bytes).map(|record| record.unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Two clicks and a conversion as JSON.
const GOLDEN: &str = include_str!("../golden/v1.hex");
/// A conversion as it is written today.
const GOLDEN_CONVERSION: &str = include_str!("../golden/conversion.hex");

#[test]
fn version_1_parses_for_ever() {
    let bytes = |golden: &str| -> Vec<u8> {
        let digits: Vec<u8> = golden.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    };
    let (bare, full, conversion) = sample();
    let conversion = StreamEvent::Conversion(Box::new(conversion));
    let clicks = [bare, full].map(|click| StreamEvent::Click(Box::new(click)));
    let expected = [&clicks[..], std::slice::from_ref(&conversion)].concat();
    assert_eq!(events(&bytes(GOLDEN)), expected);
    assert_eq!(events(&bytes(GOLDEN_CONVERSION)), [conversion]);
}

#[test]
fn what_is_written_today_is_version_1() {
    let (bare, full, conversion) = sample();
    let mut clicks = PackedBatch::new();
    clicks.push_click(&bare);
    clicks.push_click(&full);
    assert!(GOLDEN.replace('\n', "").starts_with(&hex(clicks.as_bytes())));
    let mut batch = PackedBatch::new();
    batch.push_conversion(&conversion);
    assert_eq!((clicks.len(), batch.len()), (2, 1));
    assert_eq!(hex(batch.as_bytes()), GOLDEN_CONVERSION.replace('\n', ""));
}

#[test]
fn a_click_without_texts_is_at_most_60_bytes() {
    let (_, mut full, _) = sample();
    full.referrer_host = None;
    full.subs = Default::default();
    full.erid = None;
    let mut batch = PackedBatch::new();
    batch.push_click(&full);
    assert_eq!(batch.as_bytes().len(), 1 + 5 + 37);
}

#[test]
fn numbers_of_a_report_keep_their_text() {
    let (_, _, mut conversion) = sample();
    let text = r#"{"a":1.10,"b":100000000000000000000000.00,"c":-0}"#;
    conversion.report = serde_json::from_str(text).unwrap();
    let mut batch = PackedBatch::new();
    batch.push_conversion(&conversion);
    let [StreamEvent::Conversion(read)] = &events(batch.as_bytes())[..] else { panic!("one") };
    assert_eq!(read.report.to_string(), text);
}

#[test]
fn a_poison_record_costs_itself_alone_and_can_be_replayed() {
    let (bare, full, conversion) = sample();
    let mut poison = PackedBatch::new();
    poison.push_click(&bare);
    poison.push(9, |body| body.extend_from_slice(b"from a later release"));
    poison.push(KIND_CLICK, |body| body.push(0));
    poison.push(KIND_CONVERSION_JSON, |body| body.extend_from_slice(br#"{"v":2}"#));
    poison.push(KIND_CONVERSION_JSON, |body| body.extend_from_slice(br#"{"v":1,"conversion":{}}"#));
    poison.push(KIND_CONVERSION, |body| body.extend_from_slice(&[0; 101]));
    poison.push(KIND_CLICK, |body| {
        full.encode(body);
        body.push(0);
    });
    poison.push_conversion(&conversion);

    let read: Vec<_> = unpack(poison.as_bytes()).collect();
    assert_eq!(read[0], Ok(StreamEvent::Click(Box::new(bare))));
    let bad: Vec<_> = read[1..7].iter().map(|record| record.clone().unwrap_err()).collect();
    assert_eq!(bad[0].error, WireError::UnknownKind(9));
    assert_eq!(bad[1].error, WireError::CutShort { wanted: 21, found: 1 });
    assert_eq!(bad[2].error, WireError::UnknownConversionVersion(2));
    assert!(matches!(bad[3].error, WireError::Json(_)));
    assert_eq!(bad[4].error, WireError::CutShort { wanted: 4, found: 1 });
    assert_eq!(bad[5].error, WireError::Trailing(1));
    assert_eq!(read[7], Ok(StreamEvent::Conversion(Box::new(conversion))));
    for record in bad {
        let again: Vec<_> = unpack(&record.bytes).collect();
        assert_eq!(again, [Err(record)], "a dead letter is an entry of its own");
    }
}

#[test]
fn an_entry_of_an_unknown_version_is_one_bad_record() {
    for (entry, version) in [(&b""[..], None), (&[0][..], Some(0)), (&[2, 1, 2, 3][..], Some(2))] {
        let read: Vec<_> = unpack(entry).collect();
        let error = WireError::UnknownVersion(version);
        assert_eq!(read, [Err(BadRecord { kind: None, bytes: entry.to_vec(), error })]);
    }
}

#[test]
fn texts_too_long_are_cut_between_characters() {
    let erid = Some(format!("x{}", "ж".repeat(40_000)));
    let click = ClickRecord { erid, ..ClickRecord::default() };
    let mut batch = PackedBatch::new();
    batch.push_click(&click);
    let [StreamEvent::Click(read)] = &events(batch.as_bytes())[..] else { panic!("one") };
    assert_eq!(read.erid.as_ref().unwrap().len(), TEXT_BYTES_MAX - 1);
}

prop_compose! {
    fn any_click()(
        payload: [u8; 21], codes: [u8; 4], bits: [bool; 3], paid in 0u8..8,
        visitor: Option<[u8; 8]>, country: Option<[u8; 2]>,
        texts in proptest::array::uniform8(proptest::option::of(".{0,40}")),
    ) -> ClickRecord {
        let [class, reason, device, browser] = codes;
        let [is_unique_candidate, is_qr, is_gpc] = bits;
        let [referrer_host, a, b, c, d, e, erid, landing] = texts;
        ClickRecord {
            payload, class, reason, device, browser, is_unique_candidate, is_qr, is_gpc, paid,
            visitor, country, referrer_host, subs: [a, b, c, d, e], erid,
            landing,
        }
    }
}

prop_compose! {
    fn any_conversion()(
        ids: [u128; 3], texts: [String; 3], content_hash: [u8; 32],
        micros in proptest::array::uniform2(0i64..4_000_000_000_000_000),
        note: String, n: i64,
    ) -> ConversionRecord {
        let [receipt, program_id, source_id] = ids.map(Uuid::from_u128);
        let [channel, message_id, trust] = texts;
        let [received_at, sent_at] =
            micros.map(|at| Timestamp::from_timestamp_micros(at).unwrap());
        ConversionRecord {
            receipt, program_id, source_id, channel, message_id, content_hash, received_at,
            sent_at, trust, report: json!({"note": note, "n": [n, null, {"deep": true}]}),
        }
    }
}

proptest! {
    #[test]
    fn every_batch_round_trips(
        clicks in proptest::collection::vec(any_click(), 0..5),
        conversions in proptest::collection::vec(any_conversion(), 0..3),
    ) {
        let mut batch = PackedBatch::new();
        clicks.iter().for_each(|click| batch.push_click(click));
        conversions.iter().for_each(|conversion| batch.push_conversion(conversion));
        prop_assert_eq!(batch.len(), clicks.len() + conversions.len());
        let expected: Vec<_> = clicks.into_iter().map(|c| StreamEvent::Click(Box::new(c)))
            .chain(conversions.into_iter().map(|c| StreamEvent::Conversion(Box::new(c))))
            .collect();
        prop_assert_eq!(events(batch.as_bytes()), expected);
    }

    #[test]
    fn any_bytes_end_and_never_panic(mut bytes: Vec<u8>, versioned: bool) {
        if versioned { bytes.insert(0, WIRE_VERSION); }
        prop_assert!(unpack(&bytes).count() <= bytes.len().max(1));
    }

    #[test]
    fn a_flipped_byte_never_panics_and_loses_no_record_before_it(
        click in any_click(), at: prop::sample::Index, mask in 1u8..,
    ) {
        let mut batch = PackedBatch::new();
        batch.push_click(&click);
        let first_end = batch.as_bytes().len();
        batch.push_click(&click);
        let mut bytes = batch.into_bytes();
        let at = first_end + at.index(bytes.len() - first_end);
        bytes[at] ^= mask;
        let first = unpack(&bytes).next();
        prop_assert_eq!(first, Some(Ok(StreamEvent::Click(Box::new(click)))));
    }
}
