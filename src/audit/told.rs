//! An audit as text for people and as JSON for machines.

use std::fmt::Write as _;

use chrono::SecondsFormat;
use serde_json::{Value, json};

use super::{Judged, Offender, REGISTRY};
use crate::clock::Timestamp;
use crate::ids::ProgramId;

/// Tells an audit in lines: what is sound in one each, what is broken with its first rows.
pub fn text(all: &[Judged]) -> String {
    let mut out = String::new();
    for judged in all {
        line(&mut out, judged).expect("writing to a string cannot fail");
    }
    let (n_looked, n_broken) = sums(all);
    let looked = all.iter().filter(|judged| judged.not_looked.is_none()).count();
    let end = if n_broken == 0 { "all hold" } else { "broken; see above" };
    writeln!(out, "\n{looked} of {} invariants looked at {n_looked} rows: {end}.", all.len())
        .expect("writing to a string cannot fail");
    out
}

fn line(out: &mut String, judged: &Judged) -> std::fmt::Result {
    let Judged { invariant, n_looked, n_broken, first, not_looked } = judged;
    let name = invariant.name;
    if let Some(why) = not_looked {
        return writeln!(out, "not looked  {name:<28} {why}");
    }
    if *n_broken == 0 {
        let looked = match n_looked {
            0 => "nothing to look at".to_owned(),
            n => counted(*n, invariant.of),
        };
        return writeln!(out, "ok          {name:<28} {looked}");
    }
    let looked = counted(*n_looked, invariant.of);
    writeln!(out, "BROKEN      {name:<28} {n_broken} of {looked}")?;
    writeln!(
        out,
        "            must hold: {}\n            what to do: {}",
        invariant.means, invariant.remedy
    )?;
    for offender in first {
        writeln!(out, "            {}", row(offender))?;
    }
    let left = n_broken.saturating_sub(u64::try_from(first.len()).unwrap_or(0));
    if left > 0 {
        writeln!(out, "            and {left} more; --limit names more of them")?;
    }
    Ok(())
}

fn counted(n: u64, of: &str) -> String {
    let of = of.replace('_', " ");
    match n {
        1 => format!("1 {of}"),
        n if of.ends_with("ch") => format!("{n} {of}es"),
        n => format!("{n} {of}s"),
    }
}

/// Tells a broken row: its id and its figures.
pub fn row(offender: &Offender) -> String {
    let mut said = offender.id.clone();
    if let Some(program) = offender.program_id {
        said = format!("{program} {said}");
    }
    for (name, value) in &offender.figures {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        said.push_str(&format!(" {name}={value}"));
    }
    said
}

/// Tells what must hold, as the table of the documents.
pub fn markdown_table() -> String {
    let mut out =
        "| Name | What must hold | What to do when it does not |\n|---|---|---|\n".to_owned();
    for one in REGISTRY {
        writeln!(out, "| `{}` | {} | {} |", one.name, one.means, one.remedy)
            .expect("writing to a string cannot fail");
    }
    out
}

/// Tells an audit as one object.
pub fn json(all: &[Judged], program: Option<ProgramId>, now: Timestamp) -> Value {
    let (n_looked, n_broken) = sums(all);
    let invariants = all.iter().map(|judged| {
        json!({
            "invariant": judged.invariant.name,
            "status": judged.status(),
            "looked": judged.n_looked,
            "broken": judged.n_broken,
            "not_looked": judged.not_looked,
            "means": judged.invariant.means,
            "remedy": judged.invariant.remedy,
            "first": judged.first,
        })
    });
    json!({
        "at": now.to_rfc3339_opts(SecondsFormat::AutoSi, true),
        "program_id": program,
        "looked": n_looked,
        "broken": n_broken,
        "invariants": invariants.collect::<Vec<_>>(),
    })
}

fn sums(all: &[Judged]) -> (u64, u64) {
    let sum = |of: fn(&Judged) -> u64| all.iter().map(of).sum();
    (sum(|judged| judged.n_looked), sum(|judged| judged.n_broken))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_broken_is_told_with_its_rows_and_what_to_do() {
        let named = |i: &&crate::audit::Invariant| i.name == "ledger_transactions_balance";
        let invariant = REGISTRY.iter().find(named).unwrap();
        let judged = |n_looked, n_broken| Judged {
            invariant,
            n_looked,
            n_broken,
            first: Vec::new(),
            not_looked: None,
        };
        let figures = [("residue_minor".to_owned(), json!(5)), ("code".to_owned(), json!("amend"))];
        let mut broken = judged(7, 2);
        let figures = figures.into_iter().collect();
        broken.first.push(Offender { program_id: None, id: "tx_1".to_owned(), figures });
        let away = Judged { not_looked: Some("Redis is down".to_owned()), ..judged(0, 0) };
        let told = text(&[judged(3, 0), judged(0, 0), away, broken]);
        for part in [
            "ok          ledger_transactions_balance  3 transactions\n",
            "ledger_transactions_balance  nothing to look at\n",
            "not looked  ledger_transactions_balance  Redis is down\n",
            "BROKEN      ledger_transactions_balance  2 of 7 transactions\n",
            invariant.remedy,
            "tx_1 code=amend residue_minor=5\n",
            "and 1 more",
            "3 of 4 invariants looked at 10 rows: broken",
        ] {
            assert!(told.contains(part), "{part:?} is not in\n{told}");
        }
    }
}
