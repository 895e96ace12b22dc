//! The small picture beside a row: clicks of the last seven days, over thirteen weeks.

use super::{Activity, STYLE, escape, path};

/// Days of a partner that the line needs: thirteen weeks, and the week before the first.
pub const DAYS: usize = 97;
const WEEK: usize = 7;
const WIDTH: f64 = 150.0;
const HEIGHT: f64 = 34.0;
const EDGE: f64 = 3.0;

/// Draws the line.
pub fn svg(activity: &Activity) -> String {
    let weeks: Vec<(f64, f64)> = activity
        .points
        .windows(WEEK)
        .map(|days| {
            // A day that says nothing counts on neither side.
            days.iter().fold((0.0, 0.0), |(seen, expected), day| match day.expected {
                Some(e) => (seen + f64::from(day.observed), expected + e.value),
                None => (seen, expected),
            })
        })
        .collect();
    let most = weeks.iter().map(|&(seen, expected)| seen.max(expected)).fold(1.0, f64::max);
    let width = (WIDTH - 2.0 * EDGE) / weeks.len().max(2).saturating_sub(1) as f64;
    let at = |week: usize, clicks: f64| {
        (EDGE + week as f64 * width, HEIGHT - EDGE - clicks / most * (HEIGHT - 2.0 * EDGE))
    };
    let line = |pick: fn(&(f64, f64)) -> f64| {
        path(weeks.iter().enumerate().map(|(week, sums)| at(week, pick(sums))))
    };
    let onset = activity.onset().map_or_else(String::new, |day| {
        let (x, _) = at((day + 1).saturating_sub(WEEK), 0.0);
        format!("<path class=\"tb-onset\" d=\"M{x:.1} 0V{HEIGHT:.0}\"/>")
    });
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" viewBox=\"0 0 {WIDTH:.0} \
         {HEIGHT:.0}\" width=\"{WIDTH:.0}\" height=\"{HEIGHT:.0}\"><title>{}: clicks a week\
         </title><desc>{}</desc><style>{STYLE}</style><path class=\"tb-mean\" d=\"{}\"/>{onset}\
         <path class=\"tb-seen\" stroke-width=\"1.5\" stroke-linejoin=\"round\" d=\"{}\"/></svg>\n",
        escape(&activity.name),
        activity.told(),
        line(|week| week.1),
        line(|week| week.0),
    )
}
