//! What settlement must know to decide, loaded once for a batch and kept up to date within it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::commission::hold::PostbackApproval;
use crate::commission::plan::PlanVersion;
use crate::commission::pricing::PricingFacts;
use crate::commission::refund::Refund;
use crate::commission::{Commission, CommissionKind, CommissionState, PriceFacts};
use crate::fraud::facts::FraudFacts;
use crate::ids::{
    CommissionId, ConversionId, PartnerNo, ProgramId, ProgramNo, ReceiptId, SourceId,
};
use crate::money::Money;
use crate::program::attribution::Policies;
use crate::settlement::attribution::known::Known;
use crate::settlement::waiting::Room;
use crate::settlement::{Decision, Earner, Message, NewConversion, OrderKey};
use crate::signing::KeyRing;

/// Everything that the messages of a batch touch.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The time of this settlement.
    pub now: Timestamp,
    /// Keys that verify click ids.
    pub click_keys: KeyRing,
    /// The programs named.
    pub programs: HashMap<ProgramId, ProgramFacts>,
    /// The order namespace of each source named.
    pub namespaces: HashMap<SourceId, String>,
    /// The sources named whose postbacks are approved by time.
    pub approved_by_time: HashSet<SourceId>,
    /// Partners by their numbers in click ids.
    pub earners: HashMap<(ProgramId, PartnerNo), Earner>,
    /// Conversions already there.
    pub conversions: HashMap<OrderKey, ConversionFacts>,
    /// Messages already there: the hash of their bytes.
    pub messages: HashMap<(SourceId, String), [u8; 32]>,
    /// Receipts already answered: a second reading of an event ends here.
    pub receipts: HashSet<ReceiptId>,
    /// What commissions are priced by beside the plan.
    pub pricing: PricingFacts,
    /// Messages that wait for a conversion, by what names it.
    pub waiting: HashMap<OrderKey, Vec<Arc<Message>>>,
    /// How full the waiting rooms are, of programs in which a message may have to wait.
    pub rooms: HashMap<ProgramId, Room>,
    /// What suspicion looks at.
    pub fraud: FraudFacts,
    /// Coupons, and whose customers are.
    pub known: Known,
}

/// A program, to settlement.
#[derive(Clone, Debug)]
pub struct ProgramFacts {
    /// Its number in tokens.
    pub number: ProgramNo,
    /// Every edition of its attribution policy.
    pub policies: Policies,
    /// Every edition of its plan.
    pub plans: Vec<PlanVersion>,
}

impl ProgramFacts {
    /// Returns whether any edition of its plan has tiers, caps or budgets.
    pub fn has_counters(&self) -> bool {
        self.plans.iter().any(|version| version.terms.has_counters())
    }
}

/// A conversion that is already there.
#[derive(Clone, Debug)]
pub struct ConversionFacts {
    /// Key of the row.
    pub conversion_id: ConversionId,
    /// Tells a retry from a conflict.
    pub content_hash: [u8; 32],
    /// When it happened: decides which edition of the plan prices corrections.
    pub occurred_at: Timestamp,
    /// Who did it, by the keyed hash of the shop's name.
    pub customer_hash: Option<[u8; 32]>,
    /// What it was priced from.
    pub price: Option<PriceFacts>,
    /// The update whose content it has: when it was sent, and its id.
    pub restated: Option<(Timestamp, String)>,
    /// Refunds so far, each with its amount.
    pub refunds: Vec<Refund>,
    /// Its commissions, corrections included.
    pub commissions: Vec<Commission>,
}

impl ConversionFacts {
    /// Returns what was earned: a commission for each partner who has a part.
    pub fn earned(&self) -> impl Iterator<Item = &Commission> {
        self.commissions.iter().filter(|c| c.kind == CommissionKind::Earned)
    }

    /// Returns the signed sum of the clawbacks and adjustments of one of them, if there are any.
    pub fn corrections(&self, of: CommissionId) -> Option<Money> {
        self.commissions
            .iter()
            .filter(|c| c.corrects_id == Some(of) && !c.kind.is_earned())
            .map(|c| c.amount)
            .reduce(|sum, next| sum.checked_add(next).unwrap_or(sum))
    }

    /// Returns the signed sum of what a person took back of one of them, if anything.
    pub fn taken_by_hand(&self, of: CommissionId) -> Option<Money> {
        self.commissions
            .iter()
            .filter(|c| c.corrects_id == Some(of) && c.is_by_hand())
            .map(|c| c.amount)
            .reduce(|sum, next| sum.checked_add(next).unwrap_or(sum))
    }

    /// Returns what the recruiter has of one of them.
    pub fn recruiter_of(&self, of: CommissionId) -> Option<&Commission> {
        let is_its = |c: &&Commission| c.corrects_id == Some(of);
        self.commissions.iter().filter(|c| c.kind == CommissionKind::Recruiter).find(is_its)
    }

    /// Returns the arithmetic that holds for one of them now: that of its latest correction, or
    /// its own.
    pub fn arithmetic<'a>(&'a self, of: &'a Commission) -> &'a serde_json::Value {
        let corrections = self.commissions.iter().filter(|c| {
            c.corrects_id == Some(of.commission_id)
                && !c.kind.is_earned()
                && c.calculation.get("inputs").is_some()
        });
        corrections.max_by_key(|c| c.commission_id).map_or(&of.calculation, |c| &c.calculation)
    }
}

impl Facts {
    /// Returns what names the conversion that a message is about.
    pub fn order_key(&self, message: &Message) -> OrderKey {
        OrderKey {
            program_id: message.program_id,
            order_namespace: self.namespaces.get(&message.source_id).cloned().unwrap_or_default(),
            event: message.report.event.clone(),
            dedup_ref: message.report.dedup_ref(),
        }
    }

    /// Makes room for what so many messages add: to grow by it takes a tenth of the time of deciding.
    pub fn reserve(&mut self, n_messages: usize) {
        self.conversions.reserve(n_messages);
        self.messages.reserve(n_messages);
        self.receipts.reserve(n_messages);
    }

    /// Tells whether any of these messages was met before, or is about a conversion that is there.
    pub fn know_any<'m>(&self, mut messages: impl Iterator<Item = &'m Message>) -> bool {
        let know_nothing =
            self.receipts.is_empty() && self.messages.is_empty() && self.conversions.is_empty();
        !know_nothing
            && messages.any(|m| {
                self.receipts.contains(&m.receipt_id)
                    || self.messages.contains_key(&(m.source_id, m.message_id.clone()))
                    || self.conversions.contains_key(&self.order_key(m))
            })
    }

    /// Returns who approves what rests on a postback of this source.
    pub fn postback_approval(&self, source: SourceId) -> PostbackApproval {
        if self.approved_by_time.contains(&source) {
            PostbackApproval::ByTime
        } else {
            PostbackApproval::ByPerson
        }
    }

    /// Tells whether a partner may be paid now.
    pub fn is_in_good_standing(&self, program_id: ProgramId, partner: PartnerNo) -> bool {
        self.earners.get(&(program_id, partner)).is_some_and(|earner| earner.is_in_good_standing)
    }

    /// Takes a decision in, so that the next message of the batch is decided after it.
    pub fn absorb(&mut self, message: &Arc<Message>, decision: &Decision) {
        match decision {
            Decision::Record(new) => self.record(message, new),
            Decision::Bind(bond) => {
                if let Some(hash) = message.report.customer_hash {
                    let customer = (message.program_id, hash);
                    self.known.bonds.entry(customer).or_default().add(*bond);
                }
            }
            Decision::Reattribute { .. } => {
                let key = self.order_key(message);
                self.known.nobodys.remove(&key);
            }
            Decision::Void(conversion_id) => self.void(message, *conversion_id),
            Decision::Refund { conversion_id, refund_id, amount } => {
                let refund = Refund { refund_id: refund_id.clone(), amount: *amount };
                if let Some(c) = self.conversion_mut(message, *conversion_id) {
                    c.refunds.push(refund);
                }
            }
            Decision::Restate { conversion_id, .. } => {
                if let Some(c) = self.conversion_mut(message, *conversion_id) {
                    c.content_hash = message.report.content_hash();
                    c.price = crate::settlement::decide::price_facts(&message.report);
                    c.restated = Some((message.sent_at, message.message_id.clone()));
                }
                let key = self.order_key(message);
                self.known.nobodys.restate(&key, &message.report);
            }
            Decision::Commission(step) => {
                let after = &step.after;
                if step.from.is_none() && after.kind == CommissionKind::Earned {
                    self.fraud.count(after.program_id, after.partner_id, after.occurred_at);
                }
                self.pricing.absorb(&step.counted, after.occurred_at);
                let of = step.after.conversion_id;
                if let Some(c) = of.and_then(|id| self.conversion_mut(message, id)) {
                    c.commissions.retain(|old| old.commission_id != step.after.commission_id);
                    c.commissions.push(step.after.clone());
                }
                let is_over =
                    matches!(after.state, CommissionState::Rejected | CommissionState::Reversed);
                let is_earned = after.kind == CommissionKind::Earned;
                if let Some(id) = of.filter(|_| is_over && is_earned) {
                    self.void(message, id);
                }
            }
            // Flags are for people; nothing is decided by them again.
            Decision::Flag(_) => {}
            Decision::Verdict { is_id_taken, .. } => {
                self.receipts.insert(message.receipt_id);
                if !is_id_taken {
                    let id = (message.source_id, message.message_id.clone());
                    self.messages.insert(id, message.body_hash);
                }
            }
            Decision::Wait(key) => {
                self.waiting.entry(key.clone()).or_default().push(Arc::clone(message));
                if let Some(room) = self.rooms.get_mut(&key.program_id) {
                    room.n_waiting += 1;
                }
            }
            // It never waited.
            Decision::TurnAway(_) => {}
            Decision::Admit(key) => {
                let n_admitted = self.waiting.remove(key).map_or(0, |admitted| admitted.len());
                if let Some(room) = self.rooms.get_mut(&key.program_id) {
                    room.n_waiting -= i64::try_from(n_admitted).unwrap_or(0);
                }
            }
        }
    }

    /// Takes a new conversion in.
    fn record(&mut self, message: &Arc<Message>, new: &NewConversion) {
        let report = &message.report;
        if let Some(hash) = report.customer_hash.filter(|_| !report.is_test) {
            self.pricing.meet(message.program_id, hash, &report.event, report.occurred_at);
        }
        let facts = ConversionFacts {
            conversion_id: new.conversion_id,
            content_hash: new.content_hash,
            occurred_at: message.report.occurred_at,
            customer_hash: message.report.customer_hash,
            price: crate::settlement::decide::price_facts(&message.report),
            restated: None,
            refunds: Vec::new(),
            commissions: Vec::new(),
        };
        self.conversions.insert(new.key.clone(), facts);
        if new.attribution.partner().is_none() && !report.is_test {
            self.known.nobodys.add(new.key.clone(), Arc::clone(message));
        }
    }

    /// Takes in that a conversion is over: whom it bound is free, and nobody gets it any more.
    fn void(&mut self, message: &Message, conversion_id: ConversionId) {
        let key = self.order_key(message);
        self.known.nobodys.remove(&key);
        let customer = self.conversions.get(&key).and_then(|c| c.customer_hash);
        let customer = customer.map(|hash| (message.program_id, hash));
        if let Some(bonds) = customer.and_then(|customer| self.known.bonds.get_mut(&customer)) {
            bonds.void(conversion_id);
        }
    }

    /// Finds the conversion that a message is about by the order's key: a search of all of them
    /// would make a batch of ten thousand take the square of its time.
    fn conversion_mut(
        &mut self,
        message: &Message,
        id: ConversionId,
    ) -> Option<&mut ConversionFacts> {
        let key = self.order_key(message);
        self.conversions.get_mut(&key).filter(|c| c.conversion_id == id)
    }
}
