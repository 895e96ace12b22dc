//! Who is in a batch and who is carried forward. Pure: what is owed comes in, the batch comes out.

use crate::clock::Timestamp;
use crate::commission::state::Standing;
use crate::ids::{AdjustmentId, CommissionId, PartnerId};
use crate::ledger::posting::PayoutAmounts;
use crate::money::{Currency, Money, MoneyError};
use crate::payout::CarriedForward;
use crate::payout::method::MethodKind;
use crate::payout::tax::TaxProfile;

/// Why somebody who is owed something is not paid now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CarryReason {
    /// Clawbacks are larger than earnings: netted against what is earned next.
    NegativeBalance,
    /// The partner or its enrollment is blocked, paused or declined.
    Blocked,
    /// Less than the smallest payout.
    BelowMinimum,
    /// Nothing is known of its taxes.
    MissingTaxProfile,
    /// It has not agreed that we write its invoices.
    MissingConsent,
    /// It owes the receipt for an earlier payment.
    MissingReceipt,
    /// Nobody knows where its money goes.
    NoMethod,
    /// The bank sent the last payment back; the method is to be set anew.
    MethodReturned,
    /// Its method does not take this currency.
    OtherCurrency,
}

impl CarryReason {
    /// All reasons, in the order in which they are looked for.
    pub const ALL: [Self; 9] = [
        Self::NegativeBalance,
        Self::Blocked,
        Self::BelowMinimum,
        Self::MissingTaxProfile,
        Self::MissingConsent,
        Self::MissingReceipt,
        Self::NoMethod,
        Self::MethodReturned,
        Self::OtherCurrency,
    ];

    /// Returns the code as stored and shown.
    pub fn code(self) -> &'static str {
        match self {
            Self::NegativeBalance => "negative_balance",
            Self::Blocked => "blocked",
            Self::BelowMinimum => "below_minimum",
            Self::MissingTaxProfile => "missing_tax_profile",
            Self::MissingConsent => "missing_self_billing_consent",
            Self::MissingReceipt => "missing_receipt",
            Self::NoMethod => "no_payout_method",
            Self::MethodReturned => "method_returned",
            Self::OtherCurrency => "method_other_currency",
        }
    }

    /// Reads a stored code.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.code() == code)
    }
}

/// What is known of a partner's payout method without opening it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MethodFacts {
    /// How it pays.
    pub kind: MethodKind,
    /// Whether a bank sent money back from it.
    pub is_returned: bool,
    /// The account as people may see it.
    pub account_masked: String,
    /// The account, sealed for the partner.
    pub sealed: Vec<u8>,
    /// When it was last changed.
    pub changed_at: Timestamp,
    /// Whether another partner has the same account.
    pub is_shared: bool,
}

/// What a partner is owed: its approved commissions and its adjustments that no payout holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owed {
    /// Who.
    pub partner_id: PartnerId,
    /// Whether the partner may be paid.
    pub standing: Standing,
    /// The smallest payout; zero for any.
    pub minimum: Money,
    /// What tax law says about it.
    pub tax: Option<TaxProfile>,
    /// Whether it owes a receipt for longer than the law allows.
    pub owes_receipt: bool,
    /// Where its money goes.
    pub method: Option<MethodFacts>,
    /// The commissions with their signed amounts: clawbacks are below zero.
    pub commissions: Vec<(CommissionId, Money)>,
    /// The adjustments with their signed amounts.
    pub adjustments: Vec<(AdjustmentId, Money)>,
}

/// One payout to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedPayout {
    /// Who is paid.
    pub partner_id: PartnerId,
    /// Net, the sum of what it is made of, above zero; and what tax law makes of it.
    pub amounts: PayoutAmounts,
    /// The profile that it was reckoned by.
    pub tax: TaxProfile,
    /// Where it goes.
    pub method: MethodFacts,
    /// What it is made of.
    pub commissions: Vec<(CommissionId, Money)>,
    /// What else.
    pub adjustments: Vec<(AdjustmentId, Money)>,
}

/// What a batch will be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchPlan {
    /// Who is paid.
    pub payouts: Vec<PlannedPayout>,
    /// Who is not, and why.
    pub carried_forward: Vec<CarriedForward>,
    /// The sum of the payouts: net, VAT and what is withheld.
    pub totals: PayoutAmounts,
}

impl BatchPlan {
    /// Counts and sums who is carried forward for a reason.
    pub fn carried(&self, reason: CarryReason) -> Result<(usize, Money), MoneyError> {
        let of_it = self.carried_forward.iter().filter(|c| c.reason == reason);
        of_it
            .clone()
            .map(|c| c.amount)
            .try_fold(Money::zero(self.totals.net.currency), Money::checked_add)
            .map(|sum| (of_it.count(), sum))
    }
}

/// Divides those who are owed something into those who are paid and those who are not.
///
/// A payout is all or nothing: it takes everything of the partner, what is negative too.
pub fn plan(owed: Vec<Owed>, currency: Currency) -> Result<BatchPlan, MoneyError> {
    let zero = Money::zero(currency);
    let mut plan = BatchPlan {
        payouts: Vec::new(),
        carried_forward: Vec::new(),
        totals: PayoutAmounts { net: zero, vat: zero, withheld: zero },
    };
    for owed in owed {
        let parts = owed.commissions.iter().map(|(_, amount)| *amount);
        let mut parts = parts.chain(owed.adjustments.iter().map(|(_, amount)| *amount));
        let net = parts.try_fold(zero, Money::checked_add)?;
        match ready(net, &owed)? {
            Err(reason) => {
                let partner_id = owed.partner_id;
                plan.carried_forward.push(CarriedForward { partner_id, amount: net, reason });
            }
            Ok((amounts, tax, method)) => {
                plan.totals = PayoutAmounts {
                    net: plan.totals.net.checked_add(amounts.net)?,
                    vat: plan.totals.vat.checked_add(amounts.vat)?,
                    withheld: plan.totals.withheld.checked_add(amounts.withheld)?,
                };
                let Owed { partner_id, commissions, adjustments, .. } = owed;
                plan.payouts.push(PlannedPayout {
                    partner_id,
                    amounts,
                    tax,
                    method,
                    commissions,
                    adjustments,
                });
            }
        }
    }
    Ok(plan)
}

type Ready = (PayoutAmounts, TaxProfile, MethodFacts);

/// Returns what a payout needs, or the first reason against it.
fn ready(net: Money, owed: &Owed) -> Result<Result<Ready, CarryReason>, MoneyError> {
    if net.minor < 0 {
        return Ok(Err(CarryReason::NegativeBalance));
    }
    match owed.standing {
        Standing::Blocked => return Ok(Err(CarryReason::Blocked)),
        // A payout of nothing is no payout, whatever the minimum.
        Standing::Good if net.minor < owed.minimum.minor.max(1) => {
            return Ok(Err(CarryReason::BelowMinimum));
        }
        Standing::Good => {}
    }
    let Some(tax) = &owed.tax else { return Ok(Err(CarryReason::MissingTaxProfile)) };
    let amounts = tax.amounts(net)?;
    if !amounts.transfer()?.is_positive() {
        return Ok(Err(CarryReason::BelowMinimum));
    }
    if tax.vat_treatment.needs_self_billing() && tax.self_billing_agreed_at.is_none() {
        return Ok(Err(CarryReason::MissingConsent));
    }
    if owed.owes_receipt {
        return Ok(Err(CarryReason::MissingReceipt));
    }
    let Some(method) = &owed.method else { return Ok(Err(CarryReason::NoMethod)) };
    if method.is_returned {
        return Ok(Err(CarryReason::MethodReturned));
    }
    if !method.kind.takes(net.currency) {
        return Ok(Err(CarryReason::OtherCurrency));
    }
    Ok(Ok((amounts, tax.clone(), method.clone())))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::money::Bps;
    use crate::payout::tax::{LegalType, VatTreatment};

    fn eur() -> Currency {
        "EUR".parse().unwrap()
    }

    fn tax() -> TaxProfile {
        TaxProfile {
            legal_type: LegalType::Company,
            tax_country: "DE".to_owned(),
            tax_id: None,
            vat_id: Some("DE123456789".to_owned()),
            vat_treatment: VatTreatment::Standard,
            vat_rate: Bps(1900),
            withholding: Bps(1500),
            self_billing_agreed_at: Some(Timestamp::UNIX_EPOCH),
        }
    }

    fn method() -> MethodFacts {
        MethodFacts {
            kind: MethodKind::Sepa,
            is_returned: false,
            account_masked: "DE••••3000".to_owned(),
            sealed: Vec::new(),
            changed_at: Timestamp::UNIX_EPOCH,
            is_shared: false,
        }
    }

    fn owed(standing: Standing, minimum: i64, amounts: &[i64]) -> Owed {
        let commissions =
            amounts.iter().map(|&a| (CommissionId::new(), Money::new(a, eur()))).collect();
        Owed {
            partner_id: PartnerId::new(),
            standing,
            minimum: Money::new(minimum, eur()),
            tax: Some(tax()),
            owes_receipt: false,
            method: Some(method()),
            commissions,
            adjustments: Vec::new(),
        }
    }

    #[test]
    fn each_case_is_paid_or_carried_forward_for_its_reason() {
        use CarryReason::*;
        use Standing::{Blocked as Bad, Good};
        type Case = (Standing, i64, &'static [i64], Result<i64, CarryReason>);
        let cases: [Case; 11] = [
            (Good, 0, &[1], Ok(1)),
            (Good, 5000, &[5000], Ok(5000)),
            (Good, 5000, &[4999], Err(BelowMinimum)),
            (Good, 5000, &[9000, -4001], Err(BelowMinimum)),
            (Good, 5000, &[9000, -4000], Ok(5000)),
            (Good, 0, &[100, -100], Err(BelowMinimum)),
            (Good, 0, &[], Err(BelowMinimum)),
            (Good, 0, &[100, -101], Err(NegativeBalance)),
            (Bad, 0, &[100, -101], Err(NegativeBalance)),
            (Bad, 0, &[100], Err(Blocked)),
            (Bad, 5000, &[100], Err(Blocked)),
        ];
        for (standing, minimum, amounts, expected) in cases {
            let plan = plan(vec![owed(standing, minimum, amounts)], eur()).unwrap();
            let found = match (plan.payouts.as_slice(), plan.carried_forward.as_slice()) {
                ([paid], []) => Ok(paid.amounts.net.minor),
                ([], [carried]) => Err(carried.reason),
                both => panic!("{both:?}"),
            };
            assert_eq!(found, expected, "{standing:?} {minimum} {amounts:?}");
        }
    }

    #[test]
    fn what_is_missing_is_the_reason() {
        use CarryReason::*;
        let good = || owed(Standing::Good, 0, &[1_000]);
        let no_consent = TaxProfile { self_billing_agreed_at: None, ..tax() };
        let unregistered = TaxProfile {
            vat_treatment: VatTreatment::Unregistered,
            vat_rate: Bps(0),
            ..no_consent.clone()
        };
        let returned = MethodFacts { is_returned: true, ..method() };
        let rubles = MethodFacts { kind: MethodKind::RuBank, ..method() };
        let cases = [
            (good(), None),
            (Owed { tax: None, method: None, ..good() }, Some(MissingTaxProfile)),
            (Owed { tax: Some(no_consent), ..good() }, Some(MissingConsent)),
            (Owed { tax: Some(unregistered), ..good() }, None),
            (Owed { owes_receipt: true, method: None, ..good() }, Some(MissingReceipt)),
            (Owed { method: None, ..good() }, Some(NoMethod)),
            (Owed { method: Some(returned), ..good() }, Some(MethodReturned)),
            (Owed { method: Some(rubles), ..good() }, Some(OtherCurrency)),
        ];
        for (owed, reason) in cases {
            let plan = plan(vec![owed.clone()], eur()).unwrap();
            assert_eq!(plan.carried_forward.first().map(|c| c.reason), reason, "{owed:?}");
            assert_eq!(plan.payouts.len(), usize::from(reason.is_none()));
        }
        for reason in CarryReason::ALL {
            assert_eq!(CarryReason::from_code(reason.code()), Some(reason));
        }
    }

    #[test]
    fn an_adjustment_is_paid_and_taken_like_a_commission() {
        let adjusted = |minor| Owed {
            adjustments: vec![(AdjustmentId::new(), Money::new(minor, eur()))],
            ..owed(Standing::Good, 0, &[1_000])
        };
        let more = plan(vec![adjusted(250)], eur()).unwrap();
        // 19 % on top, 15 % held back.
        let a = more.payouts[0].amounts;
        assert_eq!((a.net.minor, a.vat.minor, a.withheld.minor), (1_250, 238, 188));
        assert_eq!(more.totals, a);
        let less = plan(vec![adjusted(-1_001)], eur()).unwrap();
        assert_eq!(less.carried_forward[0].reason, CarryReason::NegativeBalance);
    }

    #[test]
    fn currencies_are_never_netted() {
        let mut mixed = owed(Standing::Good, 0, &[100]);
        mixed.commissions.push((CommissionId::new(), Money::new(100, "USD".parse().unwrap())));
        assert!(matches!(plan(vec![mixed], eur()), Err(MoneyError::CurrencyMismatch { .. })));
    }

    fn any_owed() -> impl Strategy<Value = Owed> {
        let standing = prop_oneof![Just(Standing::Good), Just(Standing::Blocked)];
        (standing, 0i64..5_000, prop::collection::vec(-10_000i64..10_000, 0..8))
            .prop_map(|(standing, minimum, amounts)| owed(standing, minimum, &amounts))
    }

    proptest! {
        #[test]
        fn all_that_is_owed_is_paid_or_carried_forward(all in prop::collection::vec(any_owed(), 0..20)) {
            let whole: i64 = all.iter().flat_map(|o| &o.commissions).map(|(_, m)| m.minor).sum();
            let n_all = all.len();
            let plan = plan(all, eur()).unwrap();
            let carried: i64 = plan.carried_forward.iter().map(|c| c.amount.minor).sum();
            prop_assert_eq!(plan.totals.net.minor + carried, whole);
            prop_assert_eq!(plan.payouts.len() + plan.carried_forward.len(), n_all);
            for payout in &plan.payouts {
                let sum: i64 = payout.commissions.iter().map(|(_, m)| m.minor).sum();
                prop_assert_eq!(payout.amounts.net.minor, sum);
                prop_assert!(payout.amounts.transfer().unwrap().is_positive());
            }
            let (mut n, mut sum) = (0, 0);
            for reason in CarryReason::ALL {
                let (count, amount) = plan.carried(reason).unwrap();
                n += count;
                sum += amount.minor;
            }
            prop_assert_eq!((n, sum), (plan.carried_forward.len(), carried));
        }
    }
}
