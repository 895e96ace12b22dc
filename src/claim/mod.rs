//! Claims: "this order was mine", answered in seconds with the evidence.
//!
//! The [`evidence`] is gathered when the claim is made, and once more at its deadline; [`verdict`]
//! says what it is worth. What is proven is accepted at once and earns what the conversion would
//! have earned; what is contradicted is refused with the reason. The rest waits for a person until
//! the deadline; then only what the evidence supports is accepted, and all else is escalated. An
//! order that another partner has earned is never taken by the machine.

pub mod due;
pub mod evidence;
pub mod http;
pub mod judgment;
pub mod store;
pub mod verdict;

use crate::clock::Timestamp;
use crate::ids::{ClaimId, CommissionId, ConversionId, PartnerId, ProgramId};

/// Days that a person has to decide.
pub const DECISION_DAYS: i64 = 14;

/// Where a claim stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Waits for a person, until its deadline.
    Open,
    /// Its deadline has passed, and the evidence does not decide it: a person must.
    Escalated,
    /// It was the partner's; it has a commission.
    Accepted,
    /// It was not.
    Refused,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::Open, Self::Escalated, Self::Accepted, Self::Refused];

    /// Returns the code as stored.
    pub fn code(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Escalated => "escalated",
            Self::Accepted => "accepted",
            Self::Refused => "refused",
        }
    }

    /// Reads a stored code.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.code() == code)
    }
}

/// Why a person refuses a claim.
pub const REFUSALS: [&str; 6] =
    ["not_theirs", "outside_window", "order_unknown", "order_canceled", "fraud", "other"];

/// What a partner says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewClaim {
    /// The program.
    pub program_id: ProgramId,
    /// Who claims.
    pub partner_id: PartnerId,
    /// What is claimed: `sale`, `lead` and so on.
    pub event: String,
    /// The shop's name of the order.
    pub order_id: String,
    /// When it happened, as far as the partner knows.
    pub occurred_at: Option<Timestamp>,
    /// The click that led to it.
    pub click_id: Option<String>,
    /// The coupon that the customer used.
    pub coupon_code: Option<String>,
    /// What else there is to say.
    pub note: Option<String>,
}

/// A claim as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// Key of the row.
    pub claim_id: ClaimId,
    /// What the partner said.
    pub said: NewClaim,
    /// Where it stands.
    pub status: Status,
    /// Why, as a code.
    pub reason: String,
    /// Why, for people.
    pub sentence: String,
    /// What the machine found.
    pub evidence: serde_json::Value,
    /// Until when a person may decide before the machine does.
    pub deadline_at: Timestamp,
    /// The order, once it is known.
    pub conversion_id: Option<ConversionId>,
    /// What it earned, once it is accepted.
    pub commission_id: Option<CommissionId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: String,
    /// When it was decided, and by whom.
    pub decided: Option<(Timestamp, String)>,
    /// What was said about the decision.
    pub decision_note: Option<String>,
}
