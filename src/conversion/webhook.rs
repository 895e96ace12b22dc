//! Reads the JSON of the conversion webhook into a [`Report`].
//!
//! Unknown fields are ignored, so that a shop may send more than we know; a field that we know
//! must be right, and all mistakes are told at once.

use chrono::{DateTime, Duration, Utc};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::conversion::{CLICK_IDS_MAX, EVENTS, FieldProblem, MessageType, Report};
use crate::money::{AmountRule, Currency, Money};
use crate::signing::{Key, hash_customer};

const ORDER_ID_MAX: usize = 64;
const CLICK_ID_MAX: usize = 64;
const TEXT_MAX: usize = 200;
/// Characters of metadata as JSON.
const METADATA_MAX: usize = 10_000;
/// Digits of an exponent in the metadata: `numeric` ends at 131,072 digits before the dot.
const EXPONENT_DIGITS_MAX: usize = 3;
/// How far an event may lie in the future: the shop's clock may be a little fast.
const FUTURE_MAX: Duration = Duration::minutes(5);

/// A message of the conversion webhook.
#[derive(Debug, Clone, Deserialize, ToSchema)]
pub struct WebhookMessage {
    /// `conversion.created`, `.updated`, `.approved`, `.rejected` or `.refunded`.
    #[schema(example = "conversion.created")]
    pub r#type: String,
    /// When the message was made, RFC 3339.
    #[schema(example = "2026-11-22T10:15:04Z")]
    pub timestamp: String,
    /// The conversion.
    pub data: ConversionData,
}

/// The conversion that a message is about.
#[derive(Debug, Clone, Deserialize, ToSchema)]
pub struct ConversionData {
    /// `sale`, `lead`, `signup`, `install` or `renewal`.
    #[schema(example = "sale")]
    pub event: String,
    /// Your name of the order, at most 64 characters; names the conversion for ever.
    #[schema(example = "A-10045")]
    pub order_id: Option<String>,
    /// The click id that came with the visitor.
    pub click_id: Option<String>,
    /// The whole path, where you keep it: the visitor's last click ids, at most 20, the oldest
    /// first. Without `click_id` the last of them is the click id.
    pub click_ids: Option<Vec<String>>,
    /// What the customer paid, in major units: a string like "149.90", or a JSON number.
    #[schema(value_type = Option<String>, example = "149.90")]
    pub amount: Option<Value>,
    /// ISO 4217 code of every amount.
    #[schema(example = "EUR")]
    pub currency: Option<String>,
    /// Tax within the amount; no commission is paid on it.
    #[schema(value_type = Option<String>)]
    pub tax: Option<Value>,
    /// Shipping within the amount; no commission is paid on it.
    #[schema(value_type = Option<String>)]
    pub shipping: Option<Value>,
    /// Discount still to be taken off the amount.
    #[schema(value_type = Option<String>)]
    pub discount: Option<Value>,
    /// Coupon that the customer used.
    pub coupon_code: Option<String>,
    /// Your name of the customer, not an address: only a keyed hash of it is kept.
    pub customer_ref: Option<String>,
    /// When it happened, RFC 3339; the message's time where it is not given.
    pub occurred_at: Option<String>,
    /// Your name of the refund; needed for `conversion.refunded`.
    pub refund_id: Option<String>,
    /// How much went back, in major units; the whole order where it is not given.
    #[schema(value_type = Option<String>)]
    pub refund_amount: Option<Value>,
    /// Why; needed for `conversion.rejected`.
    pub reason: Option<String>,
    /// A trial run: recorded, and earns nothing.
    #[serde(default)]
    pub test: bool,
    /// Whatever you want to see again, at most 10,000 characters as JSON.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub metadata: serde_json::Map<String, Value>,
}

/// Collects the mistakes of a message while its fields are read.
#[derive(Default)]
struct Reader(Vec<FieldProblem>);

impl Reader {
    fn refuse(&mut self, pointer: &'static str, detail: impl Into<String>) {
        self.0.push(FieldProblem { pointer, detail: detail.into() });
    }

    fn text(
        &mut self,
        pointer: &'static str,
        value: Option<String>,
        chars_max: usize,
    ) -> Option<String> {
        let text = value?;
        match check_text(&text, chars_max) {
            Ok(()) => Some(text),
            Err(detail) => {
                self.refuse(pointer, detail);
                None
            }
        }
    }

    fn path(&mut self, ids: Vec<String>) -> Vec<String> {
        let pointer = "/data/click_ids";
        if ids.len() > CLICK_IDS_MAX {
            let n = ids.len();
            let detail = format!("has {n} click ids; send the last {CLICK_IDS_MAX} of them");
            self.refuse(pointer, detail);
        }
        let wrong =
            ids.iter().zip(1..).find_map(|(id, n)| Some((n, check_text(id, CLICK_ID_MAX).err()?)));
        if let Some((n, detail)) = wrong {
            self.refuse(pointer, format!("click id {n} of the list {detail}"));
        }
        ids
    }

    fn time(&mut self, pointer: &'static str, text: &str) -> Option<Timestamp> {
        match DateTime::parse_from_rfc3339(text) {
            // Cut to what PostgreSQL keeps, so that what is read back equals what was written.
            Ok(at) => DateTime::from_timestamp_micros(at.with_timezone(&Utc).timestamp_micros()),
            Err(_) => {
                self.refuse(pointer, "must be a time like 2026-11-22T10:15:04Z (RFC 3339)");
                None
            }
        }
    }

    fn currency(&mut self, text: Option<&str>, has_amount: bool) -> Option<Currency> {
        match text {
            Some(text) => match text.parse::<Currency>() {
                Ok(currency) => return Some(currency),
                Err(e) => self.refuse("/data/currency", e.to_string()),
            },
            None if has_amount => {
                self.refuse("/data/currency", "is required beside an amount, like \"EUR\"");
            }
            None => {}
        }
        None
    }

    fn amount(
        &mut self,
        pointer: &'static str,
        value: Option<&Value>,
        currency: Option<Currency>,
        rule: AmountRule,
    ) -> Option<Money> {
        // A missing currency was refused before; nothing can be said about the amount then.
        let (value, currency) = (value?, currency?);
        let read = match value {
            Value::String(text) => Money::parse_amount(text, currency, rule),
            Value::Number(number) => Money::parse_json_amount(number, currency, rule),
            Value::Null => return None,
            Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                self.refuse(pointer, "must be a string like \"149.90\" or a number");
                return None;
            }
        };
        read.map_err(|e| self.refuse(pointer, e.to_string())).ok()
    }
}

/// Splits a path that came as one text: click ids hold neither commas nor spaces.
pub fn split_path(text: &str) -> Vec<String> {
    let ids = text.split(|c: char| c == ',' || c.is_ascii_whitespace());
    ids.filter(|id| !id.is_empty()).map(str::to_owned).collect()
}

fn check_text(text: &str, chars_max: usize) -> Result<(), String> {
    if text.is_empty() || text.chars().count() > chars_max {
        Err(format!("must have 1 to {chars_max} characters"))
    } else if text.chars().any(char::is_control) {
        Err("must not contain control characters".to_owned())
    } else {
        Ok(())
    }
}

/// Turns a message into a report; `customer_key` hashes the customer's name.
///
/// # Errors
/// Every field that is wrong, each with how to mend it.
pub fn read_report(
    message: WebhookMessage,
    customer_key: &Key,
    now: Timestamp,
) -> Result<Report, Vec<FieldProblem>> {
    let mut r = Reader::default();
    let data = message.data;
    let message_type = MessageType::parse(&message.r#type);
    if message_type.is_none() {
        let known = MessageType::ALL.map(MessageType::as_str).join(", ");
        r.refuse("/type", format!("must be one of {known}"));
    }
    if !EVENTS.contains(&data.event.as_str()) {
        r.refuse("/data/event", format!("must be one of {}", EVENTS.join(", ")));
    }
    let sent_at = r.time("/timestamp", &message.timestamp);
    let occurred_at = match &data.occurred_at {
        Some(text) => r.time("/data/occurred_at", text),
        None => sent_at,
    };
    if occurred_at.is_some_and(|at| at > now + FUTURE_MAX) {
        r.refuse("/data/occurred_at", format!("lies in the future; it is {now} here"));
    }
    let has_amount = data.amount.is_some() || data.refund_amount.is_some();
    let currency = r.currency(data.currency.as_deref(), has_amount);
    let click_ids = r.path(data.click_ids.unwrap_or_default());
    let click_id = r.text("/data/click_id", data.click_id, CLICK_ID_MAX);
    let report = Report {
        message_type: message_type.unwrap_or(MessageType::Created),
        event: data.event,
        order_id: r.text("/data/order_id", data.order_id, ORDER_ID_MAX),
        click_id: click_id.or_else(|| click_ids.last().cloned()),
        click_ids,
        currency,
        amount: r.amount("/data/amount", data.amount.as_ref(), currency, AmountRule::Positive),
        tax: r.amount("/data/tax", data.tax.as_ref(), currency, AmountRule::ZeroOrMore),
        shipping: r.amount(
            "/data/shipping",
            data.shipping.as_ref(),
            currency,
            AmountRule::ZeroOrMore,
        ),
        discount: r.amount(
            "/data/discount",
            data.discount.as_ref(),
            currency,
            AmountRule::ZeroOrMore,
        ),
        coupon_code: r.text("/data/coupon_code", data.coupon_code, TEXT_MAX),
        customer_hash: r
            .text("/data/customer_ref", data.customer_ref, TEXT_MAX)
            .map(|name| hash_customer(customer_key, &name)),
        occurred_at: occurred_at.unwrap_or(now),
        refund_id: r.text("/data/refund_id", data.refund_id, TEXT_MAX),
        refund_amount: r.amount(
            "/data/refund_amount",
            data.refund_amount.as_ref(),
            currency,
            AmountRule::Positive,
        ),
        reason: r.text("/data/reason", data.reason, TEXT_MAX),
        is_test: data.test,
        metadata: data.metadata,
    };
    check_together(&mut r, &report);
    if r.0.is_empty() { Ok(report) } else { Err(r.0) }
}

/// Checks what no field can say alone. A field that was refused is not asked for again.
fn check_together(r: &mut Reader, report: &Report) {
    let is_refused = |r: &Reader, pointer: &str| r.0.iter().any(|p| p.pointer == pointer);
    if report.order_id.is_none()
        && report.click_id.is_none()
        && !is_refused(r, "/data/order_id")
        && !is_refused(r, "/data/click_id")
    {
        r.refuse("/data/order_id", "is required where there is no click_id");
    }
    let needs = |r: &mut Reader, pointer, is_there: bool, detail: &str| {
        if !is_there && !is_refused(r, pointer) {
            r.refuse(pointer, detail);
        }
    };
    match report.message_type {
        MessageType::Created | MessageType::Updated => {
            if ["sale", "renewal"].contains(&report.event.as_str())
                && !is_refused(r, "/data/currency")
            {
                let detail = format!("is required for {}", report.event);
                needs(r, "/data/amount", report.amount.is_some(), &detail);
            }
        }
        MessageType::Refunded => {
            let detail = "is required, so that a repeated call refunds once";
            needs(r, "/data/refund_id", report.refund_id.is_some(), detail);
        }
        MessageType::Rejected => {
            needs(r, "/data/reason", report.reason.is_some(), "is required for a rejection");
        }
        MessageType::Approved => {}
    }
    let metadata_len = serde_json::to_string(&report.metadata).map_or(0, |t| t.chars().count());
    if metadata_len > METADATA_MAX {
        r.refuse("/data/metadata", format!("must have at most {METADATA_MAX} characters as JSON"));
    }
    if !report.metadata.iter().all(|(name, value)| is_storable_text(name) && is_storable(value)) {
        let detail = "must not contain the character NUL or exponents of more than 3 digits";
        r.refuse("/data/metadata", detail);
    }
}

/// Tells whether PostgreSQL can keep a value as `jsonb`. What it cannot keep must be refused
/// before it is acknowledged: afterwards only the dead letters would take it.
fn is_storable(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) => true,
        Value::String(text) => is_storable_text(text),
        Value::Number(number) => {
            let text = number.to_string();
            let exponent = text.split_once(['e', 'E']).map_or("", |(_, exponent)| exponent);
            exponent.trim_start_matches(['+', '-']).len() <= EXPONENT_DIGITS_MAX
        }
        Value::Array(values) => values.iter().all(is_storable),
        Value::Object(fields) => {
            fields.iter().all(|(name, value)| is_storable_text(name) && is_storable(value))
        }
    }
}

fn is_storable_text(text: &str) -> bool {
    !text.contains('\0')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> Timestamp {
        "2026-11-22T10:15:10Z".parse().unwrap()
    }

    fn read(data: Value) -> Result<Report, Vec<FieldProblem>> {
        read_type("conversion.created", data)
    }

    fn read_type(kind: &str, data: Value) -> Result<Report, Vec<FieldProblem>> {
        let message = json!({"type": kind, "timestamp": "2026-11-22T10:15:04Z", "data": data});
        read_report(serde_json::from_value(message).unwrap(), &Key::new([7; 32]), now())
    }

    fn pointers(result: Result<Report, Vec<FieldProblem>>) -> Vec<&'static str> {
        result.unwrap_err().into_iter().map(|p| p.pointer).collect()
    }

    #[test]
    fn a_sale_is_read_exactly() {
        let report = read(json!({"event": "sale", "order_id": "A-1", "amount": "149.90",
            "currency": "EUR", "tax": 23.93, "customer_ref": "c-7", "unknown": [1]}))
        .unwrap();
        assert_eq!(report.amount.unwrap().minor, 14_990);
        assert_eq!(report.tax.unwrap().minor, 2_393);
        assert_eq!(report.occurred_at.to_rfc3339(), "2026-11-22T10:15:04+00:00");
        assert!(report.customer_hash.is_some());
        assert_eq!(report.dedup_ref(), "A-1");
    }

    #[test]
    fn a_path_ends_with_the_click_id_and_counts_in_the_hash_only_where_it_is() {
        let lead = |ids: Value| {
            let mut data = json!({"event": "lead", "order_id": "L-1"});
            data.as_object_mut().unwrap().extend(ids.as_object().unwrap().clone());
            read(data)
        };
        let ids: Vec<String> = (0..21).map(|n| format!("id-{n}")).collect();
        let path = lead(json!({"click_ids": ids[1..]})).unwrap();
        assert_eq!(path.click_id.as_deref(), Some("id-20"));
        assert_eq!(path.path().collect::<Vec<_>>(), ids[1..]);
        let beside = lead(json!({"click_ids": ["a", "b"], "click_id": "c"})).unwrap();
        assert_eq!(beside.path().collect::<Vec<_>>(), ["a", "b", "c"]);
        let within = lead(json!({"click_ids": ["a", "b"], "click_id": "a"})).unwrap();
        assert_eq!(within.path().collect::<Vec<_>>(), ["a", "b"]);
        let alone = lead(json!({"click_id": "b"})).unwrap();
        let empty = lead(json!({"click_id": "b", "click_ids": []})).unwrap();
        let same = lead(json!({"click_ids": ["b"]})).unwrap();
        assert_eq!(alone.content_hash(), empty.content_hash());
        assert_ne!(alone.content_hash(), same.content_hash());
        // What this hash was before there were paths.
        let hash = crate::conversion::postback::hex(&alone.content_hash());
        assert_eq!(hash, "a79870f9e271e637ff81a0dbaa2f9bdae45bfac745b7dc3938beaf9b49007f7d");
        for wrong in [json!(ids), json!(["a", ""]), json!(["a\n"]), json!(["x".repeat(65)])] {
            assert_eq!(pointers(lead(json!({"click_ids": wrong}))), ["/data/click_ids"], "{wrong}");
        }
    }

    #[test]
    fn every_mistake_is_told_at_once_and_once() {
        let found = pointers(read(json!({"event": "buy", "order_id": "", "amount": "1,5",
            "currency": "EUR", "occurred_at": "yesterday", "coupon_code": "a\nb"})));
        assert_eq!(
            found,
            [
                "/data/event",
                "/data/occurred_at",
                "/data/order_id",
                "/data/amount",
                "/data/coupon_code"
            ]
        );
    }

    #[test]
    fn amounts_that_are_not_exact_are_refused() {
        for amount in [
            json!("-1"),
            json!("0"),
            json!("1e400"),
            json!("NaN"),
            json!("Infinity"),
            json!("1,00"),
            json!("1.005"),
            json!("9999999999999999999"),
            json!("٣"),
            json!("1_000"),
            json!("0x10"),
            json!(""),
            json!(" 1"),
            json!("+1"),
            json!(-5),
            json!(0.001),
            json!(true),
            json!([1]),
        ] {
            let data =
                json!({"event": "sale", "order_id": "A", "amount": amount, "currency": "EUR"});
            assert_eq!(pointers(read(data)), ["/data/amount"], "{amount}");
        }
        let exponent: Value = serde_json::from_str(
            r#"{"event":"sale","order_id":"A","amount":1e2,"currency":"EUR"}"#,
        )
        .unwrap();
        assert_eq!(pointers(read(exponent)), ["/data/amount"]);
    }

    #[test]
    fn currencies_are_real_and_upper_case() {
        for currency in ["usd", "US$", "XTS", "XXX", "", "EURO"] {
            let data =
                json!({"event": "sale", "order_id": "A", "amount": "1", "currency": currency});
            assert_eq!(pointers(read(data)), ["/data/currency"], "{currency}");
        }
        let data = json!({"event": "sale", "order_id": "A", "amount": "1"});
        assert_eq!(pointers(read(data)), ["/data/currency"]);
        let yen = json!({"event": "sale", "order_id": "A", "amount": "1.5", "currency": "JPY"});
        assert_eq!(pointers(read(yen)), ["/data/amount"]);
    }

    #[test]
    fn each_type_needs_its_own_fields() {
        let of = |kind, data| pointers(read_type(kind, data));
        let order = json!({"event": "sale", "order_id": "A"});
        assert_eq!(of("conversion.created", order.clone()), ["/data/amount"]);
        assert_eq!(of("conversion.refunded", order.clone()), ["/data/refund_id"]);
        assert_eq!(of("conversion.rejected", order.clone()), ["/data/reason"]);
        assert!(read_type("conversion.approved", order).is_ok());
        assert_eq!(of("conversion.approved", json!({"event": "lead"})), ["/data/order_id"]);
        assert_eq!(of("conversion.deleted", json!({"event": "lead", "click_id": "x"})), ["/type"]);
    }

    #[test]
    fn the_future_is_refused_with_our_time() {
        let data = json!({"event": "lead", "order_id": "A", "occurred_at": "2027-01-01T00:00:00Z"});
        let problems = read(data).unwrap_err();
        assert!(problems[0].detail.contains("2026-11-22 10:15:10"), "{problems:?}");
    }

    #[test]
    fn a_retry_hashes_equal_and_another_amount_does_not() {
        let sale = |amount: &str, at: &str| {
            read(json!({"event": "sale", "order_id": "A", "amount": amount, "currency": "EUR",
                "occurred_at": at}))
            .unwrap()
            .content_hash()
        };
        let first = sale("10.00", "2026-11-22T10:00:00Z");
        assert_eq!(first, sale("10", "2026-11-22T10:00:09Z"));
        assert_ne!(first, sale("10.01", "2026-11-22T10:00:00Z"));
    }
}
