//! What is noted of a refused call: why it was, and what it says of itself.

use chrono::DateTime;

use super::{Kind, Reason, Said, orders_in};
use crate::app::App;
use crate::conversion::postback::profile::Meaning;
use crate::conversion::postback::signature::BadSignature;
use crate::conversion::postback::{Postback, value_of};
use crate::conversion::signature::SignatureError;
use crate::ids::SourceId;
use crate::snapshot::SourceTerms;

/// Notes a call of a source that is not believed.
pub fn note(
    app: &App,
    source: &SourceTerms,
    channel: &'static str,
    reason: Reason,
    said: impl FnOnce() -> Said,
) {
    let (program_id, source_id) = (source.program_id, source.source_id);
    let kind = Kind { program_id, source_id, channel, reason };
    app.refusals.count(kind, app.clock.now(), said);
}

/// Notes a call of a source that is disabled; nothing where there is no such source.
pub fn note_disabled(
    app: &App,
    source_id: &str,
    channel: &'static str,
    said: impl FnOnce(&SourceTerms) -> Said,
) {
    let id = source_id.parse::<SourceId>().ok();
    if let Some(source) = id.and_then(|id| app.snapshot.load().source(id).cloned()) {
        note(app, &source, channel, Reason::SourceDisabled, || said(&source));
    }
}

/// Returns why a webhook is not believed.
pub fn why(error: &SignatureError, is_of_ended_secret: impl FnOnce() -> bool) -> Reason {
    match error {
        SignatureError::MissingHeader(_) => Reason::SignatureMissing,
        SignatureError::OutOfTolerance { .. } => Reason::TimestampOutside,
        SignatureError::NoMatch if is_of_ended_secret() => Reason::SecretEnded,
        SignatureError::NoMatch => Reason::SignatureUnknown,
        SignatureError::DuplicateHeader(_)
        | SignatureError::BadId
        | SignatureError::BadTimestamp
        | SignatureError::TooManySignatures => Reason::SignatureMalformed,
    }
}

/// Returns why a signed postback is not believed.
pub fn why_postback(error: BadSignature, is_of_ended_secret: impl FnOnce() -> bool) -> Reason {
    match error {
        BadSignature::OutOfTolerance { .. } => Reason::TimestampOutside,
        BadSignature::NoMatch if is_of_ended_secret() => Reason::SecretEnded,
        BadSignature::NoMatch => Reason::SignatureUnknown,
        BadSignature::NoTime | BadSignature::NotHex => Reason::SignatureMalformed,
    }
}

/// Returns what a webhook says of itself, given the values of its headers and its body.
pub fn said_by_webhook([id, timestamp, _]: &[Vec<&[u8]>; 3], body: &[u8]) -> Said {
    let text = |values: &[&[u8]]| Some(std::str::from_utf8(values.first()?).ok()?.to_owned());
    let seconds = text(timestamp).and_then(|text| text.parse::<u32>().ok());
    Said {
        message_id: text(id),
        order_ids: orders_in(body),
        sent_at: seconds.and_then(|s| DateTime::from_timestamp(i64::from(s), 0)),
    }
}

/// Returns what a postback says of itself.
pub fn said_by_postback(postback: &Postback) -> Said {
    let value = |meaning| value_of(&postback.fields, meaning);
    let seconds = value(Meaning::SentAt).and_then(|text| text.parse::<u32>().ok());
    Said {
        message_id: None,
        order_ids: value(Meaning::OrderId).map(str::to_owned).into_iter().collect(),
        sent_at: seconds.and_then(|s| DateTime::from_timestamp(i64::from(s), 0)),
    }
}
