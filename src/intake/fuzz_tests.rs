//! Whatever comes in from outside is read or refused, and never panics.
//!
//! Few cases in every run of the tests; `./x fuzz` runs a million of each target. Half of the
//! input is noise, half is right in form and damaged, which gets deeper.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::click::click_id::ClickId;
use crate::clock::Timestamp;
use crate::conversion::postback::profile::PROFILES;
use crate::conversion::postback::{Belief, plan, read};
use crate::conversion::sheet::Sheet;
use crate::conversion::signature::{Freshness, WebhookHeaders, WebhookSecret, sign, verify};
use crate::intake::postback_http::parameters;
use crate::link::token::{LinkKeys, LinkToken};
use crate::program::postback::PostbackTerms;
use crate::signing::{Key, KeyRing};

fn now() -> Timestamp {
    "2026-11-22T10:15:10Z".parse().expect("a time")
}

/// Changes, drops or adds bytes at places that depend on the input alone.
fn damage(mut bytes: Vec<u8>, changes: &[(usize, u8, u8)]) -> Vec<u8> {
    for &(at, kind, byte) in changes {
        let at = at % (bytes.len() + 1);
        match kind % 3 {
            0 if at < bytes.len() => bytes[at] = byte,
            1 if at < bytes.len() => drop(bytes.remove(at)),
            _ => bytes.insert(at, byte),
        }
    }
    bytes
}

fn changes() -> impl Strategy<Value = Vec<(usize, u8, u8)>> {
    vec((any::<usize>(), any::<u8>(), any::<u8>()), 0..6)
}

/// Cells and values as people and machines get them wrong.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        select(vec![
            "",
            "sale",
            "lead",
            "A-10045",
            "149.90",
            "1,5",
            "1e400",
            "NaN",
            "-1",
            "0",
            "٣",
            "EUR",
            "eur",
            "9007199254740993",
            "999999999999999999999",
            "{order_id}",
            "%00",
            "\u{0}",
            "2026-11-22T10:15:04Z",
            "approved",
            "rebill",
            "1",
            "conversion.refunded",
            "a|b:1|",
            "\"",
            "\"\"",
            "\n",
            ";",
            "\u{feff}",
            "\u{202e}",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,12}",
        "[0-9.]{1,25}",
    ]
}

fn name() -> impl Strategy<Value = &'static str> {
    let of_profiles = PROFILES.iter().flat_map(|p| p.aliases.iter().map(|(name, _)| *name));
    let mut names: Vec<&'static str> = of_profiles.collect();
    names.extend([
        "click_id",
        "order_id",
        "amount",
        "currency",
        "event",
        "status",
        "coupon_code",
        "ts",
        "customer_ref",
        "occurred_at",
        "test",
        "key",
        "sig",
        "AMT1",
        "QTY1",
        "AMT2",
        "x",
        "",
        "type",
        "tax",
        "shipping",
        "discount",
        "refund_id",
        "refund_amount",
        "reason",
    ]);
    select(names)
}

proptest! {
    #[test]
    fn fuzz_tokens(noise in vec(any::<u8>(), 0..80), change in changes(), is_noise: bool) {
        let keys = KeyRing::single([1; 32]);
        let ours = ClickId::new(now(), crate::ids::ProgramNo(1), crate::ids::PartnerNo(2),
            crate::ids::LinkNo(3), [4; 5]).sign(&keys);
        let bytes = if is_noise { noise } else { damage(ours.as_str().as_bytes().to_vec(), &change) };
        let text = String::from_utf8_lossy(&bytes);
        let link_keys = LinkKeys { issued: keys.clone(), mint: Some(keys.clone()) };
        let read = LinkToken::verify(&link_keys, &bytes, now().date_naive(), |_, _| None);
        prop_assert!(read.is_err(), "forged: {}", text);
        if let Ok(found) = ClickId::verify(&keys, &bytes) {
            let signed = found.sign(&keys);
            prop_assert_eq!(signed.as_str(), ours.as_str(), "forged: {}", text);
        }
    }

    #[test]
    fn fuzz_signature_headers(
        id in vec(any::<u8>(), 0..40), at in vec(any::<u8>(), 0..14), list in vec(any::<u8>(), 0..90),
        body in vec(any::<u8>(), 0..60), change in changes(), is_noise: bool,
    ) {
        let secret = WebhookSecret::from_bytes(&[7; 32]).expect("32 bytes");
        let right = sign(&secret, "msg_1", now(), &body);
        let sent = now().timestamp().to_string();
        let (id, at, list) = if is_noise { (id, at, list) } else {
            (b"msg_1".to_vec(), sent.into_bytes(), damage(right.clone().into_bytes(), &change))
        };
        let fresh = Freshness { now: now(), tolerance: chrono::TimeDelta::minutes(5) };
        let headers = WebhookHeaders { id: &[&id], timestamp: &[&at], signature: &[&list] };
        if verify(std::slice::from_ref(&secret), &headers, &body, fresh).is_ok() {
            let text = String::from_utf8_lossy(&list);
            prop_assert!(text.split(' ').any(|part| part == right), "forged: {}", text);
        }
    }

    #[test]
    fn fuzz_postback_queries(
        pairs in vec((name(), value()), 0..12), noise in vec(any::<u8>(), 0..60),
        profile in select(PROFILES.iter().map(|p| p.name).collect::<Vec<_>>()), is_signed: bool,
    ) {
        let terms =
            PostbackTerms { alias_profile: profile.to_owned(), ..PostbackTerms::default() };
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&pairs).finish();
        let query = format!("{query}&{}", String::from_utf8_lossy(&noise));
        let belief = if is_signed { Belief::Signed(now()) } else { Belief::Key };
        let done = read(parameters(&query, ""), &terms)
            .and_then(|read| plan(&read, &terms, belief, &Key([7; 32]), now()));
        match done {
            Ok(planned) => {
                prop_assert!((1..=2).contains(&planned.len()));
                for one in planned {
                    prop_assert!(!one.report.dedup_ref().is_empty());
                    prop_assert!(one.report.amount.is_none_or(|m| m.is_positive()));
                }
            }
            Err(refusal) => prop_assert!(
                !refusal.parameter.is_empty() && !refusal.reason.is_empty() && !refusal.fix.is_empty()
            ),
        }
    }

    #[test]
    fn fuzz_csv_files(
        columns in vec(name(), 0..5), rows in vec(vec(value(), 0..7), 0..5),
        change in changes(), has_basics: bool,
    ) {
        let basics = ["event", "order_id"].into_iter().filter(|_| has_basics);
        let head: Vec<&str> = basics.chain(columns).collect();
        let mut out = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
        out.write_record(&head).expect("a Vec takes every write");
        for row in &rows {
            out.write_record(row).expect("a Vec takes every write");
        }
        let file = damage(out.into_inner().expect("a Vec takes every write"), &change);
        let Ok(mut sheet) = Sheet::open(file.as_slice(), Key([7; 32]), now()) else {
            return Ok(());
        };
        let mut last = 1;
        while let Some(line) = sheet.next_line().expect("bytes of memory can be read") {
            prop_assert!(line.number > last, "lines are told in their order");
            last = line.number;
            if let Err(refusal) = line.report {
                prop_assert!(!refusal.field.is_empty() && !refusal.fix.is_empty());
            }
        }
    }
}
