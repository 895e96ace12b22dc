//! How an amount was reckoned, as it is stored with its commission.
//!
//! Most of it is written and never read again before the next start, so it is kept as the text it is
//! stored as; the tree is there for whoever asks. A tree for each new commission took a sixth of the
//! processor time of settlement.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use serde_json::Value;

/// The arithmetic of a commission, shared by all copies of its row.
#[derive(Clone, Debug)]
pub struct Arithmetic(Arc<Kept>);

#[derive(Debug)]
struct Kept {
    /// What it is written as; none where the tree came first.
    text: Option<String>,
    tree: OnceLock<Value>,
    is_counted: bool,
}

impl Arithmetic {
    /// Returns what was written as an object of JSON; `is_counted` says what its `sums` say.
    pub fn written(text: String, is_counted: bool) -> Self {
        Self(Arc::new(Kept { text: Some(text), tree: OnceLock::new(), is_counted }))
    }

    /// Returns the text that it was written as, unless the tree came first.
    pub fn text(&self) -> Option<&str> {
        self.0.text.as_deref()
    }

    /// Tells whether the figure depends on what else its period held.
    pub fn is_counted(&self) -> bool {
        self.0.is_counted
    }

    /// Sets one member of the object.
    pub fn set(&mut self, name: &str, value: Value) {
        let mut tree = Value::clone(self);
        tree[name] = value;
        *self = tree.into();
    }

    /// Returns the tree, a copy of it where others have it, too.
    pub fn into_tree(self) -> Value {
        match Arc::try_unwrap(self.0).map(|kept| (kept.text, kept.tree.into_inner())) {
            Ok((_, Some(tree))) => tree,
            Ok((text, None)) => read(text.as_deref()),
            Err(shared) => Value::clone(&Self(shared)),
        }
    }
}

impl Deref for Arithmetic {
    type Target = Value;

    fn deref(&self) -> &Value {
        self.0.tree.get_or_init(|| read(self.0.text.as_deref()))
    }
}

fn read(text: Option<&str>) -> Value {
    serde_json::from_str(text.unwrap_or("null")).expect("it was written as JSON")
}

impl From<Value> for Arithmetic {
    fn from(tree: Value) -> Self {
        let sums = tree.get("sums").and_then(Value::as_array);
        // A correction without sums of its own says it of the row that it corrects.
        let is_said = tree.get("is_counted").and_then(Value::as_bool).unwrap_or(false);
        let is_counted = is_said || sums.is_some_and(|sums| !sums.is_empty());
        Self(Arc::new(Kept { text: None, tree: tree.into(), is_counted }))
    }
}

impl PartialEq for Arithmetic {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_written_is_what_the_tree_says() {
        let tree = json!({"total": "1.50", "v": 2});
        let (written, built) =
            (Arithmetic::written(tree.to_string(), false), Arithmetic::from(tree));
        assert_eq!(written, built);
        assert_eq!((written.text(), built.text()), (Some(r#"{"total":"1.50","v":2}"#), None));
        assert_eq!(written.get("total"), Some(&"1.50".into()));
        assert_eq!(written.clone().into_tree(), *built);
        let fresh = Arithmetic::written(built.to_string(), false);
        assert_eq!(fresh.into_tree(), built.into_tree());
    }

    #[test]
    fn who_changes_one_copy_leaves_the_others() {
        let first = Arithmetic::written(json!({"total": "1.50"}).to_string(), true);
        let mut second = first.clone();
        second.set("ground", "a claim".into());
        assert_eq!(second.into_tree(), json!({"total": "1.50", "ground": "a claim"}));
        assert_eq!(*first, json!({"total": "1.50"}));
    }

    #[test]
    fn whether_it_counts_is_told_by_the_tree() {
        assert!(Arithmetic::from(json!({"sums": [1]})).is_counted());
        assert!(Arithmetic::from(json!({"is_counted": true})).is_counted());
        assert!(!Arithmetic::from(json!({"sums": []})).is_counted());
    }
}
