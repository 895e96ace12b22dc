//! Which advertising network a visitor's address names: networks append an id to what they link to.
//!
//! Only the network is kept, never the id: it recognizes a person.

/// An advertising network, by the parameters that it appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AdNetwork {
    /// `gclid`, `gbraid`, `wbraid`, `dclid`.
    Google,
    /// `yclid`.
    Yandex,
    /// `msclkid`.
    Microsoft,
    /// `fbclid`; Facebook appends it to every link, paid or not.
    Meta,
    /// `ttclid`.
    TikTok,
    /// `twclid`.
    X,
    /// `li_fat_id`.
    LinkedIn,
}

/// What each parameter names.
pub const PARAMETERS: [(&str, AdNetwork); 10] = [
    ("gclid", AdNetwork::Google),
    ("gbraid", AdNetwork::Google),
    ("wbraid", AdNetwork::Google),
    ("dclid", AdNetwork::Google),
    ("yclid", AdNetwork::Yandex),
    ("msclkid", AdNetwork::Microsoft),
    ("fbclid", AdNetwork::Meta),
    ("ttclid", AdNetwork::TikTok),
    ("twclid", AdNetwork::X),
    ("li_fat_id", AdNetwork::LinkedIn),
];

impl AdNetwork {
    /// Returns the network that a parameter names.
    pub fn of_parameter(name: &str) -> Option<Self> {
        PARAMETERS.iter().find(|(known, _)| *known == name).map(|(_, network)| *network)
    }

    /// Returns what people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Google => "Google",
            Self::Yandex => "Yandex",
            Self::Microsoft => "Microsoft",
            Self::Meta => "Meta",
            Self::TikTok => "TikTok",
            Self::X => "X",
            Self::LinkedIn => "LinkedIn",
        }
    }

    /// Returns its code in the stream and in the database: three bits, 0 is none.
    pub fn code(self) -> u8 {
        match self {
            Self::Google => 1,
            Self::Yandex => 2,
            Self::Microsoft => 3,
            Self::Meta => 4,
            Self::TikTok => 5,
            Self::X => 6,
            Self::LinkedIn => 7,
        }
    }

    /// Reads a code; none for 0.
    pub fn from_code(code: u8) -> Option<Self> {
        PARAMETERS.iter().map(|(_, network)| *network).find(|n| n.code() == code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_fit_three_bits_and_read_back() {
        for (name, network) in PARAMETERS {
            assert_eq!(AdNetwork::of_parameter(name), Some(network));
            assert!((1..8).contains(&network.code()));
            assert_eq!(AdNetwork::from_code(network.code()), Some(network));
        }
        assert_eq!(AdNetwork::from_code(0), None);
        assert_eq!(AdNetwork::of_parameter("GCLID"), None);
    }
}
