//! Numbers of Russian payees: tax number, bank and account, each with its check digit.

/// Tells whether a text is an INN of a company (10 digits) or a person (12 digits).
///
/// Check digits: order of the tax service MM-3-09/353 of 2003.
pub fn is_inn(text: &str) -> bool {
    const WEIGHTS: [u32; 11] = [3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8];
    let Some(digits) = digits(text) else { return false };
    // The digit at `place` follows from those before it, by the last `place` weights.
    let fits = |place: usize| {
        let weights = &WEIGHTS[WEIGHTS.len() - place..];
        let sum: u32 = digits.iter().zip(weights).map(|(d, w)| d * w).sum();
        sum % 11 % 10 == digits[place]
    };
    match digits.len() {
        10 => fits(9),
        12 => fits(10) && fits(11),
        _ => false,
    }
}

/// Tells whether a text has the form of a KPP, the reason code of a company: 9 characters.
pub fn is_kpp(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 9
        && bytes
            .iter()
            .enumerate()
            .all(|(at, b)| b.is_ascii_digit() || ((4..6).contains(&at) && b.is_ascii_uppercase()))
}

/// Tells whether a text is the BIK of a Russian bank: 9 digits that begin with 04.
pub fn is_bik(text: &str) -> bool {
    digits(text).is_some_and(|d| d.len() == 9) && text.starts_with("04")
}

/// Tells whether an account of 20 digits belongs to the bank: its key digit is reckoned with the
/// last three digits of the BIK (Bank of Russia, 515 of 1997).
pub fn is_account(account: &str, bik: &str) -> bool {
    is_bik(bik) && has_key(account, &bik[6..])
}

/// Tells whether a correspondent account of 20 digits belongs to the bank.
pub fn is_corr_account(account: &str, bik: &str) -> bool {
    is_bik(bik) && account.starts_with("301") && has_key(account, &format!("0{}", &bik[4..6]))
}

fn has_key(account: &str, bank: &str) -> bool {
    let Some(digits) = digits(account).filter(|d| d.len() == 20) else { return false };
    let bank = bank.bytes().map(|b| u32::from(b - b'0'));
    let sum: u32 =
        bank.chain(digits).zip([7, 1, 3].into_iter().cycle()).map(|(d, w)| d * w % 10).sum();
    sum.is_multiple_of(10)
}

fn digits(text: &str) -> Option<Vec<u32>> {
    text.chars().map(|c| c.to_digit(10)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_digits_are_checked() {
        // Public numbers of well-known companies and of the tax service's own examples.
        for good in ["7707083893", "7736050003", "500100732259"] {
            assert!(is_inn(good), "{good}");
        }
        for bad in ["7707083892", "500100732258", "500100732269", "", "770708389", "77070838931"] {
            assert!(!is_inn(bad), "{bad}");
        }
        assert!(is_kpp("773601001") && is_kpp("7736AB001"));
        assert!(!is_kpp("77360100") && !is_kpp("A73601001"));
    }

    #[test]
    fn an_account_belongs_to_its_bank() {
        let (bik, corr) = ("044525225", "30101810400000000225");
        assert!(is_corr_account(corr, bik));
        let account = "40702810438000060473";
        assert!(is_account(account, bik));
        for place in 0..20 {
            let mut bytes = account.as_bytes().to_vec();
            bytes[place] = if bytes[place] == b'9' { b'0' } else { bytes[place] + 1 };
            let wrong = String::from_utf8(bytes).unwrap();
            assert!(!is_account(&wrong, bik), "{wrong}");
        }
        assert!(!is_account(account, "144525225") && !is_account("", bik));
        assert!(!is_corr_account(account, bik));
    }
}
