//! Paging by opaque cursor, stable while rows are added.
//!
//! A cursor is the sort key of the last row seen, as versioned JSON in base64url; the next page
//! holds what sorts after it. It is opaque to callers and not a secret: a forged one can only
//! name another place in a list the caller may read anyway.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Code, Problem};

/// Rows on a page when the caller does not say.
pub const LIMIT_DEFAULT: u32 = 50;
/// Rows on a page, at most.
pub const LIMIT_MAX: u32 = 200;

const VERSION: u8 = 1;

/// The paging part of a query; an extractor beside the one of the filters.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// Rows on a page, 1 to 200; 50 by default.
    #[param(minimum = 1, maximum = 200, default = 50)]
    #[serde(default, deserialize_with = "read_limit")]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Page<T> {
    /// The rows.
    pub data: Vec<T>,
    /// Whether more rows follow.
    pub has_more: bool,
    /// Where they begin; null on the last page.
    pub next_cursor: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Cursor<K> {
    v: u8,
    after: K,
}

/// Reads the limit; an error names the field, which the reader of queries does not.
fn read_limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let refused = || D::Error::custom(format!("field `limit` must be a number to {LIMIT_MAX}"));
    text.parse().map(Some).map_err(|_| refused())
}

impl PageQuery {
    /// Returns the number of rows on a page.
    ///
    /// # Errors
    /// `invalid-field` outside 1 to 200.
    pub fn limit(&self) -> Result<u32, Problem> {
        match self.limit.unwrap_or(LIMIT_DEFAULT) {
            limit @ 1..=LIMIT_MAX => Ok(limit),
            limit => Err(Problem::new(Code::InvalidField)
                .error("/limit", format!("must be 1 to {LIMIT_MAX}, is {limit}"))),
        }
    }

    /// Returns the sort key after which the page begins; none for the first page.
    ///
    /// # Errors
    /// `invalid-field` for a cursor that this list has not given out.
    pub fn after<K: DeserializeOwned>(&self) -> Result<Option<K>, Problem> {
        let Some(text) = &self.cursor else { return Ok(None) };
        let json = URL_SAFE_NO_PAD.decode(text).ok();
        let cursor = json.and_then(|json| serde_json::from_slice::<Cursor<K>>(&json).ok());
        match cursor {
            Some(Cursor { v: VERSION, after }) => Ok(Some(after)),
            Some(_) | None => Err(Problem::new(Code::InvalidField).error(
                "/cursor",
                "is not a cursor of this list; take next_cursor as it is, or begin without one",
            )),
        }
    }
}

impl<T> Page<T> {
    /// Makes a page of `limit` rows out of up to `limit + 1` that were read: the one too many
    /// only says that more follow. `key` returns the sort key of a row.
    pub fn new<K: Serialize>(mut rows: Vec<T>, limit: u32, key: impl Fn(&T) -> K) -> Self {
        let limit = limit as usize;
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let last = if has_more { rows.last() } else { None };
        let next_cursor = last.map(|row| {
            let json = serde_json::to_vec(&Cursor { v: VERSION, after: key(row) })
                .expect("sort keys are plain values");
            URL_SAFE_NO_PAD.encode(json)
        });
        Self { data: rows, has_more, next_cursor }
    }

    /// Converts each row, as from a row of a store to its form on the wire.
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Page<U> {
        Page {
            data: self.data.into_iter().map(f).collect(),
            has_more: self.has_more,
            next_cursor: self.next_cursor,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn following_the_cursors_reads_every_row_once(n in 0u32..50, limit in 1u32..12) {
            let rows: Vec<u32> = (0..n).collect();
            let (mut seen, mut query) = (Vec::new(), PageQuery { limit: Some(limit), cursor: None });
            for _ in 0..=n {
                let after = query.after::<u32>().unwrap();
                let rest = rows.iter().copied().filter(|row| after.is_none_or(|after| *row > after));
                let read = rest.take(limit as usize + 1).collect();
                let page = Page::new(read, query.limit().unwrap(), |row| *row);
                prop_assert_eq!(page.has_more, page.next_cursor.is_some());
                seen.extend(page.data);
                prop_assert_eq!(page.has_more, seen.len() < rows.len());
                match page.next_cursor {
                    Some(cursor) => query.cursor = Some(cursor),
                    None => break,
                }
            }
            prop_assert_eq!(seen, rows);
        }

        #[test]
        fn any_text_as_cursor_is_refused_and_never_panics(text in "\\PC{0,40}") {
            let query = PageQuery { limit: None, cursor: Some(text) };
            let problem = query.after::<u32>().unwrap_err();
            prop_assert_eq!(problem.errors()[0].pointer.as_str(), "/cursor");
        }
    }

    #[test]
    fn limits_and_cursors_of_another_make_are_refused() {
        for (limit, fits) in
            [(None, true), (Some(1), true), (Some(200), true), (Some(0), false), (Some(201), false)]
        {
            assert_eq!(PageQuery { limit, cursor: None }.limit().is_ok(), fits, "{limit:?}");
        }
        for (json, fits) in [
            (r#"{"v":1,"after":[5,"a"]}"#, true),
            (r#"{"v":2,"after":[5,"a"]}"#, false),
            (r#"{"v":1,"after":["a",5]}"#, false),
        ] {
            let query = PageQuery { limit: None, cursor: Some(URL_SAFE_NO_PAD.encode(json)) };
            assert_eq!(query.after::<(u32, String)>().is_ok(), fits, "{json}");
        }
    }
}
