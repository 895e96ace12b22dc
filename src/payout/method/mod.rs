//! Payout methods: where a partner's money goes, read once and checked to the last digit.
//!
//! A method is kept sealed ([`crate::sealing`]) as the [`MethodDocument`] that it was read from, and
//! shown masked. The same document names the account that pays.

pub mod http;
pub mod iban;
pub mod russia;
pub mod store;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::money::Currency;
use crate::sealing::Sealer;
use iban::{Iban, is_bic, masked, masked_email};

/// Longest name of an account's owner, in characters: what pain.001 holds.
pub const HOLDER_MAX_CHARS: usize = 70;
const TEXT_MAX_CHARS: usize = 200;
const EMAIL_MAX_CHARS: usize = 127;

/// A way to pay somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MethodKind {
    /// A bank account in the SEPA area, in euros.
    Sepa,
    /// An account of PayPal.
    Paypal,
    /// An account reached through Wise.
    Wise,
    /// A bank account in Russia, in rubles.
    RuBank,
    /// By hand: the service knows no account.
    Manual,
}

impl MethodKind {
    /// All of them, for reading and for tests.
    pub const ALL: [Self; 5] = [Self::Sepa, Self::Paypal, Self::Wise, Self::RuBank, Self::Manual];

    /// Returns the code as stored and shown.
    pub fn code(self) -> &'static str {
        match self {
            Self::Sepa => "sepa",
            Self::Paypal => "paypal",
            Self::Wise => "wise",
            Self::RuBank => "ru_bank",
            Self::Manual => "manual",
        }
    }

    /// Reads a stored code.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.code() == code)
    }

    /// Tells whether money of a currency can go this way.
    pub fn takes(self, currency: Currency) -> bool {
        match self {
            Self::Sepa => currency.code() == "EUR",
            Self::RuBank => currency.code() == "RUB",
            Self::Paypal | Self::Wise | Self::Manual => true,
        }
    }
}

/// A payout method as it is sent and kept; which fields are needed depends on `kind`.
#[derive(Clone, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MethodDocument {
    /// `sepa`, `paypal`, `wise`, `ru_bank` or `manual`.
    #[schema(example = "sepa")]
    pub kind: String,
    /// The owner of the account, as the bank knows it; 1 to 70 characters.
    #[schema(example = "Blog 42 GmbH")]
    pub holder: String,
    /// `sepa`: the account. `wise`: the account where there is no `email`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iban: Option<String>,
    /// `sepa`: the bank; may be left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bic: Option<String>,
    /// `sepa`: town of the owner; may be left out. Goes into the file with the country.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub town: Option<String>,
    /// `sepa`: country of the town, ISO 3166-1 alpha-2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// `paypal`, `wise`: the address of the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// `wise`: the number that Wise gave the recipient; may be left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient_id: Option<String>,
    /// `ru_bank`: tax number of the owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inn: Option<String>,
    /// `ru_bank`: reason code of a company; may be left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kpp: Option<String>,
    /// `ru_bank`: the account, 20 digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// `ru_bank`: the bank, 9 digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bik: Option<String>,
    /// `ru_bank`: the bank's correspondent account, 20 digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corr_account: Option<String>,
    /// `ru_bank`: name of the bank.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bank: Option<String>,
    /// `manual`: how to pay; may be left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl std::fmt::Debug for MethodDocument {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MethodDocument({}, ***)", self.kind)
    }
}

/// A bank account in Russia.
#[derive(Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of the document")]
pub struct RuAccount {
    pub inn: String,
    pub kpp: Option<String>,
    pub account: String,
    pub bik: String,
    pub corr_account: String,
    pub bank: String,
}

/// Where money goes, checked.
#[derive(Clone, PartialEq, Eq)]
pub struct PayoutMethod {
    /// The owner of the account.
    pub holder: String,
    /// The account.
    pub route: Route,
}

impl std::fmt::Debug for PayoutMethod {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PayoutMethod({}, {})", self.kind().code(), self.account_masked())
    }
}

/// The account of a method.
#[derive(Clone, PartialEq, Eq)]
pub enum Route {
    /// In the SEPA area.
    Sepa {
        /// The account.
        iban: Iban,
        /// The bank.
        bic: Option<String>,
        /// Town and country of the owner.
        town: Option<(String, String)>,
    },
    /// At PayPal.
    Paypal {
        /// Its address.
        email: String,
    },
    /// Through Wise.
    Wise {
        /// The number that Wise gave it.
        recipient_id: Option<String>,
        /// Its address.
        email: Option<String>,
        /// The account.
        iban: Option<Iban>,
    },
    /// In Russia.
    RuBank(RuAccount),
    /// By hand.
    Manual {
        /// How.
        note: Option<String>,
    },
}

/// What is wrong with a document: a JSON pointer, and why with its remedy.
pub type Mistake = (&'static str, String);

impl PayoutMethod {
    /// Reads a document; every mistake is told at once.
    pub fn read(d: &MethodDocument) -> Result<Self, Vec<Mistake>> {
        let mut wrong = Reader(Vec::new());
        let holder = d.holder.trim().to_owned();
        wrong.text("/holder", &holder, HOLDER_MAX_CHARS);
        let route = match MethodKind::from_code(&d.kind) {
            Some(MethodKind::Sepa) => wrong.sepa(d),
            Some(MethodKind::Paypal) => wrong.email(&d.email).map(|email| Route::Paypal { email }),
            Some(MethodKind::Wise) => wrong.wise(d),
            Some(MethodKind::RuBank) => wrong.ru_bank(d),
            Some(MethodKind::Manual) => {
                if let Some(note) = &d.note {
                    wrong.text("/note", note, TEXT_MAX_CHARS);
                }
                Some(Route::Manual { note: d.note.clone() })
            }
            None => {
                let known = MethodKind::ALL.map(MethodKind::code).join(", ");
                wrong.add("/kind", format!("must be one of {known}"));
                None
            }
        };
        match route {
            Some(route) if wrong.0.is_empty() => Ok(Self { holder, route }),
            Some(_) | None => Err(wrong.0),
        }
    }

    /// Returns how it pays.
    pub fn kind(&self) -> MethodKind {
        match &self.route {
            Route::Sepa { .. } => MethodKind::Sepa,
            Route::Paypal { .. } => MethodKind::Paypal,
            Route::Wise { .. } => MethodKind::Wise,
            Route::RuBank(_) => MethodKind::RuBank,
            Route::Manual { .. } => MethodKind::Manual,
        }
    }

    /// Returns the account as people may see it.
    pub fn account_masked(&self) -> String {
        match &self.route {
            Route::Sepa { iban, .. } => masked(iban.electronic()),
            Route::Paypal { email } => masked_email(email),
            Route::Wise { iban: Some(iban), .. } => masked(iban.electronic()),
            Route::Wise { email: Some(email), .. } => masked_email(email),
            Route::Wise { recipient_id, .. } => masked(recipient_id.as_deref().unwrap_or("")),
            Route::RuBank(ru) => masked(&ru.account),
            Route::Manual { .. } => "by hand".to_owned(),
        }
    }

    /// Returns what two methods with one account have in common; none where there is no account.
    pub fn account(&self) -> Option<String> {
        match &self.route {
            Route::Sepa { iban, .. } | Route::Wise { iban: Some(iban), .. } => {
                Some(iban.electronic().to_owned())
            }
            Route::Paypal { email } | Route::Wise { email: Some(email), .. } => {
                Some(email.to_lowercase())
            }
            Route::Wise { recipient_id, .. } => recipient_id.clone(),
            Route::RuBank(ru) => Some(format!("{}:{}", ru.bik, ru.account)),
            Route::Manual { .. } => None,
        }
    }
}

/// Says that a sealed method cannot be read: another key, or an unknown form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a payout method cannot be opened: is TRIBUTARY_SECRETS_KEY the one it was sealed with?")]
pub struct Unreadable;

/// Seals a document for the place where it will lie.
pub fn seal(sealer: &Sealer, place: &[u8], document: &MethodDocument) -> Vec<u8> {
    let plain = serde_json::to_vec(document).expect("a document holds text only");
    sealer.seal(place, &plain)
}

/// Opens a method that was sealed for a place.
pub fn open(sealer: &Sealer, place: &[u8], sealed: &[u8]) -> Result<PayoutMethod, Unreadable> {
    let plain = sealer.open(place, sealed).map_err(|_| Unreadable)?;
    let document: MethodDocument = serde_json::from_slice(&plain).map_err(|_| Unreadable)?;
    PayoutMethod::read(&document).map_err(|_| Unreadable)
}

struct Reader(Vec<Mistake>);

impl Reader {
    fn add(&mut self, pointer: &'static str, detail: impl Into<String>) {
        self.0.push((pointer, detail.into()));
    }

    fn text(&mut self, pointer: &'static str, text: &str, chars_max: usize) {
        let fits = (1..=chars_max).contains(&text.trim().chars().count())
            && !text.chars().any(char::is_control);
        if !fits {
            self.add(
                pointer,
                format!("must have 1 to {chars_max} characters, no control characters"),
            );
        }
    }

    /// Returns a field that the kind needs and that fits.
    fn need(
        &mut self,
        pointer: &'static str,
        field: &Option<String>,
        fits: impl FnOnce(&str) -> bool,
        why: &str,
    ) -> Option<String> {
        match field.as_deref().map(str::trim) {
            None => self.add(pointer, "is needed for this kind"),
            Some(text) if fits(text) => return Some(text.to_owned()),
            Some(_) => self.add(pointer, why),
        }
        None
    }

    fn email(&mut self, field: &Option<String>) -> Option<String> {
        let fits = |text: &str| {
            let is_plain = !text.chars().any(|c| c.is_whitespace() || c.is_control() || c == ',');
            let parts = text.split_once('@');
            let has_parts = parts.is_some_and(|(a, b)| !a.is_empty() && b.contains('.'));
            is_plain && has_parts && text.len() <= EMAIL_MAX_CHARS
        };
        self.need("/email", field, fits, "is not an e-mail address like anna@blog.example")
    }

    fn iban(&mut self, field: &Option<String>) -> Option<Iban> {
        match field.as_deref().map(str::parse) {
            None => self.add("/iban", "is needed for this kind"),
            Some(Ok(iban)) => return Some(iban),
            Some(Err(why)) => self.add("/iban", format!("{why}")),
        }
        None
    }

    fn sepa(&mut self, d: &MethodDocument) -> Option<Route> {
        if d.bic.as_deref().is_some_and(|bic| !is_bic(bic)) {
            self.add("/bic", "is not a BIC: 8 or 11 capital letters and digits like COBADEFFXXX");
        }
        // Since November 2026 a bank refuses an address that is not at least town and country.
        let town = match (&d.town, &d.country) {
            (None, None) => None,
            (Some(town), Some(country)) => {
                self.text("/town", town, 35);
                if country.len() != 2 || !country.bytes().all(|b| b.is_ascii_uppercase()) {
                    self.add("/country", "is not a country of two capital letters such as DE");
                }
                Some((town.clone(), country.clone()))
            }
            (Some(_), None) => {
                self.add("/country", "is needed beside town; or leave both out");
                None
            }
            (None, Some(_)) => {
                self.add("/town", "is needed beside country; or leave both out");
                None
            }
        };
        Some(Route::Sepa { iban: self.iban(&d.iban)?, bic: d.bic.clone(), town })
    }

    fn wise(&mut self, d: &MethodDocument) -> Option<Route> {
        let email = if d.email.is_some() { Some(self.email(&d.email)?) } else { None };
        let iban = if d.iban.is_some() { Some(self.iban(&d.iban)?) } else { None };
        let is_number =
            |text: &str| (1..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        let recipient_id = match &d.recipient_id {
            None => None,
            given => {
                Some(self.need("/recipient_id", given, is_number, "is not a number of Wise")?)
            }
        };
        if email.is_none() && iban.is_none() && recipient_id.is_none() {
            self.add("/email", "give at least one of email, iban and recipient_id");
            return None;
        }
        Some(Route::Wise { recipient_id, email, iban })
    }

    fn ru_bank(&mut self, d: &MethodDocument) -> Option<Route> {
        let why = "is not an INN: 10 or 12 digits whose last ones are check digits";
        let inn = self.need("/inn", &d.inn, russia::is_inn, why);
        if d.kpp.as_deref().is_some_and(|kpp| !russia::is_kpp(kpp)) {
            self.add("/kpp", "is not a KPP: 9 digits");
        }
        let why = "is not a BIK: 9 digits that begin with 04";
        let bik = self.need("/bik", &d.bik, russia::is_bik, why);
        let of_bank = bik.clone().unwrap_or_default();
        let why = "is not an account of this bank: its check digit does not fit /bik";
        // Without a bank there is nothing to check an account against: one mistake, told once.
        let (account, corr_account) = match bik {
            None => (d.account.clone(), d.corr_account.clone()),
            Some(_) => (
                self.need("/account", &d.account, |t| russia::is_account(t, &of_bank), why),
                self.need(
                    "/corr_account",
                    &d.corr_account,
                    |t| russia::is_corr_account(t, &of_bank),
                    why,
                ),
            ),
        };
        let fits = |t: &str| (1..=TEXT_MAX_CHARS).contains(&t.chars().count());
        let bank = self.need("/bank", &d.bank, fits, "must have 1 to 200 characters");
        Some(Route::RuBank(RuAccount {
            inn: inn?,
            kpp: d.kpp.clone(),
            account: account?,
            bik: of_bank,
            corr_account: corr_account?,
            bank: bank?,
        }))
    }
}

#[cfg(test)]
#[path = "method_tests.rs"]
mod tests;
