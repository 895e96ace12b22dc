//! A conversion as it lies in the tables, with what the ledger holds for it.

use std::collections::HashMap;

use crate::clock::Timestamp;
use crate::commission::plan::wire::{self, Stored};
use crate::commission::plan::{PriceFacts, Split};
use crate::commission::pricing::Told;
use crate::commission::pricing::reported::{price_facts, told};
use crate::commission::refund::Refund;
use crate::commission::row::is_by_hand;
use crate::commission::{CommissionKind, CommissionState};
use crate::conversion::path::Path;
use crate::conversion::wire::{self as report_wire, ReportError};
use crate::ids::{CommissionId, ConversionId, PartnerId, PlanVersionId};
use crate::money::Money;

/// One conversion and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Past {
    /// Key of the row.
    pub conversion_id: ConversionId,
    /// Of two at the same time the one with the lesser name comes first.
    pub name: String,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// What it is priced from now; none for an event that no plan can name.
    pub price: Option<PriceFacts>,
    /// What the shop says about it beside its amounts.
    pub told: Told,
    /// All refunds together.
    pub refund: Option<Refund>,
    /// Whose it is where nobody has earned by it; none where it is nobody's, or that one may not
    /// earn.
    pub attributed_to: Option<PartnerId>,
    /// The clicks that led to it, where its shop named them and they say whose it is.
    pub path: Option<Path>,
    /// What was earned by it, one for each partner.
    pub booked: Vec<Booked>,
}

/// A commission with its corrections and its recruiter's.
#[derive(Clone, Debug, PartialEq)]
pub struct Booked {
    /// Key of the row.
    pub commission_id: CommissionId,
    /// Who earns.
    pub partner_id: PartnerId,
    /// The edition that priced it.
    pub version_id: Option<PlanVersionId>,
    /// Whether it was rejected or reversed: then no plan pays for it.
    pub is_over: bool,
    /// What the partner has of it now.
    pub net: Money,
    /// What it was priced from; none in the form of older releases.
    pub stored: Option<Stored>,
    /// Whether a correction took back all that was left: then its edition pays nothing more for it.
    pub is_spent: bool,
    /// The partner's part, where several share the conversion.
    pub split: Option<Split>,
    /// What of `net` a person took back, below zero.
    pub by_hand_minor: i64,
    /// What its recruiter has.
    pub recruiter: Option<Recruited>,
}

/// The commission of a recruiter with its corrections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recruited {
    /// Key of the row.
    pub commission_id: CommissionId,
    /// Who.
    pub partner_id: PartnerId,
    /// Whether it was rejected or reversed.
    pub is_over: bool,
    /// What the recruiter has of it now.
    pub net: Money,
    /// What of that a person took back, below zero.
    pub by_hand_minor: i64,
}

/// A partner's part of a conversion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Who.
    pub partner_id: PartnerId,
    /// Which part, where several share it.
    pub split: Option<Split>,
}

/// A conversion as its row says.
#[derive(Clone, Debug)]
pub struct ConversionLine {
    /// Key of the row.
    pub conversion_id: ConversionId,
    /// Namespace, event and reference of the order.
    pub name: String,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// Whose it is by a click that counts, if that partner may earn.
    pub attributed_to: Option<PartnerId>,
    /// The clicks that led to it, as text.
    pub path: Option<String>,
    /// The hash of the customer's name.
    pub customer_hash: Option<Vec<u8>>,
    /// The report, as text.
    pub details: String,
}

/// A commission as its row says.
#[derive(Clone, Debug)]
pub struct CommissionLine {
    /// The conversion; none of clicks.
    pub conversion_id: Option<ConversionId>,
    /// Key of the row.
    pub commission_id: CommissionId,
    /// Earned, a correction, or a recruiter's.
    pub kind: CommissionKind,
    /// Where it stands.
    pub state: CommissionState,
    /// Who has it.
    pub partner_id: PartnerId,
    /// What it corrects or follows.
    pub corrects_id: Option<CommissionId>,
    /// Its amount, signed.
    pub amount: Money,
    /// The edition that priced it.
    pub version_id: Option<PlanVersionId>,
    /// The arithmetic, as text; empty where it says nothing here.
    pub calculation: String,
}

/// A page of history as it comes out of the database.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Conversions in the order of their time and name.
    pub conversions: Vec<ConversionLine>,
    /// Their commissions in the order of their making.
    pub commissions: Vec<CommissionLine>,
    /// Their refunds together: how much, none for all of it.
    pub refunds: HashMap<ConversionId, Option<i64>>,
}

impl Page {
    /// Puts the page together.
    pub fn read(self) -> Result<Vec<Past>, ReportError> {
        let mut lines: HashMap<ConversionId, Vec<CommissionLine>> =
            HashMap::with_capacity(self.conversions.len());
        for line in self.commissions {
            if let Some(id) = line.conversion_id {
                lines.entry(id).or_default().push(line);
            }
        }
        let refunds = self.refunds;
        let past = |line: ConversionLine| {
            let report = report_wire::from_text(&line.details)?;
            let refund = refunds.get(&line.conversion_id).and_then(|minor| match minor {
                None => Some(None),
                Some(minor) => Some(Some(Money::new(*minor, report.currency?))),
            });
            Ok(Past {
                conversion_id: line.conversion_id,
                name: line.name,
                occurred_at: line.occurred_at,
                price: price_facts(&report),
                told: told(&report),
                refund: refund.map(|amount| Refund { refund_id: String::new(), amount }),
                attributed_to: line.attributed_to,
                path: line.path.as_deref().and_then(Path::from_text),
                booked: lines.remove(&line.conversion_id).map_or_else(Vec::new, booked),
            })
        };
        self.conversions.into_iter().map(past).collect()
    }
}

/// Joins the rows of one conversion, or of a partner's clicks of one day: each commission with what corrects and follows it.
pub fn booked(lines: Vec<CommissionLine>) -> Vec<Booked> {
    let mut all: Vec<Booked> = lines.iter().filter_map(Booked::open).collect();
    let recruiters = lines.iter().filter(|line| line.kind == CommissionKind::Recruiter);
    for line in recruiters {
        let of = all.iter_mut().find(|one| Some(one.commission_id) == line.corrects_id);
        if let Some(of) = of {
            of.recruiter = Some(Recruited {
                commission_id: line.commission_id,
                partner_id: line.partner_id,
                is_over: is_over(line.state),
                net: line.live_amount(),
                by_hand_minor: 0,
            });
        }
    }
    for line in lines.iter().filter(|line| !line.kind.is_earned()) {
        for one in &mut all {
            if Some(one.commission_id) == line.corrects_id {
                one.net = one.net.checked_add(line.live_amount()).unwrap_or(one.net);
                one.by_hand_minor = one.by_hand_minor.saturating_add(line.by_hand_minor());
                // What the latest correction says holds; without arithmetic it took all there was.
                let stored = wire::from_text(&line.calculation);
                one.is_spent = stored.is_none();
                one.stored = stored.or(one.stored.take());
            } else if let Some(recruiter) = &mut one.recruiter
                && Some(recruiter.commission_id) == line.corrects_id
            {
                let net = recruiter.net;
                recruiter.net = net.checked_add(line.live_amount()).unwrap_or(net);
                let by_hand = recruiter.by_hand_minor;
                recruiter.by_hand_minor = by_hand.saturating_add(line.by_hand_minor());
            }
        }
    }
    all
}

impl Booked {
    fn open(line: &CommissionLine) -> Option<Self> {
        if !matches!(line.kind, CommissionKind::Earned | CommissionKind::Clicks) {
            return None;
        }
        let is_over = is_over(line.state);
        let stored = wire::from_text(&line.calculation).filter(|_| !is_over);
        // The form of older releases has a split, too, and nothing else that counts.
        let split = match &stored {
            Some(stored) => stored.inputs.split.clone(),
            None => serde_json::from_str(&line.calculation).ok().and_then(|of| wire::split(&of)),
        };
        Some(Self {
            commission_id: line.commission_id,
            partner_id: line.partner_id,
            version_id: line.version_id,
            is_over,
            net: line.live_amount(),
            stored,
            is_spent: false,
            split,
            by_hand_minor: 0,
            recruiter: None,
        })
    }
}

impl CommissionLine {
    /// Returns what of its amount a person took back.
    fn by_hand_minor(&self) -> i64 {
        if self.kind != CommissionKind::Clawback {
            return 0;
        }
        // The arithmetic of a correction names its cause.
        let kept: Option<serde_json::Value> = serde_json::from_str(&self.calculation).ok();
        let cause = kept.as_ref().and_then(|of| of.get("cause")?.as_str());
        if cause.is_some_and(is_by_hand) { self.amount.minor } else { 0 }
    }

    fn live_amount(&self) -> Money {
        if is_over(self.state) { Money::zero(self.amount.currency) } else { self.amount }
    }
}

fn is_over(state: CommissionState) -> bool {
    match state {
        CommissionState::Rejected | CommissionState::Reversed => true,
        CommissionState::Pending
        | CommissionState::OnHold
        | CommissionState::Approved
        | CommissionState::Paid => false,
    }
}

impl Past {
    /// Returns whose it is as it was settled. Who has a part of its path and earned nothing has it
    /// all the same, if that one may earn: another plan may pay for it.
    pub fn parts(&self, may_earn: impl Fn(PartnerId) -> bool) -> Vec<Part> {
        let part = |one: &Booked| Part { partner_id: one.partner_id, split: one.split.clone() };
        let mut parts: Vec<Part> = self.booked.iter().map(part).collect();
        let shared = self.shared();
        // By a claim or by hand it may be somebody's whom no path names: then no path says more.
        if !self.booked.iter().all(|one| shared.contains(&part(one))) {
            return parts;
        }
        if shared.is_empty() {
            let alone = |partner_id| Part { partner_id, split: None };
            return self.attributed_to.map(alone).into_iter().collect();
        }
        let is_new = |part: &Part| {
            may_earn(part.partner_id)
                && self.booked.iter().all(|one| one.partner_id != part.partner_id)
        };
        parts.extend(shared.into_iter().filter(is_new));
        parts
    }

    /// Returns who has which part of its path, where clicks say whose it is.
    fn shared(&self) -> Vec<Part> {
        let path = self.path.as_ref().filter(|path| path.model.is_some());
        let shares = path.map(Path::shares).unwrap_or_default();
        let weights: Vec<u32> = shares.iter().map(|(_, weight)| *weight).collect();
        let split = |index| (weights.len() > 1).then(|| Split { index, weights: weights.clone() });
        let part = |(index, (partner_id, _)): (usize, &(PartnerId, u32))| Part {
            partner_id: *partner_id,
            split: split(index),
        };
        shares.iter().enumerate().map(part).collect()
    }

    /// Returns what went back to the customer of these amounts.
    pub fn back(&self) -> Back {
        let Some(refund) = &self.refund else { return Back::Nothing };
        let Some(back) = refund.amount else { return Back::All };
        match self.price.and_then(|price| price.amount) {
            // Without an amount it is refunded wholly or not.
            None => Back::Nothing,
            Some(amount) if back.minor >= amount.minor => Back::All,
            Some(_) => Back::Part(back),
        }
    }
}

/// How much of an order went back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Back {
    /// Nothing.
    Nothing,
    /// A part.
    Part(Money),
    /// All of it.
    All,
}
