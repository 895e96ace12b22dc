//! Checks the source tree itself: who may name what, sizes, names, migrations, documents.
//!
//! The tables at the top are the rules; changing a rule is changing one line of them. Nothing here
//! needs a database. A finding says where it is, what is wrong, and what to do about it.

mod source;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use source::{Source, line_of, parts, words};
use tree::{Tree, first_group, is_key, is_unnamed_constraint, mask_sql, split_at_top, verb_of_sql};

/// Everything that the rules look at, read once.
static TREE: LazyLock<Tree> = LazyLock::new(|| Tree::read(env!("CARGO_MANIFEST_DIR"), SKIPPED));

/// Which files a rule is for (globs below `src/`), what they may not name, and why.
struct Room {
    files: &'static [&'static str],
    may_not_name: &'static [&'static [&'static str]],
    why: &'static str,
}

const fn room(
    files: &'static [&'static str],
    may_not_name: &'static [&'static [&'static str]],
    why: &'static str,
) -> Room {
    Room { files, may_not_name, why }
}

// What a room may be forbidden to name. In a pattern `a::` is anything inside `a`, `**::a` is `a`
// anywhere in a path, `a*` begins with `a`.
const SQL: &[&str] = &["sqlx::"];
const QUERIES: &[&str] = &["sqlx::query*"];
const POOL: &[&str] = &["**::PgPool", "crate::db::Db"];
const DB: &[&str] = &["crate::db"];
const REDIS: &[&str] = &["redis::"];
const SERVER: &[&str] = &["actix_web::"];
const WEB: &[&str] = &["crate::web"];
const TOKIO: &[&str] = &["tokio::"];
const STORES: &[&str] = &["**::store", "**::*_store"];
const ENV: &[&str] = &["std::env"];
const TIME: &[&str] =
    &["**::Utc::now", "**::Local::now", "**::SystemTime::now", "**::Instant::now"];
const FLOATS: &[&str] = &["f32", "f64"];

/// Files that hold handlers; they may also name [`FOR_HTTP`]: what they stand on, and the terms that
/// an answer joins to what it is about.
const HTTP: &[&str] = &["*/http.rs", "*_http.rs", "*/http/*"];
const FOR_HTTP: &[&str] =
    &["web", "account", "app", "partner", "program", "link", "commission", "conversion"];

/// What holds the parts together: may name every folder.
const TOP: &[&str] = &["app", "roles", "cli", "demo", "dev", "server"];

/// The rooms; the first that fits a file is its room. Outside rules a float may become a metric;
/// lints see to it that nothing is computed with it.
#[rustfmt::skip]
const ROOMS: &[Room] = &[
    room(&["lib.rs"], &[], "the list of modules"),
    room(&["main.rs", "app.rs", "app/*", "roles.rs", "roles/*", "cli.rs", "cli/*", "demo/*", "dev/*", "server/*"], &[QUERIES, REDIS], "what holds the parts together calls stores and the stream"),
    room(&["engines.rs", "engines/*"], &[QUERIES, REDIS, SERVER], "starts engines and knows nothing of what is kept in them"),
    room(&["clock.rs"], &[SQL, REDIS, SERVER, TOKIO, ENV, FLOATS], "the one reader of time"),
    room(&["address.rs"], &[SQL, REDIS, SERVER, TOKIO, ENV, TIME, FLOATS], "which addresses may be called"),
    room(&["config.rs", "config/*"], &[SQL, REDIS, SERVER, TOKIO, TIME, FLOATS], "the one reader of the environment"),
    room(&["ids.rs"], &[QUERIES, REDIS, SERVER, TOKIO, ENV, FLOATS], "identifiers know their column type, no query"),
    room(&["metrics.rs", "metrics/*", "telemetry.rs", "telemetry/*", "progress.rs"], &[SQL, REDIS, SERVER, ENV], "what people watch"),
    room(&["db/*"], &[REDIS, SERVER, ENV, FLOATS], "the pool and migrations"),
    room(&["web/*"], &[QUERIES, REDIS, ENV], "glue for handlers holds no SQL"),
    room(HTTP, &[QUERIES, REDIS, ENV], "a handler parses, calls, answers; SQL is in a store"),
    room(&["report/decline/learning.rs"], &[QUERIES, REDIS, SERVER, WEB, ENV], "learning takes seconds and has a thread of its own"),
    room(&["report/decline/query.rs", "report/decline/kept_query.rs", "report/decline/at_hand.rs", "report/decline/judgment.rs", "report/decline/table.rs", "report/decline/rising_table.rs", "report/decline/told.rs"], &[REDIS, SERVER, WEB, TOKIO, ENV], "a query hands over rows"),
    room(&["report/decline/*"], &[SQL, DB, STORES, REDIS, SERVER, TOKIO, ENV, TIME], "shows figures of the detector, which are floats"),
    room(&["crates/decline/*"], &[SQL, DB, STORES, REDIS, SERVER, TOKIO, ENV, TIME], "pure rules, and the one place that computes with floats"),
    room(&["report/export/xlsx.rs", "payout/file/xlsx.rs"], &[SQL, DB, REDIS, SERVER, TOKIO, ENV, TIME], "a workbook keeps numbers as floats; what does not fit is text"),
    room(&["report/export/*"], &[SQL, DB, REDIS, SERVER, TOKIO, ENV, TIME, FLOATS], "rows in, bytes out"),
    room(&["report/*"], &[REDIS, SERVER, WEB, ENV, FLOATS], "reports select and hand over rows"),
    room(&["*/store.rs", "*_store.rs", "*/store/*"], &[POOL, REDIS, SERVER, WEB, ENV, FLOATS], "SQL only, on a connection that the caller owns"),
    room(&["stream/redis.rs", "stream/redis/*"], &[SQL, SERVER, ENV], "the one speaker of Redis"),
    room(&["stream/spool.rs", "stream/spool/*", "stream/durable.rs", "stream/durable/*", "stream/memory.rs", "stream/batcher.rs"], &[SQL, REDIS, SERVER, ENV], "files and waiting, no engine"),
    room(&["snapshot/keeper.rs", "lease/keeper.rs", "retention/keeper.rs", "settlement/ahead.rs", "settlement/settler.rs", "commission/timer.rs", "commission/clicks/accrual.rs", "commission/simulate/run.rs", "fraud/gate.rs", "claim/judgment.rs", "claim/due.rs", "settlement/grant.rs", "settlement/waiting/mod.rs", "settlement/held/mod.rs", "payout/action/*", "ledger/closing.rs", "partner/network/nightly.rs", "intake/known.rs", "intake/trial.rs", "intake/imports/mod.rs", "intake/imports/receiving.rs", "outbound/deliverer.rs", "outbound/sender.rs", "commission/closing.rs", "outbound/mail.rs"], &[QUERIES, REDIS, SERVER, ENV], "a shell loads facts, asks the rules, applies the decision"),
    room(&["audit/mod.rs", "audit/hourly.rs", "audit/proof/*", "audit/registry.rs", "audit/run.rs"], &[QUERIES, REDIS, SERVER, ENV, FLOATS], "an audit loads rows and asks the rules again"),
    room(&["incident/daily.rs"], &[QUERIES, REDIS, SERVER, ENV, TIME, FLOATS], "a shell loads facts, asks the rules, applies the decision"),
    room(&["incident/landing/probe.rs"], &[SQL, DB, STORES, REDIS, SERVER, ENV, FLOATS], "visits a page and knows no database"),
    room(&["incident/finding.rs", "incident/shared/*", "incident/effect.rs"], &[SQL, DB, STORES, REDIS, SERVER, TOKIO, ENV, TIME], "pure rules that compute with floats"),
    room(&["*"], &[SQL, DB, STORES, REDIS, SERVER, TOKIO, ENV, TIME, FLOATS], "rules are pure: values in, values out"),
];

/// Rules on top of the rooms; all that fit a file hold.
#[rustfmt::skip]
const EXTRA: &[Room] = &[
    room(&["click/*"], &[SQL, DB, STORES], "the redirect survives the loss of PostgreSQL, so no click may wait for it"),
];

/// The ground: every folder may name it, and it names nothing above itself.
#[rustfmt::skip]
const GROUND: &[&str] = &[
    "address", "clock", "config", "db", "ids", "language", "metrics", "money", "progress", "sealing", "signing", "telemetry",
];

/// What else a folder may name; a part after `::` narrows it to that.
#[rustfmt::skip]
const DIRECTIONS: &[(&str, &[&str])] = &[
    ("web", &[]),
    ("account", &[]),
    ("partner", &["report::Cell", "report::Column", "report::ColumnKind", "report::export"]),
    ("program", &[]),
    ("link", &["partner", "program"]),
    ("snapshot", &["link", "partner", "program"]),
    ("click", &["link", "program", "snapshot", "stream"]),
    ("conversion", &["click::click_id", "link", "program", "stream"]),
    ("stream", &[]),
    ("intake", &["app", "click::classify", "click::click_id", "conversion", "program", "settlement", "snapshot", "stream"]),
    ("ledger", &[]),
    ("lease", &[]),
    ("retention", &[]),
    ("fraud", &["account::audit_store", "link::destination", "link::paid"]),
    ("commission", &["conversion::Report", "conversion::path", "conversion::wire", "fraud", "ledger", "program"]),
    ("settlement", &["click", "commission", "conversion", "fraud", "lease", "ledger", "link", "partner", "program", "stream"]),
    ("claim", &["account::audit_store", "click::click_id", "commission", "settlement"]),
    ("payout", &["commission", "ledger", "partner", "program"]),
    ("audit", &["commission", "ledger", "payout", "stream"]),
    ("report", &["audit", "click::classify", "click::click_id", "commission", "ledger", "partner::KINDS", "payout", "program"]),
    ("outbound", &["conversion::signature", "program", "report"]),
    ("incident", &["account::audit_store", "outbound", "link::destination", "link::parameters", "link::template", "program", "report"]),
    ("engines", &[]),
];

const FILE_LINES_MAX: usize = 600;
const FOLDER_FILES_MAX: usize = 12;
/// Folders that may hold more, how many, and why.
const LARGE_FOLDERS: &[(&str, usize, &str)] = &[
    ("crates/decline/src", 26, "one file for each step of the method, each a page"),
    ("src/cli", 17, "one file for each command"),
];
const ARCHITECTURE_LINES_MAX: usize = 120;
const DECISION_LINES_MAX: usize = 40;

/// Names of files and modules that say nothing about what is inside.
const EMPTY_NAMES: &[&str] =
    &["common", "helper", "helpers", "manager", "managers", "misc", "util", "utils"];

/// Words that have another name here, as part of any identifier.
const FOREIGN_WORDS: &[(&str, &str)] = &[
    ("affiliate", "partner"),
    ("affiliates", "partners"),
    ("advertiser", "conversion source"),
    ("campaign", "program"),
    ("campaigns", "programs"),
    ("programme", "program"),
    ("programmes", "programs"),
    ("publisher", "partner"),
    ("publishers", "partners"),
    ("quarantine", "dead letter"),
];

/// Tables with a `program_id` whose keys need not name it, and why.
const DEPLOYMENT_WIDE: &[(&str, &str)] = &[
    ("programs", "number and slug stand in tokens and addresses, which serve every program"),
    ("audit_log", "it covers the whole deployment; the program is what an entry is about"),
];

/// Folders and files at the top that are not ours to check.
const SKIPPED: &[&str] = &[".git", ".env", "target", "data", "node_modules"];

impl Room {
    fn fits(&self, file: &Source) -> bool {
        self.files.iter().any(|glob| source::fits(glob, file.below_src()))
    }
}

fn is_http(file: &Source) -> bool {
    HTTP.iter().any(|glob| source::fits(glob, file.below_src()))
}

// ---- the rules ----------------------------------------------------------------------------

#[test]
fn every_room_names_only_what_it_may() {
    let mut findings = Findings::default();
    for file in TREE.live_sources() {
        let first = ROOMS.iter().find(|r| r.fits(file)).expect("the last room takes every file");
        let room_name = file.below_src();
        for rule in EXTRA.iter().filter(|r| r.fits(file)).chain([first]) {
            for (at, path) in &file.paths {
                let refused =
                    rule.may_not_name.iter().copied().flatten().find(|p| source::is_named(path, p));
                if let Some(pattern) = refused {
                    let what = format!("{room_name} names `{}` (`{pattern}`)", path.join("::"));
                    let fix = format!("{}; move it to the right room, or change ROOMS", rule.why);
                    findings.add(file, *at, what, fix);
                }
            }
        }
    }
    findings.report();
}

#[test]
fn every_folder_names_only_what_lies_below_it() {
    let mut findings = Findings::default();
    for (file, at, from, path) in TREE.uses(TOP) {
        let to = path[1].as_str();
        let is_ground = GROUND.contains(&from);
        let row = DIRECTIONS.iter().find(|(folder, _)| *folder == from);
        if row.is_none() && !is_ground {
            let fix = "add the folder to DIRECTIONS with what it may name".to_owned();
            findings.add(file, at, format!("folder `{from}` has no row"), fix);
            continue;
        }
        let allowed = row.map_or(&[][..], |(_, allowed)| *allowed);
        let inside = path[1..].join("::");
        let is_allowed = GROUND.contains(&to)
            || (is_http(file) && FOR_HTTP.contains(&to))
            || allowed.iter().any(|a| inside == *a || inside.starts_with(&format!("{a}::")));
        if !is_allowed {
            let fix = format!(
                "`{from}` may name the ground{}{}; turn the dependency round, or change DIRECTIONS",
                if allowed.is_empty() { "" } else { ", " },
                allowed.join(", ")
            );
            findings.add(file, at, format!("{from} → {inside} is no allowed direction"), fix);
        }
    }
    findings.report();
}

#[test]
fn folders_form_no_cycle() {
    // Handlers stand on top of the other files of their folder, so their uses close no cycle.
    let mut edges: BTreeMap<&str, BTreeMap<String, String>> = BTreeMap::new();
    for (file, at, from, path) in TREE.uses(TOP).filter(|(file, ..)| !is_http(file)) {
        edges.entry(from).or_default().entry(path[1].clone()).or_insert_with(|| file.place(at));
    }
    let mut findings = Findings::default();
    // What names nothing that is left, or is named by nothing, is no part of a cycle: take it away until nothing changes.
    while let Some(done) = edges
        .iter()
        .find(|(from, to)| {
            let is_last = to.keys().all(|t| !edges.contains_key(t.as_str()));
            is_last || !edges.values().any(|to| to.contains_key(**from))
        })
        .map(|(from, _)| *from)
    {
        edges.remove(done);
    }
    for (from, to) in &edges {
        for (to, place) in to.iter().filter(|(to, _)| edges.contains_key(to.as_str())) {
            let fix = "move what both need into one that both may name";
            findings.0.push(format!("{place}: {from} → {to} is part of a cycle\n    fix: {fix}"));
        }
    }
    findings.report();
}

#[test]
fn sql_is_never_put_together_from_text() {
    let mut findings = Findings::default();
    for file in TREE.live_sources() {
        for literal in &file.literals {
            let before = file.code[..literal.start - 1].trim_end_matches(['r', '#']).trim_end();
            if before.ends_with("format!(") && verb_of_sql(&file.text[literal.clone()]).is_some() {
                let fix = "write the whole statement and bind the values ($1, $2)".to_owned();
                findings.add(file, literal.start, "`format!` builds SQL".to_owned(), fix);
            }
        }
        let may_assert = ["engines", "cli", "demo"].contains(&file.folder());
        for (at, path) in &file.paths {
            if path.iter().any(|p| p == "AssertSqlSafe") && !may_assert {
                let fix = "let the statement be a literal and bind the values".to_owned();
                findings.add(file, *at, "`AssertSqlSafe` lets text become SQL".to_owned(), fix);
            }
        }
    }
    findings.report();
}

#[test]
fn reports_only_select() {
    let mut findings = Findings::default();
    for file in TREE.live_sources().filter(|f| f.folder() == "report") {
        for literal in &file.literals {
            if let Some(verb) = verb_of_sql(&file.text[literal.clone()])
                && verb != "select"
            {
                let fix = "a report can run on a replica: write in the store of the folder that \
                           owns the table";
                findings.add(file, literal.start, format!("a report does `{verb}`"), fix.into());
            }
        }
    }
    findings.report();
}

#[test]
fn the_stream_is_read_from_a_position_and_never_cut_by_length() {
    let mut findings = Findings::default();
    for file in TREE.live_sources() {
        for (at, _) in file.live.to_ascii_lowercase().match_indices("maxlen") {
            let fix = "events that are not settled yet would be lost: trim behind the committed \
                       offset (MINID)";
            findings.add(file, at, "the stream is cut by length".to_owned(), fix.into());
        }
        for literal in file.literals.iter().filter(|_| file.folder() == "stream") {
            if &file.text[literal.clone()] == "$" {
                let fix = "what came while nobody read would be skipped: read from the offset";
                findings.add(file, literal.start, "reads only what is new".to_owned(), fix.into());
            }
        }
    }
    findings.report();
}

#[test]
fn every_file_opens_with_its_page() {
    let mut findings = Findings::default();
    for file in &TREE.sources {
        if !file.text.starts_with("//! ") {
            let fix = "begin with `//!`: what is in the file, why, and what always holds";
            findings.add(file, 0, "the file has no page".to_owned(), fix.into());
        }
    }
    findings.report();
}

#[test]
fn no_file_and_no_folder_is_too_large() {
    let mut findings = Findings::default();
    let mut folders: BTreeMap<&str, usize> = BTreeMap::new();
    for file in &TREE.sources {
        if file.n_lines > FILE_LINES_MAX {
            let what = format!("{} lines without tests, {FILE_LINES_MAX} at most", file.n_lines);
            findings.add(file, 0, what, "split it by topic".to_owned());
        }
        if let Some((folder, _)) = file.path.rsplit_once('/')
            && (folder.starts_with("src/") || folder.starts_with("crates/"))
            && !file.is_test
        {
            *folders.entry(folder).or_default() += 1;
        }
    }
    for (folder, n) in folders {
        let large = LARGE_FOLDERS.iter().find(|(name, ..)| *name == folder);
        let max = large.map_or(FOLDER_FILES_MAX, |(_, max, _)| *max);
        if n > max {
            findings.0.push(format!(
                "{folder}:1: {n} files, {max} at most\n    fix: group files of one topic, or add \
                 a line with a reason to LARGE_FOLDERS"
            ));
        }
    }
    findings.report();
}

#[test]
fn names_say_what_is_inside() {
    let mut findings = Findings::default();
    for file in &TREE.sources {
        let mut names = file.path.trim_end_matches(".rs").split('/');
        if let Some(name) = names.find(|name| EMPTY_NAMES.contains(name)) {
            let fix = "name it after the noun it holds".to_owned();
            findings.add(file, 0, format!("`{name}` says nothing"), fix);
        }
        for module in &file.modules {
            if EMPTY_NAMES.contains(&module.name.as_str()) {
                let fix = "name it after the noun it holds".to_owned();
                findings.add(
                    file,
                    module.at,
                    format!("module `{}` says nothing", module.name),
                    fix,
                );
            }
        }
        for (at, word) in words(&file.code) {
            for part in parts(word) {
                if let Some((_, ours)) = FOREIGN_WORDS.iter().find(|(w, _)| *w == part) {
                    let what = format!("`{word}`: {part} has another name here");
                    findings.add(file, at, what, format!("say {ours}"));
                }
            }
        }
    }
    findings.report();
}

#[test]
fn lints_are_expected_with_a_reason_never_allowed() {
    let mut findings = Findings::default();
    for file in &TREE.sources {
        for (at, _) in file.code.match_indices("[allow(") {
            let fix = "`#[expect(lint, reason = \"…\")]`: it complains once it is needless";
            findings.add(file, at, "`allow` outlives its reason".to_owned(), fix.into());
        }
    }
    findings.report();
}

#[test]
fn every_source_file_is_a_module_of_its_parent() {
    let mut findings = Findings::default();
    for file in &TREE.sources {
        let path = file.path.as_str();
        let is_root = ["src/lib.rs", "src/main.rs", "tests/it/main.rs", "build.rs"].contains(&path)
            || path.starts_with("crates/") && path.ends_with("/src/lib.rs")
            // The programs of load tests are examples, each a file that Cargo.toml names.
            || path.starts_with("load-tests/") && path.ends_with("/main.rs");
        if is_root {
            continue;
        }
        if path.starts_with("tests/") && !path.starts_with("tests/it/") {
            let fix = "move it to tests/it and add it to main.rs: one binary links once";
            findings.add(file, 0, "a second test binary".to_owned(), fix.into());
            continue;
        }
        // A file of its own that also has a folder is a page in two places.
        let beside = format!("{}/", path.trim_end_matches(".rs"));
        let child = TREE.sources.iter().find(|f| f.path.starts_with(&beside) && !f.is_test);
        if let Some(child) = child {
            let what = format!("has a folder too ({})", child.path);
            findings.add(file, 0, what, format!("move it to {beside}mod.rs"));
        }
        let stem = path.trim_end_matches(".rs").trim_end_matches("/mod");
        let is_declared = TREE.sources.iter().any(|f| f.modules.iter().any(|m| m.file == stem));
        if !is_declared {
            let fix = format!("declare `{stem}` in the module above it");
            findings.add(file, 0, "the compiler never sees this file".to_owned(), fix);
        }
    }
    findings.report();
}

#[test]
fn migrations_are_numbered_without_a_gap_and_say_why() {
    let mut findings = Findings::default();
    for (n, (path, text)) in TREE.files_in("migrations/", ".sql").enumerate() {
        if !path.starts_with(&format!("migrations/{:04}_", n + 1)) {
            let fix = format!("the next number is {:04}; migrations are only ever added", n + 1);
            findings
                .0
                .push(format!("{path}:1: the number leaves a gap or stands twice\n    fix: {fix}"));
        }
        if !text.starts_with("-- ") {
            let fix = "open with a `--` comment that says why the schema is like this";
            findings.0.push(format!("{path}:1: no comment\n    fix: {fix}"));
        }
    }
    findings.report();
}

#[test]
fn constraints_are_named_and_keys_carry_the_program() {
    let mut findings = Findings::default();
    let mut scoped: BTreeSet<String> = BTreeSet::new();
    for (path, text) in TREE.files_in("migrations/", ".sql") {
        let sql = mask_sql(text);
        for (at, statement) in split_at_top(&sql, ';') {
            let head: Vec<&str> = statement.split_whitespace().take(8).collect();
            let mut check = |table: &str, scoped: &BTreeSet<String>, at: usize, item: &str| {
                let names_program = words(item).any(|(_, w)| w == "program_id");
                let is_wide = DEPLOYMENT_WIDE.iter().any(|(t, _)| *t == table);
                let what = if is_unnamed_constraint(item) {
                    (
                        "a constraint without a name",
                        "`constraint <name> …`: answers are found by it",
                    )
                } else if is_key(item) && scoped.contains(table) && !names_program && !is_wide {
                    ("a key without program_id", "add it, or name the table in DEPLOYMENT_WIDE")
                } else {
                    return;
                };
                let line = line_of(&sql, at + item.len() - item.trim_start().len());
                findings.0.push(format!("{path}:{line}: {table}: {}\n    fix: {}", what.0, what.1));
            };
            match head[..] {
                ["create", "table", table, ..] => {
                    let Some((open, body)) = first_group(statement) else { continue };
                    let items = split_at_top(body, ',');
                    if items.iter().any(|(_, i)| i.trim_start().starts_with("program_id ")) {
                        scoped.insert(table.to_owned());
                    }
                    for (n, item) in items {
                        check(table, &scoped, at + open + n, item);
                    }
                }
                ["create", "unique", "index", _, "on", table, ..] => {
                    check(table, &scoped, at, statement);
                }
                ["alter", "table", table, ..] => {
                    for (n, item) in split_at_top(statement, ',') {
                        if let Some((add, _)) = words(item).find(|(_, w)| *w == "add") {
                            check(table, &scoped, at + n + add + 3, &item[add + 3..]);
                        }
                    }
                }
                _ => {}
            }
        }
    }
    findings.report();
}

#[test]
fn the_change_log_has_an_entry_for_what_comes_or_came_last() {
    let text = TREE.text("CHANGELOG.md");
    let top = text.lines().find_map(|l| l.strip_prefix("## ")).unwrap_or_default();
    let is_dated = top.split(|c: char| !c.is_ascii_digit() && c != '-').any(|word| {
        word.len() == 10 && word.bytes().enumerate().all(|(i, b)| (b == b'-') == (i == 4 || i == 7))
    });
    assert!(
        top.contains("Unreleased") || is_dated,
        "CHANGELOG.md:1: the top entry is {top:?}\n    fix: `## Unreleased` or `## 1.2.0, 2026-01-31`"
    );
}

#[test]
fn documents_keep_to_their_length() {
    let mut findings = Findings::default();
    let mut check = |path: &str, text: &str, max: usize| {
        let n = text.lines().count();
        if n > max {
            let fix = "say it shorter, or move a part to docs/";
            findings.0.push(format!("{path}:{n}: {n} lines, {max} at most\n    fix: {fix}"));
        }
    };
    check("ARCHITECTURE.md", TREE.text("ARCHITECTURE.md"), ARCHITECTURE_LINES_MAX);
    for (path, text) in TREE.files_in("docs/decisions/", ".md") {
        check(path, text, DECISION_LINES_MAX);
    }
    for (n, (path, _)) in TREE.files_in("docs/decisions/", ".md").enumerate() {
        if !path.starts_with(&format!("docs/decisions/{:04}-", n + 1)) {
            let fix = format!("the next number is {:04}", n + 1);
            findings.0.push(format!("{path}:1: the number leaves a gap\n    fix: {fix}"));
        }
    }
    findings.report();
}

#[test]
fn no_file_names_a_folder_of_one_machine() {
    let mut findings = Findings::default();
    for (path, text) in &TREE.files {
        let source = TREE.sources.iter().find(|s| s.path == *path);
        let is_example = |at| source.is_some_and(|s| s.is_test || s.is_in_test(at));
        for folder in ["root", "home", "work"].map(|name| format!("/{name}/")) {
            for (at, _) in text.match_indices(&folder) {
                // In `https://shop.example/home/` it is a part of an address.
                let before = text[..at].chars().next_back();
                let is_first =
                    before.is_none_or(|c| !c.is_alphanumeric() && !"./_-})>]*".contains(c));
                if is_first && !is_example(at) {
                    let line = line_of(text, at);
                    let fix = "write it relative to the project, or as a variable";
                    findings.0.push(format!("{path}:{line}: names {folder}\n    fix: {fix}"));
                }
            }
        }
    }
    findings.report();
}

// ---- findings -----------------------------------------------------------------------------

/// What is wrong, one text each.
#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    fn add(&mut self, file: &Source, at: usize, what: String, fix: String) {
        self.0.push(format!("{}: {what}\n    fix: {fix}", file.place(at)));
    }

    /// Fails the test with every finding.
    #[track_caller]
    fn report(self) {
        assert!(self.0.is_empty(), "{} findings\n{}", self.0.len(), self.0.join("\n"));
    }
}
