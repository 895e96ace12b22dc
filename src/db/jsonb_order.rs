//! The order in which PostgreSQL keeps the keys of a `jsonb` object: by their length, then by their bytes
//! (`lengthCompareJsonbStringValue` in its `jsonb_util.c`). What is written in this order it need not sort:
//! of a form with twenty keys that is a tenth of its way in.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// Tells whether all objects of a text that is JSON are in this order.
pub(crate) fn is_in_order(json: &str) -> bool {
    serde_json::from_str::<InOrder>(json).expect("JSON").0
}

struct InOrder(bool);

impl<'de> Deserialize<'de> for InOrder {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Looking).map(Self)
    }
}

struct Looking;

impl<'de> Visitor<'de> for Looking {
    type Value = bool;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("any JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut of: A) -> Result<bool, A::Error> {
        let (mut is_in_order, mut before) = (true, String::new());
        while let Some((key, InOrder(value))) = of.next_entry::<String, InOrder>()? {
            is_in_order &= value && (before.len(), &before) < (key.len(), &key);
            before = key;
        }
        Ok(is_in_order)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut of: A) -> Result<bool, A::Error> {
        let mut is_in_order = true;
        while let Some(InOrder(value)) = of.next_element()? {
            is_in_order &= value;
        }
        Ok(is_in_order)
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(true)
    }

    fn visit_bool<E>(self, _: bool) -> Result<bool, E> {
        Ok(true)
    }

    fn visit_u64<E>(self, _: u64) -> Result<bool, E> {
        Ok(true)
    }

    fn visit_i64<E>(self, _: i64) -> Result<bool, E> {
        Ok(true)
    }

    fn visit_str<E>(self, _: &str) -> Result<bool, E> {
        Ok(true)
    }
}

#[test]
fn the_shorter_key_comes_first_then_the_smaller() {
    assert!(is_in_order(r#"{"b":1,"aa":[{"x":null,"yy":"t"}],"ab":{"c":true}}"#));
    for off in [r#"{"aa":1,"b":2}"#, r#"{"ab":1,"aa":2}"#, r#"{"a":[{"bb":1,"b":2}]}"#] {
        assert!(!is_in_order(off), "{off}");
    }
}
