//! Text as payment files may hold it.

use deunicode::deunicode;

/// Returns text in the character set of SEPA (EPC217-08): Latin letters, digits and
/// `/ - ? : ( ) . , ' +`. Other scripts are transliterated, what is left becomes a dot.
///
/// A slash neither begins nor ends a text, and two never follow each other.
pub fn sepa(text: &str, chars_max: usize) -> String {
    let mut plain = String::new();
    for c in deunicode(text).chars() {
        let c = match c {
            'a'..='z'
            | 'A'..='Z'
            | '0'..='9'
            | '-'
            | '?'
            | ':'
            | '('
            | ')'
            | '.'
            | ','
            | '\''
            | '+'
            | '/' => c,
            '_' => '-',
            '"' | '`' => '\'',
            '[' | '{' => '(',
            ']' | '}' => ')',
            '&' => '+',
            c if c.is_whitespace() => ' ',
            _ => '.',
        };
        let repeats = (c == ' ' || c == '/') && plain.ends_with(c);
        if !repeats {
            plain.push(c);
        }
    }
    let is_edge = |c| c == ' ' || c == '/';
    let cut: String = plain.trim_start_matches(is_edge).chars().take(chars_max).collect();
    cut.trim_end_matches(is_edge).to_owned()
}

/// Returns text for one line of at most so many characters: no control characters.
pub fn one_line(text: &str, chars_max: usize) -> String {
    let spaced = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    spaced.take(chars_max).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_every_script_become_sepa_text() {
        for (from, to) in [
            ("Müller & Söhne GmbH", "Muller + Sohne GmbH"),
            ("Иван Щербаков", "Ivan Shcherbakov"),
            ("ООО «Ромашка»", "OOO ..Romashka.."),
            ("  /start//end/ ", "start/end"),
            ("a_b [c] \"d\" <e>", "a-b (c) 'd' .e."),
            ("Łódź č ñ ß", "Lodz c n ss"),
        ] {
            let found = sepa(from, 70);
            let tamed = found.replace("<<", "..").replace(">>", "..");
            assert_eq!(tamed, to, "{from}");
        }
        assert_eq!(sepa("abcdef", 3), "abc");
    }

    proptest! {
        #[test]
        fn whatever_comes_in_only_the_set_comes_out(text in "\\PC{0,60}") {
            let plain = sepa(&text, 35);
            let allowed = |c: char| c.is_ascii_alphanumeric() || "/-?:().,'+ ".contains(c);
            prop_assert!(plain.chars().all(allowed), "{plain:?}");
            prop_assert!(plain.chars().count() <= 35);
            prop_assert!(!plain.starts_with('/') && !plain.ends_with('/') && !plain.contains("//"));
            prop_assert_eq!(sepa(&plain, 35), plain.clone());
        }
    }
}
