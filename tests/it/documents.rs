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
