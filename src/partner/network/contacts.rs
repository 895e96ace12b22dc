//! When to be in touch with whom: the better the rank, the more often. Pure.

use chrono::NaiveDate;

use super::rank::Rank;
use super::{Books, Member};
use crate::clock::Timestamp;

/// Days without a visitor after which a partner sleeps: calling it every fortnight wakes nobody,
/// the digest may.
const DORMANT_DAYS: i64 = 60;

/// How talks happen.
pub const CHANNELS: [&str; 5] = ["call", "email", "meeting", "chat", "other"];

/// Returns the days between two contacts; none for who gets the digest only.
pub fn cadence_days(rank: Rank) -> Option<u64> {
    match rank {
        Rank::A => Some(14),
        Rank::B => Some(30),
        Rank::C => Some(90),
        Rank::D => None,
    }
}

/// Returns when to be in touch next after a contact, or after the enrollment began.
pub fn next_due(rank: Rank, last_contact: NaiveDate) -> Option<NaiveDate> {
    cadence_days(rank).and_then(|days| last_contact.checked_add_days(chrono::Days::new(days)))
}

/// What a partner gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contact {
    /// A call on that day; in the past it is overdue.
    Due(NaiveDate),
    /// The digest: it sleeps, or its rank asks for no more.
    DigestOnly,
}

/// Decides what a member gets. A date that somebody has set counts before the cadence, but a
/// partner that sleeps is never called.
pub fn contact(member: &Member, books: &Books, now: Timestamp) -> Contact {
    let today = books.day(now);
    let seen_on = books.day(member.last_click_at.unwrap_or(member.since));
    if (today - seen_on).num_days() > DORMANT_DAYS {
        return Contact::DigestOnly;
    }
    let rank = Rank::parse(&member.rank).unwrap_or(Rank::C);
    let last = books.day(member.last_contact_at.unwrap_or(member.since));
    member
        .next_contact_due
        .or_else(|| next_due(rank, last))
        .map_or(Contact::DigestOnly, Contact::Due)
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;

    use super::super::Figures;
    use super::*;
    use crate::ids::{PartnerId, ProgramId};

    fn at(day: &str) -> Timestamp {
        format!("{day}T12:00:00Z").parse().unwrap()
    }

    fn member(rank: &str, last_contact: Option<&str>, last_click: Option<&str>) -> Member {
        Member {
            partner_id: PartnerId::new(),
            name: String::new(),
            kind: "webmaster".to_owned(),
            status: "active".to_owned(),
            rank: rank.to_owned(),
            is_rank_pinned: false,
            owner: None,
            champion: None,
            next_contact_due: None,
            last_contact_at: last_contact.map(at),
            last_click_at: last_click.map(at),
            since: at("2026-01-01"),
            now: Figures::default(),
            before: Figures::default(),
        }
    }

    #[test]
    fn the_better_the_rank_the_sooner_and_who_sleeps_is_not_called() {
        let books = Books {
            program_id: ProgramId::new(),
            currency: "EUR".parse().unwrap(),
            time_zone: Tz::UTC,
        };
        let (talked, seen) = (Some("2026-05-10"), Some("2026-05-20"));
        for (rank, last_contact, last_click, due) in [
            ("A", talked, seen, Some("2026-05-24")),
            ("B", talked, seen, Some("2026-06-09")),
            ("C", talked, seen, Some("2026-08-08")),
            ("D", talked, seen, None),
            ("A", None, seen, Some("2026-01-15")),
            // 61 days before the first of June, and 60.
            ("A", talked, Some("2026-04-01"), None),
            ("A", talked, Some("2026-04-02"), Some("2026-05-24")),
            ("A", talked, None, None),
        ] {
            let found = contact(&member(rank, last_contact, last_click), &books, at("2026-06-01"));
            let expected = due.map_or(Contact::DigestOnly, |d| Contact::Due(d.parse().unwrap()));
            assert_eq!(found, expected, "{rank} {last_contact:?} {last_click:?}");
        }
        let mut promised = member("D", talked, seen);
        promised.next_contact_due = Some("2026-06-03".parse().unwrap());
        let found = contact(&promised, &books, at("2026-06-01"));
        assert_eq!(found, Contact::Due("2026-06-03".parse().unwrap()), "a promise is kept");
    }
}
