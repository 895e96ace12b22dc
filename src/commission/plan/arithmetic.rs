//! How an amount was reckoned, as it is stored with its commission.
//!
//! Most of it is written and never read again before the next start, so it is kept as what it was
//! reckoned by until somebody asks for its text, which is what is stored, or for the tree. A tree for each
//! new commission took a sixth of the processor time of settlement; its text, while whoever decides is
//! waited for, a tenth.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use serde_json::Value;

use crate::commission::plan::calculation::Calculation;
use crate::commission::plan::{PlanTerms, wire};
use crate::ids::PlanVersionId;

/// The arithmetic of a commission, shared by all copies of its row.
#[derive(Clone, Debug)]
pub struct Arithmetic(Arc<Kept>);

#[derive(Debug)]
struct Kept {
    /// What it was reckoned by; none where the tree came first.
    by: Option<Reckoned>,
    text: OnceLock<String>,
    tree: OnceLock<Value>,
    is_counted: bool,
}

#[derive(Debug)]
struct Reckoned {
    calculation: Arc<Calculation>,
    version_id: PlanVersionId,
    terms: Arc<PlanTerms>,
}

impl Arithmetic {
    /// Returns a calculation by this edition, to be written when it is asked for.
    pub fn reckoned(
        calculation: Arc<Calculation>,
        version_id: PlanVersionId,
        terms: Arc<PlanTerms>,
    ) -> Self {
        let is_counted = calculation.is_counted();
        let by = Some(Reckoned { calculation, version_id, terms });
        Self(Arc::new(Kept { by, text: OnceLock::new(), tree: OnceLock::new(), is_counted }))
    }

    /// Returns the text that it is written as, unless the tree came first.
    pub fn text(&self) -> Option<&str> {
        self.0.text()
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
        match Arc::try_unwrap(self.0) {
            Ok(mut kept) => kept.tree.take().unwrap_or_else(|| read(kept.text())),
            Err(shared) => Value::clone(&Self(shared)),
        }
    }
}

impl Deref for Arithmetic {
    type Target = Value;

    fn deref(&self) -> &Value {
        self.0.tree.get_or_init(|| read(self.text()))
    }
}

impl Kept {
    fn text(&self) -> Option<&str> {
        let by = self.by.as_ref()?;
        let write = || wire::to_text(&by.calculation, by.version_id, &by.terms);
        Some(self.text.get_or_init(write))
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
        Self(Arc::new(Kept { by: None, text: OnceLock::new(), tree: tree.into(), is_counted }))
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
    use crate::clock::Timestamp;
    use crate::commission::plan::condition::Circumstances;
    use crate::commission::plan::{EventKind, Inputs, PriceFacts, price};
    use crate::db::jsonb_order::is_in_order;
    use crate::ids::PartnerId;

    fn of_a_flat_plan() -> Arithmetic {
        let plan = json!({"v": 1, "rules": [
            {"event": "lead", "currency": "EUR", "kind": "flat", "flat": "5.00"}]});
        let terms = PlanTerms::try_from(&serde_json::from_value(plan).unwrap()).unwrap();
        let around = Circumstances::new(PartnerId::new(), Timestamp::UNIX_EPOCH);
        let inputs = Inputs::new(PriceFacts::new(EventKind::Lead, None), around);
        let calculation = price(&terms, &inputs, |_| Default::default()).unwrap();
        Arithmetic::reckoned(calculation.into(), PlanVersionId::new(), terms.into())
    }

    #[test]
    fn it_is_written_in_the_order_that_postgresql_keeps() {
        let written = of_a_flat_plan();
        assert!(is_in_order(written.text().unwrap()), "{:?}", written.text());
    }

    #[test]
    fn what_is_written_is_what_the_tree_says() {
        let reckoned = of_a_flat_plan();
        assert_eq!(reckoned.get("total"), Some(&"5.00".into()));
        let built = Arithmetic::from(Value::clone(&reckoned));
        assert_eq!(built.text(), None);
        let text = reckoned.text().unwrap();
        assert_eq!(serde_json::from_str::<Value>(text).unwrap(), *built);
        assert_eq!(reckoned, built);
        assert_eq!(reckoned.clone().into_tree(), *built);
        let total = |arithmetic: Arithmetic| arithmetic.into_tree()["total"].clone();
        assert_eq!(total(of_a_flat_plan()), total(built));
    }

    #[test]
    fn who_changes_one_copy_leaves_the_others() {
        let first = of_a_flat_plan();
        let mut second = first.clone();
        second.set("ground", "a claim".into());
        let mut expected: Value = serde_json::from_str(first.text().unwrap()).unwrap();
        assert_eq!(*first, expected);
        expected["ground"] = "a claim".into();
        assert_eq!(second.text(), None);
        assert_eq!(second.into_tree(), expected);
    }

    #[test]
    fn whether_it_counts_is_told_by_the_tree() {
        assert!(Arithmetic::from(json!({"sums": [1]})).is_counted());
        assert!(Arithmetic::from(json!({"is_counted": true})).is_counted());
        assert!(!Arithmetic::from(json!({"sums": []})).is_counted());
    }
}
