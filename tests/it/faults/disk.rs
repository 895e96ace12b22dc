//! A small disk of one story, which may really be full.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// Mounts a file system of `$1` bytes at `$2`, says so and holds it until the story ends.
const HOLD: &str = "mount -t tmpfs -o size=$1 tributary-test \"$2\" && echo mounted && exec cat";

/// What takes the rest of the disk.
const BALLAST: &str = "ballast";

/// A file system in memory, in a mount namespace that ends with its holder: nothing stays mounted,
/// however the story ends.
pub struct SmallDisk {
    holder: Child,
    dir: TempDir,
}

impl SmallDisk {
    /// Mounts a disk; where that is not allowed, says so, and the story that needs it ends.
    #[expect(clippy::print_stderr, reason = "a test that is skipped tells why")]
    pub fn mount(bytes: usize) -> Option<Self> {
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        let holder = Command::new("unshare")
            .args(["--mount", "sh", "-c", HOLD, "hold", &bytes.to_string()])
            .arg(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut holder) = holder else {
            eprintln!("skipped: unshare is not installed, so no small disk can be mounted");
            return None;
        };
        let mut said = String::new();
        let mut lines = BufReader::new(holder.stdout.take().unwrap());
        lines.read_line(&mut said).unwrap();
        if said.trim() != "mounted" {
            holder.wait().unwrap();
            eprintln!("skipped: no small disk can be mounted here; root may");
            return None;
        }
        Some(Self { holder, dir })
    }

    /// Where it is for those who are not in its namespace.
    pub fn path(&self) -> PathBuf {
        let inside = self.dir.path().strip_prefix("/").unwrap();
        PathBuf::from(format!("/proc/{}/root", self.holder.id())).join(inside)
    }

    /// Takes what is left of it, to the last page.
    pub fn fill(&self) {
        let mut ballast =
            File::options().create(true).append(true).open(self.path().join(BALLAST)).unwrap();
        let full = loop {
            if let Err(error) = ballast.write_all(&[1; 4096]) {
                break error;
            }
        };
        assert_eq!(full.kind(), ErrorKind::StorageFull);
    }

    /// Gives back what [`Self::fill`] took.
    pub fn make_room(&self) {
        fs::remove_file(self.path().join(BALLAST)).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}
