//! What is written says what the code does: the README's tour runs, its tables are the code's.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};

use tributary::{audit, config, metrics, web::problem};

fn document(name: &str) -> String {
    std::fs::read_to_string(format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// Returns what stands between two markers.
fn between<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
    let after = text.split_once(begin).unwrap_or_else(|| panic!("no {begin:?}")).1;
    let after = after.split_once("-->").unwrap().1;
    after.split_once(end).unwrap_or_else(|| panic!("no {end:?}")).0
}

#[test]
fn the_settings_of_the_readme_are_those_of_the_code() {
    let readme = document("README.md");
    let written = between(&readme, "<!-- settings:", "<!-- settings: end -->").trim();
    let ours = config::markdown_table();
    assert_eq!(written, ours.trim(), "put the output of `tributary config table` there");
}

#[test]
fn the_reference_lists_every_metric_and_every_problem() {
    let reference = document("docs/reference.md");
    for (begin, end, ours) in [
        ("<!-- metrics:", "<!-- metrics: end -->", metrics::markdown_table()),
        ("<!-- problems:", "<!-- problems: end -->", problem::markdown_table()),
    ] {
        let written = between(&reference, begin, end).trim();
        assert_eq!(written, ours.trim(), "put this there:\n{ours}");
    }
}

#[test]
fn the_page_of_the_audit_lists_every_invariant() {
    let page = document("docs/audit.md");
    let written = between(&page, "<!-- invariants:", "<!-- invariants: end -->").trim();
    let ours = audit::told::markdown_table();
    assert_eq!(written, ours.trim(), "put this there:\n{ours}");
}

/// Ends `tributary dev` also when the test fails.
struct Dev(Child);

impl Drop for Dev {
    fn drop(&mut self) {
        let id = nix::unistd::Pid::from_raw(i32::try_from(self.0.id()).unwrap());
        let _ = nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGINT);
        self.0.wait().unwrap();
    }
}

fn sh_blocks(text: &str) -> String {
    text.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn the_tour_of_the_readme_ends_with_a_paid_commission_own_engines() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    // As root the engines run as another account, which must get to its folders.
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    let mut dev = Command::new(env!("CARGO_BIN_EXE_tributary"))
        .args(["dev", "--no-demo", "--data-dir"])
        .arg(dir.path())
        .env_remove("DATABASE_URL")
        .env_remove("REDIS_URL")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::piped())
        .spawn()
        .map(Dev)
        .unwrap();
    let mut lines = BufReader::new(dev.0.stderr.take().unwrap()).lines();
    let mut said = Vec::new();
    loop {
        let line = lines.next().unwrap_or_else(|| panic!("dev ended: {said:#?}")).unwrap();
        if line.starts_with("Tributary runs") {
            break;
        }
        said.push(line);
    }
    let readme = document("README.md");
    let tour = sh_blocks(between(&readme, "<!-- tour:", "<!-- tour: end -->"));
    assert!(tour.contains("mark-paid"), "{tour}");
    let run = Command::new("sh")
        .args(["-eu", "-c", &tour])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("TRIBUTARY_DATA", dir.path())
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{out}\n{err}");
    let report = out.lines().rev().find(|l| l.contains("po_")).unwrap_or_else(|| panic!("{out}"));
    assert!(report.contains(",29.98,") && report.contains("paid"), "{report}\n{out}");
    assert!(out.contains("\"status\":\"duplicate\""), "sent twice, taken once: {out}");
}

/// Returns the Rust files below a folder.
fn sources(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let below = |path: std::path::PathBuf| match path.is_dir() {
        true => sources(&path),
        false => vec![path],
    };
    entries.flat_map(below).filter(|path| path.extension().is_some_and(|e| e == "rs")).collect()
}

/// Two types of one name are one schema in OpenAPI: whichever comes last describes both.
#[test]
fn each_schema_of_the_api_has_a_name_of_its_own() {
    let mut names = std::collections::BTreeMap::new();
    for path in sources(std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))) {
        let text = std::fs::read_to_string(&path).unwrap();
        let (mut is_schema, mut name) = (false, None);
        for line in text.lines().map(str::trim) {
            if line.starts_with("#[derive(") {
                (is_schema, name) = (line.contains("ToSchema"), None);
            } else if let Some(given) = line.strip_prefix("#[schema(as = ") {
                name = given.split([')', ',']).next().map(str::to_owned);
            } else if let Some(rest) =
                line.strip_prefix("pub struct ").or_else(|| line.strip_prefix("pub enum "))
            {
                let own = rest.split(|c: char| !c.is_alphanumeric()).next().map(str::to_owned);
                if let (true, Some(name)) = (is_schema, name.take().or(own)) {
                    let other = names.insert(name.clone(), path.clone());
                    assert_eq!(other, None, "{name} is also in {}", path.display());
                }
                is_schema = false;
            }
        }
    }
    assert!(names.len() > 100, "{} schemas", names.len());
}
