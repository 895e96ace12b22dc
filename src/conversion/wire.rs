//! The form in which a [`Report`] travels through the stream, versioned.
//!
//! A field may be added, never renamed or reused: events written by an older release must still
//! parse. Version 2 has a path; a report without one is still written as version 1, which is all
//! that an older release reads.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::conversion::{MessageType, Report};
use crate::money::{Currency, Money};

/// The newest version.
const WIRE_VERSION: u32 = 2;
/// The version of a report without a path.
const WITHOUT_PATH: u32 = 1;

/// A report as it is written; it borrows from the report where it can. Its fields stand in the order in which
/// PostgreSQL keeps them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReportWire<'r> {
    v: u32,
    r#type: Cow<'r, str>,
    event: Cow<'r, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Cow<'r, str>>,
    is_test: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    click_id: Option<Cow<'r, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    currency: Option<Cow<'r, str>>,
    metadata: Cow<'r, Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    order_id: Option<Cow<'r, str>>,
    #[serde(default, skip_serializing_if = "is_empty")]
    click_ids: Cow<'r, [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refund_id: Option<Cow<'r, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tax_minor: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    coupon_code: Option<Cow<'r, str>>,
    occurred_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    amount_minor: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refund_minor: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    customer_hash: Option<[u8; 32]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    discount_minor: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shipping_minor: Option<i64>,
}

fn is_empty(ids: &[String]) -> bool {
    ids.is_empty()
}

/// Says why a report from the stream cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// It has not the form of a report.
    #[error("the report has not the form of version {WIRE_VERSION}")]
    Form(#[from] serde_json::Error),
    /// It was written by a newer release.
    #[error("the report has version {0}, this release knows {WIRE_VERSION}")]
    Version(u32),
    /// A value is none of those known.
    #[error("the report has an unknown {0}")]
    Unknown(&'static str),
    /// An amount came without its currency.
    #[error("the report has an amount without a currency")]
    NoCurrency,
}

impl<'r> From<&'r Report> for ReportWire<'r> {
    fn from(report: &'r Report) -> Self {
        let minor = |m: Option<Money>| m.map(|m| m.minor);
        let text = |t: &'r Option<String>| t.as_deref().map(Cow::Borrowed);
        Self {
            v: if report.click_ids.is_empty() { WITHOUT_PATH } else { WIRE_VERSION },
            r#type: report.message_type.as_str().into(),
            event: report.event.as_str().into(),
            order_id: text(&report.order_id),
            click_id: text(&report.click_id),
            click_ids: report.click_ids.as_slice().into(),
            currency: report.currency.map(|c| c.code().into()),
            amount_minor: minor(report.amount),
            tax_minor: minor(report.tax),
            shipping_minor: minor(report.shipping),
            discount_minor: minor(report.discount),
            coupon_code: text(&report.coupon_code),
            customer_hash: report.customer_hash,
            occurred_at: report.occurred_at,
            refund_id: text(&report.refund_id),
            refund_minor: minor(report.refund_amount),
            reason: text(&report.reason),
            is_test: report.is_test,
            metadata: Cow::Borrowed(&report.metadata),
        }
    }
}

/// Returns the report as it goes into the stream, as a JSON value.
pub fn to_wire(report: &Report) -> Value {
    serde_json::to_value(ReportWire::from(report))
        .expect("a report holds text, numbers and times only")
}

/// Reads a report from the stream.
pub fn from_wire(value: &Value) -> Result<Report, ReportError> {
    read(ReportWire::deserialize(value)?)
}

/// Reads a report from its text, without a tree in between: for many of them.
pub fn from_text(text: &str) -> Result<Report, ReportError> {
    read(serde_json::from_str(text)?)
}

fn read(w: ReportWire<'_>) -> Result<Report, ReportError> {
    if !(WITHOUT_PATH..=WIRE_VERSION).contains(&w.v) {
        return Err(ReportError::Version(w.v));
    }
    let currency: Option<Currency> = match &w.currency {
        Some(code) => Some(code.parse().map_err(|_| ReportError::Unknown("currency"))?),
        None => None,
    };
    let money = |minor: Option<i64>| match (minor, currency) {
        (None, _) => Ok(None),
        (Some(minor), Some(currency)) => Ok(Some(Money::new(minor, currency))),
        (Some(_), None) => Err(ReportError::NoCurrency),
    };
    let owned = |text: Option<Cow<'_, str>>| text.map(Cow::into_owned);
    Ok(Report {
        message_type: MessageType::parse(&w.r#type).ok_or(ReportError::Unknown("type"))?,
        event: w.event.into_owned(),
        order_id: owned(w.order_id),
        click_id: owned(w.click_id),
        click_ids: w.click_ids.into_owned(),
        currency,
        amount: money(w.amount_minor)?,
        tax: money(w.tax_minor)?,
        shipping: money(w.shipping_minor)?,
        discount: money(w.discount_minor)?,
        coupon_code: owned(w.coupon_code),
        customer_hash: w.customer_hash,
        occurred_at: w.occurred_at,
        refund_id: owned(w.refund_id),
        refund_amount: money(w.refund_minor)?,
        reason: owned(w.reason),
        is_test: w.is_test,
        metadata: w.metadata.into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::jsonb_order::is_in_order;

    /// Never change this text: it is what release 0.1 wrote.
    const VERSION_1: &str = r#"{"v":1,"type":"conversion.refunded","event":"sale","order_id":"A-1","click_id":null,"currency":"EUR","amount_minor":14990,"tax_minor":null,"shipping_minor":null,"discount_minor":null,"coupon_code":null,"customer_hash":null,"occurred_at":"2026-11-22T10:15:04Z","refund_id":"R-1","refund_minor":500,"reason":null,"is_test":false,"metadata":{"n":1.10}}"#;

    /// Never change this text: it is the first that had a path.
    const VERSION_2: &str = r#"{"v":2,"type":"conversion.created","event":"lead","order_id":"A-1","click_id":"c","click_ids":["a","b","c"],"currency":null,"amount_minor":null,"tax_minor":null,"shipping_minor":null,"discount_minor":null,"coupon_code":null,"customer_hash":null,"occurred_at":"2026-11-22T10:15:04Z","refund_id":null,"refund_minor":null,"reason":null,"is_test":false,"metadata":{}}"#;

    #[test]
    fn it_is_written_in_the_order_that_postgresql_keeps() {
        for text in [VERSION_1, VERSION_2] {
            let mut report = from_wire(&serde_json::from_str(text).unwrap()).unwrap();
            report.customer_hash = Some([7; 32]);
            let written = serde_json::to_string(&ReportWire::from(&report)).unwrap();
            assert!(is_in_order(&written), "{written}");
        }
    }

    /// What is not there is left out today; release 0.1 wrote null.
    fn without_nulls(mut value: Value) -> Value {
        value.as_object_mut().unwrap().retain(|_, field| !field.is_null());
        value
    }

    #[test]
    fn version_2_parses_for_ever() {
        let value: Value = serde_json::from_str(VERSION_2).unwrap();
        let report = from_wire(&value).unwrap();
        assert_eq!(report.path().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(to_wire(&report), without_nulls(value));
    }

    #[test]
    fn version_1_parses_for_ever() {
        let value: Value = serde_json::from_str(VERSION_1).unwrap();
        let report = from_wire(&value).unwrap();
        assert_eq!(report.message_type, MessageType::Refunded);
        assert_eq!(report.refund_amount.unwrap().minor, 500);
        assert_eq!(to_wire(&report), without_nulls(value));
        assert_eq!(from_text(VERSION_1).unwrap(), report);
    }

    #[test]
    fn a_newer_version_is_not_guessed_at() {
        let text = VERSION_1.replacen("\"v\":1", "\"v\":3", 1);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert!(matches!(from_wire(&value), Err(ReportError::Version(3))));
    }
}
