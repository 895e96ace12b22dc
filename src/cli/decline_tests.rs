//! What a person at a terminal reads.

use super::*;
use crate::money::Money;
use crate::report::{Table, find};

fn readout(rows: Vec<[&str; 6]>) -> Readout {
    let window = Window::parse("2026-10-01", "2026-10-02", chrono_tz::Tz::UTC).unwrap();
    let currency = "EUR".parse().unwrap();
    let money = |text: &str| Cell::Money(Money::new(text.parse().unwrap(), currency));
    let params =
        Params { program_id: ProgramId::new(), partner_id: None, window, currency, now: window.to };
    let columns = find("activity-decline").unwrap().columns();
    let row = |values: [&str; 6]| {
        let cell = |name: &str| {
            let place = SHOWN.iter().position(|(_, column, _)| *column == name)?;
            Some(match name {
                "since" => Cell::Date(values[place].parse().unwrap()),
                "share_lost_percent" => Cell::Int(values[place].parse().unwrap()),
                "lost_commission_next_28d" => money(values[place]),
                _ => Cell::text(values[place]),
            })
        };
        columns.iter().map(|column| cell(column.name).unwrap_or(Cell::Empty)).collect()
    };
    let summary = vec![
        ("day", Cell::Date("2026-10-01".parse().unwrap())),
        ("partners", Cell::Int(60)),
        ("lost_commission_next_28d", money("12900")),
        ("incident", Cell::Empty),
    ];
    let table = Table { rows: rows.into_iter().map(row).collect(), summary };
    Readout { report: "activity-decline", params, columns, table }
}

#[test]
fn table_lines_up() {
    let told = table(
        &readout(vec![
            ["critical", "Blog Süd", "2026-09-20", "97", "12345", "technical"],
            ["watch", "A\u{1b}[31m", "2026-09-28", "8", "555", "unknown"],
        ]),
        "Demo shop",
    );
    assert_eq!(
        told,
        "\
SEVERITY  PARTNER   SINCE       LOST    AT STAKE  POSSIBLE CAUSE
critical  Blog Süd  2026-09-20  97 %  123.45 EUR  technical
watch     A\u{fffd}[31m    2026-09-28   8 %    5.55 EUR  unknown

2 of 60 partners of Demo shop are in decline on 2026-10-01. At stake is the commission of the next 28 days, 129.00 EUR together.
"
    );
}

#[test]
fn nobody_in_decline_is_good_news() {
    let told = table(&readout(Vec::new()), "Demo shop");
    assert_eq!(
        told,
        "Good news: none of the 60 partners of Demo shop is in decline on 2026-10-01.\n"
    );
}

#[test]
fn long_names_are_cut() {
    let name = "x".repeat(60);
    let told =
        table(&readout(vec![["watch", &name, "2026-09-28", "8", "555", "unknown"]]), "Demo shop");
    assert!(told.contains(&format!("{}…  2026", "x".repeat(39))), "{told}");
}
