//! Many rows of one table by binary COPY (PostgreSQL manual, COPY, "Binary Format").
//!
//! For thousands of rows it takes half the time of `insert … select from unnest`: no array is built
//! on either side, and while the server reads one piece the next one is encoded. Triggers, keys and
//! checks hold as they do for an insert. Over TCP the end of a copy may wait 40 ms (sqlx 0.9 leaves
//! `TCP_NODELAY` off), so a few rows are inserted.

use chrono::NaiveDate;
use serde::Serialize;
use sqlx::PgConnection;
use sqlx::postgres::PgCopyIn;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use crate::clock::Timestamp;

/// Rows from which on a copy is worth its two more round trips.
pub const COPY_MIN: usize = 200;
/// Bytes sent at once, about: of the first piece, so that the server need not wait long for it; each of
/// the next has twice as many, up to the second.
const FIRST_BYTES: usize = 16 * 1024;
const PIECE_BYTES: usize = 128 * 1024;
/// Days from the Unix epoch to that of PostgreSQL, 2000-01-01.
const EPOCH_DAYS: i32 = 10_957;
const MICROS_A_DAY: i64 = 86_400_000_000;
const NULL: i32 = -1;
/// The version of the binary form of `jsonb`.
const JSONB_VERSION: u8 = 1;

/// Writes rows; `into` is the table with its columns, `(a, b)`, in the order in which `write` puts
/// their fields. Returns how many rows were written.
///
/// # Errors
/// As an insert: nothing of them is written then, and the transaction has failed.
pub async fn copy_rows<T>(
    db: &mut PgConnection,
    into: &'static str,
    rows: impl IntoIterator<Item = T>,
    write: impl Fn(&mut RowFields<'_>, T),
) -> Result<u64, sqlx::Error> {
    let mut copying = Copying::begin(db, into).await?;
    for row in rows {
        copying.put(|to| write(to, row));
        copying.send_full().await?;
    }
    copying.end().await
}

/// A copy whose rows come one by one.
#[expect(missing_debug_implementations, reason = "sqlx shows nothing of its side")]
pub struct Copying<'db> {
    copying: PgCopyIn<&'db mut PgConnection>,
    bytes: Vec<u8>,
    /// Bytes of the next piece, about.
    n_full: usize,
}

impl<'db> Copying<'db> {
    /// Begins a copy into a table with its columns, as [`copy_rows`] does.
    ///
    /// # Errors
    /// When the server refuses it or is away.
    pub async fn begin(db: &'db mut PgConnection, into: &'static str) -> Result<Self, sqlx::Error> {
        let sql = format!("copy {into} from stdin (format binary)");
        let copying = db.copy_in_raw(&sql).await?;
        let mut bytes = Vec::with_capacity(PIECE_BYTES * 2);
        bytes.extend_from_slice(b"PGCOPY\n\xff\r\n\0");
        bytes.extend_from_slice(&[0; 8]);
        Ok(Self { copying, bytes, n_full: FIRST_BYTES })
    }

    /// Adds a row.
    pub fn put(&mut self, write: impl FnOnce(&mut RowFields<'_>)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        let mut fields = RowFields { bytes: &mut self.bytes, n: 0 };
        write(&mut fields);
        let n = fields.n;
        self.bytes[start..start + 2].copy_from_slice(&n.to_be_bytes());
    }

    /// Sends the rows added if they are enough for a piece.
    ///
    /// # Errors
    /// When the server refused one of those before, or is away.
    pub async fn send_full(&mut self) -> Result<(), sqlx::Error> {
        if self.bytes.len() >= self.n_full {
            self.copying.send(self.bytes.as_slice()).await?;
            self.bytes.clear();
            self.n_full = (self.n_full * 2).min(PIECE_BYTES);
        }
        Ok(())
    }

    /// Ends the copy; returns how many rows were written.
    ///
    /// # Errors
    /// As [`copy_rows`].
    pub async fn end(mut self) -> Result<u64, sqlx::Error> {
        self.bytes.extend_from_slice(&(-1_i16).to_be_bytes());
        self.copying.send(self.bytes).await?;
        self.copying.finish().await
    }
}

/// Frees what so many rows were made of; many on a thread where nobody waits for it: thousands of rows
/// are a hundred thousand pieces of memory.
pub fn let_go(n_rows: usize, written: impl Send + 'static) {
    if n_rows >= COPY_MIN {
        drop(spawn_blocking(move || drop(written)));
    }
}

/// The fields of one row, in the order of the columns.
#[derive(Debug)]
pub struct RowFields<'a> {
    bytes: &'a mut Vec<u8>,
    n: i16,
}

impl RowFields<'_> {
    /// Adds the next field.
    pub fn put(&mut self, field: impl Field) -> &mut Self {
        self.n += 1;
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&NULL.to_be_bytes());
        if field.encode(self.bytes) {
            let length = i32::try_from(self.bytes.len() - start - 4)
                .expect("texts and documents are bounded far below 2 GiB");
            self.bytes[start..start + 4].copy_from_slice(&length.to_be_bytes());
        }
        self
    }
}

/// What a column can hold.
pub trait Field {
    /// Appends its bytes, or returns `false` for null.
    fn encode(self, out: &mut Vec<u8>) -> bool;
}

impl<T: Field> Field for Option<T> {
    fn encode(self, out: &mut Vec<u8>) -> bool {
        self.is_some_and(|field| field.encode(out))
    }
}

/// Implements [`Field`] by the bytes of a value.
macro_rules! field {
    ($type:ty, $value:ident => $bytes:expr) => {
        impl Field for $type {
            fn encode(self, out: &mut Vec<u8>) -> bool {
                let $value = self;
                out.extend_from_slice($bytes);
                true
            }
        }
    };
}

field!(Uuid, id => id.as_bytes());
field!(&str, text => text.as_bytes());
field!(&String, text => text.as_bytes());
field!(&[u8], bytes => bytes);
field!(bool, is_so => &[u8::from(is_so)]);
field!(i16, n => &n.to_be_bytes());
field!(i32, n => &n.to_be_bytes());
field!(i64, n => &n.to_be_bytes());
field!(NaiveDate, day => &(day.to_epoch_days() - EPOCH_DAYS).to_be_bytes());
field!(Timestamp, at =>
    &(at.timestamp_micros() - i64::from(EPOCH_DAYS) * MICROS_A_DAY).to_be_bytes());

/// A value for a column of type `jsonb`.
#[derive(Debug)]
pub struct Jsonb<T>(pub T);

/// A text that is JSON, for a column of type `jsonb`.
#[derive(Debug)]
pub struct JsonText<'t>(pub &'t str);

impl Field for JsonText<'_> {
    fn encode(self, out: &mut Vec<u8>) -> bool {
        out.push(JSONB_VERSION);
        out.extend_from_slice(self.0.as_bytes());
        true
    }
}

impl<T: Serialize> Field for Jsonb<T> {
    fn encode(self, out: &mut Vec<u8>) -> bool {
        out.push(JSONB_VERSION);
        serde_json::to_writer(out, &self.0)
            .expect("what is stored has text keys, and a Vec takes every write");
        true
    }
}
