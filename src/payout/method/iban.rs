//! IBAN, BIC, and how an account is shown: parsed once, at the edge.

use std::fmt;
use std::str::FromStr;

use iban::{Iban as Checked, IbanLike as _};

/// Countries of the Single Euro Payments Area by the first letters of their IBANs (EPC409-09,
/// list of March 2025). A credit transfer under the SEPA scheme reaches no other account.
const SEPA_COUNTRIES: [&str; 40] = [
    "AD", "AL", "AT", "BE", "BG", "CH", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GB", "GI",
    "GR", "HR", "HU", "IE", "IS", "IT", "LI", "LT", "LU", "LV", "MC", "MD", "ME", "MK", "MT", "NL",
    "NO", "PL", "PT", "RO", "SE", "SI", "SK", "SM",
];

/// An account number of the SEPA area whose check digits are right, without spaces.
#[derive(Clone, PartialEq, Eq)]
pub struct Iban(Checked);

/// Says why a text is no IBAN that can be paid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadIban {
    /// Length, form or check digits are wrong.
    #[error("is not an IBAN: its length, its form or its check digits are wrong; copy it again")]
    Wrong,
    /// A true IBAN outside the area.
    #[error("is an IBAN of {0}, which SEPA does not reach; use another kind of payout method")]
    OutsideSepa(String),
}

impl FromStr for Iban {
    type Err = BadIban;

    fn from_str(text: &str) -> Result<Self, BadIban> {
        let plain: String = text.chars().filter(|c| *c != ' ').collect();
        let iban: Checked = plain.to_ascii_uppercase().parse().map_err(|_| BadIban::Wrong)?;
        let country = iban.country_code();
        if SEPA_COUNTRIES.contains(&country) {
            Ok(Self(iban))
        } else {
            Err(BadIban::OutsideSepa(country.to_owned()))
        }
    }
}

impl Iban {
    /// Returns it as files hold it: no spaces.
    pub fn electronic(&self) -> &str {
        self.0.electronic_str()
    }

    /// Returns the country that it begins with.
    pub fn country(&self) -> &str {
        self.0.country_code()
    }
}

impl fmt::Debug for Iban {
    /// Logs and messages hold no account number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Iban({})", masked(self.electronic()))
    }
}

/// Tells whether a text has the form of a BIC (ISO 9362): 8 or 11 characters.
pub fn is_bic(text: &str) -> bool {
    let (bank, rest) = text.split_at_checked(4).unwrap_or(("", ""));
    let (country, place) = rest.split_at_checked(2).unwrap_or(("", ""));
    let letters = |t: &str| t.bytes().all(|b| b.is_ascii_uppercase());
    let signs = |t: &str| t.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    bank.len() == 4
        && letters(bank)
        && letters(country)
        && signs(place)
        && [2, 5].contains(&place.len())
}

/// Returns an account so that its owner knows it and nobody else can use it: `DE••••3000`.
pub fn masked(account: &str) -> String {
    let signs: Vec<char> = account.chars().collect();
    let n = signs.len();
    let (head, tail) = if n >= 12 { (2, 4) } else { (1.min(n), 0) };
    let shown = |part: &[char]| part.iter().collect::<String>();
    format!("{}••••{}", shown(&signs[..head]), shown(&signs[n - tail..]))
}

/// Returns an e-mail address so that its owner knows it: `a••••@blog.example`.
pub fn masked_email(email: &str) -> String {
    let (name, domain) = email.rsplit_once('@').unwrap_or((email, ""));
    format!("{}@{domain}", masked(&name.chars().take(11).collect::<String>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn true_ibans_are_taken_in_any_spelling() {
        // Examples of the IBAN registry.
        for text in [
            "DE89370400440532013000",
            "de89 3704 0044 0532 0130 00",
            "FR1420041010050500013M02606",
            "NL91ABNA0417164300",
            "NO9386011117947",
            "MT84MALT011000012345MTLCAST001S",
        ] {
            assert!(text.parse::<Iban>().is_ok(), "{text}");
        }
    }

    #[test]
    fn every_wrong_digit_is_found() {
        let good = "DE89370400440532013000";
        for place in 2..good.len() {
            let mut bytes = good.as_bytes().to_vec();
            bytes[place] = if bytes[place] == b'9' { b'0' } else { bytes[place] + 1 };
            let text = String::from_utf8(bytes).unwrap();
            assert_eq!(text.parse::<Iban>(), Err(BadIban::Wrong), "{text}");
        }
        for text in ["", "DE", "DE8937040044053201300", "XX89370400440532013000", "ДЕ89"] {
            assert_eq!(text.parse::<Iban>(), Err(BadIban::Wrong), "{text}");
        }
        let outside = "AE070331234567890123456".parse::<Iban>();
        assert_eq!(outside, Err(BadIban::OutsideSepa("AE".to_owned())));
    }

    #[test]
    fn a_bic_has_its_form() {
        for good in ["COBADEFF", "COBADEFFXXX", "DEUTDEDB110"] {
            assert!(is_bic(good), "{good}");
        }
        for bad in ["", "COBADEF", "cobadeff", "C0BADEFF", "COBADEFFXX", "COBADEFFXXXX", "КОБАДЕФФ"]
        {
            assert!(!is_bic(bad), "{bad}");
        }
    }

    #[test]
    fn what_is_shown_cannot_be_used() {
        assert_eq!(masked("DE89370400440532013000"), "DE••••3000");
        assert_eq!(masked("12345"), "1••••");
        assert_eq!(masked(""), "••••");
        assert_eq!(masked_email("anna.meier@blog.example"), "a••••@blog.example");
        let shown = format!("{:?}", "DE89370400440532013000".parse::<Iban>().unwrap());
        assert_eq!(shown, "Iban(DE••••3000)");
    }
}
