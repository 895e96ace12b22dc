//! Replays the benchmark of `load-tests/decline/` through the detector.
//!
//! Reads `series.csv` and `partners.csv` of a data folder, writes the flags and, if asked, the
//! states that `score.py` of that folder scores. A row of day d uses days up to d only.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::severity::is_watched;
use super::{Cause, ConversionFall, CountrySeries, Day, Network, PartnerSeries, UnevenSeries};

/// The benchmark monitors from this day on.
const MONITORED_FROM: Day = 90;
/// Rows go down to p = 10^-2.5: the scorer finds its own threshold above.
const ROWS_FROM: f64 = 2.5;
/// Days of which the scorer wants every partner's state.
const STATE_DAYS: [Day; 3] = [250, 325, 399];
/// Ten years and some: a larger day number is a mistake, not a series.
const MAX_DAYS: Day = 4_000;

/// Says what was read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Partners read.
    pub partners: usize,
    /// Days replayed.
    pub days: usize,
    /// Rows written of declines in clicks.
    pub click_flags: usize,
    /// Rows written of declines in conversions.
    pub conversion_flags: usize,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partners, days, click_flags, conversion_flags } = self;
        write!(
            f,
            "{partners} partners, {days} days: {click_flags} flags on clicks, {conversion_flags} \
             on conversions"
        )
    }
}

/// Says why the benchmark could not be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ScoreError {
    /// A file could not be opened or created.
    #[error("cannot open {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A row cannot be read.
    #[error("{}, line {line}, column {column}: {problem}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// Line, counted from 1; the header is line 1.
        line: u64,
        /// Name of the column, or `?` if the row as a whole is wrong.
        column: String,
        /// What is wrong.
        problem: String,
    },
    /// The result could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: csv::Error,
    },
    /// The series do not fit together.
    #[error(transparent)]
    Uneven(#[from] UnevenSeries),
}

/// Replays the series in `series_dir`, writes flags to `out` and states to `states`.
///
/// # Errors
/// [`ScoreError`] names the file and, for a bad row, line and column.
pub fn run(series_dir: &Path, out: &Path, states: Option<&Path>) -> Result<Summary, ScoreError> {
    let (days, ids, partners) = read(series_dir)?;
    let mut network = Network::begin(days, partners)?;
    let mut found = Vec::new();
    let (click_flags, conversion_flags) =
        write(out, |csv| replay(csv, &mut network, &ids, &mut found)).map_err(|e| e.of(out))?;
    if let Some(path) = states {
        write(path, |csv| write_states(csv, &found)).map_err(|e| e.of(path))?;
    }
    Ok(Summary { partners: ids.len(), days, click_flags, conversion_flags })
}

/// A row of `partners.csv`; columns the detector does not read are left out.
#[derive(Deserialize)]
struct PartnerRow {
    partner_id: u32,
    joined_day: Day,
    country1: String,
    country2: String,
    country3: String,
    declared_off: String,
}

/// A row of `series.csv`.
#[derive(Deserialize)]
struct DayRow {
    partner_id: u32,
    day: Day,
    clicks: u32,
    conversions: u32,
    clicks_c1: u32,
    clicks_c2: u32,
    clicks_c3: u32,
    links_created: u32,
    logins: u32,
}

fn read(dir: &Path) -> Result<(usize, Vec<u32>, Vec<PartnerSeries>), ScoreError> {
    let path = dir.join("partners.csv");
    let mut ids = Vec::new();
    let mut partners = Vec::new();
    let mut index = HashMap::new();
    each_row(&path, |row: PartnerRow| {
        let away = absences(&row.declared_off).ok_or_else(|| {
            let problem = format!("expected days as 120-240;300-330, found {:?}", row.declared_off);
            ("declared_off", problem)
        })?;
        if index.insert(row.partner_id, partners.len()).is_some() {
            return Err(("partner_id", format!("partner {} is here twice", row.partner_id)));
        }
        ids.push(row.partner_id);
        let country = |name| CountrySeries { name, clicks: Vec::new() };
        partners.push(PartnerSeries {
            kind: 0,
            joined_on: row.joined_day,
            countries: [row.country1, row.country2, row.country3].map(country).into(),
            away,
            ..PartnerSeries::default()
        });
        Ok(())
    })?;

    let path = dir.join("series.csv");
    let mut days = 0;
    each_row(&path, |row: DayRow| {
        let &i = index
            .get(&row.partner_id)
            .ok_or_else(|| ("partner_id", format!("{} is not in partners.csv", row.partner_id)))?;
        if row.day >= MAX_DAYS {
            return Err(("day", format!("{} is beyond the last day, {MAX_DAYS}", row.day)));
        }
        days = days.max(row.day + 1);
        put(&mut partners[i], &row);
        Ok(())
    })?;
    for counts in partners.iter_mut().flat_map(all_counts) {
        counts.resize(days, 0);
    }
    Ok((days, ids, partners))
}

fn put(partner: &mut PartnerSeries, row: &DayRow) {
    let values = [
        row.clicks,
        row.conversions,
        row.links_created,
        row.logins,
        row.clicks_c1,
        row.clicks_c2,
        row.clicks_c3,
    ];
    for (counts, value) in all_counts(partner).zip(values) {
        if counts.len() <= row.day {
            counts.resize(row.day + 1, 0);
        }
        counts[row.day] = value;
    }
}

fn all_counts(partner: &mut PartnerSeries) -> impl Iterator<Item = &mut Vec<u32>> {
    let PartnerSeries { clicks, conversions, links_created, logins, countries, .. } = partner;
    let countries = countries.iter_mut().map(|country| &mut country.clicks);
    [clicks, conversions, links_created, logins].into_iter().chain(countries)
}

/// Reads `120-240;300-330`; `None` if it is anything else.
fn absences(text: &str) -> Option<Vec<RangeInclusive<Day>>> {
    let spans = text.split(';').filter(|span| !span.is_empty());
    spans
        .map(|span| {
            let (from, until) = span.split_once('-')?;
            Some(from.parse().ok()?..=until.parse().ok()?)
        })
        .collect()
}

fn each_row<Row: DeserializeOwned>(
    path: &Path,
    mut take: impl FnMut(Row) -> Result<(), (&'static str, String)>,
) -> Result<(), ScoreError> {
    let open = |source| ScoreError::Open { path: path.into(), source };
    let bad = |line, column: &str, problem| ScoreError::Row {
        path: path.into(),
        line,
        column: column.into(),
        problem,
    };
    let mut csv = csv::Reader::from_reader(File::open(path).map_err(open)?);
    let headers = csv.headers().map_err(|e| bad(1, "?", e.to_string()))?.clone();
    let mut record = csv::StringRecord::new();
    while csv.read_record(&mut record).map_err(|e| {
        let line = e.position().map_or(0, csv::Position::line);
        bad(line, "?", e.to_string())
    })? {
        let line = record.position().map_or(0, csv::Position::line);
        let row = record.deserialize(Some(&headers)).map_err(|e| {
            let (column, problem) = explain(&e, &headers);
            bad(line, &column, problem)
        })?;
        take(row).map_err(|(column, problem)| bad(line, column, problem))?;
    }
    Ok(())
}

fn explain(error: &csv::Error, headers: &csv::StringRecord) -> (String, String) {
    let csv::ErrorKind::Deserialize { err, .. } = error.kind() else {
        return ("?".into(), error.to_string());
    };
    let column = err.field().and_then(|field| headers.get(usize::try_from(field).ok()?));
    (column.unwrap_or("?").into(), err.kind().to_string())
}

type Csv = csv::Writer<File>;

/// A failed write that does not know its file yet.
enum Unwritten {
    Create(io::Error),
    Write(csv::Error),
}

impl Unwritten {
    fn of(self, path: &Path) -> ScoreError {
        match self {
            Self::Create(source) => ScoreError::Open { path: path.into(), source },
            Self::Write(source) => ScoreError::Write { path: path.into(), source },
        }
    }
}

fn write<T>(
    path: &Path,
    rows: impl FnOnce(&mut Csv) -> Result<T, csv::Error>,
) -> Result<T, Unwritten> {
    let mut csv = Csv::from_writer(File::create(path).map_err(Unwritten::Create)?);
    let done = rows(&mut csv).map_err(Unwritten::Write)?;
    csv.flush().map_err(|e| Unwritten::Write(e.into()))?;
    Ok(done)
}

/// One row of the states.
type StateRow = [String; 4];

/// Learns day by day, writes the flags of each day and gathers the states.
fn replay(
    csv: &mut Csv,
    network: &mut Network,
    ids: &[u32],
    states: &mut Vec<StateRow>,
) -> Result<(usize, usize), csv::Error> {
    csv.write_record([
        "partner_id",
        "flagged_on",
        "severity",
        "p_value",
        "baseline_per_day",
        "observed_per_day",
        "expected_lost_clicks",
        "signal",
        "cause",
        "since",
    ])?;
    let (mut clicks, mut conversions) = (0, 0);
    for day in 0..network.partners.first().map_or(0, |partner| partner.clicks.len()) {
        network.learn_day();
        if day < MONITORED_FROM {
            continue;
        }
        for (partner, id) in ids.iter().enumerate() {
            if let Some(row) = click_flag(network, partner, *id) {
                csv.write_record(row)?;
                clicks += 1;
            }
            if let Some(fall) = network.view(partner).conversion_fall() {
                csv.write_record(conversion_flag(&fall, *id, day))?;
                conversions += 1;
            }
        }
        if STATE_DAYS.contains(&day) {
            states.extend(ids.iter().enumerate().map(|(place, id)| state(network, place, *id)));
        }
    }
    Ok((clicks, conversions))
}

fn click_flag(network: &Network, partner: usize, id: u32) -> Option<[String; 10]> {
    let finding = network.detector.standing(partner).finding;
    let strength = f64::from(finding.listing_strength);
    if strength < ROWS_FROM {
        return None;
    }
    let rate = f64::from(finding.rate);
    let lost = rate * finding.share_lost();
    // A guess at the cause is made where a report would show one.
    let cause = if is_watched(strength) {
        benchmark_name(network.view(partner).diagnose(finding.since()).cause)
    } else {
        ""
    };
    Some([
        id.to_string(),
        network.last().to_string(),
        format!("{:.3}", finding.share_lost()),
        format!("{:.3e}", 10_f64.powf(-strength)),
        format!("{rate:.4}"),
        format!("{:.4}", rate - lost),
        format!("{:.4}", 28.0 * lost),
        "clicks".into(),
        cause.into(),
        finding.since().to_string(),
    ])
}

fn conversion_flag(fall: &ConversionFall, id: u32, day: Day) -> [String; 10] {
    let zero = || "0".to_owned();
    [
        id.to_string(),
        day.to_string(),
        String::new(),
        format!("{:.3e}", fall.p_value),
        zero(),
        zero(),
        zero(),
        "conversions".into(),
        "content".into(),
        fall.since.to_string(),
    ]
}

fn state(network: &Network, partner: usize, id: u32) -> StateRow {
    let state = network.detector.standing(partner).state;
    [
        id.to_string(),
        network.last().to_string(),
        format!("{:.5}", state.dormancy),
        format!("{:.4}", state.standing_loss()),
    ]
}

fn write_states(csv: &mut Csv, states: &[StateRow]) -> Result<(), csv::Error> {
    csv.write_record(["partner_id", "day", "p_dormant", "expected_lost_clicks"])?;
    states.iter().try_for_each(|row| csv.write_record(row))
}

/// The benchmark's spelling; it plants no technical causes.
fn benchmark_name(cause: Cause) -> &'static str {
    match cause {
        Cause::LocalMarket => "market",
        Cause::Organization => "organisational",
        Cause::LossOfInterest => "interest",
        Cause::ContentMarketing => "content",
        Cause::Technical | Cause::Unknown => "unknown",
    }
}

#[cfg(test)]
mod tests;
