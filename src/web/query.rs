//! The query of an address as an extractor, which names the parameter that is wrong.

use std::future::{Ready, ready};
use std::ops::Deref;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use serde::de::DeserializeOwned;

use super::{Code, Problem};

/// What a query says, read into a type of the handler.
#[derive(Clone, Debug)]
pub struct Query<T>(T);

impl<T> Query<T> {
    /// Returns it.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Query<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: DeserializeOwned> FromRequest for Query<T> {
    type Error = Problem;
    type Future = Ready<Result<Self, Self::Error>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(read(req.query_string()).map(Self).map_err(|(name, what)| {
            let pointer = name.map_or_else(String::new, |name| format!("/{name}"));
            Problem::new(Code::InvalidField).error(pointer, what)
        }))
    }
}

/// Reads a query.
///
/// # Errors
/// The parameter that is wrong, where it is one of them, and what is wrong with it.
fn read<T: DeserializeOwned>(query: &str) -> Result<T, (Option<String>, String)> {
    let what = match parse(query) {
        Ok(value) => return Ok(value),
        Err(what) => what,
    };
    let named = what.split_once("field `").and_then(|(_, rest)| rest.split_once('`'));
    let name = match named {
        Some((field, _)) => Some(field.to_owned()),
        None => at_fault::<T>(query, &what),
    };
    Err((name, what))
}

/// Finds the parameter without which something else is wrong, or nothing: serde tells what is wrong
/// with a value, and not where it stood.
fn at_fault<T: DeserializeOwned>(query: &str, what: &str) -> Option<String> {
    let pairs: Vec<&str> = query.split('&').collect();
    let without = |place| {
        let others = pairs.iter().enumerate().filter(|(n, _)| *n != place);
        others.map(|(_, pair)| *pair).collect::<Vec<_>>().join("&")
    };
    let is_at_fault = |place: &usize| parse::<T>(&without(*place)).err().as_deref() != Some(what);
    let place = (0..pairs.len()).find(is_at_fault)?;
    let mut parts = url::form_urlencoded::parse(pairs[place].as_bytes());
    parts.next().map(|(name, _)| name.into_owned())
}

fn parse<T: DeserializeOwned>(query: &str) -> Result<T, String> {
    web::Query::<T>::from_query(query).map(web::Query::into_inner).map_err(|error| {
        let text = error.to_string();
        text.rsplit_once("error: ").map_or(text.as_str(), |(_, what)| what).to_owned()
    })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::ids::ProgramId;

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only whether it can be read counts")]
    struct Asked {
        program_id: ProgramId,
        limit: Option<u32>,
        #[serde(rename = "as")]
        form: Option<String>,
    }

    #[test]
    fn the_parameter_that_is_wrong_is_named() {
        let id = ProgramId::new();
        for (query, name, what) in [
            ("program_id=x".to_owned(), "program_id", "expected an identifier like pg_"),
            ("limit=2&program_id=x&as=x".to_owned(), "program_id", "expected an identifier"),
            (format!("program_id={id}&limit=ten"), "limit", "invalid digit"),
            (format!("program_id={id}&%6Cimit=-1"), "limit", "invalid digit"),
            (format!("program_id={id}&limit=1&limit=1"), "limit", "duplicate field"),
            ("program_id=x&limit=ten".to_owned(), "program_id", "expected an identifier"),
            ("limit=1".to_owned(), "program_id", "missing field"),
            (String::new(), "program_id", "missing field"),
        ] {
            let (found, said) = read::<Asked>(&query).unwrap_err();
            assert_eq!(found.as_deref(), Some(name), "{query}: {said}");
            assert!(said.contains(what), "{query}: {said}");
        }
        assert!(read::<Asked>(&format!("program_id={id}&limit=3&more=1")).is_ok());
    }
}
