//! One Rust file as the rules see it: its words and paths, without comments, texts and tests.
//!
//! A small lexer, not a parser: it knows comments, literals, `a::b::{c, d}` and `#[cfg(test)]`.
//! Masking keeps every byte offset, so a place in a mask is a place in the file.

use std::ops::Range;

/// A Rust file.
pub(super) struct Source {
    /// From the project's root: `src/click/http.rs`.
    pub(super) path: String,
    /// As it stands.
    pub(super) text: String,
    /// Without comments, contents of literals, and parts that only tests compile.
    pub(super) code: String,
    /// Like `code`, with the contents of literals.
    pub(super) live: String,
    /// Contents of string literals, tests excepted.
    pub(super) literals: Vec<Range<usize>>,
    /// Every path in `code`, as one from the crate's root where it is known to be.
    pub(super) paths: Vec<(usize, Vec<String>)>,
    /// Modules that it declares, those of tests included.
    pub(super) modules: Vec<Module>,
    /// Parts that only tests compile.
    pub(super) test_parts: Vec<Range<usize>>,
    /// Whether only tests compile it.
    pub(super) is_test: bool,
    /// Lines without parts that only tests compile.
    pub(super) n_lines: usize,
}

/// A module that a file declares.
pub(super) struct Module {
    /// Where its name stands.
    pub(super) at: usize,
    /// Its name.
    pub(super) name: String,
    /// Where its file would be, without `/mod.rs` or `.rs`.
    pub(super) file: String,
    /// Whether only tests compile it.
    pub(super) is_test: bool,
}

impl Source {
    /// Reads a file's text.
    pub(super) fn new(path: &str, text: &str) -> Self {
        let (mut code, mut live, mut literals) = mask(text);
        let test_parts = test_parts(&code);
        let modules = modules(path, text, &code, &literals, &test_parts);
        let n_test_lines: usize =
            test_parts.iter().map(|part| text[part.clone()].lines().count()).sum();
        for part in &test_parts {
            literals.retain(|l| !part.contains(&l.start));
            blank(&mut code, part.clone());
            blank(&mut live, part.clone());
        }
        let paths = paths(&code, &module_of(path), &modules);
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            code,
            live,
            literals,
            paths,
            modules,
            test_parts,
            is_test: path.starts_with("tests/"),
            n_lines: text.lines().count() - n_test_lines,
        }
    }
}

impl Source {
    /// Returns the path below `src/`, which is what globs are about.
    pub(super) fn below_src(&self) -> &str {
        self.path.strip_prefix("src/").unwrap_or(&self.path)
    }

    /// Returns the folder or the single file directly below `src/`: `click`, `ids`.
    pub(super) fn folder(&self) -> &str {
        let first = self.below_src().split('/').next().unwrap_or_default();
        first.trim_end_matches(".rs")
    }

    /// Tells whether a place is in a part that only tests compile.
    pub(super) fn is_in_test(&self, at: usize) -> bool {
        self.test_parts.iter().any(|part| part.contains(&at))
    }

    /// Returns a place as people and editors read it: `src/ids.rs:12`.
    pub(super) fn place(&self, at: usize) -> String {
        format!("{}:{}", self.path, line_of(&self.text, at))
    }
}

/// Returns the line number of an offset.
pub(super) fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()[..at].iter().filter(|b| **b == b'\n').count() + 1
}

/// Tells whether a path fits a glob in which `*` is anything, folders included.
pub(super) fn fits(glob: &str, path: &str) -> bool {
    match glob.split_once('*') {
        None => glob == path,
        Some((head, tail)) => path.strip_prefix(head).is_some_and(|rest| {
            (0..=rest.len()).filter_map(|n| rest.get(n..)).any(|rest| fits(tail, rest))
        }),
    }
}

/// Tells whether a path is one that the pattern means; see the table of rooms for its form.
pub(super) fn is_named(path: &[String], pattern: &str) -> bool {
    let (is_anywhere, pattern) = match pattern.strip_prefix("**::") {
        Some(rest) => (true, rest),
        None => (false, pattern),
    };
    let wanted: Vec<&str> = pattern.split("::").collect();
    let same = |found: &[String]| {
        found.iter().zip(&wanted).all(|(found, wanted)| match wanted.split_once('*') {
            Some((head, tail)) => found.starts_with(head) && found.ends_with(tail),
            None => wanted.is_empty() || found == wanted,
        })
    };
    if is_anywhere {
        // A single word may be a variable or a method.
        path.len() > 1 && path.windows(wanted.len()).any(same)
    } else {
        path.get(..wanted.len()).is_some_and(same)
    }
}

/// Returns the identifiers and keywords of masked code with their places.
pub(super) fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < code.len() {
            if let Some(word) = word_at(code, at) {
                let start = at;
                at += word.len();
                return Some((start, word));
            }
            at = after_number_or_byte(code, at);
        }
        None
    })
}

/// Returns the parts of an identifier in lower case: `PartnerId` and `partner_id` have two.
pub(super) fn parts(word: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut was_lower = false;
    for c in word.chars() {
        if c == '_' || (c.is_uppercase() && was_lower) {
            parts.push(String::new());
        }
        if c != '_' {
            parts.last_mut().expect("there is always one").extend(c.to_lowercase());
        }
        was_lower = c.is_lowercase();
    }
    parts
}

fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_' || b >= 0x80
}

fn word_at(code: &str, at: usize) -> Option<&str> {
    let rest = &code.as_bytes()[at..];
    if !rest.first().is_some_and(|b| is_word(*b) && !b.is_ascii_digit()) {
        return None;
    }
    let len = rest.iter().position(|b| !is_word(*b)).unwrap_or(rest.len());
    Some(&code[at..at + len])
}

/// Steps over one byte, or over a number with its suffix, which is no word.
fn after_number_or_byte(code: &str, at: usize) -> usize {
    let rest = &code.as_bytes()[at..];
    match rest.iter().position(|b| !is_word(*b)) {
        Some(0) => at + 1,
        Some(len) => at + len,
        None => code.len(),
    }
}

fn after_space(code: &str, at: usize) -> usize {
    code.len() - code[at..].trim_start().len()
}

fn paths(code: &str, module: &[&str], modules: &[Module]) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < code.len() {
        at = match word_at(code, at) {
            Some(_) => read_path(code, at, &[], &mut found),
            None => after_number_or_byte(code, at),
        };
    }
    for (_, path) in &mut found {
        make_absolute(path, module, modules);
    }
    found
}

/// Reads the path at `at`, a group at its end included, and returns where it ends.
fn read_path(
    code: &str,
    start: usize,
    prefix: &[String],
    found: &mut Vec<(usize, Vec<String>)>,
) -> usize {
    let mut path = prefix.to_vec();
    let mut at = start;
    while let Some(word) = word_at(code, at) {
        path.push(word.to_owned());
        let end = at + word.len();
        let next = after_space(code, end);
        if !code[next..].starts_with("::") {
            found.push((start, path));
            return end;
        }
        at = after_space(code, next + 2);
    }
    if !code[at..].starts_with('{') {
        found.push((start, path));
        return at;
    }
    at += 1;
    while at < code.len() && !code[at..].starts_with('}') {
        at = match word_at(code, at) {
            Some(_) => read_path(code, at, &path, found),
            None => after_number_or_byte(code, at),
        };
    }
    at + 1
}

/// Returns the module of a file: `src/click/http.rs` is `click::http`.
fn module_of(path: &str) -> Vec<&str> {
    let below = path.strip_prefix("src/").unwrap_or(path).trim_end_matches(".rs");
    let mut module: Vec<&str> = below.split('/').collect();
    if matches!(module.last(), Some(&("mod" | "lib" | "main"))) {
        module.pop();
    }
    module
}

/// Finds the modules that a file declares, and where their files are.
fn modules(
    path: &str,
    text: &str,
    code: &str,
    literals: &[Range<usize>],
    test_parts: &[Range<usize>],
) -> Vec<Module> {
    let (folder, name) = path.rsplit_once('/').unwrap_or_default();
    let children = match name {
        "mod.rs" | "lib.rs" | "main.rs" => folder,
        _ => path.trim_end_matches(".rs"),
    };
    let all: Vec<(usize, &str)> = words(code).collect();
    let declared = all.windows(2).filter(|pair| pair[0].1 == "mod").map(|pair| pair[1]);
    declared
        .map(|(at, name)| {
            let attribute =
                code[..at].rfind("#[path").filter(|n| !code[*n..at].contains([';', '}']));
            let elsewhere = attribute.and_then(|n| literals.iter().find(|l| l.start > n));
            let file = match elsewhere {
                Some(literal) => {
                    format!("{folder}/{}", text[literal.clone()].trim_end_matches(".rs"))
                }
                None => format!("{children}/{name}"),
            };
            let is_test = test_parts.iter().any(|part| part.contains(&at));
            Module { at, name: name.to_owned(), file, is_test }
        })
        .collect()
}

/// Turns `self::`, `super::` and the file's own modules into a path from the crate's root.
fn make_absolute(path: &mut Vec<String>, module: &[&str], modules: &[Module]) {
    let n_up = path.iter().take_while(|p| *p == "super").count();
    let is_self = path[0] == "self" && path.len() > 1;
    let is_child = path.len() > 1 && modules.iter().any(|m| m.name == path[0]);
    if n_up > module.len() || !(n_up > 0 || is_self || is_child) {
        return;
    }
    let base = module[..module.len() - n_up].iter().map(|m| (*m).to_owned());
    let rest = path.split_off(n_up + usize::from(is_self));
    *path = std::iter::once("crate".to_owned()).chain(base).chain(rest).collect();
}

/// Finds what stands under `#[cfg(test)]`: to the end of its block, or to its semicolon.
fn test_parts(code: &str) -> Vec<Range<usize>> {
    let mut parts: Vec<Range<usize>> = Vec::new();
    for (start, _) in code.match_indices("#[cfg(test)]") {
        if parts.last().is_some_and(|last| last.contains(&start)) {
            continue;
        }
        let mut depth = 0_usize;
        let end = code[start..].bytes().position(|b| {
            match b {
                b'{' => depth += 1,
                b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0 && (b == b';' || b == b'}')
        });
        parts.push(start..end.map_or(code.len(), |end| start + end + 1));
    }
    parts
}

fn blank(text: &mut String, range: Range<usize>) {
    let spaces: String =
        text[range.clone()].bytes().map(|b| if b == b'\n' { '\n' } else { ' ' }).collect();
    text.replace_range(range, &spaces);
}

/// Returns the text without comments and contents of literals, the text without comments, and
/// where the contents of string literals are.
fn mask(text: &str) -> (String, String, Vec<Range<usize>>) {
    let (mut comments, mut contents, mut literals) = (Vec::new(), Vec::new(), Vec::new());
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text.get(at..).unwrap_or_default();
        if rest.starts_with("//") {
            let end = rest.find('\n').map_or(text.len(), |n| at + n);
            comments.push(at..end);
            at = end;
        } else if rest.starts_with("/*") {
            let end = at + block_comment_len(rest);
            comments.push(at..end);
            at = end;
        } else if let Some((open, close)) = string_at(text, at) {
            contents.push(open..close);
            literals.push(open..close);
            at = close + 1;
        } else if let Some(len) = char_len(rest) {
            contents.push(at + 1..at + len - 1);
            at += len;
        } else {
            at += 1;
        }
    }
    let mut live = text.to_owned();
    comments.into_iter().for_each(|c| blank(&mut live, c));
    let mut code = live.clone();
    contents.into_iter().for_each(|c| blank(&mut code, c));
    (code, live, literals)
}

fn block_comment_len(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        match rest.as_bytes().get(at..at + 2) {
            Some(b"/*") => depth += 1,
            Some(b"*/") => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// Returns the contents of the string literal whose quote, or whose `r`, stands at `at`.
fn string_at(text: &str, at: usize) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    if bytes[at] == b'"' {
        let mut end = at + 1;
        while end < bytes.len() && bytes[end] != b'"' {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        return Some((at + 1, end.min(text.len())));
    }
    // `br` and `cr` begin with a letter that is skipped before this sees the `r`.
    let is_inside_word = at > 0 && is_word(bytes[at - 1]) && !matches!(bytes[at - 1], b'b' | b'c');
    if bytes[at] != b'r' || is_inside_word {
        return None;
    }
    let n = bytes[at + 1..].iter().take_while(|b| **b == b'#').count();
    let open = at + n + 2;
    if bytes.get(open - 1) != Some(&b'"') {
        return None;
    }
    let len = text[open..].find(&format!("\"{}", "#".repeat(n)))?;
    Some((open, open + len))
}

/// Returns the length of a character literal; a lifetime is none.
fn char_len(rest: &str) -> Option<usize> {
    let inside = rest.strip_prefix('\'')?;
    if inside.starts_with('\\') {
        return Some(inside.get(2..)?.find('\'')? + 4);
    }
    let c = inside.chars().next()?;
    inside[c.len_utf8()..].starts_with('\'').then(|| c.len_utf8() + 2)
}
