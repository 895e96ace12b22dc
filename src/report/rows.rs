//! Where the rows of a report go: a page at a time, so that no report is held as a whole.

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use sqlx::PgConnection;

use super::{Cell, Params, ROWS_MAX, Report, ReportError, Table};

/// Rows of the first page: few, so that an answer begins at once.
const FIRST_PAGE: i64 = 200;
/// Rows of every later page: a megabyte at most, and few questions for a million rows.
const NEXT_PAGE: i64 = 2_000;

/// Totals by name; never among the rows, where a spreadsheet would add them up again.
pub type Summary = Vec<(&'static str, Cell)>;

/// Takes the rows of a report as they are read.
pub trait Rows: Send {
    /// Takes a page; an error ends the reading.
    fn take(&mut self, page: Vec<Vec<Cell>>) -> BoxFuture<'_, Result<(), ReportError>>;

    /// Learns that a further page is going to be read, so that nobody waits for it who could have
    /// the first.
    fn expect_more(&mut self) -> BoxFuture<'_, Result<(), ReportError>> {
        ready(Ok(())).boxed()
    }

    /// Learns that what comes next may take long, so that nothing is held back meanwhile.
    fn expect_long(&mut self) -> BoxFuture<'_, Result<(), ReportError>> {
        ready(Ok(())).boxed()
    }
}

/// How many rows the next page may have.
#[derive(Clone, Copy, Debug)]
pub struct PageSize(i64);

impl PageSize {
    /// Returns the size of the first page.
    pub const fn first() -> Self {
        Self(FIRST_PAGE)
    }

    /// Returns the size of the first page where each row takes the sum of many.
    pub const fn first_of_sums() -> Self {
        Self(FIRST_PAGE / 10)
    }

    /// Returns the number of rows to ask for.
    pub fn rows(self) -> i64 {
        self.0
    }

    /// Tells whether a page with so many rows is the last one; else the next may be larger.
    pub fn is_last(&mut self, n_rows: usize) -> bool {
        let is_last = i64::try_from(n_rows).unwrap_or(i64::MAX) < self.0;
        self.0 = (self.0 * 10).min(NEXT_PAGE);
        is_last
    }
}

/// Keeps the rows, for readers that need all of them.
#[derive(Debug, Default)]
struct Kept(Vec<Vec<Cell>>);

impl Rows for Kept {
    fn take(&mut self, page: Vec<Vec<Cell>>) -> BoxFuture<'_, Result<(), ReportError>> {
        self.0.extend(page);
        let fits = self.0.len() <= ROWS_MAX;
        ready(if fits { Ok(()) } else { Err(ReportError::TooManyRows) }).boxed()
    }
}

/// Hands a report over that had to be seen as a whole, and returns its totals.
///
/// # Errors
/// It has more than [`ROWS_MAX`] rows, or nobody takes them.
pub async fn hand_over(table: Table, rows: &mut dyn Rows) -> Result<Summary, ReportError> {
    if table.rows.len() > ROWS_MAX {
        return Err(ReportError::TooManyRows);
    }
    rows.take(table.rows).await?;
    Ok(table.summary)
}

/// Reads a report that streams as a whole: what its `run` is.
pub async fn collect(
    report: &dyn Report,
    db: &mut PgConnection,
    params: &Params,
) -> Result<Table, ReportError> {
    let mut kept = Kept::default();
    let summary = report.stream(db, params, &mut kept).await?;
    Ok(Table { rows: kept.0, summary })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_grow_and_a_short_one_is_the_last() {
        let mut size = PageSize::first();
        assert!(!size.is_last(200));
        assert_eq!(size.rows(), 2_000);
        assert!(!size.is_last(2_000));
        assert_eq!(size.rows(), 2_000);
        assert!(size.is_last(1_999));
        assert!(PageSize::first_of_sums().is_last(0));
    }
}
