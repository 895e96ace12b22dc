//! Everything that the detector knows at the end of a week, partner by partner.
//!
//! The days of a partner are kept as far back as the oldest forecast that is still to be learned
//! from (`KEPT_DAYS`); older ones live on in sums and levels alone.

use uuid::Uuid;

use super::{Reader, Writer};
use crate::Day;
use crate::baseline::Baseline;
use crate::detector::Detector;
use crate::silence::{Reference, Silence};
use crate::state::{Fallen, Rest};
use crate::windows::REACH_DAYS;

/// Whole weeks that hold the reach of every rule, and one more for the days since the week's end.
pub(crate) const KEPT_DAYS: usize = (REACH_DAYS / 7 + 1) * 7;

/// Writes what belongs to no single partner.
pub fn write_head(detector: &Detector) -> Vec<u8> {
    let mut out = Writer::default();
    out.common(&detector.history.common);
    for window in &detector.windows {
        out.float(window.typical);
        out.place(window.typicals.len());
        window.typicals.iter().for_each(|&typical| out.float(typical));
    }
    out.0
}

/// Begins a detector of partners of these kinds, none of which is known yet, at the end of the day that
/// the head was written on.
pub fn read_head(bytes: &[u8], kinds: Vec<u8>) -> Option<Detector> {
    let mut read = Reader(bytes);
    let mut detector = Detector::resumed(kinds, read.common()?);
    for window in &mut detector.windows {
        window.typical = read.float()?;
        for _ in 0..read.count()? {
            window.typicals.push(read.float()?);
        }
    }
    read.end()?;
    Some(detector)
}

/// Writes the partners at these places, with their ids.
pub fn write_block(detector: &Detector, partners: &[(usize, Uuid)]) -> Vec<u8> {
    let mut out = Writer::default();
    out.place(partners.len());
    for (place, id) in partners {
        out.0.extend_from_slice(id.as_bytes());
        write_partner(&mut out, detector, *place);
    }
    out.0
}

fn write_partner(out: &mut Writer, detector: &Detector, i: usize) {
    let history = &detector.history;
    out.day(history.joined_on[i]);
    for day in first_kept(history.days)..history.days {
        // Most days of most partners are empty, and what was cut is rare.
        let (clicks, raw) = (history.clicks.on(i, day), history.raw.on(i, day));
        let cut = raw - clicks;
        out.number(2 * raw as u64 + u64::from(cut > 0.0));
        if cut > 0.0 {
            out.float(clicks);
        }
        out.usual_days(history.exposure.on(i, day));
    }
    history.season.sums(i).iter().for_each(|&sum| out.float(sum));
    out.float(history.levels[i]);
    for (noise, baseline) in history.learned_of(i) {
        out.float(noise);
        out.float(baseline.rate);
        out.float(baseline.clicks);
        out.number(baseline.weeks as u64);
    }
    for window in &detector.windows {
        let (excess, weight) = window.learned[i];
        out.float(excess);
        out.float(weight);
    }
    write_silence(out, &detector.silences[i]);
    let Rest { last, clicks, usual, exposure } = detector.rests[i];
    out.day(last);
    [clicks, usual, exposure].into_iter().for_each(|figure| out.float(figure));
    out.day(detector.fallen[i].map(|fallen| fallen.since));
    out.float(detector.fallen[i].map_or(0.0, |fallen| fallen.rate));
}

fn write_silence(out: &mut Writer, silence: &Silence) {
    out.day(silence.last);
    out.float(silence.used);
    out.float(silence.exposure);
    out.number(u64::from(silence.reference.is_some()));
    if let Some(Reference { days, with_click, clicks, exposure }) = silence.reference {
        [days, with_click, clicks, exposure].into_iter().for_each(|figure| out.float(figure));
    }
}

/// The first day that is kept of so many.
pub(crate) fn first_kept(days: usize) -> Day {
    days.saturating_sub(KEPT_DAYS)
}

/// Reads a block of partners into a detector that [`read_head`] made; `place` finds a partner.
pub fn read_block(
    detector: &mut Detector,
    bytes: &[u8],
    place: impl Fn(Uuid) -> Option<usize>,
) -> Option<()> {
    let mut read = Reader(bytes);
    for _ in 0..read.count()? {
        let place = place(read.id()?)?;
        read_partner(detector, place, &mut read)?;
    }
    read.end()
}

fn read_partner(detector: &mut Detector, place: usize, read: &mut Reader) -> Option<()> {
    let history = &mut detector.history;
    history.joined_on[place] = read.day()?;
    for day in first_kept(history.days)..history.days {
        let number = read.number()?;
        let raw = (number / 2) as f64;
        let clicks = if number % 2 == 1 { read.float()? } else { raw };
        history.put_day(place, day, (raw, clicks, read.usual_days()?));
    }
    for sum in history.season.sums_mut(place) {
        *sum = read.float()?;
    }
    history.levels[place] = read.float()?;
    for (noise, baseline) in history.learned_of_mut(place) {
        *noise = read.float()?;
        *baseline =
            Baseline { rate: read.float()?, clicks: read.float()?, weeks: read.number()? as f64 };
    }
    for window in &mut detector.windows {
        window.learned[place] = (read.float()?, read.float()?);
    }
    let (last, used, exposure) = (read.day()?, read.float()?, read.float()?);
    let reference = match read.number()? {
        0 => None,
        _ => Some(Reference {
            days: read.float()?,
            with_click: read.float()?,
            clicks: read.float()?,
            exposure: read.float()?,
        }),
    };
    detector.silences[place] = Silence { last, used, exposure, reference };
    detector.rests[place] = Rest {
        last: read.day()?,
        clicks: read.float()?,
        usual: read.float()?,
        exposure: read.float()?,
    };
    let (since, rate) = (read.day()?, read.float()?);
    detector.fallen[place] = since.map(|since| Fallen { rate, since });
    Some(())
}
