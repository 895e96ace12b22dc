//! Queries about clicks: the sums that reports read, and the days that rows lie in.
//!
//! A page is a program, whose clicks are counted in spans of days, each by a statement of its own:
//! a program may have thousands of millions of them.

use chrono::{Datelike as _, NaiveDate};
use futures_util::future::BoxFuture;
use sqlx::PgConnection;
use uuid::Uuid;

use super::PageRow;
use crate::audit::{At, CheckError, Page, Reach};
use crate::clock::Timestamp;

/// Clicks that are counted by one statement, if they are of more than one day.
const SPAN_CLICKS: i64 = 2_000_000;

/// Declares a check of clicks: its name, and the query that judges the partners of a program (`$2`)
/// by their clicks from one day (`$3`) to another (`$4`). It rests once in `$5` clicks, by chance,
/// so that those who work beside it never wait long; never, if that is 0.
macro_rules! counted {
    ($(#[$doc:meta])* $name:ident: $judged:tt) => {
        $(#[$doc])*
        pub fn $name<'a>(
            db: &'a mut PgConnection,
            at: &'a At<'a>,
        ) -> BoxFuture<'a, Result<Page, CheckError>> {
            Box::pin(async move {
                let Some(program) = next_program(db, at).await? else { return Ok(Page::default()) };
                let mut page = Page { next: Some((program, program)), ..Page::default() };
                for (from, to) in spans(days_with_clicks(db, program, at).await?) {
                    if !at.reach.has_time() {
                        return Err(CheckError::TooLong);
                    }
                    let n_named = i32::try_from(page.first.len()).unwrap_or(i32::MAX);
                    let row = sqlx::query_as!(
                        PageRow,
                        "with judged as (" + $judged + ")
                         select 0::bigint as \"n_page!\",
                                count(*) as \"n_looked!\", count(j.wrong) as \"n_broken!\",
                                to_jsonb((array_agg(
                                    jsonb_build_object('program', $2::uuid, 'id', j.id, 'figures', j.wrong)
                                    order by j.id)
                                    filter (where j.wrong is not null))[1:$1]) as first,
                                null::uuid as last_program, null::uuid as last_id
                         from judged j",
                        at.first.saturating_sub(n_named),
                        program,
                        from,
                        to,
                        at.reach.clicks_a_rest(),
                    )
                    .fetch_one(&mut *db)
                    .await?
                    .page("partner", at);
                    page.n_looked += row.n_looked;
                    page.n_broken += row.n_broken;
                    page.first.extend(row.first);
                }
                Ok(page)
            })
        }
    };
}

counted! {
    /// Judges whether the hourly sums of each partner are its clicks, as far back as clicks are kept.
    hours:
    "select n.partner_id as id,
            case when n.off > 0 then
                jsonb_build_object('hours_that_differ', n.off, 'first_hour', n.first_hour,
                                   'clicks', n.clicks, 'clicks_in_sums', n.summed)
            end as wrong
     from (
         select partner_id,
                count(*) filter (where r.n_clicks is distinct from h.n_clicks
                                    or r.n_unique is distinct from h.n_unique) as off,
                min(hour) filter (where r.n_clicks is distinct from h.n_clicks
                                     or r.n_unique is distinct from h.n_unique) as first_hour,
                coalesce(sum(r.n_clicks), 0) as clicks, coalesce(sum(h.n_clicks), 0) as summed
         from (
             select c.partner_id, date_bin('1 hour', c.at, timestamptz 'epoch') as hour,
                    c.link_number, c.class, coalesce(c.country, '') as country,
                    count(*) as n_clicks, count(*) filter (where c.is_unique) as n_unique
             from clicks c
             where c.program_id = $2 and c.day between $3::date and $4::date
               and ($5::int = 0 or random() * $5 >= 1 or pg_sleep(0.016) is not null)
             group by 1, 2, 3, 4, 5) r
         full join (
             select h.partner_id, h.hour, h.link_number, h.class, h.country,
                    sum(h.n_clicks) as n_clicks, sum(h.n_unique) as n_unique
             from click_sums h
             where h.program_id = $2 and h.hour >= $3::date::timestamp at time zone 'UTC'
               and h.hour < ($4::date + 1)::timestamp at time zone 'UTC'
             group by 1, 2, 3, 4, 5) h
         using (partner_id, hour, link_number, class, country)
         group by partner_id) n
     where n.clicks + n.summed > 0"
}

counted! {
    /// Judges whether each click lies in the day of its own key: there its key is unique.
    days:
    "select c.partner_id as id,
            case when count(*) filter (where c.is_misplaced) > 0 then
                jsonb_build_object('clicks', count(*),
                                   'misplaced', count(*) filter (where c.is_misplaced))
            end as wrong
     from (
         -- Reckoned once for each day, not once for each click.
         with days as materialized (
             select day::date as day, day at time zone 'UTC' as begins,
                    (day + interval '1 day') at time zone 'UTC' as ends,
                    -- The milliseconds that the first 48 bits of a UUIDv7 count (RFC 9562).
                    rpad(lpad(to_hex(ms), 12, '0'), 32, '0')::uuid as first_id,
                    rpad(lpad(to_hex(ms + 86400000), 12, '0'), 32, '0')::uuid as end_id
             from generate_series($3::date::timestamp, $4::date::timestamp, '1 day') day
             cross join lateral (select (extract(epoch from day) * 1000)::bigint as ms) of_day)
         select c.partner_id,
                c.at < d.begins or c.at >= d.ends or c.click_id < d.first_id or c.click_id >= d.end_id
                    as is_misplaced
         from days d
         join clicks c on c.day = d.day
         where c.program_id = $2 and c.day between $3::date and $4::date
           and ($5::int = 0 or random() * $5 >= 1 or pg_sleep(0.016) is not null)) c
     group by 1"
}

counted! {
    /// Judges whether the sums by landing page are the clicks, as far back as both are kept.
    landings:
    "select n.partner_id as id,
            case when n.off > 0 then
                jsonb_build_object('pages_that_differ', n.off, 'first_day', n.first_day,
                                   'clicks', n.clicks, 'clicks_in_sums', n.summed)
            end as wrong
     from (
         select partner_id,
                count(*) filter (where r.n_unique is distinct from l.n_unique) as off,
                min(day) filter (where r.n_unique is distinct from l.n_unique) as first_day,
                coalesce(sum(r.n_unique), 0) as clicks, coalesce(sum(l.n_unique), 0) as summed
         from (
             select c.partner_id, c.day, c.landing, count(*) as n_unique
             from clicks c
             where c.program_id = $2 and c.day between $3::date and $4::date
               -- Of the sums, too, the oldest day that is there is whole.
               and c.day >= coalesce((select min(l.day) from click_landings l), $3::date)
               -- Asked first of all: clicks that are passed over take their time, too.
               and case when $5::int = 0 or random() * $5 >= 1 or pg_sleep(0.016) is not null
                        then c.is_unique and c.landing is not null end
             group by 1, 2, 3) r
         full join (
             select l.partner_id, l.day, l.landing, l.n_unique
             from click_landings l
             where l.program_id = $2 and l.day between $3::date and $4::date) l
         using (partner_id, day, landing)
         group by partner_id) n
     where n.clicks + n.summed > 0"
}

/// Returns the program of a page.
async fn next_program(db: &mut PgConnection, at: &At<'_>) -> Result<Option<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        "select p.program_id from programs p
         where p.program_id > $1 and p.program_id <= $2 order by 1 limit 1",
        at.after.0,
        at.last_program,
    )
    .fetch_optional(db)
    .await
}

/// Returns the days whose clicks are counted, with how many the sums tell of each.
async fn days_with_clicks(
    db: &mut PgConnection,
    program: Uuid,
    at: &At<'_>,
) -> Result<Vec<(NaiveDate, i64)>, sqlx::Error> {
    let days = chosen(kept_days(db, program).await?, at.reach, at.now);
    let counted = sqlx::query!(
        r#"select d.day as "day!",
                  coalesce((
                      select sum(h.n_clicks)::bigint from click_hours h
                      where h.program_id = $1 and h.hour >= d.day::timestamp at time zone 'UTC'
                        and h.hour < (d.day + 1)::timestamp at time zone 'UTC'), 0) as "n_clicks!"
           from unnest($2::date[]) d (day)
           order by 1"#,
        program,
        &days,
    )
    .fetch_all(db)
    .await?;
    Ok(counted.into_iter().map(|day| (day.day, day.n_clicks)).collect())
}

/// Returns the days for which clicks are kept, or sums of a program lie later. Retention drops whole
/// days: the oldest that is there is whole.
async fn kept_days(db: &mut PgConnection, program: Uuid) -> Result<Vec<NaiveDate>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"with kept as (
               select to_date(min(right(c.relname, 8)), 'YYYYMMDD') as first,
                      to_date(max(right(c.relname, 8)), 'YYYYMMDD') as last
               from pg_inherits i
               join pg_class c on c.oid = i.inhrelid
               where i.inhparent = 'clicks'::regclass)
           select day::date as "day!"
           from kept
           cross join generate_series(
               kept.first,
               greatest(kept.last, (select (max(h.hour) at time zone 'UTC')::date
                                    from click_hours h where h.program_id = $1)),
               interval '1 day') day
           order by 1"#,
        program,
    )
    .fetch_all(db)
    .await
}

/// Returns the days whose clicks are counted: all, or the recent ones and one of those before, another
/// each hour until it is the first one's turn again.
fn chosen(mut days: Vec<NaiveDate>, reach: Reach, now: Timestamp) -> Vec<NaiveDate> {
    let today = now.date_naive();
    let is_recent = |day: &NaiveDate| *day >= today.pred_opt().unwrap_or(today);
    if reach == Reach::Hourly {
        let n_before = days.iter().filter(|day| !is_recent(day)).count().max(1) as i64;
        let turn = (now.timestamp() / 3600).rem_euclid(n_before);
        let has_turn = |day: &NaiveDate| i64::from(day.num_days_from_ce()) % n_before == turn;
        days.retain(|day| is_recent(day) || has_turn(day));
    }
    days
}

/// Returns the first and last days of spans of days that follow each other.
fn spans(days: Vec<(NaiveDate, i64)>) -> Vec<(NaiveDate, NaiveDate)> {
    let mut spans: Vec<(NaiveDate, NaiveDate)> = Vec::new();
    let mut n_in_span = 0;
    for (day, n_clicks) in days {
        match spans.last_mut() {
            Some((_, last))
                if last.succ_opt() == Some(day) && n_in_span + n_clicks <= SPAN_CLICKS =>
            {
                *last = day;
                n_in_span += n_clicks;
            }
            Some(_) | None => {
                spans.push((day, day));
                n_in_span = n_clicks;
            }
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use chrono::{Days, TimeDelta};

    use super::*;

    const FIRST: NaiveDate = NaiveDate::from_ymd_opt(2026, 3, 1).unwrap();

    /// Days from the first, with so many clicks each.
    fn days(n_clicks: &[i64]) -> Vec<(NaiveDate, i64)> {
        (0..).zip(n_clicks).map(|(n, n_clicks)| (FIRST + Days::new(n), *n_clicks)).collect()
    }

    fn hours_after(n: i64) -> Timestamp {
        FIRST.and_time(chrono::NaiveTime::MIN).and_utc() + TimeDelta::hours(n)
    }

    #[test]
    fn each_hour_counts_the_recent_days_and_all_others_have_their_turn() {
        let all: Vec<NaiveDate> = FIRST.iter_days().take(40).collect();
        let begins = 31 * 24;
        assert_eq!(chosen(all.clone(), Reach::All, hours_after(begins)), all);
        let mut others = Vec::new();
        for n in 0..30 {
            // The oldest is dropped each day; one is made ahead.
            let kept = &all[n / 24..n / 24 + 33];
            let hour = begins + i64::try_from(n).unwrap();
            let counted = chosen(kept.to_vec(), Reach::Hourly, hours_after(hour));
            assert_eq!(counted[1..], kept[30..], "{n}: yesterday, today, tomorrow");
            others.push(counted[0]);
        }
        assert!(all[1..30].iter().all(|day| others.contains(day)), "{others:?}");
        assert_eq!(chosen(vec![FIRST], Reach::Hourly, hours_after(5)), [FIRST]);
        assert_eq!(chosen(Vec::new(), Reach::Hourly, hours_after(5)), []);
    }

    #[test]
    fn quiet_days_are_counted_together_and_busy_ones_alone() {
        let day = |n| FIRST + Days::new(n);
        let (some, many) = (SPAN_CLICKS / 2, SPAN_CLICKS * 9);
        let all = days(&[0, some, some, 1, many, 0, 0]);
        let expected = [(day(0), day(2)), (day(3), day(3)), (day(4), day(4)), (day(5), day(6))];
        assert_eq!(spans(all.clone()), expected);
        // Days between which others lie are not counted together.
        assert_eq!(spans(vec![all[0], all[5], all[6]]), [(day(0), day(0)), (day(5), day(6))]);
        assert_eq!(spans(Vec::new()), []);
    }
}
