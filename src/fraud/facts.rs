//! What suspicion must know when a batch settles, loaded once and kept up to date within it.

use std::collections::{HashMap, HashSet};

use chrono::DurationRound as _;
use chrono::TimeDelta;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::fraud::judge::{ClickMarks, SelfMatch, Suspect, judge};
use crate::fraud::{Flag, Policy};
use crate::ids::{PartnerId, ProgramId};
use crate::signing::{Key, hash_customer};

/// The keyed hash of a shop's name of a customer.
pub type CustomerHash = [u8; 32];

/// Everything that the conversions of a batch are compared with.
#[derive(Clone, Debug)]
pub struct FraudFacts {
    /// Hashes shops' names of customers.
    pub customer_key: Key,
    /// What each program wants; the default for those that are not here.
    pub policies: HashMap<ProgramId, Policy>,
    /// Contact addresses of partners; only loaded where a customer is named.
    pub emails: HashMap<(ProgramId, PartnerId), Vec<String>>,
    /// Customers that are partners themselves.
    pub own_customers: HashSet<(ProgramId, PartnerId, CustomerHash)>,
    /// Clicks that are there already.
    pub clicks: HashMap<(ProgramId, Uuid), ClickMarks>,
    /// How often partners earned in an hour.
    pub hours: HashMap<(ProgramId, PartnerId, Timestamp), u32>,
}

/// A commission that is about to be opened.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    /// The program.
    pub program_id: ProgramId,
    /// Who earns.
    pub partner_id: PartnerId,
    /// When the conversion happened.
    pub occurred_at: Timestamp,
    /// When its link was clicked, where a click of this partner led to it.
    pub click_at: Option<Timestamp>,
    /// The key of that click.
    pub click_id: Option<Uuid>,
    /// Who bought.
    pub customer_hash: Option<CustomerHash>,
}

/// Returns the hour, of UTC, in which the pace is counted.
pub fn hour_of(at: Timestamp) -> Timestamp {
    at.duration_trunc(TimeDelta::hours(1)).unwrap_or(at)
}

impl FraudFacts {
    /// Returns facts that know nothing yet.
    pub fn new(customer_key: Key) -> Self {
        Self {
            customer_key,
            policies: HashMap::new(),
            emails: HashMap::new(),
            own_customers: HashSet::new(),
            clicks: HashMap::new(),
            hours: HashMap::new(),
        }
    }

    /// Returns what looks wrong about a commission that is about to be opened.
    pub fn flags(&self, opening: &Opening) -> Vec<Flag> {
        let default;
        let policy = match self.policies.get(&opening.program_id) {
            Some(policy) => policy,
            None => {
                default = Policy::default();
                &default
            }
        };
        let in_hour = self.hours.get(&self.hour_key(opening)).copied().unwrap_or(0);
        let suspect = Suspect {
            self_match: self.self_match(opening),
            since_click: opening.click_at.map(|at| opening.occurred_at - at),
            click: opening
                .click_id
                .and_then(|id| self.clicks.get(&(opening.program_id, id)))
                .cloned(),
            n_in_hour: Some(in_hour.saturating_add(1)),
            refunded: None,
            top_source: None,
        };
        judge(policy, &suspect)
    }

    /// Counts a commission that was opened.
    pub fn count(&mut self, program_id: ProgramId, partner_id: PartnerId, occurred_at: Timestamp) {
        *self.hours.entry((program_id, partner_id, hour_of(occurred_at))).or_default() += 1;
    }

    fn hour_key(&self, opening: &Opening) -> (ProgramId, PartnerId, Timestamp) {
        (opening.program_id, opening.partner_id, hour_of(opening.occurred_at))
    }

    fn self_match(&self, opening: &Opening) -> Option<SelfMatch> {
        let (hash, place) = (opening.customer_hash?, (opening.program_id, opening.partner_id));
        if self.own_customers.contains(&(place.0, place.1, hash)) {
            return Some(SelfMatch::OwnCustomer);
        }
        let emails = self.emails.get(&place)?;
        emails
            .iter()
            .any(|email| is_named(&self.customer_key, email, &hash))
            .then_some(SelfMatch::Email)
    }
}

/// Tells whether a shop that names its customers by mail address means this one: as it is written,
/// in lower case, or as SHA-256 of that in hexadecimal, which is how shops often pass addresses on.
fn is_named(key: &Key, email: &str, customer: &CustomerHash) -> bool {
    let lower = email.trim().to_lowercase();
    let digest: String = Sha256::digest(&lower).iter().map(|b| format!("{b:02x}")).collect();
    [email, &lower, &digest].iter().any(|name| hash_customer(key, name) == *customer)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [3; 32];

    fn opening(customer: Option<&str>) -> (FraudFacts, Opening) {
        let (program_id, partner_id) = (ProgramId::new(), PartnerId::new());
        let mut facts = FraudFacts::new(Key::new(KEY));
        facts.emails.insert((program_id, partner_id), vec!["Anna@Blog.example".to_owned()]);
        let own = hash_customer(&Key::new(KEY), "customer 7");
        facts.own_customers.insert((program_id, partner_id, own));
        let opening = Opening {
            program_id,
            partner_id,
            occurred_at: "2026-11-22T10:59:59Z".parse().unwrap(),
            click_at: None,
            click_id: None,
            customer_hash: customer.map(|name| hash_customer(&Key::new(KEY), name)),
        };
        (facts, opening)
    }

    #[test]
    fn a_partner_is_recognized_by_its_address_in_each_usual_form() {
        for (customer, matched) in [
            (None, None),
            (Some("Anna@Blog.example"), Some("email")),
            (Some("anna@blog.example"), Some("email")),
            (Some("customer 7"), Some("own_customer")),
            (Some("customer 8"), None),
        ] {
            let (facts, opening) = opening(customer);
            let flags = facts.flags(&opening);
            let found = flags.first().map(|f| f.figures["matched"].as_str().unwrap().to_owned());
            assert_eq!(found.as_deref(), matched, "{customer:?}");
        }
        let digest: String =
            Sha256::digest("anna@blog.example").iter().map(|b| format!("{b:02x}")).collect();
        let (facts, opening) = opening(Some(&digest));
        assert_eq!(facts.flags(&opening).len(), 1);
    }

    #[test]
    fn another_partner_with_the_same_customer_is_not_meant() {
        let (facts, opening) = opening(Some("customer 7"));
        let other = Opening { partner_id: PartnerId::new(), ..opening };
        assert_eq!(facts.flags(&other), []);
    }

    #[test]
    fn the_pace_counts_this_one_and_those_of_the_same_hour() {
        let (mut facts, opening) = opening(None);
        let policy = Policy { velocity_per_hour: Some(2), ..Policy::default() };
        facts.policies.insert(opening.program_id, policy);
        for (minutes, expected) in [(0, 0), (-59, 0), (1, 0), (-30, 1)] {
            let occurred_at = opening.occurred_at + TimeDelta::minutes(minutes);
            let now = Opening { occurred_at, ..opening };
            assert_eq!(facts.flags(&now).len(), expected, "{minutes}");
            facts.count(now.program_id, now.partner_id, now.occurred_at);
        }
    }
}
