//! Reads and writes small benchmark folders.

use std::fs;

use tempfile::TempDir;

use super::*;

const PARTNERS: &str =
    "partner_id,joined_day,value_per_click,country1,country2,country3,declared_off\n";
const SERIES: &str = "partner_id,day,clicks,conversions,clicks_c1,clicks_c2,clicks_c3,\
                      links_created,logins\n";

fn folder(partners: &str, series: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("partners.csv"), format!("{PARTNERS}{partners}")).unwrap();
    fs::write(dir.path().join("series.csv"), format!("{SERIES}{series}")).unwrap();
    dir
}

fn run_in(dir: &TempDir) -> Result<Summary, ScoreError> {
    let states = dir.path().join("states.csv");
    run(dir.path(), &dir.path().join("flags.csv"), Some(&states))
}

/// Thirty partners with 9 clicks a day, of which partner 105 stops on day 120.
fn town() -> TempDir {
    let partners: String = (100..130).map(|id| format!("{id},0,0.1,DE,US,PL,\n")).collect();
    let mut series = String::new();
    for id in 100..130 {
        for day in 0..260 {
            let c = if id == 105 && day >= 120 { 0 } else { 3 };
            series += &format!("{id},{day},{},0,{c},{c},{c},0,0\n", 3 * c);
        }
    }
    folder(&partners, &series)
}

#[test]
fn stop_is_flagged_and_its_state_written() {
    let dir = town();
    let summary = run_in(&dir).unwrap();
    assert_eq!((summary.partners, summary.days, summary.conversion_flags), (30, 260, 0));
    let flags = fs::read_to_string(dir.path().join("flags.csv")).unwrap();
    let rows: Vec<Vec<&str>> = flags.lines().skip(1).map(|row| row.split(',').collect()).collect();
    assert_eq!(rows.len(), summary.click_flags);
    assert!(rows.iter().all(|row| row[0] == "105" && row[7] == "clicks"));
    let first: Day = rows[0][1].parse().unwrap();
    assert!((121..124).contains(&first), "{first}");
    let states = fs::read_to_string(dir.path().join("states.csv")).unwrap();
    assert_eq!(states.lines().count(), 31);
    let stopped = states.lines().find(|row| row.starts_with("105,250,")).unwrap();
    assert!(stopped.starts_with("105,250,0.99") || stopped.starts_with("105,250,1.0"), "{stopped}");
}

#[test]
fn missing_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = run_in(&dir).unwrap_err().to_string();
    assert!(error.starts_with("cannot open ") && error.ends_with("partners.csv"), "{error}");
}

#[test]
fn bad_rows_are_named_by_file_line_and_column() {
    let good = "7,0,0.1,DE,US,PL,\n";
    let cases = [
        ("7,x,0.1,DE,US,PL,\n", "", "partners.csv, line 2, column joined_day: "),
        ("7,0,0.1,DE,US,PL,3to5\n", "", "partners.csv, line 2, column declared_off: "),
        ("7,0,0.1,DE,US,PL,\n7,0,0.1,DE,US,PL,\n", "", "partners.csv, line 3, column partner_id: "),
        (good, "7,0,1,0,1,0,0,0,0\n7,1,-1,0,0,0,0,0,0\n", "series.csv, line 3, column clicks: "),
        (good, "8,0,1,0,1,0,0,0,0\n", "series.csv, line 2, column partner_id: "),
        (good, "7,4000,1,0,1,0,0,0,0\n", "series.csv, line 2, column day: "),
        (good, "7,0,1\n", "series.csv, line 2, column ?: "),
    ];
    for (partners, series, expected) in cases {
        let error = run_in(&folder(partners, series)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error} lacks {expected}");
    }
}

#[test]
fn absences_are_inclusive_spans() {
    assert_eq!(absences("0-3;300-330"), Some(vec![0..=3, 300..=330]));
    assert_eq!(absences(""), Some(Vec::new()));
    assert_eq!(absences("3"), None);
}
