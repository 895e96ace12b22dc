//! Postbacks: a conversion in the query of a URL, as simple trackers send it.
//!
//! [`read`] tells by the source's [`profile`] which parameters mean something, and refuses what is
//! ambiguous; [`plan`] makes of them the messages that the webhook would have sent. What is not
//! understood is kept as metadata and never interpreted. No refusal repeats what was sent: a
//! postback's answer may stand in a page that somebody else reads.

pub mod profile;
pub mod signature;

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use self::profile::{Meaning, PostbackStatus, Profile};
use crate::clock::Timestamp;
use crate::conversion::webhook::{ConversionData, WebhookMessage, read_report, split_path};
use crate::conversion::{EVENTS, MessageType, Report};
use crate::money::{AmountRule, Currency, Money};
use crate::program::postback::PostbackTerms;
use crate::signing::Key;

/// Parameters of one postback, at most.
pub const PARAMETERS_MAX: usize = 200;
/// Characters of a value that means something, at most; each field has a tighter bound of its own.
const VALUE_MAX: usize = 200;
/// Characters of a path, at most: 20 click ids with what separates them, and some air.
const PATH_MAX: usize = 1_400;
/// The name under which a postback refunds: all of it, once.
const REFUND_ID: &str = "postback";
/// An event that asks for nothing but an order, in whose place an unknown one is checked.
const PLAIN_EVENT: &str = "lead";

/// Why a postback is refused. It holds names of the profile's own, never what was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{parameter}: {reason}; {fix}")]
pub struct Refusal {
    /// The parameter.
    pub parameter: String,
    /// What is wrong with it.
    pub reason: String,
    /// How to mend it.
    pub fix: String,
}

/// A parameter that means something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name as it was sent.
    pub name: String,
    /// What it means.
    pub meaning: Meaning,
    /// Its value.
    pub value: String,
}

/// What a postback is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventName {
    /// One of [`EVENTS`].
    Known(String),
    /// A name that nobody has mapped yet.
    Unmapped(String),
}

/// A postback that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Postback {
    /// What was interpreted, sorted by name; without the key and the signature.
    pub fields: Vec<Field>,
    /// The key, if one came.
    pub key: Option<String>,
    /// Its signature, if one came.
    pub signature: Option<String>,
    /// What it reports.
    pub event: EventName,
    /// What it does.
    pub status: PostbackStatus,
    /// The status's word where nobody knows what it means: then it does as `pending`.
    pub unknown_status: Option<String>,
    /// Everything else, to be kept.
    pub ignored: BTreeMap<String, String>,
}

/// How far a postback is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belief {
    /// The key stood in its address.
    Key,
    /// It was signed at this time.
    Signed(Timestamp),
}

/// Reads the parameters of a postback.
pub fn read(
    parameters: impl Iterator<Item = (String, String)>,
    terms: &PostbackTerms,
) -> Result<Postback, Refusal> {
    let profile = Profile::find(&terms.alias_profile).unwrap_or(&profile::PROFILES[0]);
    let mut fields: Vec<Field> = Vec::new();
    let mut ignored = BTreeMap::new();
    for (n, (name, value)) in parameters.enumerate() {
        if n >= PARAMETERS_MAX {
            let reason = format!("there are more than {PARAMETERS_MAX} parameters");
            return Err(refuse("query", reason, "send what is documented, and less beside it"));
        }
        match profile.meaning(&name) {
            None => drop(ignored.insert(name, value)),
            // An empty parameter is a macro that had nothing to say.
            Some(_) if value.is_empty() => {}
            Some(meaning) => {
                check_value(&name, meaning, &value)?;
                fields.push(Field { name, meaning, value });
            }
        }
    }
    fields.sort_by(|a, b| a.name.cmp(&b.name));
    check_once(&fields)?;
    let mut take = |meaning| {
        let at = fields.iter().position(|f| f.meaning == meaning)?;
        Some(fields.remove(at).value)
    };
    let (key, signature) = (take(Meaning::Key), take(Meaning::Signature));
    let (status, unknown_status) = status_of(value_of(&fields, Meaning::Status), profile, terms);
    let event = event_of(&fields, terms);
    Ok(Postback { key, signature, event, status, unknown_status, ignored, fields })
}

fn refuse(
    parameter: impl Into<String>,
    reason: impl Into<String>,
    fix: impl Into<String>,
) -> Refusal {
    Refusal { parameter: parameter.into(), reason: reason.into(), fix: fix.into() }
}

fn check_value(name: &str, meaning: Meaning, value: &str) -> Result<(), Refusal> {
    if value.chars().any(char::is_control) {
        return Err(refuse(name, "has control characters", "send plain text, percent-encoded"));
    }
    let chars_max = if meaning == Meaning::ClickIds { PATH_MAX } else { VALUE_MAX };
    if value.chars().count() > chars_max {
        let reason = format!("has more than {chars_max} characters");
        return Err(refuse(name, reason, "send what is documented"));
    }
    let is_macro = [("{", "}"), ("[[[", "]]]"), ("!!!", "!!!"), ("${", "}"), ("#", "#")]
        .iter()
        .any(|(open, close)| {
            value.len() >= open.len() + close.len()
                && value.starts_with(open)
                && value.ends_with(close)
        });
    if is_macro && meaning != Meaning::Key {
        let reason = "is a macro that the tracker did not replace";
        return Err(refuse(name, reason, "check how the tracker spells its macros"));
    }
    Ok(())
}

/// Refuses two parameters with one meaning: which of them counts would be a guess.
fn check_once(fields: &[Field]) -> Result<(), Refusal> {
    let may_repeat = |m| matches!(m, Meaning::ItemAmount | Meaning::ItemQuantity);
    for (n, field) in fields.iter().enumerate() {
        let twice = fields[n + 1..].iter().find(|other| {
            other.name == field.name
                || (other.meaning == field.meaning && !may_repeat(field.meaning))
        });
        if let Some(other) = twice {
            let reason = if other.name == field.name {
                "is given twice".to_owned()
            } else {
                format!("means the same as {}", field.name)
            };
            return Err(refuse(other.name.clone(), reason, "send it once"));
        }
    }
    Ok(())
}

/// Returns the value of a meaning.
pub fn value_of(fields: &[Field], meaning: Meaning) -> Option<&str> {
    fields.iter().find(|f| f.meaning == meaning).map(|f| f.value.as_str())
}

fn status_of(
    word: Option<&str>,
    profile: &Profile,
    terms: &PostbackTerms,
) -> (PostbackStatus, Option<String>) {
    let Some(word) = word else { return (PostbackStatus::Pending, None) };
    let mapped = terms.status_map.get(word).and_then(|ours| PostbackStatus::parse(ours));
    match mapped.or_else(|| profile.status(word)) {
        Some(status) => (status, None),
        None => (PostbackStatus::Pending, Some(word.to_owned())),
    }
}

fn event_of(fields: &[Field], terms: &PostbackTerms) -> EventName {
    let groups = || {
        let parts = value_of(fields, Meaning::Parts)?;
        let names: Vec<&str> =
            parts.split('|').map(|p| p.split(':').next().unwrap_or_default()).collect();
        Some(names.join("|"))
    };
    let named = value_of(fields, Meaning::Event).map(str::to_owned).or_else(groups);
    let Some(theirs) = named else { return EventName::Known(terms.default_event.clone()) };
    match terms.event_map.get(&theirs) {
        Some(ours) => EventName::Known(ours.clone()),
        None if EVENTS.contains(&theirs.as_str()) => EventName::Known(theirs),
        None => EventName::Unmapped(theirs),
    }
}

/// A message that a postback makes.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// Names the message: the same for each repetition.
    pub message_id: String,
    /// Tells its content.
    pub body_hash: [u8; 32],
    /// What it says.
    pub report: Report,
}

/// Makes the messages of a postback, in the order in which they must be settled.
///
/// A status other than pending moves an order that is there, and brings a new one along where
/// enough is known of it: trackers send one call in the end rather than each step.
pub fn plan(
    postback: &Postback,
    terms: &PostbackTerms,
    belief: Belief,
    customer_key: &Key,
    now: Timestamp,
) -> Result<Vec<Planned>, Refusal> {
    let profile = Profile::find(&terms.alias_profile).unwrap_or(&profile::PROFILES[0]);
    if value_of(&postback.fields, Meaning::Status) == Some("rebill") {
        require(postback, profile, Meaning::OrderId, "a repeat purchase is an order of its own")?;
    }
    let moved = match (postback.status, belief) {
        (PostbackStatus::Pending, _) | (PostbackStatus::Approved, Belief::Key) => None,
        (PostbackStatus::Approved, Belief::Signed(_)) => Some(MessageType::Approved),
        (PostbackStatus::Rejected, _) => Some(MessageType::Rejected),
        (PostbackStatus::Refunded, _) => Some(MessageType::Refunded),
    };
    let amount = amount_of(&postback.fields)?;
    let report = |message_type| {
        report_of(postback, profile, message_type, amount.clone(), customer_key, now)
    };
    let created = report(MessageType::Created);
    let Some(message_type) = moved else { return Ok(vec![planned(created?)]) };
    let has_amount = amount.is_some();
    let move_it = planned(report(message_type)?);
    match created {
        Ok(created) => Ok(vec![planned(created), move_it]),
        // Without an amount it cannot be a new order, and need not be.
        Err(_) if !has_amount => Ok(vec![move_it]),
        Err(refusal) => Err(refusal),
    }
}

fn require(
    postback: &Postback,
    profile: &Profile,
    meaning: Meaning,
    why: &str,
) -> Result<(), Refusal> {
    if value_of(&postback.fields, meaning).is_some() {
        return Ok(());
    }
    Err(refuse(profile.name_of(meaning), format!("is missing: {why}"), "send it"))
}

fn planned(report: Report) -> Planned {
    let content: [u8; 32] = match report.message_type {
        MessageType::Created | MessageType::Updated => report.content_hash(),
        // A move says no more than which order moves, whatever stands beside it.
        MessageType::Approved | MessageType::Rejected | MessageType::Refunded => {
            Sha256::digest(report.dedup_ref().as_bytes()).into()
        }
    };
    let kind = report.message_type.as_str();
    let named = Value::from(vec![kind, &report.event, &report.dedup_ref()]).to_string();
    let body_hash: [u8; 32] =
        Sha256::new().chain_update(named.as_bytes()).chain_update(content).finalize().into();
    let message_id = format!("postback:{}", hex(&body_hash[..16]));
    Planned { message_id, body_hash, report }
}

/// Returns lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes every write");
        text
    })
}

/// Returns the amount as text: as it was sent, or the sum of the items.
fn amount_of(fields: &[Field]) -> Result<Option<String>, Refusal> {
    if let Some(amount) = value_of(fields, Meaning::Amount) {
        return Ok(Some(amount.to_owned()));
    }
    let mut items = fields.iter().filter(|f| f.meaning == Meaning::ItemAmount).peekable();
    if items.peek().is_none() {
        return Ok(None);
    }
    let currency = value_of(fields, Meaning::Currency)
        .and_then(|code| code.parse::<Currency>().ok())
        .ok_or_else(|| {
            let reason = "is missing or is no ISO 4217 code";
            refuse("CURRENCY", reason, "send one like EUR beside the items")
        })?;
    let mut sum = Money::zero(currency);
    for item in items {
        let price = Money::parse_amount(&item.value, currency, AmountRule::ZeroOrMore)
            .map_err(|e| refuse(item.name.clone(), without_quote(&e.to_string()), AMOUNT_FIX))?;
        let quantity_name = item.name.replacen("AMT", "QTY", 1);
        let pieces = match fields.iter().find(|f| f.name == quantity_name) {
            None => 1,
            Some(f) => f.value.parse::<u16>().map_err(|_| {
                refuse(quantity_name.clone(), "is no number of pieces", "send 0 to 65535")
            })?,
        };
        let line = price.minor.checked_mul(i64::from(pieces)).map(|m| Money::new(m, currency));
        sum = line
            .and_then(|line| sum.checked_add(line).ok())
            .ok_or_else(|| refuse(item.name.clone(), "makes the sum too large", AMOUNT_FIX))?;
    }
    Ok(Some(sum.to_decimal_string()))
}

const AMOUNT_FIX: &str = "send a decimal with a dot, like 149.90";

/// Leaves out what an error quotes of the value: an answer never repeats what was sent.
fn without_quote(text: &str) -> String {
    match (text.find('"'), text.rfind('"')) {
        (Some(0), Some(close)) => text[close + 1..].trim_start_matches([':', ' ']).to_owned(),
        (Some(open), Some(close)) if open < close => {
            format!("{}it{}", &text[..open], &text[close + 1..])
        }
        (Some(_) | None, _) => text.to_owned(),
    }
}

fn report_of(
    postback: &Postback,
    profile: &Profile,
    message_type: MessageType,
    amount: Option<String>,
    customer_key: &Key,
    now: Timestamp,
) -> Result<Report, Refusal> {
    let text = |meaning| value_of(&postback.fields, meaning).map(str::to_owned);
    let (event, unmapped) = match &postback.event {
        EventName::Known(event) => (event.clone(), None),
        EventName::Unmapped(name) => (PLAIN_EVENT.to_owned(), Some(name.clone())),
    };
    let is_refund = message_type == MessageType::Refunded;
    let reason = (message_type == MessageType::Rejected)
        .then(|| text(Meaning::Status).unwrap_or_else(|| "rejected".to_owned()));
    let message = WebhookMessage {
        r#type: message_type.as_str().to_owned(),
        timestamp: now.to_rfc3339(),
        data: ConversionData {
            event,
            order_id: text(Meaning::OrderId),
            click_id: text(Meaning::ClickId),
            click_ids: text(Meaning::ClickIds).map(|text| split_path(&text)),
            amount: amount.map(Value::from),
            currency: text(Meaning::Currency),
            tax: None,
            shipping: None,
            discount: None,
            coupon_code: text(Meaning::Coupon),
            customer_ref: text(Meaning::Customer),
            occurred_at: text(Meaning::OccurredAt),
            refund_id: is_refund.then(|| REFUND_ID.to_owned()),
            refund_amount: None,
            reason,
            test: is_test(postback)?,
            metadata: metadata_of(postback),
        },
    };
    let mut report = read_report(message, customer_key, now).map_err(|wrong| {
        let first = wrong.into_iter().next();
        first.map_or_else(
            || refuse("query", "cannot be read", "send what is documented"),
            |field| refusal_of(profile, field.pointer, &field.detail),
        )
    })?;
    if let Some(name) = unmapped {
        report.event = name;
    }
    Ok(report)
}

fn refusal_of(profile: &Profile, pointer: &str, detail: &str) -> Refusal {
    let field = pointer.trim_start_matches("/data/");
    let meaning = match field {
        "click_id" => Some(Meaning::ClickId),
        "click_ids" => Some(Meaning::ClickIds),
        "order_id" => Some(Meaning::OrderId),
        "amount" => Some(Meaning::Amount),
        "currency" => Some(Meaning::Currency),
        "event" => Some(Meaning::Event),
        "coupon_code" => Some(Meaning::Coupon),
        "customer_ref" => Some(Meaning::Customer),
        "occurred_at" => Some(Meaning::OccurredAt),
        "reason" => Some(Meaning::Status),
        _ => None,
    };
    let parameter = meaning.map_or_else(|| field.to_owned(), |m| profile.name_of(m).to_owned());
    let fix = match field {
        "amount" => AMOUNT_FIX,
        "click_ids" => "send at most 20 click ids separated by commas, the oldest first",
        "currency" => "send an ISO 4217 code, like EUR",
        "occurred_at" => "send a time like 2026-11-22T10:15:04Z, or leave it out",
        "metadata" => "send fewer parameters beside the documented ones",
        _ => "send it as documented",
    };
    refuse(parameter, without_quote(detail), fix)
}

fn is_test(postback: &Postback) -> Result<bool, Refusal> {
    match postback.fields.iter().find(|f| f.meaning == Meaning::Test) {
        None => Ok(false),
        Some(f) if ["1", "true"].contains(&f.value.as_str()) => Ok(true),
        Some(f) if ["0", "false"].contains(&f.value.as_str()) => Ok(false),
        Some(f) => Err(refuse(f.name.clone(), "is neither 1 nor 0", "send 1 for a trial run")),
    }
}

fn metadata_of(postback: &Postback) -> Map<String, Value> {
    let mut metadata: Map<String, Value> =
        postback.ignored.iter().map(|(name, v)| (name.clone(), Value::from(v.as_str()))).collect();
    if let Some(word) = &postback.unknown_status {
        metadata.insert("original_status".to_owned(), Value::from(word.as_str()));
    }
    metadata
}

#[cfg(test)]
mod tests;
