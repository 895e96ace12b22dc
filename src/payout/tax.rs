//! What tax law adds to a payout and takes from it. Pure.
//!
//! `net` is what the partner's balance gives; VAT comes on top where the partner charges it, tax is
//! withheld where the law makes the payer pay it. The bank moves `net + VAT − withheld`.

use chrono::{Datelike as _, Months, NaiveDate};

use crate::clock::Timestamp;
use crate::ledger::posting::PayoutAmounts;
use crate::money::{Bps, Money, MoneyError, Rounding};

/// Who is paid, for tax law.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegalType {
    /// A natural person: the payer may have to withhold.
    Person,
    /// A self-employed person in Russia (tax on professional income): pays own tax, owes a receipt.
    Npd,
    /// An entrepreneur.
    SoleTrader,
    /// A company.
    Company,
}

impl LegalType {
    /// All of them, for reading and for tests.
    pub const ALL: [Self; 4] = [Self::Person, Self::Npd, Self::SoleTrader, Self::Company];

    /// Returns the code as stored and shown.
    pub fn code(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Npd => "npd",
            Self::SoleTrader => "sole_trader",
            Self::Company => "company",
        }
    }

    /// Reads a stored code.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.code() == code)
    }
}

/// How VAT treats what the partner does: the codes of EN 16931, and none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VatTreatment {
    /// Standard: VAT on top.
    Standard,
    /// Reverse charge: the payer accounts for it.
    ReverseCharge,
    /// Export outside the union.
    Export,
    /// Outside the scope of VAT.
    OutOfScope,
    /// Not registered.
    Unregistered,
}

impl VatTreatment {
    /// All of them, for reading and for tests.
    pub const ALL: [Self; 5] =
        [Self::Standard, Self::ReverseCharge, Self::Export, Self::OutOfScope, Self::Unregistered];

    /// Returns the code as stored and shown.
    pub fn code(self) -> &'static str {
        match self {
            Self::Standard => "S",
            Self::ReverseCharge => "AE",
            Self::Export => "G",
            Self::OutOfScope => "O",
            Self::Unregistered => "none",
        }
    }

    /// Reads a stored code.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.code() == code)
    }

    /// Tells whether the payment needs an invoice, which we write for the partner: not before the
    /// partner has agreed to that.
    pub fn needs_self_billing(self) -> bool {
        match self {
            Self::Standard | Self::ReverseCharge | Self::Export => true,
            Self::OutOfScope | Self::Unregistered => false,
        }
    }
}

/// What tax law says about a partner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaxProfile {
    /// Who it is.
    pub legal_type: LegalType,
    /// Where it is taxed, ISO 3166-1 alpha-2.
    pub tax_country: String,
    /// Its tax number.
    pub tax_id: Option<String>,
    /// Its VAT number.
    pub vat_id: Option<String>,
    /// How VAT treats it.
    pub vat_treatment: VatTreatment,
    /// VAT on top; zero unless standard.
    pub vat_rate: Bps,
    /// Tax held back.
    pub withholding: Bps,
    /// When it agreed that we write its invoices.
    pub self_billing_agreed_at: Option<Timestamp>,
}

impl TaxProfile {
    /// Returns what is wrong with it: a JSON pointer, and why.
    pub fn mistakes(&self) -> Vec<(&'static str, &'static str)> {
        let is_country =
            self.tax_country.len() == 2 && self.tax_country.bytes().all(|b| b.is_ascii_uppercase());
        let is_standard = self.vat_treatment == VatTreatment::Standard;
        let is_npd = self.legal_type == LegalType::Npd;
        let needs_vat_id =
            matches!(self.vat_treatment, VatTreatment::Standard | VatTreatment::ReverseCharge);
        let inn = self.tax_id.as_deref().unwrap_or_default();
        let rules = [
            (is_country, "/tax_country", "is not a country of two capital letters such as DE"),
            (
                self.vat_rate.0 <= 5000,
                "/vat_rate_bps",
                "must be 0 to 5000: hundredths of a percent",
            ),
            (
                is_standard == (self.vat_rate.0 > 0),
                "/vat_rate_bps",
                "must be above zero for the treatment S and zero for any other",
            ),
            (self.withholding.0 <= 5000, "/withholding_bps", "must be 0 to 5000"),
            (!needs_vat_id || self.vat_id.is_some(), "/vat_id", "is needed for S and AE"),
            (!is_npd || self.tax_country == "RU", "/tax_country", "must be RU for npd"),
            (
                !is_npd || (self.withholding.0 == 0 && !self.vat_treatment.needs_self_billing()),
                "/withholding_bps",
                "npd pays its own tax: no withholding, and a VAT treatment of none or O",
            ),
            (
                !is_npd || crate::payout::method::russia::is_inn(inn),
                "/tax_id",
                "must be a valid INN of 12 digits for npd: it stands in the register and receipt",
            ),
        ];
        rules.into_iter().filter(|(fits, ..)| !fits).map(|(_, at, why)| (at, why)).collect()
    }

    /// Reckons a payout. Rounded half up, as on invoices; what is withheld in Russia is whole
    /// rubles (tax code, article 52 part 6).
    pub fn amounts(&self, net: Money) -> Result<PayoutAmounts, MoneyError> {
        let vat = net.mul_bps(self.vat_rate, Rounding::HalfUp)?;
        let withheld = if self.tax_country == "RU" && net.currency.code() == "RUB" {
            let rubles =
                net.mul_ratio(i64::from(self.withholding.0), 1_000_000, Rounding::HalfUp)?;
            rubles.mul_ratio(100, 1, Rounding::HalfUp)?
        } else {
            net.mul_bps(self.withholding, Rounding::HalfUp)?
        };
        Ok(PayoutAmounts { net, vat, withheld })
    }
}

/// Returns the day before which payments to self-employed persons must have their receipts: each
/// is due on the ninth of the month after the payment (law 422-FZ, article 14 part 3).
pub fn receipts_due_before(today: NaiveDate) -> Option<NaiveDate> {
    let month = today.with_day(1)?;
    if today.day() > 9 { Some(month) } else { month.checked_sub_months(Months::new(1)) }
}

/// Returns the last day on which the receipt of a payment is in time.
pub fn receipt_due_on(paid_on: NaiveDate) -> Option<NaiveDate> {
    paid_on.with_day(1)?.checked_add_months(Months::new(1))?.with_day(9)
}

/// Names a self-billed document: a year and a number without gaps in it.
pub fn document_no(year: i32, number: i64) -> String {
    format!("SB-{year}-{number:06}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn profile(country: &str, vat_bps: u32, withholding_bps: u32) -> TaxProfile {
        TaxProfile {
            legal_type: LegalType::Company,
            tax_country: country.to_owned(),
            tax_id: None,
            vat_id: Some("DE123456789".to_owned()),
            vat_treatment: if vat_bps > 0 {
                VatTreatment::Standard
            } else {
                VatTreatment::OutOfScope
            },
            vat_rate: Bps(vat_bps),
            withholding: Bps(withholding_bps),
            self_billing_agreed_at: None,
        }
    }

    #[test]
    fn figures_known_from_invoices() {
        let (eur, rub) = ("EUR".parse().unwrap(), "RUB".parse().unwrap());
        let cases = [
            (profile("DE", 1900, 0), Money::new(10_000, eur), (1_900, 0, 11_900)),
            (profile("DE", 1900, 1500), Money::new(2_998, eur), (570, 450, 3_118)),
            // Half a cent goes up.
            (profile("DE", 0, 1000), Money::new(5, eur), (0, 1, 4)),
            // 13 % of 1,003.87 rubles are 130.5031: 131 whole rubles.
            (profile("RU", 0, 1300), Money::new(100_387, rub), (0, 13_100, 87_287)),
            (profile("RU", 0, 1300), Money::new(100_000, rub), (0, 13_000, 87_000)),
            (profile("RU", 0, 1300), Money::new(384, rub), (0, 0, 384)),
            (profile("RU", 0, 1300), Money::new(100_387, eur), (0, 13_050, 87_337)),
        ];
        for (profile, net, expected) in cases {
            let a = profile.amounts(net).unwrap();
            let found = (a.vat.minor, a.withheld.minor, a.transfer().unwrap().minor);
            assert_eq!(found, expected, "{profile:?} {net:?}");
        }
    }

    #[test]
    fn a_profile_that_contradicts_itself_is_refused() {
        let good = profile("DE", 1900, 0);
        assert_eq!(good.mistakes(), []);
        let npd = TaxProfile {
            legal_type: LegalType::Npd,
            tax_id: Some("500100732259".to_owned()),
            ..profile("RU", 0, 0)
        };
        assert_eq!(npd.mistakes(), []);
        let cases = [
            (TaxProfile { tax_country: "Germany".to_owned(), ..good.clone() }, "/tax_country"),
            (TaxProfile { vat_rate: Bps(0), ..good.clone() }, "/vat_rate_bps"),
            (TaxProfile { vat_id: None, ..good.clone() }, "/vat_id"),
            (TaxProfile { withholding: Bps(5001), ..good }, "/withholding_bps"),
            (TaxProfile { tax_country: "DE".to_owned(), ..npd.clone() }, "/tax_country"),
            (TaxProfile { withholding: Bps(1300), ..npd.clone() }, "/withholding_bps"),
            (TaxProfile { tax_id: None, ..npd }, "/tax_id"),
        ];
        for (profile, pointer) in cases {
            let at: Vec<&str> = profile.mistakes().into_iter().map(|(at, _)| at).collect();
            assert_eq!(at, [pointer], "{profile:?}");
        }
    }

    #[test]
    fn a_receipt_is_due_on_the_ninth() {
        for (today, before) in [
            ("2026-11-09", "2026-10-01"),
            ("2026-11-10", "2026-11-01"),
            ("2027-01-09", "2026-12-01"),
            ("2027-01-31", "2027-01-01"),
        ] {
            assert_eq!(receipts_due_before(today.parse().unwrap()), Some(before.parse().unwrap()));
        }
    }

    #[test]
    fn codes_read_back() {
        for one in LegalType::ALL {
            assert_eq!(LegalType::from_code(one.code()), Some(one));
        }
        for one in VatTreatment::ALL {
            assert_eq!(VatTreatment::from_code(one.code()), Some(one));
        }
    }

    proptest! {
        #[test]
        fn who_is_not_paid_for_a_receipt_is_told_since_when(paid in 0u64..800, later in 0u64..90) {
            let paid_on: NaiveDate = "2026-01-01".parse().unwrap();
            let paid_on = paid_on + chrono::Days::new(paid);
            let today = paid_on + chrono::Days::new(later);
            let is_overdue = today > receipt_due_on(paid_on).unwrap();
            prop_assert_eq!(is_overdue, paid_on < receipts_due_before(today).unwrap());
        }

        #[test]
        fn the_parts_are_the_whole(net in 1i64..1_000_000_000, vat in 0u32..5000, held in 0u32..5000) {
            let net = Money::new(net, "EUR".parse().unwrap());
            let a = profile("DE", vat, held).amounts(net).unwrap();
            prop_assert_eq!(a.transfer().unwrap().minor, net.minor + a.vat.minor - a.withheld.minor);
            prop_assert!(a.withheld.minor >= 0 && a.withheld.minor <= net.minor);
            prop_assert!(a.vat.minor >= 0 && a.vat.minor <= net.minor);
        }
    }
}
