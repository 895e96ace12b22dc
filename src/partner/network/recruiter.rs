//! Who may be whose recruiter: two levels, never more. Pure.
//!
//! A recruiter has no recruiter of his own. With that rule circles cannot come about, and a
//! program cannot turn into a chain that pays for recruiting. The database holds the same rule.

use crate::ids::PartnerId;

/// What is known of a partner who is to have a recruiter.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// The partner.
    pub partner: PartnerId,
    /// Whether somebody has it as recruiter.
    pub has_recruits: bool,
    /// The recruiter wanted.
    pub parent: PartnerId,
    /// Whether that one has a recruiter.
    pub parent_has_parent: bool,
}

/// Says why a partner cannot be the recruiter of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRecruiter {
    /// Its own.
    #[error("a partner cannot be its own recruiter")]
    Itself,
    /// It is recruited itself.
    #[error("{0} was recruited itself, and a recruiter may not have a recruiter")]
    IsRecruited(PartnerId),
    /// The partner recruits.
    #[error("{0} has recruited others, and a recruiter may not have a recruiter")]
    HasRecruits(PartnerId),
}

/// Checks a wish.
pub fn check(wish: &Wish) -> Result<(), BadRecruiter> {
    if wish.partner == wish.parent {
        Err(BadRecruiter::Itself)
    } else if wish.parent_has_parent {
        Err(BadRecruiter::IsRecruited(wish.parent))
    } else if wish.has_recruits {
        Err(BadRecruiter::HasRecruits(wish.partner))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn partner(n: u8) -> PartnerId {
        PartnerId(Uuid::from_u128(u128::from(n)))
    }

    #[test]
    fn each_refusal_says_who_stands_in_the_way() {
        let (a, b) = (partner(1), partner(2));
        let free = Wish { partner: a, has_recruits: false, parent: b, parent_has_parent: false };
        assert_eq!(check(&free), Ok(()));
        assert_eq!(check(&Wish { parent: a, ..free }), Err(BadRecruiter::Itself));
        let wish = Wish { parent_has_parent: true, ..free };
        assert_eq!(check(&wish), Err(BadRecruiter::IsRecruited(b)));
        let wish = Wish { has_recruits: true, ..free };
        assert_eq!(check(&wish), Err(BadRecruiter::HasRecruits(a)));
    }

    proptest! {
        #[test]
        fn whatever_is_asked_for_nobody_stands_on_a_third_level(
            wishes in prop::collection::vec((0u8..6, 0u8..6), 0..60)
        ) {
            let mut parents: HashMap<u8, u8> = HashMap::new();
            for (who, whom) in wishes {
                let wish = Wish {
                    partner: partner(who),
                    has_recruits: parents.values().any(|p| *p == who),
                    parent: partner(whom),
                    parent_has_parent: parents.contains_key(&whom),
                };
                if check(&wish).is_ok() {
                    parents.insert(who, whom);
                }
                for (child, parent) in &parents {
                    prop_assert_ne!(child, parent);
                    prop_assert!(!parents.contains_key(parent), "{:?}", parents);
                }
            }
        }
    }
}
