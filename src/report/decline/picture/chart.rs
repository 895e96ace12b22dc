//! The chart of one partner: clicks a day against the band in which 95 % of the days were to lie.

use chrono::{Datelike as _, NaiveDate};

use super::{Activity, STYLE, escape, path, thousands};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 744.0;
const TOP: f64 = 66.0;
const BOTTOM: f64 = 244.0;
/// A burst above so many times the band is cut off, marked by a triangle: else it flattens the rest.
const BURST: f64 = 2.0;
/// Up to so many days each week has a label, beyond each month.
const WEEKS_UP_TO: usize = 62;
/// Characters of a name that fit above the chart.
const NAME_MAX: usize = 70;

/// Draws the chart.
pub fn svg(activity: &Activity) -> String {
    let plot = Plot::of(activity);
    let (title, told) = (escape(&activity.name), activity.told());
    let shown: String = activity.name.chars().take(NAME_MAX).collect();
    let parts = [
        plot.grid(),
        plot.dates(),
        plot.band(),
        plot.mean(),
        plot.onset(),
        plot.observed(),
        legend(),
    ];
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" viewBox=\"0 0 {WIDTH:.0} \
         {HEIGHT:.0}\" width=\"{WIDTH:.0}\" height=\"{HEIGHT:.0}\" \
         font-family=\"system-ui,sans-serif\" font-size=\"12\"><title>{title}: clicks a day</title>\
         <desc>{told}</desc><style>{STYLE}</style>\
         <rect class=\"tb-paper\" width=\"100%\" height=\"100%\"/>\
         <text class=\"tb-ink\" x=\"16\" y=\"26\" font-size=\"16\" font-weight=\"600\">{}</text>\
         <text class=\"tb-soft\" x=\"16\" y=\"46\">{told}</text>{}</svg>\n",
        escape(&shown),
        parts.concat()
    )
}

struct Plot<'a> {
    activity: &'a Activity,
    step: f64,
    most: f64,
}

impl<'a> Plot<'a> {
    fn of(activity: &'a Activity) -> Self {
        let points = &activity.points;
        let band = points.iter().filter_map(|p| p.expected).map(|e| e.high).fold(0.0, f64::max);
        let seen = points.iter().map(|p| f64::from(p.observed)).fold(0.0, f64::max);
        let most = if band > 0.0 { seen.min(BURST * band).max(band) } else { seen };
        let step = step(most / 4.0);
        Self { activity, step, most: (most / step).ceil().max(1.0) * step }
    }

    fn x(&self, day: usize) -> f64 {
        LEFT + (day as f64 + 0.5) * (RIGHT - LEFT) / self.activity.points.len().max(1) as f64
    }

    fn y(&self, clicks: f64) -> f64 {
        BOTTOM - (clicks / self.most).min(1.0) * (BOTTOM - TOP)
    }

    fn grid(&self) -> String {
        let lines = (self.most / self.step).round() as usize;
        (0..=lines)
            .map(|n| {
                let clicks = n as f64 * self.step;
                let y = self.y(clicks);
                format!(
                    "<path class=\"tb-grid\" d=\"M{LEFT:.0} {y:.1}H{RIGHT:.0}\"/><text \
                     class=\"tb-soft\" x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                    LEFT - 8.0,
                    y + 4.0,
                    thousands(clicks)
                )
            })
            .collect()
    }

    fn dates(&self) -> String {
        let weekly = self.activity.points.len() <= WEEKS_UP_TO;
        let days = self.activity.points.iter().enumerate();
        days.filter_map(|(day, point)| Some((self.x(day), label(point.date, weekly)?)))
            .map(|(x, label)| {
                format!(
                    "<path class=\"tb-grid\" d=\"M{x:.1} {BOTTOM:.0}v5\"/><text class=\"tb-soft\" \
                     x=\"{x:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{label}</text>",
                    BOTTOM + 19.0
                )
            })
            .collect()
    }

    /// One shape for every stretch of days that have an expectation.
    fn band(&self) -> String {
        self.stretches()
            .map(|days| {
                let edge = |day: usize, is_high: bool| {
                    let e = self.activity.points[day].expected?;
                    Some((self.x(day), self.y(if is_high { e.high } else { e.low })))
                };
                let above = days.clone().filter_map(|day| edge(day, true));
                let below = days.clone().rev().filter_map(|day| edge(day, false));
                format!("<path class=\"tb-band\" d=\"{}Z\"/>", path(above.chain(below)))
            })
            .collect()
    }

    fn mean(&self) -> String {
        self.stretches()
            .map(|days| {
                let mean = |day: usize| self.activity.points[day].expected.map(|e| e.value);
                let line = days.filter_map(|day| Some((self.x(day), self.y(mean(day)?))));
                format!("<path class=\"tb-mean\" d=\"{}\"/>", path(line))
            })
            .collect()
    }

    fn stretches(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        let points = &self.activity.points;
        let is_known = |day: usize| points.get(day).is_some_and(|p| p.expected.is_some());
        let starts =
            (0..points.len()).filter(move |&day| is_known(day) && (day == 0 || !is_known(day - 1)));
        starts.map(move |from| {
            let until = (from..points.len()).find(|&day| points[day].expected.is_none());
            from..until.unwrap_or(points.len())
        })
    }

    fn observed(&self) -> String {
        let clicks: Vec<f64> = self.activity.points.iter().map(|p| f64::from(p.observed)).collect();
        let line = clicks.iter().enumerate().map(|(day, &n)| (self.x(day), self.y(n)));
        let bursts = clicks.iter().enumerate().filter(|&(_, &n)| n > self.most);
        let marks = bursts.map(|(day, _)| {
            let x = self.x(day);
            format!("<path class=\"tb-ink\" d=\"M{:.1} {:.0}h8l-4 -7z\"/>", x - 4.0, TOP - 2.0)
        });
        format!(
            "<path class=\"tb-seen\" stroke-width=\"1.6\" stroke-linejoin=\"round\" d=\"{}\"/>{}",
            path(line),
            marks.collect::<String>()
        )
    }

    /// A line before the first day of the fall, its date on the side that has room.
    fn onset(&self) -> String {
        let (Some(day), Some(fall)) = (self.activity.onset(), self.activity.fall) else {
            return String::new();
        };
        let x = self.x(day) - 0.5 * (RIGHT - LEFT) / self.activity.points.len().max(1) as f64;
        let (anchor, at) = if x > RIGHT - 120.0 { ("end", x - 5.0) } else { ("start", x + 5.0) };
        let before = if self.activity.points[day].date > fall.since { "before " } else { "" };
        format!(
            "<path class=\"tb-onset\" stroke-width=\"1.4\" d=\"M{x:.1} {:.0}V{BOTTOM:.0}\"/><text \
             class=\"tb-ink\" x=\"{at:.1}\" y=\"{:.0}\" text-anchor=\"{anchor}\">since \
             {before}{}</text>",
            TOP - 6.0,
            TOP + 4.0,
            fall.since
        )
    }
}

fn legend() -> String {
    let y = HEIGHT - 16.0;
    format!(
        "<path class=\"tb-seen\" stroke-width=\"1.6\" d=\"M{LEFT:.0} {:.0}h22\"/><text \
         class=\"tb-soft\" x=\"{:.0}\" y=\"{y:.0}\">unique clicks a day</text>\
         <rect class=\"tb-band\" x=\"{:.0}\" y=\"{:.0}\" width=\"22\" height=\"12\"/><path \
         class=\"tb-mean\" d=\"M{:.0} {:.0}h22\"/><text class=\"tb-soft\" x=\"{:.0}\" \
         y=\"{y:.0}\">expected, with the range of 95 % of the days</text>",
        y - 4.0,
        LEFT + 28.0,
        LEFT + 176.0,
        y - 10.0,
        LEFT + 176.0,
        y - 4.0,
        LEFT + 204.0
    )
}

/// Returns 1, 2 or 5 times a power of ten, not below `least` and at least one click.
fn step(least: f64) -> f64 {
    let power = 10_f64.powf(least.max(1.0).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|n| n * power);
    steps.into_iter().find(|&step| step >= least).unwrap_or(steps[3])
}

fn label(date: NaiveDate, weekly: bool) -> Option<String> {
    if weekly {
        return (date.weekday() == chrono::Weekday::Mon).then(|| date.format("%-d %b").to_string());
    }
    let is_new_year = date.month() == 1;
    (date.day() == 1).then(|| date.format(if is_new_year { "%b %Y" } else { "%b" }).to_string())
}
