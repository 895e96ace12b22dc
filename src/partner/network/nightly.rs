//! What is read and written around the rules: ranks every night, boards of ended contests, lists.

use chrono::NaiveDate;
use sqlx::PgConnection;

use super::contest::{FREEZE_AFTER, Place, board};
use super::rank::{Facts, Rank, Ranking, rank};
use super::store::{self, aims, figures, talks};
use super::{Books, Member, contacts, longlist, scorecard};
use crate::clock::Timestamp;
use crate::db::Db;

/// Programs and contests that one round takes up, at most; the next round goes on.
const A_ROUND_MAX: usize = 100;

/// Ranks the programs whose day has ended, and freezes the boards of contests that are over.
/// Returns how many of both.
pub async fn run_due(db: &Db, now: Timestamp) -> Result<usize, sqlx::Error> {
    let mut n_done = 0;
    while n_done < A_ROUND_MAX {
        let mut db = db.begin().await?;
        let Some(program_id) = figures::lock_unranked_program(&mut db, now).await? else { break };
        let books = store::find_books(&mut db, program_id).await?;
        rank_program(&mut db, &books.ok_or(sqlx::Error::RowNotFound)?, now, Effect::Written)
            .await?;
        db.commit().await?;
        n_done += 1;
    }
    while n_done < A_ROUND_MAX {
        let mut db = db.begin().await?;
        let Some(contest) = aims::lock_unfrozen(&mut db, now - FREEZE_AFTER).await? else { break };
        let books = store::find_books(&mut db, contest.program_id).await?;
        let places = read_board(&mut db, &books.ok_or(sqlx::Error::RowNotFound)?, &contest).await?;
        aims::freeze(&mut db, &contest, &places, now).await?;
        db.commit().await?;
        n_done += 1;
    }
    Ok(n_done)
}

/// What becomes of computed ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// They are written.
    Written,
    /// They are only shown.
    Shown,
}

/// Ranks the active partners of a program by the last whole day.
pub async fn rank_program(
    db: &mut PgConnection,
    books: &Books,
    now: Timestamp,
    effect: Effect,
) -> Result<Vec<(Member, Ranking)>, sqlx::Error> {
    let last = last_day(books, now);
    let members = figures::read_members(db, books, &["active".to_owned()], last).await?;
    let rankings = rank_members(&members, books, now);
    if effect == Effect::Written {
        for (member, ranking) in members.iter().zip(&rankings).filter(|(_, r)| r.from != r.to) {
            let due = next_due(db, books, member, ranking.to).await?;
            figures::write_rank(db, books.program_id, ranking, due, now).await?;
        }
        figures::write_ranked_on(db, books.program_id, last).await?;
    }
    Ok(members.into_iter().zip(rankings).collect())
}

/// Returns the last day of the program that is over: the figures of today would be too small.
fn last_day(books: &Books, now: Timestamp) -> NaiveDate {
    let today = books.day(now);
    today.pred_opt().unwrap_or(today)
}

fn rank_members(members: &[Member], books: &Books, now: Timestamp) -> Vec<Ranking> {
    let facts: Vec<Facts> =
        members.iter().map(|m| Facts::of(m, (now - m.since).num_days())).collect();
    rank(&facts, books.currency)
}

/// Returns when to be in touch next: by the day agreed on in the last talk, else by the rank.
async fn next_due(
    db: &mut PgConnection,
    books: &Books,
    member: &Member,
    rank: Rank,
) -> Result<Option<NaiveDate>, sqlx::Error> {
    let last = talks::find_last(db, books.program_id, member.partner_id).await?;
    let (at, agreed) = last.unwrap_or((member.since, None));
    Ok(agreed.or_else(|| contacts::next_due(rank, books.day(at))))
}

/// Computes the board of a contest from what is settled now.
pub async fn read_board(
    db: &mut PgConnection,
    books: &Books,
    contest: &aims::Contest,
) -> Result<Vec<Place>, sqlx::Error> {
    let contestants = aims::read_contestants(db, contest.program_id).await?;
    let figures = figures::read_figures(db, books, contest.days).await?;
    let taking_part = figures.into_iter().filter(|(id, _)| contestants.contains_key(id));
    Ok(board(taking_part.map(|(id, f)| (id, f.of(contest.metric)))))
}

/// Reads the long list of a program: applied, active and paused partners.
pub async fn read_longlist(
    db: &mut PgConnection,
    books: &Books,
    sort: longlist::Sort,
    now: Timestamp,
) -> Result<Vec<longlist::Line>, sqlx::Error> {
    let statuses = ["applied", "active", "paused"].map(str::to_owned);
    let members = figures::read_members(db, books, &statuses, last_day(books, now)).await?;
    let policy = store::read_policy(db, books.program_id).await?;
    let weights = scorecard::weights(policy.score_weights.as_deref());
    let mut marks: std::collections::HashMap<_, Vec<_>> = std::collections::HashMap::new();
    for m in store::read_marks(db, books.program_id, None).await? {
        marks.entry(m.partner_id).or_default().push(m.mark);
    }
    let rankings = rank_members(&members, books, now);
    let mut lines: Vec<longlist::Line> = members
        .into_iter()
        .zip(rankings)
        .map(|(member, ranking)| {
            let own = marks.remove(&member.partner_id).unwrap_or_default();
            let declared = scorecard::declared(&weights, &own);
            let n_visitors = member.now.n_clicks + member.before.n_clicks;
            let blend = longlist::blend(declared.points, ranking.points, n_visitors);
            longlist::Line { member, declared, measured: ranking.points, n_visitors, blend }
        })
        .collect();
    lines.sort_by_key(|line| sort.key(line));
    Ok(lines)
}

/// Reads whom to be in touch with by `until`, the longest overdue first, and who gets the digest.
pub async fn read_contacts(
    db: &mut PgConnection,
    books: &Books,
    until: NaiveDate,
    now: Timestamp,
) -> Result<(Vec<(NaiveDate, Member)>, Vec<Member>), sqlx::Error> {
    let statuses = ["active".to_owned()];
    let members = figures::read_members(db, books, &statuses, last_day(books, now)).await?;
    let (mut due, mut digest) = (Vec::new(), Vec::new());
    for member in members {
        match contacts::contact(&member, books, now) {
            contacts::Contact::Due(day) if day <= until => due.push((day, member)),
            contacts::Contact::Due(_) => {}
            contacts::Contact::DigestOnly => digest.push(member),
        }
    }
    due.sort_by_key(|(day, member)| (*day, member.partner_id));
    Ok((due, digest))
}
