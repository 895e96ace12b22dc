//! Customer ownership: a conversion that binds its customer to the partner who brought it.
//!
//! Each such conversion is a bond that holds for a time or for life. **Of the bonds that hold at a
//! time, the oldest one owns the customer.** That is a function of the bonds alone, so the order in
//! which they arrive changes nothing.

use crate::clock::Timestamp;
use crate::conversion::{MessageType, Report};
use crate::ids::{ConversionId, PartnerNo};
use crate::program::attribution::{Policy, Step};
use crate::settlement::attribution::{Attribution, Owner};

/// A conversion that binds its customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bond {
    /// Which.
    pub conversion_id: ConversionId,
    /// To whom, and since when.
    pub owner: Owner,
    /// Until when; for life where it is not given.
    pub until: Option<Timestamp>,
}

impl Bond {
    /// Tells whether it holds at a time.
    pub fn holds(&self, at: Timestamp) -> bool {
        self.owner.since <= at && self.until.is_none_or(|until| at < until)
    }
}

/// The bonds of one customer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bonds(Vec<Bond>);

impl Bonds {
    /// Adds a bond, in whatever order they come.
    pub fn add(&mut self, bond: Bond) {
        let key = |bond: &Bond| (bond.owner.since, bond.conversion_id);
        let place = self.0.partition_point(|known| key(known) < key(&bond));
        self.0.insert(place, bond);
    }

    /// Takes the bond of a conversion away.
    pub fn void(&mut self, conversion_id: ConversionId) {
        self.0.retain(|bond| bond.conversion_id != conversion_id);
    }

    /// Returns whom they bind the customer to.
    pub fn partners(&self) -> impl Iterator<Item = PartnerNo> {
        self.0.iter().map(|bond| bond.owner.partner)
    }

    /// Returns the bond that owns the customer at a time: the oldest that holds.
    pub fn at(&self, at: Timestamp) -> Option<&Bond> {
        self.0.iter().take_while(|bond| bond.owner.since <= at).find(|bond| bond.holds(at))
    }
}

/// Returns the bond that a conversion makes by the policy of its time, if it makes one.
///
/// Only a click or a coupon binds: what is a partner's because the customer is, says nothing new.
pub fn bond(
    policy: &Policy,
    report: &Report,
    attribution: &Attribution,
    conversion_id: ConversionId,
) -> Option<Bond> {
    let decisive = attribution.decisive()?;
    match decisive.step() {
        Step::Click | Step::Coupon => bond_to(policy, report, decisive.partner()?, conversion_id),
        Step::Customer => None,
    }
}

/// Returns the bond that a conversion of a partner makes, if the policy lets its event bind.
pub fn bond_to(
    policy: &Policy,
    report: &Report,
    partner: PartnerNo,
    conversion_id: ConversionId,
) -> Option<Bond> {
    report.customer_hash?;
    let ownership = policy.ownership.as_ref()?;
    let binds = ownership.bind_on.contains(&report.event);
    let since = report.occurred_at;
    (binds && !report.is_test).then(|| Bond {
        conversion_id,
        owner: Owner { partner, since },
        until: ownership.lasts.map(|lasts| since + lasts),
    })
}

/// Tells whether a message may make a bond, by any edition of the policies.
pub fn may_bind<'a>(report: &Report, mut policies: impl Iterator<Item = &'a Policy>) -> bool {
    report.message_type == MessageType::Created
        && policies.any(|policy| {
            let bind_on = policy.ownership.as_ref().map(|ownership| &ownership.bind_on);
            bind_on.is_some_and(|events| events.contains(&report.event))
        })
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;

    fn day(n: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + TimeDelta::days(n)
    }

    fn bond_of(partner: u32, since: i64, days: Option<i64>) -> Bond {
        Bond {
            conversion_id: ConversionId::new(),
            owner: Owner { partner: PartnerNo(partner), since: day(since) },
            until: days.map(|days| day(since + days)),
        }
    }

    #[test]
    fn the_oldest_bond_that_holds_owns() {
        let mut bonds = Bonds::default();
        for bond in [bond_of(2, 20, Some(30)), bond_of(1, 0, Some(30)), bond_of(3, 60, None)] {
            bonds.add(bond);
        }
        for (at, owner) in
            [(-1, None), (0, Some(1)), (25, Some(1)), (30, Some(2)), (50, None), (60, Some(3))]
        {
            let found = bonds.at(day(at)).map(|bond| bond.owner.partner.0);
            assert_eq!(found, owner, "day {at}");
        }
    }

    proptest! {
        #[test]
        fn the_order_of_arrival_changes_no_owner(
            (bonds, arrival) in prop::collection::vec(
                (0..5u32, 0..100i64, prop::option::of(1..60i64)), 0..12,
            ).prop_flat_map(|all| {
                let bonds: Vec<Bond> = all.iter().map(|(p, since, d)| bond_of(*p, *since, *d)).collect();
                (Just(bonds.clone()), Just(bonds).prop_shuffle())
            }),
            asked in -5..170i64,
        ) {
            let mut known = Bonds::default();
            arrival.into_iter().for_each(|bond| known.add(bond));
            // Told in one line: of those that hold, the smallest (since, id).
            let expected = bonds
                .iter()
                .filter(|bond| bond.holds(day(asked)))
                .min_by_key(|bond| (bond.owner.since, bond.conversion_id));
            prop_assert_eq!(known.at(day(asked)), expected);
            if let Some(first) = expected.copied() {
                known.void(first.conversion_id);
                prop_assert_ne!(known.at(day(asked)), Some(&first));
            }
        }
    }
}
