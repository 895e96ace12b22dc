//! The files of the project, and what the rules need to know of their SQL.

use std::fs;
use std::path::Path;

use super::source::{Source, words};

/// Larger files are data.
const TEXT_BYTES_MAX: u64 = 512 * 1024;

/// The project's text files.
pub(super) struct Tree {
    /// Every text file: path from the root, text; sorted.
    pub(super) files: Vec<(String, String)>,
    /// Those that are Rust, lexed.
    pub(super) sources: Vec<Source>,
}

impl Tree {
    /// Reads the tree, without the names at its top that are given.
    pub(super) fn read(root: &str, skipped: &[&str]) -> Self {
        let mut files = Vec::new();
        for entry in entries(Path::new(root)) {
            if !skipped.contains(&entry.as_str()) {
                read_into(Path::new(root), &entry, &mut files);
            }
        }
        let mut sources: Vec<Source> = files
            .iter()
            .filter(|(path, _)| path.ends_with(".rs"))
            .map(|(path, text)| Source::new(path, text))
            .collect();
        let of_tests: Vec<String> = sources
            .iter()
            .flat_map(|s| s.modules.iter().filter(|m| m.is_test).map(|m| m.file.clone()))
            .collect();
        for source in &mut sources {
            let stem = source.path.trim_end_matches(".rs");
            let is_in = |file: &String| stem == file || stem.starts_with(&format!("{file}/"));
            source.is_test |= of_tests.iter().any(is_in);
        }
        Self { files, sources }
    }

    /// Returns a document that must be there.
    #[track_caller]
    pub(super) fn text(&self, path: &str) -> &str {
        let file = self.files.iter().find(|(p, _)| p == path);
        file.map(|(_, text)| text.as_str())
            .unwrap_or_else(|| panic!("{path}:1: missing\n    fix: write it"))
    }

    /// Returns the files of a folder with this ending, in order.
    pub(super) fn files_in(&self, folder: &str, end: &str) -> impl Iterator<Item = (&str, &str)> {
        let is_in = move |path: &str| path.starts_with(folder) && path.ends_with(end);
        self.files.iter().filter(move |(p, _)| is_in(p)).map(|(p, t)| (p.as_str(), t.as_str()))
    }

    /// Returns the files of the service and its crates that are compiled outside tests too.
    pub(super) fn live_sources(&self) -> impl Iterator<Item = &Source> {
        let is_ours = |path: &str| path.starts_with("src/") || path.starts_with("crates/");
        self.sources.iter().filter(move |s| !s.is_test && is_ours(&s.path))
    }

    /// Returns every use of one folder by another: file, place, from, path. The files of `top`
    /// are left out, for they may use everything.
    pub(super) fn uses(
        &self,
        top: &'static [&'static str],
    ) -> impl Iterator<Item = (&Source, usize, &str, &[String])> {
        let is_folder = |name: &str| self.live_sources().any(|s| s.folder() == name);
        self.live_sources()
            .filter(|s| {
                !["lib", "main", "crates"].contains(&s.folder()) && !top.contains(&s.folder())
            })
            .flat_map(|s| s.paths.iter().map(move |(at, path)| (s, *at, s.folder(), &path[..])))
            .filter(move |(_, _, from, path)| {
                path[0] == "crate" && path.len() > 1 && path[1] != **from && is_folder(&path[1])
            })
    }
}

fn entries(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .expect("the project's folders can be read")
        .map(|entry| entry.expect("an entry can be read").file_name())
        .filter_map(|name| name.into_string().ok())
        .collect();
    names.sort();
    names
}

fn read_into(root: &Path, path: &str, files: &mut Vec<(String, String)>) {
    let full = root.join(path);
    let Ok(about) = fs::symlink_metadata(&full) else { return };
    if about.is_dir() {
        entries(&full).iter().for_each(|name| read_into(root, &format!("{path}/{name}"), files));
    } else if about.is_file()
        && about.len() <= TEXT_BYTES_MAX
        && let Ok(text) = fs::read_to_string(&full)
    {
        files.push((path.to_owned(), text));
    }
}

/// Returns what a text does if it is SQL.
pub(super) fn verb_of_sql(text: &str) -> Option<&'static str> {
    let lower = text.to_ascii_lowercase();
    let words: Vec<&str> = lower.split_whitespace().collect();
    let says = |word: &str| words.contains(&word);
    match words[..] {
        ["select", ..] if says("from") => Some("select"),
        ["with", _, "as", ..] => Some("select"),
        ["insert", "into", ..] => Some("insert"),
        ["update", ..] if says("set") => Some("update"),
        ["delete", "from", ..] => Some("delete"),
        ["truncate", ..] => Some("truncate"),
        _ => None,
    }
}

/// Returns SQL without comments, texts and bodies of functions, each byte in its place.
pub(super) fn mask_sql(sql: &str) -> String {
    let mut masked = String::new();
    let mut rest = sql;
    while let Some(c) = rest.chars().next() {
        let end = match () {
            () if rest.starts_with("--") => rest.find('\n'),
            () if rest.starts_with("$$") => rest[2..].find("$$").map(|n| n + 4),
            () if c == '\'' => rest[1..].find('\'').map(|n| n + 2),
            () => {
                masked.push(c);
                rest = &rest[c.len_utf8()..];
                continue;
            }
        };
        let (hidden, after) = rest.split_at(end.unwrap_or(rest.len()));
        masked.extend(hidden.bytes().map(|b| if b == b'\n' { '\n' } else { ' ' }));
        rest = after;
    }
    masked
}

/// Splits at a separator outside parentheses; each part comes with its place.
pub(super) fn split_at_top(text: &str, separator: char) -> Vec<(usize, &str)> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0_i32);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ if c == separator && depth == 0 => {
                parts.push((start, &text[start..at]));
                start = at + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push((start, &text[start..]));
    parts
}

/// Returns what is in the first parentheses, with its place.
pub(super) fn first_group(text: &str) -> Option<(usize, &str)> {
    let open = text.find('(')? + 1;
    let mut depth = 1;
    let len = text[open..].find(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        depth == 0
    })?;
    Some((open, &text[open..open + len]))
}

/// Tells whether an item of a table is a constraint that nobody has named.
pub(super) fn is_unnamed_constraint(item: &str) -> bool {
    let words: Vec<&str> = words(item).map(|(_, word)| word).collect();
    let kinds = ["primary", "unique", "check", "references", "foreign", "exclude"];
    !matches!(words.first(), Some(&"create")) // The grammar has an index named already.
        && !words.contains(&"constraint")
        && words.iter().any(|word| kinds.contains(word))
}

/// Tells whether an item of a table is a primary key or a unique constraint.
pub(super) fn is_key(item: &str) -> bool {
    words(item).any(|(_, word)| word == "primary" || word == "unique")
}
