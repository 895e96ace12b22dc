//! Closes a month: asks the rules, keeps the month, writes its statements.

use uuid::Uuid;

use super::period::{CannotClose, ClosedPeriod, Month, may_close};
use super::statement::{self, Heading, Statement};
use super::statement_store::{
    insert_statements, load_lines, load_openings, load_partners as load_partners_page,
};
use super::{period_store, statement_store};
use crate::clock::Timestamp;
use crate::db::DbTx;
use crate::ids::{PartnerId, ProgramId, UserId};

/// Partners whose entries are in memory at once.
const PARTNERS_AT_ONCE: i64 = 50;

/// A program, as closing its books needs it.
#[derive(Clone, Debug)]
pub struct Books {
    /// The program.
    pub program_id: ProgramId,
    /// Its name.
    pub name: String,
    /// Its time zone: when a month is over.
    pub time_zone: chrono_tz::Tz,
}

/// Why a month was not closed; nothing was written then.
#[derive(Debug, thiserror::Error)]
pub enum CloseError {
    /// The rules refuse.
    #[error(transparent)]
    Refused(#[from] CannotClose),
    /// A figure of a statement does not fit.
    #[error("the figures of {0} do not fit into a statement")]
    DoesNotFit(PartnerId),
    /// What was earned in it could not be reckoned for the last time.
    #[error("the commissions of the month could not be fixed")]
    NotFixed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// PostgreSQL refused or could not be reached.
    #[error("the month could not be closed")]
    Database(#[from] sqlx::Error),
}

/// A month that may be closed; nothing has been written yet.
#[derive(Clone, Debug)]
pub struct Due {
    month: Month,
    last: Option<ClosedPeriod>,
    ends_at: Timestamp,
}

impl Due {
    /// Returns the first moment after it.
    pub fn ends_at(&self) -> Timestamp {
        self.ends_at
    }
}

/// Asks whether a month may be closed.
pub async fn find_due(
    db: &mut DbTx,
    books: &Books,
    month: Month,
    now: Timestamp,
) -> Result<Due, CloseError> {
    let last = period_store::find_last_closed(db, books.program_id).await?;
    may_close(month, books.time_zone, last.as_ref().map(|p| p.month), now)?;
    let (_, ends_at) = month.bounds(books.time_zone);
    Ok(Due { month, last, ends_at })
}

/// Closes the books of a month and returns it with the number of its statements.
///
/// What is posted meanwhile comes after the place up to which it is closed.
pub async fn close(
    db: &mut DbTx,
    books: &Books,
    due: Due,
    by: UserId,
    now: Timestamp,
) -> Result<(ClosedPeriod, u64), CloseError> {
    let Due { month, last, ends_at } = due;
    let (last_sequence, chain_hash) = period_store::read_head(db, books.program_id).await?;
    let (starts_at, _) = month.bounds(books.time_zone);
    // A program that moved to another time zone: months meet all the same.
    let starts_at = last.as_ref().map_or(starts_at, |p| p.ends_at);
    let period = ClosedPeriod {
        program_id: books.program_id,
        month,
        starts_at,
        ends_at,
        after_sequence: last.as_ref().map_or(last_sequence, |p| p.last_sequence),
        last_sequence,
        chain_hash,
        closed_by: by,
        closed_at: now,
    };
    if !period_store::insert_closed(db, &period).await? {
        return Err(CannotClose::Closed(month).into());
    }
    let n_statements = write_statements(db, books, &period).await?;
    Ok((period, n_statements))
}

async fn write_statements(
    db: &mut DbTx,
    books: &Books,
    period: &ClosedPeriod,
) -> Result<u64, CloseError> {
    let (mut n, mut after) = (0, PartnerId(Uuid::nil()));
    loop {
        let page = load_partners_page(db, books.program_id, after, PARTNERS_AT_ONCE).await?;
        let Some((last, _)) = page.last() else { return Ok(n) };
        after = *last;
        let ids: Vec<Uuid> = page.iter().map(|(id, _)| id.0).collect();
        let openings = load_openings(db, period, &ids).await?;
        let lines = load_lines(db, period, &ids).await?;
        let mut statements = Vec::new();
        for (partner_id, partner_name) in page {
            for heading in headings(books, partner_id, &partner_name, &openings, &lines) {
                n += 1;
                let lines = lines.get(&(partner_id, heading.currency));
                let heading = Heading { number: statement::number(period, n), ..heading };
                let written = statement::write(heading, period, lines.map_or(&[], Vec::as_slice));
                statements.push(written.ok_or(CloseError::DoesNotFit(partner_id))?);
            }
        }
        keep(db, period, &statements).await?;
    }
}

async fn keep(
    db: &mut DbTx,
    period: &ClosedPeriod,
    statements: &[Statement],
) -> Result<(), sqlx::Error> {
    if statements.is_empty() { Ok(()) } else { insert_statements(db, period, statements).await }
}

/// Returns what heads a partner's statements: one for each currency in which there was a balance or
/// a movement.
fn headings(
    books: &Books,
    partner_id: PartnerId,
    partner_name: &str,
    openings: &statement_store::Openings,
    lines: &statement_store::Lines,
) -> Vec<Heading> {
    let moved = lines.keys().filter(|(partner, _)| *partner == partner_id);
    let stood = openings.iter().filter(|(_, opening)| **opening != (0, 0)).map(|(key, _)| key);
    let stood = stood.filter(|(partner, _)| *partner == partner_id);
    let currencies: std::collections::BTreeSet<_> = moved.chain(stood).map(|(_, c)| *c).collect();
    let heading = |currency| {
        let opening = openings.get(&(partner_id, currency)).copied().unwrap_or_default();
        Heading {
            number: String::new(),
            partner_id,
            partner_name: partner_name.to_owned(),
            program_name: books.name.clone(),
            time_zone: books.time_zone.name().to_owned(),
            currency,
            pending_opening_minor: opening.0,
            opening_minor: opening.1,
        }
    };
    currencies.into_iter().map(heading).collect()
}
