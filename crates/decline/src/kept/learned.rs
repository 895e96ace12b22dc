//! What reports need of a day.

use chrono::NaiveDate;
use uuid::Uuid;

use super::{Reader, Writer};
use crate::assess::Standing;
use crate::finding::Finding;
use crate::history::CommonDay;
use crate::{Day, Estimate, Fallen, Incident, Rise, State, network};

/// What was learned of a program up to the end of a day.
#[derive(Clone, Debug, PartialEq)]
pub struct Learned {
    /// The day with the number 0.
    pub first: NaiveDate,
    /// What the network did, on each day up to the one that is judged.
    pub common: Vec<CommonDay>,
    /// Every partner that has ever had a click, in the order of their ids.
    pub partners: Vec<(Uuid, Mark)>,
    /// Those that may be on the day's list.
    pub notable: Vec<(Uuid, Standing)>,
    /// Those that may be on the list of those that rise.
    pub rises: Vec<(Uuid, Rise)>,
}

/// Whether there is a verdict about a partner on the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// There is one.
    Judged,
    /// It is away.
    Away,
    /// There is none yet.
    TooYoung,
}

impl Learned {
    /// The day that is judged.
    pub fn last(&self) -> Day {
        self.common.len() - 1
    }

    /// Returns the network-wide incident that the day belongs to.
    pub fn incident(&self) -> Option<Incident> {
        let factors: Vec<f64> = self.common.iter().map(|day| day.factor).collect();
        let (n_days, factor) = network::low_stretch(&factors)?;
        Some(Incident { since: self.common.len() - n_days, factor })
    }

    /// Writes it as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::default();
        let first = self.first.to_epoch_days();
        out.number(u64::from(first.unsigned_abs()));
        out.common(&self.common);
        out.place(self.partners.len());
        for (id, mark) in &self.partners {
            out.0.extend_from_slice(id.as_bytes());
            out.0.push(match mark {
                Mark::Judged => 0,
                Mark::Away => 1,
                Mark::TooYoung => 2,
            });
        }
        out.place(self.notable.len());
        for (id, standing) in &self.notable {
            out.0.extend_from_slice(id.as_bytes());
            write_finding(&mut out, &standing.finding);
            write_state(&mut out, &standing.state);
        }
        out.place(self.rises.len());
        for (id, rise) in &self.rises {
            out.0.extend_from_slice(id.as_bytes());
            out.place(rise.partner);
            out.place(rise.since);
            let Rise { expected_per_day: expected, observed_per_day: observed, .. } = rise;
            for e in [expected, observed] {
                [e.value, e.low, e.high].into_iter().for_each(|figure| out.float(figure));
            }
            out.float(rise.gained);
            out.float(rise.p_value);
        }
        out.0
    }
}

fn write_finding(out: &mut Writer, finding: &Finding) {
    let Finding { listing_strength, strength, rate, kept, uncertainty, since } = *finding;
    for figure in [listing_strength, strength, rate, kept, uncertainty] {
        out.single(figure);
    }
    out.number(u64::from(since));
}

fn write_state(out: &mut Writer, state: &State) {
    out.day(state.fallen.map(|fallen| fallen.since));
    if let Some(fallen) = state.fallen {
        out.float(fallen.rate);
    }
    out.float(state.rate_now);
    out.day(state.last_click);
    out.float(state.dormancy);
}

/// Reads it back; none if these bytes are something else.
pub fn read(bytes: &[u8]) -> Option<Learned> {
    let mut read = Reader(bytes);
    let first = NaiveDate::from_epoch_days(i32::try_from(read.number()?).ok()?)?;
    let common = read.common()?;
    let mut partners = Vec::new();
    for _ in 0..read.count()? {
        let id = read.id()?;
        let mark = match read.byte()? {
            0 => Mark::Judged,
            1 => Mark::Away,
            2 => Mark::TooYoung,
            _ => return None,
        };
        partners.push((id, mark));
    }
    let mut notable = Vec::new();
    for _ in 0..read.count()? {
        let id = read.id()?;
        let (finding, state) = (read_finding(&mut read)?, read_state(&mut read)?);
        notable.push((id, Standing { finding, state }));
    }
    let mut rises = Vec::new();
    for _ in 0..read.count()? {
        let id = read.id()?;
        let (partner, since) = (read.place()?, read.place()?);
        let mut estimate =
            || Some(Estimate { value: read.float()?, low: read.float()?, high: read.float()? });
        let (expected_per_day, observed_per_day) = (estimate()?, estimate()?);
        let (gained, p_value) = (read.float()?, read.float()?);
        let rise = Rise { partner, since, expected_per_day, observed_per_day, gained, p_value };
        rises.push((id, rise));
    }
    read.end()?;
    (!common.is_empty()).then_some(Learned { first, common, partners, notable, rises })
}

fn read_finding(read: &mut Reader) -> Option<Finding> {
    Some(Finding {
        listing_strength: read.single()?,
        strength: read.single()?,
        rate: read.single()?,
        kept: read.single()?,
        uncertainty: read.single()?,
        since: u32::try_from(read.number()?).ok()?,
    })
}

fn read_state(read: &mut Reader) -> Option<State> {
    let fallen = match read.day()? {
        Some(since) => Some(Fallen { rate: read.float()?, since }),
        None => None,
    };
    let (rate_now, last_click, dormancy) = (read.float()?, read.day()?, read.float()?);
    Some(State { fallen, rate_now, last_click, dormancy })
}
