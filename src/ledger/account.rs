//! The chart of accounts: what the money of one program is called.
//!
//! Each program keeps its own book, so every account names its program, and a partner who works
//! for two programs has two pairs of accounts. A partner's money lies in `pending` until the hold
//! is over and in `payable` from then on; two accounts, so that reports are plain sums.

use std::fmt;
use std::str::FromStr;

use crate::ids::{PartnerId, ProgramId};

/// An account of a program's book; holds entries of any currency, each currency by itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Account {
    /// What commissions cost the program: an expense.
    CommissionExpense(ProgramId),
    /// What bonuses and write-offs cost the program: an expense.
    AdjustmentExpense(ProgramId),
    /// What a partner has earned and may still lose: a liability.
    PartnerPending(ProgramId, PartnerId),
    /// What a partner is owed: a liability; negative after a clawback, carried forward.
    PartnerPayable(ProgramId, PartnerId),
    /// Reserved for a payout and not yet with the bank: a liability that returns to zero.
    PayoutInTransit(ProgramId),
    /// Withheld from partners for the tax office: a liability.
    TaxWithheld(ProgramId),
    /// VAT on partners' invoices, to be reclaimed: an asset.
    VatInput(ProgramId),
    /// The bank account that pays: an asset.
    Bank(ProgramId, BankLabel),
}

/// The side on which an account grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormalSide {
    /// Grows by positive entries: expenses and assets.
    Debit,
    /// Grows by negative entries: liabilities.
    Credit,
}

impl Account {
    /// Returns the account's name, such as `liability:partner:pg_…:pt_…:payable`; read back by
    /// [`FromStr`].
    pub fn path(&self) -> String {
        match self {
            Self::CommissionExpense(program) => format!("expense:commission:{program}"),
            Self::AdjustmentExpense(program) => format!("expense:adjustment:{program}"),
            Self::PartnerPending(program, partner) => {
                format!("liability:partner:{program}:{partner}:pending")
            }
            Self::PartnerPayable(program, partner) => {
                format!("liability:partner:{program}:{partner}:payable")
            }
            Self::PayoutInTransit(program) => format!("liability:payout:{program}:in_transit"),
            Self::TaxWithheld(program) => format!("liability:tax:{program}:withheld"),
            Self::VatInput(program) => format!("asset:tax:{program}:vat_input"),
            Self::Bank(program, label) => format!("asset:bank:{program}:{label}"),
        }
    }

    /// Returns whose book the account is in.
    pub fn program(&self) -> ProgramId {
        match self {
            Self::CommissionExpense(program)
            | Self::AdjustmentExpense(program)
            | Self::PartnerPending(program, _)
            | Self::PartnerPayable(program, _)
            | Self::PayoutInTransit(program)
            | Self::TaxWithheld(program)
            | Self::VatInput(program)
            | Self::Bank(program, _) => *program,
        }
    }

    /// Returns the partner whose money it holds, if it is a partner's.
    pub fn partner(&self) -> Option<PartnerId> {
        match self {
            Self::PartnerPending(_, partner) | Self::PartnerPayable(_, partner) => Some(*partner),
            Self::CommissionExpense(_)
            | Self::AdjustmentExpense(_)
            | Self::PayoutInTransit(_)
            | Self::TaxWithheld(_)
            | Self::VatInput(_)
            | Self::Bank(..) => None,
        }
    }

    /// Returns the side on which the account grows.
    pub fn normal_side(&self) -> NormalSide {
        match self {
            Self::CommissionExpense(_)
            | Self::AdjustmentExpense(_)
            | Self::VatInput(_)
            | Self::Bank(..) => NormalSide::Debit,
            Self::PartnerPending(..)
            | Self::PartnerPayable(..)
            | Self::PayoutInTransit(_)
            | Self::TaxWithheld(_) => NormalSide::Credit,
        }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path())
    }
}

/// Says that a text is not the name of an account.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an account of the chart")]
pub struct UnknownAccount(pub String);

impl FromStr for Account {
    type Err = UnknownAccount;

    fn from_str(path: &str) -> Result<Self, UnknownAccount> {
        read(path).ok_or_else(|| UnknownAccount(path.chars().take(160).collect()))
    }
}

fn read(path: &str) -> Option<Account> {
    let segments: Vec<&str> = path.split(':').collect();
    let program = |id: &str| id.parse::<ProgramId>().ok();
    let account = match segments.as_slice() {
        ["expense", "commission", pg] => Account::CommissionExpense(program(pg)?),
        ["expense", "adjustment", pg] => Account::AdjustmentExpense(program(pg)?),
        ["liability", "partner", pg, pt, "pending"] => {
            Account::PartnerPending(program(pg)?, pt.parse().ok()?)
        }
        ["liability", "partner", pg, pt, "payable"] => {
            Account::PartnerPayable(program(pg)?, pt.parse().ok()?)
        }
        ["liability", "payout", pg, "in_transit"] => Account::PayoutInTransit(program(pg)?),
        ["liability", "tax", pg, "withheld"] => Account::TaxWithheld(program(pg)?),
        ["asset", "tax", pg, "vat_input"] => Account::VatInput(program(pg)?),
        ["asset", "bank", pg, label] => Account::Bank(program(pg)?, label.parse().ok()?),
        _ => return None,
    };
    Some(account)
}

/// The finance department's own short name of a bank account: `[a-z0-9_-]`, 1 to 32 characters.
///
/// Never the account number: paths are shown in reports and logs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BankLabel(String);

/// Says that a text is not a short name for a bank account.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a bank account is named by 1 to 32 characters of a-z, 0-9, _ and -, like main")]
pub struct BadBankLabel;

impl BankLabel {
    /// Returns the name of the account that pays where nobody says another.
    pub fn main() -> Self {
        Self("main".to_owned())
    }
}

impl FromStr for BankLabel {
    type Err = BadBankLabel;

    fn from_str(label: &str) -> Result<Self, BadBankLabel> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b);
        let fits = (1..=32).contains(&label.len()) && label.bytes().all(allowed);
        fits.then(|| Self(label.to_owned())).ok_or(BadBankLabel)
    }
}

impl fmt::Display for BankLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_account_reads_back_from_its_path() {
        let (pg, pt) = (ProgramId::new(), PartnerId::new());
        let accounts = [
            Account::CommissionExpense(pg),
            Account::AdjustmentExpense(pg),
            Account::PartnerPending(pg, pt),
            Account::PartnerPayable(pg, pt),
            Account::PayoutInTransit(pg),
            Account::TaxWithheld(pg),
            Account::VatInput(pg),
            Account::Bank(pg, "main".parse().unwrap()),
        ];
        for account in accounts {
            assert_eq!(account.path().parse::<Account>().as_ref(), Ok(&account));
            assert_eq!(account.program(), pg);
            let liability = account.path().starts_with("liability:");
            assert_eq!(account.normal_side() == NormalSide::Credit, liability, "{account}");
            let partners = account.path().starts_with("liability:partner:");
            assert_eq!(account.partner(), partners.then_some(pt));
        }
    }

    #[test]
    fn names_outside_the_chart_are_refused() {
        let pg = ProgramId::new();
        for path in [
            String::new(),
            "expense:commission:".into(),
            format!("expense:commission:{pg}:x"),
            format!("income:commission:{pg}"),
            format!("liability:partner:{pg}:{pg}:payable"),
            format!("asset:bank:{pg}:DE89 3704"),
            format!("asset:bank:{pg}:"),
        ] {
            assert!(path.parse::<Account>().is_err(), "{path}");
        }
    }
}
