//! The recipes of `docs/webhooks.md` that keep click ids in a cookie of the shop, each run as it stands
//! there.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::senders::is_there;

const ID: &str = "IBVAYNEAAAfSAAAD6QAAACoBAgMEBVmLbQ-DaK_EdPub";
const PATIENCE: Duration = Duration::from_secs(20);

/// Returns the first recipe in this language.
fn recipe(language: &str) -> String {
    let page = include_str!("../../docs/webhooks.md");
    let begin = format!("```{language}\n");
    let recipes = page.split_once("## Keep the click ids at the shop").unwrap().1;
    let rest = recipes.split_once(&begin).unwrap_or_else(|| panic!("no recipe in {language}")).1;
    rest.split_once("```").unwrap().0.to_owned()
}

/// A shop that was started, on a port of its own; ended when the test ends.
struct Shop {
    process: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Shop {
    /// Starts what `start` makes of a folder and a port, and waits until it answers.
    fn open(start: impl FnOnce(&Path, u16) -> Command) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let mut command = start(dir.path(), port);
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut shop = Self { process, port, _dir: dir };
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = shop.process.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < until, "it does not listen: {ended:?}");
            std::thread::yield_now();
        }
        shop
    }

    /// Asks for a page as a visitor with a cookie, and returns the cookie that is set.
    fn visit(&self, query: &str, cookie: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!(
            "GET /{query} HTTP/1.1\r\nHost: shop.example\r\nCookie: {cookie}\r\n\
             Connection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.lines().next().unwrap_or_default();
        assert!(status.contains(" 204") || status.contains(" 200"), "{query}: {answer}");
        let set = answer.lines().filter_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("set-cookie").then(|| value.to_owned())
        });
        let set: Vec<String> = set.collect();
        assert!(set.len() < 2, "{set:?}");
        set.into_iter().next()
    }

    /// Visits it in every way and looks at the path that it keeps.
    fn check(&self) {
        let ids: Vec<String> = (10..30).map(|n| format!("{n}{}", &ID[2..])).collect();
        let known = format!("a=b; trb_path={}; c=d", ids.join("."));
        let path = |ids: &[String], last: &str| Some([ids.join("."), last.to_owned()].join("."));
        for (query, cookie, expected) in [
            (format!("?a=1&click_id={ID}&b=2"), "a=b", Some(ID.to_owned())),
            (format!("?click_id={ID}"), known.as_str(), path(&ids[1..], ID)),
            (format!("?click_id={}", ids[0]), known.as_str(), path(&ids[1..], &ids[0])),
            (format!("?click_id={ID}"), "trb_path=x.y", Some(ID.to_owned())),
            (format!("?click_id={ID}x"), known.as_str(), None),
            (format!("?click_id={}", &ID[1..]), "a=b", None),
            ("?click_id=a;path=/".to_owned(), "a=b", None),
            (format!("?click_id={ID}%0d%0aX:1"), "a=b", None),
            (String::new(), known.as_str(), None),
        ] {
            let set = self.visit(&query, cookie);
            let Some(set) = set else {
                assert_eq!(None, expected, "{query} with {cookie}");
                continue;
            };
            let mut parts = set.split(';').map(str::trim);
            let kept = parts.next().and_then(|pair| pair.strip_prefix("trb_path="));
            // What a recipe makes of a damaged cookie is its own; the new id comes last.
            let kept = kept.map(|kept| match cookie {
                "trb_path=x.y" => kept.rsplit('.').next().unwrap_or_default(),
                _ => kept,
            });
            assert_eq!(kept, expected.as_deref(), "{query} with {cookie}");
            let terms: Vec<String> = parts.map(str::to_lowercase).collect();
            for term in ["path=/", "max-age=2592000", "secure", "httponly", "samesite=lax"] {
                assert!(terms.iter().any(|one| one == term), "{term} is missing in {set}");
            }
        }
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

#[test]
fn the_recipe_for_nginx_keeps_the_last_click_ids() {
    if !is_there("nginx", "-v") {
        return;
    }
    let shop = Shop::open(|dir, port| {
        let folder = dir.display();
        let places = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|of| format!("{of}_temp_path {folder}/{of};"))
            .join("\n");
        let file = format!(
            "daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log stderr;\n\
             events {{ worker_connections 64; }}\n\
             http {{\naccess_log off;\n{places}\n\
             server {{\nlisten 127.0.0.1:{port};\n{}\nlocation / {{ return 204; }}\n}}\n}}\n",
            recipe("nginx")
        );
        let path = dir.join("nginx.conf");
        std::fs::write(&path, file).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-p").arg(dir).arg("-e").arg("stderr").arg("-c").arg(path);
        command
    });
    shop.check();
}

#[test]
fn the_recipe_for_php_keeps_the_last_click_ids() {
    if !is_there("php", "--version") {
        return;
    }
    let shop = Shop::open(|dir, port| {
        let path = dir.join("shop.php");
        std::fs::write(&path, format!("<?php\n{}\necho 'shop';\n", recipe("php"))).unwrap();
        let mut command = Command::new("php");
        command.arg("-S").arg(format!("127.0.0.1:{port}")).arg(path);
        command
    });
    shop.check();
}

#[test]
fn the_recipe_for_node_keeps_the_last_click_ids() {
    if !is_there("node", "--version") {
        return;
    }
    let shop = Shop::open(|dir, port| {
        let path = dir.join("shop.cjs");
        let server = format!(
            "{}\nrequire('node:http').createServer((req, res) => {{ keepClick(req, res); \
             res.writeHead(204).end(); }}).listen({port}, '127.0.0.1');\n",
            recipe("js")
        );
        std::fs::write(&path, server).unwrap();
        let mut command = Command::new("node");
        command.arg(path);
        command
    });
    shop.check();
}

#[test]
fn the_recipe_for_python_keeps_the_last_click_ids() {
    if !is_there("python3", "--version") {
        return;
    }
    let shop = Shop::open(|dir, port| {
        let path = dir.join("shop.py");
        let server = format!(
            "{}\nfrom wsgiref.simple_server import make_server\n\
             def shop(environ, start_response):\n    \
             start_response('200 OK', [('Content-Type', 'text/plain')])\n    return [b'shop']\n\
             make_server('127.0.0.1', {port}, keep_click(shop)).serve_forever()\n",
            recipe("python")
        );
        std::fs::write(&path, server).unwrap();
        let mut command = Command::new("python3");
        command.arg(path);
        command
    });
    shop.check();
}
