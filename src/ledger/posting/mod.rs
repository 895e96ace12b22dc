//! Postings: one constructor for each thing that may happen to money.
//!
//! | Code | Debit | Credit |
//! |---|---|---|
//! | `accrue` | commission expense | pending |
//! | `amend` up (down is the mirror) | commission expense | pending |
//! | `approve` | pending | payable |
//! | `reject` | pending | commission expense |
//! | `reverse`, `clawback` | payable | commission expense |
//! | `adjust` up (down is the mirror) | commission expense | payable |
//! | `bonus`, `write_off` | adjustment expense | payable |
//! | `clawback` by hand, of no commission | payable | adjustment expense |
//! | `payout_reserve` | payable, VAT input | in transit, tax withheld |
//! | `payout_pay` | in transit | bank |
//! | `payout_cancel`, `payout_fail` | the exact reversal of `payout_reserve` | |
//! | `payout_return` | bank, tax withheld | payable, VAT input |
//!
//! Every posting has a `reference`, unique in the program: posting the same thing twice meets the
//! constraint and changes nothing.

use std::collections::BTreeMap;

use super::account::{Account, BankLabel};
use crate::clock::Timestamp;
use crate::ids::{CommissionId, LedgerTransactionId, PartnerId, PayoutId, ProgramId};
use crate::money::{Currency, Money, MoneyError};

/// What a posting is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    /// A conversion earned a commission.
    Accrue,
    /// A pending commission changed its amount; posted as the difference.
    Amend,
    /// The hold is over: owed from now on.
    Approve,
    /// Refused before approval.
    Reject,
    /// Taken back wholly between approval and payout.
    Reverse,
    /// Taken back in part, or after payout.
    Clawback,
    /// An order changed after approval; either sign.
    Adjust,
    /// A voluntary extra.
    Bonus,
    /// Money was set aside for a payout.
    PayoutReserve,
    /// The bank has paid.
    PayoutPay,
    /// The payout was called off before it was sent.
    PayoutCancel,
    /// The bank refused the payout.
    PayoutFail,
    /// The bank sent a paid payout back.
    PayoutReturn,
    /// A negative balance was forgiven.
    WriteOff,
}

impl Code {
    /// All codes, for reading and for tests.
    pub const ALL: [Self; 14] = [
        Self::Accrue,
        Self::Amend,
        Self::Approve,
        Self::Reject,
        Self::Reverse,
        Self::Clawback,
        Self::Adjust,
        Self::Bonus,
        Self::PayoutReserve,
        Self::PayoutPay,
        Self::PayoutCancel,
        Self::PayoutFail,
        Self::PayoutReturn,
        Self::WriteOff,
    ];

    /// Returns the code as stored and as the head of references: `accrue`, `payout_pay`, ….
    pub fn text(self) -> &'static str {
        match self {
            Self::Accrue => "accrue",
            Self::Amend => "amend",
            Self::Approve => "approve",
            Self::Reject => "reject",
            Self::Reverse => "reverse",
            Self::Clawback => "clawback",
            Self::Adjust => "adjust",
            Self::Bonus => "bonus",
            Self::PayoutReserve => "payout_reserve",
            Self::PayoutPay => "payout_pay",
            Self::PayoutCancel => "payout_cancel",
            Self::PayoutFail => "payout_fail",
            Self::PayoutReturn => "payout_return",
            Self::WriteOff => "write_off",
        }
    }

    /// Reads a stored code.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.text() == text)
    }
}

/// One side of a posting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The account that changes.
    pub account: Account,
    /// Minor units: debit positive, credit negative, never zero.
    pub amount_minor: i64,
}

/// A balanced set of entries of one program and one currency, ready to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posting {
    program: ProgramId,
    code: Code,
    reference: String,
    effective_at: Timestamp,
    currency: Currency,
    entries: Vec<Entry>,
    reverses: Option<LedgerTransactionId>,
}

/// Whose commission is posted, and when it takes effect.
#[derive(Clone, Copy, Debug)]
pub struct CommissionRef {
    /// The program whose book it is.
    pub program: ProgramId,
    /// Who earns it.
    pub partner: PartnerId,
    /// The commission; for a clawback or an adjustment its own row, not the original.
    pub commission: CommissionId,
    /// When it takes effect in the books.
    pub effective_at: Timestamp,
}

/// Whose payout is posted, and when it takes effect.
#[derive(Clone, Copy, Debug)]
pub struct PayoutRef {
    /// The program whose book it is.
    pub program: ProgramId,
    /// Who is paid.
    pub partner: PartnerId,
    /// The payout.
    pub payout: PayoutId,
    /// When it takes effect in the books.
    pub effective_at: Timestamp,
}

/// The figures of one payout; `transfer = net + vat − withheld` is what the bank moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayoutAmounts {
    /// The partner's commissions, above zero.
    pub net: Money,
    /// VAT on top, or zero.
    pub vat: Money,
    /// Tax held back, or zero.
    pub withheld: Money,
}

impl PayoutAmounts {
    /// Returns what the bank moves.
    pub fn transfer(&self) -> Result<Money, MoneyError> {
        self.net.checked_add(self.vat)?.checked_sub(self.withheld)
    }
}

/// Says why a posting cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PostingError {
    /// The amount must be above zero here; the code gives the direction.
    #[error("{code} needs an amount above zero, found {amount}", code = code.text())]
    NotPositive {
        /// What was to be posted.
        code: Code,
        /// The amount given.
        amount: Money,
    },
    /// Nothing would change.
    #[error("{code} of nothing", code = code.text())]
    Nothing {
        /// What was to be posted.
        code: Code,
    },
    /// The entries do not sum to zero.
    #[error("entries sum to {sum_minor} minor units instead of zero")]
    Unbalanced {
        /// The sum found.
        sum_minor: i128,
    },
    /// An entry of zero, the same account twice, or fewer than two entries.
    #[error("entries must be at least two, of different accounts, none zero")]
    BadEntries,
    /// An account of another program.
    #[error("{account} is not in the book of {program}")]
    ForeignAccount {
        /// The account named.
        account: Box<Account>,
        /// The program whose posting it was to be.
        program: ProgramId,
    },
    /// A reference that cannot be stored.
    #[error("a reference is 1 to 200 visible ASCII characters, found {0:?}")]
    BadReference(String),
    /// Only a `payout_reserve` of the same payout can be called off.
    #[error("{found} does not reserve {payout}")]
    NotItsReserve {
        /// The posting given.
        found: String,
        /// The payout to call off.
        payout: PayoutId,
    },
    /// The figures cannot be reckoned.
    #[error("the amounts cannot be posted together")]
    Money(#[from] MoneyError),
}

/// Everything of a posting but its entries.
#[derive(Clone, Debug)]
pub struct Head {
    /// The program whose book it is.
    pub program: ProgramId,
    /// What it is for.
    pub code: Code,
    /// Unique in the program; visible ASCII, at most 200 characters.
    pub reference: String,
    /// When it takes effect in the books.
    pub effective_at: Timestamp,
    /// The one currency of all entries.
    pub currency: Currency,
    /// The transaction it undoes.
    pub reverses: Option<LedgerTransactionId>,
}

impl Posting {
    /// Makes a posting from entries that balance: the way in for rows read back from the store.
    pub fn from_entries(head: Head, mut entries: Vec<Entry>) -> Result<Self, PostingError> {
        let Head { program, code, reference, effective_at, currency, reverses } = head;
        if !(1..=200).contains(&reference.len()) || !reference.bytes().all(|b| b.is_ascii_graphic())
        {
            return Err(PostingError::BadReference(reference.chars().take(200).collect()));
        }
        if let Some(foreign) = entries.iter().find(|e| e.account.program() != program) {
            let account = Box::new(foreign.account.clone());
            return Err(PostingError::ForeignAccount { account, program });
        }
        // One order whatever the caller's: the hash of a posting depends on it.
        entries.sort_by_cached_key(|e| e.account.path());
        let twice = entries.windows(2).any(|pair| pair[0].account == pair[1].account);
        if entries.len() < 2 || twice || entries.iter().any(|e| e.amount_minor == 0) {
            return Err(PostingError::BadEntries);
        }
        let sum_minor: i128 = entries.iter().map(|e| i128::from(e.amount_minor)).sum();
        if sum_minor != 0 {
            return Err(PostingError::Unbalanced { sum_minor });
        }
        Ok(Self { program, code, reference, effective_at, currency, entries, reverses })
    }

    /// Posts what a conversion earned.
    pub fn accrue(of: CommissionRef, amount: Money) -> Result<Self, PostingError> {
        of.post(Code::Accrue, amount, of.expense(), of.pending())
    }

    /// Posts the signed difference between a pending commission's new amount and its old one.
    ///
    /// `revision` counts the commission's amendments, from 1.
    pub fn amend(of: CommissionRef, by: Money, revision: u32) -> Result<Self, PostingError> {
        let reference = format!("amend:{}:{revision}", of.commission);
        of.post_signed(Code::Amend, reference, by, of.expense(), of.pending())
    }

    /// Posts that a commission is owed from now on.
    pub fn approve(of: CommissionRef, amount: Money) -> Result<Self, PostingError> {
        of.post(Code::Approve, amount, of.pending(), of.payable())
    }

    /// Posts that a commission was refused before approval.
    pub fn reject(of: CommissionRef, amount: Money) -> Result<Self, PostingError> {
        of.post(Code::Reject, amount, of.pending(), of.expense())
    }

    /// Posts that an approved commission was taken back wholly before any payout.
    pub fn reverse(of: CommissionRef, amount: Money) -> Result<Self, PostingError> {
        of.post(Code::Reverse, amount, of.payable(), of.expense())
    }

    /// Posts a clawback row; `amount` is what is taken back, above zero.
    pub fn clawback(of: CommissionRef, amount: Money) -> Result<Self, PostingError> {
        of.post(Code::Clawback, amount, of.payable(), of.expense())
    }

    /// Posts an adjustment row, of either sign: above zero the partner gets more.
    pub fn adjust(of: CommissionRef, by: Money) -> Result<Self, PostingError> {
        let reference = format!("adjust:{}", of.commission);
        of.post_signed(Code::Adjust, reference, by, of.expense(), of.payable())
    }

    /// Posts a bonus; `key` names it once and for all, such as the request's idempotency key.
    pub fn bonus(
        program: ProgramId,
        partner: PartnerId,
        amount: Money,
        key: &str,
        effective_at: Timestamp,
    ) -> Result<Self, PostingError> {
        gift(Code::Bonus, program, partner, amount, key, effective_at)
    }

    /// Posts that a negative balance is forgiven; `amount` is the debt, above zero.
    pub fn write_off(
        program: ProgramId,
        partner: PartnerId,
        amount: Money,
        key: &str,
        effective_at: Timestamp,
    ) -> Result<Self, PostingError> {
        gift(Code::WriteOff, program, partner, amount, key, effective_at)
    }

    /// Posts that a person takes back what belongs to no commission; `amount` is above zero.
    pub fn take_back(
        program: ProgramId,
        partner: PartnerId,
        amount: Money,
        key: &str,
        effective_at: Timestamp,
    ) -> Result<Self, PostingError> {
        require_positive(Code::Clawback, amount)?;
        let sides = [
            (Account::PartnerPayable(program, partner), amount),
            (Account::AdjustmentExpense(program), amount.checked_neg()?),
        ];
        let reference = format!("{}:{key}", Code::Clawback.text());
        post(program, Code::Clawback, reference, effective_at, sides)
    }

    /// Posts that money is set aside for a payout.
    pub fn payout_reserve(of: PayoutRef, amounts: PayoutAmounts) -> Result<Self, PostingError> {
        let sides = of.sides(amounts, Account::PayoutInTransit(of.program))?;
        of.post(Code::PayoutReserve, amounts.net, sides)
    }

    /// Posts that the bank has paid.
    pub fn payout_pay(
        of: PayoutRef,
        amounts: PayoutAmounts,
        bank: BankLabel,
    ) -> Result<Self, PostingError> {
        let transfer = amounts.transfer()?;
        let sides = [
            (Account::PayoutInTransit(of.program), transfer),
            (Account::Bank(of.program, bank), transfer.checked_neg()?),
        ];
        of.post(Code::PayoutPay, transfer, sides)
    }

    /// Posts that a payout was called off: the exact reversal of its reserve.
    pub fn payout_cancel(of: PayoutRef, reserve: &LedgerTransaction) -> Result<Self, PostingError> {
        of.undo(Code::PayoutCancel, reserve)
    }

    /// Posts that the bank refused a payout: the exact reversal of its reserve.
    pub fn payout_fail(of: PayoutRef, reserve: &LedgerTransaction) -> Result<Self, PostingError> {
        of.undo(Code::PayoutFail, reserve)
    }

    /// Posts that the bank sent a paid payout back: payable again, its taxes undone.
    pub fn payout_return(
        of: PayoutRef,
        amounts: PayoutAmounts,
        bank: BankLabel,
    ) -> Result<Self, PostingError> {
        let mut sides = of.sides(amounts, Account::Bank(of.program, bank))?;
        for (_, amount) in &mut sides {
            *amount = amount.checked_neg()?;
        }
        of.post(Code::PayoutReturn, amounts.net, sides)
    }

    /// Returns the posting that undoes this one, stored as transaction `id`.
    pub fn reversed(
        &self,
        id: LedgerTransactionId,
        code: Code,
        reference: String,
        effective_at: Timestamp,
    ) -> Result<Self, PostingError> {
        let mut entries = Vec::with_capacity(self.entries.len());
        for entry in &self.entries {
            let amount_minor = entry.amount_minor.checked_neg().ok_or(MoneyError::Overflow)?;
            entries.push(Entry { account: entry.account.clone(), amount_minor });
        }
        let (program, currency) = (self.program, self.currency);
        let reverses = Some(id);
        Self::from_entries(
            Head { program, code, reference, effective_at, currency, reverses },
            entries,
        )
    }

    /// Returns it with another time at which it takes effect.
    pub fn taking_effect(self, effective_at: Timestamp) -> Self {
        Self { effective_at, ..self }
    }

    /// Returns whose book it belongs to.
    pub fn program(&self) -> ProgramId {
        self.program
    }

    /// Returns what it is for.
    pub fn code(&self) -> Code {
        self.code
    }

    /// Returns its name, unique in the program: `accrue:cm_…`.
    pub fn reference(&self) -> &str {
        &self.reference
    }

    /// Returns when it takes effect in the books.
    pub fn effective_at(&self) -> Timestamp {
        self.effective_at
    }

    /// Returns the one currency of all entries.
    pub fn currency(&self) -> Currency {
        self.currency
    }

    /// Returns the entries, by account path; they sum to zero.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Returns the transaction it undoes.
    pub fn reverses(&self) -> Option<LedgerTransactionId> {
        self.reverses
    }
}

/// A posting that was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerTransaction {
    /// Its identifier.
    pub id: LedgerTransactionId,
    /// When it was written; the books' own date is the posting's `effective_at`.
    pub recorded_at: Timestamp,
    /// What was posted.
    pub posting: Posting,
}

impl CommissionRef {
    fn expense(&self) -> Account {
        Account::CommissionExpense(self.program)
    }

    fn pending(&self) -> Account {
        Account::PartnerPending(self.program, self.partner)
    }

    fn payable(&self) -> Account {
        Account::PartnerPayable(self.program, self.partner)
    }

    fn post(
        &self,
        code: Code,
        amount: Money,
        debit: Account,
        credit: Account,
    ) -> Result<Posting, PostingError> {
        require_positive(code, amount)?;
        let reference = format!("{}:{}", code.text(), self.commission);
        self.post_signed(code, reference, amount, debit, credit)
    }

    fn post_signed(
        &self,
        code: Code,
        reference: String,
        amount: Money,
        debit: Account,
        credit: Account,
    ) -> Result<Posting, PostingError> {
        let sides = [(debit, amount), (credit, amount.checked_neg()?)];
        post(self.program, code, reference, self.effective_at, sides)
    }
}

impl PayoutRef {
    /// Returns the sides of setting a payout aside, its transfer credited to `source`.
    fn sides(
        &self,
        amounts: PayoutAmounts,
        source: Account,
    ) -> Result<[(Account, Money); 4], PostingError> {
        let PayoutAmounts { net, vat, withheld } = amounts;
        for amount in [vat, withheld] {
            if amount.minor < 0 {
                return Err(PostingError::NotPositive { code: Code::PayoutReserve, amount });
            }
        }
        Ok([
            (Account::PartnerPayable(self.program, self.partner), net),
            (Account::VatInput(self.program), vat),
            (source, amounts.transfer()?.checked_neg()?),
            (Account::TaxWithheld(self.program), withheld.checked_neg()?),
        ])
    }

    fn post(
        &self,
        code: Code,
        amount: Money,
        sides: impl IntoIterator<Item = (Account, Money)>,
    ) -> Result<Posting, PostingError> {
        require_positive(code, amount)?;
        let reference = format!("{}:{}", code.text(), self.payout);
        post(self.program, code, reference, self.effective_at, sides)
    }

    fn undo(&self, code: Code, reserve: &LedgerTransaction) -> Result<Posting, PostingError> {
        if reserve.posting.reference != format!("{}:{}", Code::PayoutReserve.text(), self.payout) {
            let found = reserve.posting.reference.clone();
            return Err(PostingError::NotItsReserve { found, payout: self.payout });
        }
        let reference = format!("{}:{}", code.text(), self.payout);
        reserve.posting.reversed(reserve.id, code, reference, self.effective_at)
    }
}

fn gift(
    code: Code,
    program: ProgramId,
    partner: PartnerId,
    amount: Money,
    key: &str,
    effective_at: Timestamp,
) -> Result<Posting, PostingError> {
    require_positive(code, amount)?;
    let sides = [
        (Account::AdjustmentExpense(program), amount),
        (Account::PartnerPayable(program, partner), amount.checked_neg()?),
    ];
    post(program, code, format!("{}:{key}", code.text()), effective_at, sides)
}

fn require_positive(code: Code, amount: Money) -> Result<(), PostingError> {
    if amount.is_positive() { Ok(()) } else { Err(PostingError::NotPositive { code, amount }) }
}

/// Nets the sides by account, so that no entry is zero (a payout without VAT has no VAT entry).
fn post(
    program: ProgramId,
    code: Code,
    reference: String,
    effective_at: Timestamp,
    sides: impl IntoIterator<Item = (Account, Money)>,
) -> Result<Posting, PostingError> {
    let mut by_account: BTreeMap<Account, Money> = BTreeMap::new();
    let mut currency: Option<Currency> = None;
    for (account, amount) in sides {
        let zero = Money::zero(*currency.get_or_insert(amount.currency));
        let sum = by_account.entry(account).or_insert(zero);
        *sum = sum.checked_add(amount)?;
    }
    let entries: Vec<Entry> = by_account
        .into_iter()
        .filter(|(_, amount)| !amount.is_zero())
        .map(|(account, amount)| Entry { account, amount_minor: amount.minor })
        .collect();
    let currency =
        currency.filter(|_| !entries.is_empty()).ok_or(PostingError::Nothing { code })?;
    let head = Head { program, code, reference, effective_at, currency, reverses: None };
    Posting::from_entries(head, entries)
}

#[cfg(test)]
mod tests;
