//! Checks that reckon again: the hash of each ledger transaction, the arithmetic of each
//! commission, the sums that plans count, the bytes of each payment file, the position in the stream.

pub mod commission;
pub mod ledger;
pub mod payout_file;
pub mod plan;
pub mod stream;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::{At, Offender, Page};

/// Counts what was looked at and keeps the first broken rows.
struct Tally<'a> {
    of: &'static str,
    at: &'a At<'a>,
    page: Page,
}

impl<'a> Tally<'a> {
    fn new(of: &'static str, at: &'a At<'a>) -> Self {
        Self { of, at, page: Page::default() }
    }

    /// Takes a row in; `wrong` are the figures that contradict each other.
    fn look(&mut self, program: Uuid, id: &str, wrong: Option<Value>) {
        self.page.n_looked += 1;
        let Some(figures) = wrong else { return };
        self.page.n_broken += 1;
        if self.page.first.len() < usize::try_from(self.at.first).unwrap_or(0) {
            let figures = if let Value::Object(figures) = figures { figures } else { Map::new() };
            self.page.first.push(Offender::new(self.of, Some(program), id, figures));
        }
    }

    /// Returns the page; `last` is the key of its last row, `n_rows` how many it had.
    fn end(mut self, n_rows: usize, last: Option<(Uuid, Uuid)>) -> Page {
        let is_full = i64::try_from(n_rows).unwrap_or(i64::MAX) >= self.at.rows;
        self.page.next = last.filter(|_| is_full);
        self.page
    }
}
