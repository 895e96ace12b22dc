//! Settlement: from the stream into PostgreSQL, each event once.
//!
//! A batch goes through three steps. [`facts_store`] loads the [`facts`] that its messages touch;
//! [`decide`] turns each message into [`Decision`]s, without a database and without a clock of its
//! own, keeping the facts up to date so that a batch may hold an order and its refund; [`settler`]
//! applies all decisions, and the position in the stream, in **one** database transaction. It does
//! not wait for the last decision before it writes the first (`ahead`).
//!
//! What makes it exactly once is not the position but the unique ids: a click's, a message's, a
//! conversion's. Whatever is read twice finds itself already there and changes nothing.

mod ahead;
pub mod attribution;
pub mod click;
pub mod decide;
pub mod facts;
pub mod facts_store;
pub mod grant;
pub mod held;
pub mod offset_store;
pub mod order_store;
pub mod path;
pub mod record;
pub mod rederive;
pub mod settler;
pub mod store;
mod tally;
pub mod waiting;

use crate::clock::Timestamp;
use crate::commission::Step;
use crate::commission::hold::Trust;
use crate::conversion::Report;
use crate::fraud::RaisedFlag;
use crate::ids::{ConversionId, PartnerId, PartnerNo, ProgramId, ReceiptId, SourceId};
use crate::money::Money;
use crate::settlement::attribution::bond::Bond;

/// A conversion message as it comes out of the stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// The receipt that its sender holds.
    pub receipt_id: ReceiptId,
    /// The program of the source.
    pub program_id: ProgramId,
    /// Who sent it.
    pub source_id: SourceId,
    /// The way it came.
    pub channel: String,
    /// The sender's id of it.
    pub message_id: String,
    /// SHA-256 of the bytes that were sent.
    pub body_hash: [u8; 32],
    /// When it reached us.
    pub received_at: Timestamp,
    /// When its sender made it; later messages about one order are ordered by it.
    pub sent_at: Timestamp,
    /// How far it is believed.
    pub trust: Trust,
    /// What it says.
    pub report: Report,
}

impl Message {
    /// Returns the id that the message is kept under where another one has its own.
    pub fn id_by_receipt(&self) -> String {
        format!("{}#{}", self.message_id, self.receipt_id)
    }
}

/// What names a conversion for ever.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OrderKey {
    /// The program.
    pub program_id: ProgramId,
    /// Sources that share a namespace share their orders.
    pub order_namespace: String,
    /// Lead and sale of one order are two conversions.
    pub event: String,
    /// The order id, or `click:` and the click id.
    pub dedup_ref: String,
}

/// A partner's part of a conversion, as attribution found it and as commissions are split by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Who earns.
    pub partner: PartnerNo,
    /// The part: this weight of the sum of all weights of the conversion. Splits are exact to the
    /// minor unit, by largest remainder.
    pub weight: u32,
}

impl Share {
    /// Returns the share of a partner who has the conversion alone.
    pub fn whole(partner: PartnerNo) -> Self {
        Self { partner, weight: 1 }
    }
}

/// A conversion to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct NewConversion {
    /// Key of the row.
    pub conversion_id: ConversionId,
    /// What names it for ever.
    pub key: OrderKey,
    /// Tells a retry from a conflict.
    pub content_hash: [u8; 32],
    /// To whom it is attributed, and why, or why to nobody.
    pub attribution: attribution::Attribution,
    /// What commissions are computed on.
    pub base: Option<Money>,
    /// Why it earns nothing, if it does not.
    pub no_commission: Option<String>,
}

/// What became of a message, for its receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It took effect.
    Settled,
    /// It was known.
    Duplicate,
    /// It contradicts what is known; nothing was changed.
    Conflict,
    /// It cannot take effect.
    Rejected,
    /// Its conversion has not come yet.
    Waiting,
    /// It could not wait for its conversion, or not any longer; it can be replayed.
    DeadLetter,
}

impl Verdict {
    /// Returns the text form kept in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::Duplicate => "duplicate",
            Self::Conflict => "conflict",
            Self::Rejected => "rejected",
            Self::Waiting => "waiting",
            Self::DeadLetter => "dead_letter",
        }
    }
}

/// One thing to be written. The messages that decisions belong to are found by their place in the batch.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Write a conversion.
    Record(Box<NewConversion>),
    /// Remember a refund.
    Refund {
        /// Of which conversion.
        conversion_id: ConversionId,
        /// The shop's name of the refund.
        refund_id: String,
        /// How much went back; all that was left where it is not given.
        amount: Option<Money>,
    },
    /// Write another content of a conversion.
    Restate {
        /// Of which conversion.
        conversion_id: ConversionId,
        /// What commissions are computed on now.
        base: Option<Money>,
    },
    /// Remember that a conversion binds its customer.
    Bind(Bond),
    /// Say whose a conversion is that was nobody's.
    Reattribute {
        /// Which.
        conversion_id: ConversionId,
        /// To whom, and why.
        attribution: attribution::Attribution,
        /// Why it earns nothing all the same.
        no_commission: Option<String>,
    },
    /// Remember that the shop has rejected a conversion: it binds nobody and stays nobody's.
    Void(ConversionId),
    /// Take a step of a commission.
    Commission(Box<Step>),
    /// Keep why a commission was held for review.
    Flag(Box<RaisedFlag>),
    /// Tell what became of the message.
    Verdict {
        /// What became of it.
        verdict: Verdict,
        /// Why, in a sentence.
        reason: Option<String>,
        /// The conversion that it is about.
        conversion_id: Option<ConversionId>,
        /// Whether its id was used by another message before.
        is_id_taken: bool,
    },
    /// Keep the message until its conversion comes.
    Wait(OrderKey),
    /// Keep the message as a dead letter, for this reason: too many wait already.
    TurnAway(String),
    /// The conversion of waiting messages has come: they wait no longer.
    Admit(OrderKey),
}

/// A decision and the message that led to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    /// The message.
    pub message: std::sync::Arc<Message>,
    /// What is to be written.
    pub decision: Decision,
}

/// Whom a click or a conversion is counted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Earner {
    /// The partner.
    pub partner_id: PartnerId,
    /// Whether it may be paid now.
    pub is_in_good_standing: bool,
}
