//! Whatever comes in from outside is read or refused, and never panics.
//!
//! Few cases in every run of the tests; `./x fuzz` runs a million of each target and tells how many
//! were read and how many refused. Half of the input is noise, half is right in form and damaged,
//! which gets deeper.

use std::cell::Cell;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

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
pub(crate) fn damage(mut bytes: Vec<u8>, changes: &[(usize, u8, u8)]) -> Vec<u8> {
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

pub(crate) fn changes() -> impl Strategy<Value = Vec<(usize, u8, u8)>> {
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
            ",",
            "a,,b",
            "IBVAYNEAAAfSAAAD6QAAACoBAgMEBVmLbQ-DaK_EdPub",
            "IBVAYNEAAAfSAAAD6QAAACoBAgMEBVmLbQ-DaK_EdPub,x IBVAYNEAAAfSAAAD6QAAACoBAgMEBVmLbQ-DaK_EdPub",
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
        "click_ids",
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

/// What a reader made of an input.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Made {
    Read,
    Refused,
}

pub(crate) type Tried = Result<Made, TestCaseError>;

/// Tries a reader with as many inputs as are asked for, and tells what it made of them.
pub(crate) fn fuzz<S: Strategy>(target: &str, inputs: S, reader: impl Fn(S::Value) -> Tried) {
    let config = Config { failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    let (n_read, n_refused) = (Cell::new(0_u64), Cell::new(0_u64));
    let tried = runner.run(&inputs, |input| {
        let count = match reader(input)? {
            Made::Read => &n_read,
            Made::Refused => &n_refused,
        };
        count.set(count.get() + 1);
        Ok(())
    });
    let (n_read, n_refused) = (n_read.get(), n_refused.get());
    println!("fuzz {target}: {} inputs, {n_read} read, {n_refused} refused", n_read + n_refused);
    if let Err(found) = tried {
        panic!("{target}: {found}");
    }
}

#[test]
fn fuzz_tokens() {
    let keys = KeyRing::single([1; 32]);
    let numbers = (crate::ids::ProgramNo(1), crate::ids::PartnerNo(2), crate::ids::LinkNo(3));
    let ours = ClickId::new(now(), numbers.0, numbers.1, numbers.2, [4; 5]).sign(&keys);
    let link_keys = LinkKeys { issued: keys.clone(), mint: Some(keys.clone()) };
    let inputs = (vec(any::<u8>(), 0..80), changes(), any::<bool>());
    fuzz("tokens", inputs, |(noise, change, is_noise)| {
        let damaged = || damage(ours.as_str().as_bytes().to_vec(), &change);
        let bytes = if is_noise { noise } else { damaged() };
        let read = LinkToken::verify(&link_keys, &bytes, now().date_naive(), |_, _| None);
        prop_assert!(read.is_err(), "forged: {}", String::from_utf8_lossy(&bytes));
        let Ok(found) = ClickId::verify(&keys, &bytes) else { return Ok(Made::Refused) };
        let signed = found.sign(&keys);
        let text = String::from_utf8_lossy(&bytes);
        prop_assert_eq!(signed.as_str(), ours.as_str(), "forged: {}", text);
        Ok(Made::Read)
    });
}

#[test]
fn fuzz_signature_headers() {
    let secret = WebhookSecret::from_bytes(&[7; 32]).expect("32 bytes");
    let fresh = Freshness { now: now(), tolerance: chrono::TimeDelta::minutes(5) };
    let sent = now().timestamp().to_string();
    let noise = (vec(any::<u8>(), 0..40), vec(any::<u8>(), 0..14), vec(any::<u8>(), 0..90));
    let inputs = (noise, vec(any::<u8>(), 0..60), changes(), any::<bool>());
    fuzz("signature headers", inputs, |(noise, body, change, is_noise)| {
        let right = sign(&secret, "msg_1", now(), &body);
        let damaged = || damage(right.clone().into_bytes(), &change);
        let (id, at, list) = if is_noise {
            noise
        } else {
            (b"msg_1".to_vec(), sent.clone().into_bytes(), damaged())
        };
        let headers = WebhookHeaders { id: &[&id], timestamp: &[&at], signature: &[&list] };
        if verify(std::slice::from_ref(&secret), &headers, &body, fresh).is_err() {
            return Ok(Made::Refused);
        }
        let text = String::from_utf8_lossy(&list);
        prop_assert!(text.split(' ').any(|part| part == right), "forged: {}", text);
        Ok(Made::Read)
    });
}

#[test]
fn fuzz_postback_queries() {
    let profile = select(PROFILES.iter().map(|p| p.name).collect::<Vec<_>>());
    let how = (any::<bool>(), any::<bool>());
    let inputs = (vec((name(), value()), 0..12), vec(any::<u8>(), 0..60), profile, how);
    fuzz("postback queries", inputs, |(mut pairs, noise, profile, (is_signed, is_right))| {
        if is_right {
            // A sale with something to it: what is wrong at once is refused at once.
            pairs.truncate(2);
            pairs.extend(
                [("order_id", "A-1"), ("amount", "149.90"), ("currency", "EUR")]
                    .map(|(name, value)| (name, value.to_owned())),
            );
        }
        let terms = PostbackTerms { alias_profile: profile.to_owned(), ..PostbackTerms::default() };
        let query =
            url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&pairs).finish();
        let query = format!("{query}&{}", String::from_utf8_lossy(&noise));
        let belief = if is_signed { Belief::Signed(now()) } else { Belief::Key };
        let done = read(parameters(&query, ""), &terms)
            .and_then(|read| plan(&read, &terms, belief, &Key::new([7; 32]), now()));
        match done {
            Ok(planned) => {
                prop_assert!((1..=2).contains(&planned.len()));
                for one in planned {
                    prop_assert!(!one.report.dedup_ref().is_empty());
                    prop_assert!(one.report.amount.is_none_or(|m| m.is_positive()));
                }
                Ok(Made::Read)
            }
            Err(refusal) => {
                let said = [refusal.parameter.len(), refusal.reason.len(), refusal.fix.len()];
                prop_assert!(said.iter().all(|n| *n > 0), "{:?}", refusal);
                Ok(Made::Refused)
            }
        }
    });
}

#[test]
fn fuzz_csv_files() {
    let inputs = (vec(name(), 0..5), vec(vec(value(), 0..7), 0..5), changes(), any::<bool>());
    fuzz("CSV files", inputs, |(columns, rows, change, has_basics)| {
        let basics = ["event", "order_id"].into_iter().filter(|_| has_basics);
        let head: Vec<&str> = basics.chain(columns).collect();
        let mut out = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
        out.write_record(&head).expect("a Vec takes every write");
        for row in &rows {
            out.write_record(row).expect("a Vec takes every write");
        }
        let file = damage(out.into_inner().expect("a Vec takes every write"), &change);
        let Ok(mut sheet) = Sheet::open(file.as_slice(), Key::new([7; 32]), now()) else {
            return Ok(Made::Refused);
        };
        let mut last = 1;
        while let Some(line) = sheet.next_line().expect("bytes of memory can be read") {
            prop_assert!(line.number > last, "lines are told in their order");
            last = line.number;
            if let Err(refusal) = line.report {
                prop_assert!(!refusal.field.is_empty() && !refusal.fix.is_empty());
            }
        }
        Ok(Made::Read)
    });
}
