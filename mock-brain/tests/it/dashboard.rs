//! The dashboard without a browser: who is let in, what it shows and does. `./dev browser` looks at it in one.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;

use serde_json::{Value as Json, json};

use crate::cli::{Serve, told};
use crate::kill::{online, online_as};
use crate::support::{DEADLINE, Heard, event, hello_with};

/// A browser of sorts: it knows the dashboard's address, and has its cookie.
struct Browser {
    address: String,
    cookie: String,
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The token of forms.
    fn form(&self) -> &str {
        self.body.split("name=\"form\" value=\"").nth(1).unwrap().split('"').next().unwrap()
    }
}

/// The path of the link that `dashboard` prints.
fn link(dir: &Path, address: &str) -> String {
    let (code, link, error) = told(dir, &["dashboard"]);
    assert_eq!(code, 0, "{error}");
    link.trim().strip_prefix(&format!("http://{address}")).unwrap().to_owned()
}

fn ask(address: &str, line: &str, headers: &str, body: &str) -> Answer {
    let host = if headers.contains("Host:") { String::new() } else { format!("Host: {address}\r\n") };
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let text = format!("{line} HTTP/1.1\r\n{host}Connection: close\r\n{headers}{length}\r\n{body}");
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket.write_all(text.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

impl Browser {
    /// Opens the link.
    fn open(dir: &Path, serve: &Serve) -> Self {
        let address = serve.announced["control_url"].as_str().unwrap().strip_prefix("http://").unwrap();
        let answer = ask(address, &format!("GET {}", link(dir, address)), "", "");
        assert_eq!((answer.status, answer.header("location")), (303, Some("/")), "{}", answer.head);
        let cookie = answer.header("set-cookie").unwrap();
        assert!(cookie.ends_with("; HttpOnly; SameSite=Strict; Path=/"), "{cookie}");
        let cookie = format!("Cookie: other=1; {}\r\n", cookie.split(';').next().unwrap());
        Self { address: address.to_owned(), cookie }
    }

    fn ask(&self, line: &str, headers: &str, body: &str) -> Answer {
        ask(&self.address, line, &format!("{}{headers}", self.cookie), body)
    }

    fn page(&self) -> Answer {
        let answer = self.ask("GET /", "", "");
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer
    }

    /// Sends a form as a browser does.
    fn send(&self, path: &str, body: &str) -> Answer {
        let headers = format!(
            "Origin: http://{}\r\nSec-Fetch-Site: same-origin\r\nContent-Type: application/x-www-form-urlencoded\r\n",
            self.address
        );
        self.ask(&format!("POST {path}"), &headers, body)
    }

    /// Follows the changes behind an entry.
    fn follow(&self, after: u64) -> Live {
        let mut socket = TcpStream::connect(&self.address).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        let text =
            format!("GET /live?after={after} HTTP/1.1\r\nHost: {}\r\n{}\r\n", self.address, self.cookie);
        socket.write_all(text.as_bytes()).unwrap();
        Live(BufReader::new(socket))
    }
}

/// An open `/live`.
struct Live(BufReader<TcpStream>);

impl Live {
    /// The next changes of an element, until one has a text in it: all that was read.
    fn until(&mut self, to: &str, wanted: &str) -> String {
        let mut seen = String::new();
        loop {
            let mut line = String::new();
            assert_ne!(self.0.read_line(&mut line).unwrap(), 0, "it ended, and {to} had no {wanted}: {seen}");
            let Some(data) = line.strip_prefix("data: ") else { continue };
            let changes: Vec<Json> = serde_json::from_str(data).unwrap();
            for change in changes {
                let rows = change["rows"].as_str().unwrap();
                seen += rows;
                if change["to"] == to && rows.contains(wanted) {
                    return seen;
                }
            }
        }
    }

    fn status(&mut self) -> u16 {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

fn secrets(dir: &Path) -> [String; 2] {
    let (_, env, _) = told(dir, &["env", "--format", "json"]);
    let env: Json = serde_json::from_str(&env).unwrap();
    ["Z4J_TOKEN", "Z4J_HMAC_SECRET"].map(|key| env[key].as_str().unwrap().to_owned())
}

#[test]
fn it_opens_by_the_link_and_not_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let serve = Serve::start(dir.path(), &[]);
    let browser = Browser::open(dir.path(), &serve);
    let address = &browser.address;
    let page = browser.page();
    let control = std::fs::read(dir.path().join(".local/state/mock-brain/control.json")).unwrap();
    let control: Json = serde_json::from_slice(&control).unwrap();
    let bearer = control["token"].as_str().unwrap();
    let link_token = link(dir.path(), address).split_once('=').unwrap().1.to_owned();
    // The API's token never reaches the browser, and the browser's are nothing to the API.
    assert!(!page.body.contains(bearer) && !browser.cookie.contains(bearer) && link_token != bearer);
    for token in [&link_token, page.form(), browser.cookie.split('=').nth(2).unwrap().trim()] {
        let answer = ask(address, "GET /mock/v1/faults", &format!("Authorization: Bearer {token}\r\n"), "");
        assert_eq!(answer.status, 401);
    }
    let [token, secret] = secrets(dir.path());
    let name = browser.cookie.split("; ").nth(1).unwrap().split('=').next().unwrap();
    for (line, headers) in [
        ("GET /".to_owned(), String::new()),
        ("GET /live".to_owned(), String::new()),
        ("GET /?token=".to_owned(), String::new()),
        (format!("GET /?token={bearer}"), String::new()),
        (format!("GET /live?token={link_token}"), String::new()),
        ("GET /".to_owned(), format!("Authorization: Bearer {bearer}\r\n")),
        ("GET /".to_owned(), format!("Cookie: {name}={link_token}\r\n")),
        ("POST /faults/set".to_owned(), String::new()),
    ] {
        let answer = ask(address, &line, &headers, "");
        assert_eq!(answer.status, 401, "{line} {headers}");
        assert!(answer.body.contains("mock-brain dashboard"), "the way in is told: {}", answer.body);
        assert!(!answer.body.contains(&token) && !answer.body.contains(&secret));
    }
    assert_eq!(browser.ask("GET /?agent=nobody", "", "").status, 404);
    assert_eq!(told(dir.path(), &["project", "add", "shop"]).0, 0);
    assert_eq!(told(dir.path(), &["agent", "add", "demo-agent", "--project", "shop"]).0, 0);
    assert_eq!(browser.ask("GET /?agent=demo-agent", "", "").status, 409, "which one?");
    assert!(browser.page().body.contains("href=\"/?agent=shop%2Fdemo-agent#connect-title\""));
    let other = browser.ask("GET /?agent=shop%2Fdemo-agent", "", "").body;
    assert!(other.contains("--agent shop/demo-agent") && other.contains("demo%2Fdemo-agent"), "{other}");
}

#[test]
fn the_page_needs_nothing_from_elsewhere_and_runs_nothing_inline() {
    let dir = tempfile::tempdir().unwrap();
    let serve = Serve::start(dir.path(), &[]);
    let browser = Browser::open(dir.path(), &serve);
    let page = browser.page();
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'self'; script-src 'self';"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert_eq!(page.header("x-frame-options"), Some("DENY"));
    for inline in ["<script>", "<style", " style=", " onclick=", " onload=", "http-equiv", "javascript:"] {
        assert!(!page.body.contains(inline), "{inline}");
    }
    let links = page.body.split("src=\"").skip(1).chain(page.body.split("href=\"").skip(1));
    for link in links.map(|rest| rest.split('"').next().unwrap()) {
        assert!(link.starts_with(['/', '#']) && !link.starts_with("//"), "{link}");
        if let Some(path) = link.strip_prefix('/').filter(|path| path.contains('.')) {
            assert_eq!(ask(&browser.address, &format!("GET /{path}"), "", "").status, 200, "{path}");
        }
    }
    // The secrets stand behind the reveal, and nowhere else.
    let (before, rest) = page.body.split_once("Show the variables").unwrap();
    let (revealed, after) = rest.split_once("</details>").unwrap();
    for secret in secrets(dir.path()) {
        assert!(revealed.contains(&secret) && !before.contains(&secret) && !after.contains(&secret));
    }
}

#[test]
fn other_sites_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let serve = Serve::start(dir.path(), &[]);
    let browser = Browser::open(dir.path(), &serve);
    let form = browser.page().form().to_owned();
    let good = format!("form={form}&spec=tls.expired");
    let own = format!("Origin: http://{}\r\n", browser.address);
    let port = browser.address.rsplit_once(':').unwrap().1;
    let foreign_host = format!("Host: evil.example:{port}\r\n");
    let typed = "Content-Type: application/x-www-form-urlencoded\r\n";
    let followed = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";
    let framed = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe\r\n";
    let neighbour = "Origin: http://127.0.0.1:1\r\n";
    for (line, headers, body, status) in [
        ("GET /", String::new(), "", 200),
        ("GET /", "Sec-Fetch-Site: none\r\n".to_owned(), "", 200),
        ("GET /", followed.to_owned(), "", 200),
        ("GET /", framed.to_owned(), "", 403),
        ("GET /", foreign_host.clone(), "", 403),
        ("GET /", neighbour.to_owned(), "", 403),
        ("GET /live", "Sec-Fetch-Site: same-site\r\n".to_owned(), "", 403),
        ("GET /dashboard.js", "Sec-Fetch-Site: cross-site\r\n".to_owned(), "", 403),
        ("POST /faults/set", format!("{typed}{neighbour}"), &good, 403),
        ("POST /faults/set", format!("{typed}Origin: null\r\n"), &good, 403),
        ("POST /faults/set", format!("{typed}{own}Sec-Fetch-Site: same-site\r\n"), &good, 403),
        ("POST /faults/set", format!("{typed}{followed}"), &good, 403),
        ("POST /faults/set", format!("{typed}{own}{foreign_host}"), &good, 403),
        ("POST /faults/set", format!("{typed}{own}"), "form=x&spec=tls.expired", 403),
        ("POST /faults/set", format!("{typed}{own}"), "spec=tls.expired", 400),
        ("POST /certificates/rotate", format!("{typed}{own}"), "form=x&profile=", 403),
        ("POST /faults/clear", format!("{typed}{own}"), "form=x", 403),
        ("POST /mock/v1/faults", own.clone(), "{\"spec\": \"tls.expired\"}", 403),
    ] {
        assert_eq!(browser.ask(line, &headers, body).status, status, "{line} {headers} {body}");
    }
    assert!(browser.page().body.contains("Everything works."), "nothing was set by any of them");
    assert_eq!(browser.send("/faults/set", &good).status, 303);
    assert!(!browser.page().body.contains("Everything works."));
}

#[test]
fn forms_set_and_clear_faults_and_rotate_the_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let serve = Serve::start(dir.path(), &[]);
    let browser = Browser::open(dir.path(), &serve);
    let form = browser.page().form().to_owned();
    let serial = || {
        let (_, shown, _) = told(dir.path(), &["cert", "show", "--json"]);
        serde_json::from_str::<Json>(&shown).unwrap()["chain"][0]["serial"].as_str().unwrap().to_owned()
    };
    let is_set = |name: &str| told(dir.path(), &["fault", "list"]).1.contains(&format!("ACTIVE: {name}"));
    for spec in ["tls.expired+first+2", "ws.close%28code%3D4401%29+at+hello-ack"] {
        let answer = browser.send("/faults/set", &format!("form={form}&spec={spec}"));
        assert_eq!((answer.status, answer.header("location")), (303, Some("/#fault-list")));
    }
    assert!(is_set("tls.expired first 2") && is_set("ws.close(code=4401) at hello-ack"));
    let refused = browser.send("/faults/set", &format!("form={form}&spec=tls.expird%3Cb%3E"));
    assert_eq!(refused.status, 422);
    assert!(
        refused.body.contains("role=\"alert\"") && refused.body.contains("value=\"tls.expird&lt;b&gt;\"")
    );
    assert_eq!(browser.send("/faults/clear", &format!("form={form}&name=tls.expired")).status, 303);
    assert!(!is_set("tls.expired") && is_set("ws.close"));
    assert_eq!(browser.send("/faults/clear", &format!("form={form}")).status, 303);
    assert!(!is_set("ws.close"));
    let before = serial();
    assert_eq!(browser.send("/certificates/rotate", &format!("form={form}&profile=rsa")).status, 303);
    assert_ne!(serial(), before);
    assert!(browser.page().body.contains("rsaEncryption, 2048 (bit)"));
    assert_eq!(browser.send("/certificates/rotate", &format!("form={form}&profile=nonsense")).status, 422);
}

#[tokio::test]
async fn what_agents_say_is_text_on_the_page_and_live() {
    let dir = tempfile::tempdir().unwrap();
    let name = "<script>alert(1)</script>";
    let serve = Serve::start(dir.path(), &["--no-tls", "--strict", "--agent", name]);
    let browser = Browser::open(dir.path(), &serve);
    let mut live = browser.follow(0);
    let mut agent = online(dir.path(), &serve).await;
    agent.batch(json!([event("<img src=x>", "task.<b>bold</b>", "2026-01-01T00:00:00Z")])).await;
    let own = secrets(dir.path()).join(" ");
    let mut leaky = event(&own, "task.sent", "2026-01-01T00:00:00Z");
    leaky["data"] = json!({ "task_name": own, "environ": own });
    agent.batch(json!([leaky])).await;
    assert_eq!(told(dir.path(), &["command", "send", "<i>do</i>", "--target", "task:<i>:<i>t</i>"]).0, 0);
    let id = agent.hear().await.frame()["id"].clone();
    let result = json!({"v": 2, "type": "command_result", "id": id, "payload": {
        "status": "failed", "error": format!("failed: {own}"), "result": {"environ": own},
    }});
    agent.say_signed(&result).await;
    assert_eq!(told(dir.path(), &["command", "send", "x", "--param", &format!("own={own}")]).0, 0);
    let mut parting = online_as(dir.path(), &serve, &hello_of(&own)).await;
    parting.say_signed(&json!({"v": 2, "type": own, "id": "x", "payload": {}})).await;
    assert!(matches!(parting.hear().await, Heard::Close(1011, _)));
    let mut seen = live.until("sessions", "&lt;script&gt;");
    seen += &browser.follow(0).until("commands", "failed: &lt;redacted&gt;");
    seen += &browser.follow(0).until("sessions", "by brain");
    seen += &browser.follow(0).until("events", "&lt;img src=x&gt;");
    seen += &browser.follow(0).until("violations", "&lt;b&gt;bold");
    seen += &browser.follow(0).until("commands", "&lt;i&gt;do");
    let page = browser.page().body;
    for text in [&page, &seen] {
        for hostile in ["<script>", "<img src=x", "<b>bold", "<i>"] {
            assert!(!text.contains(hostile), "{hostile}");
        }
        assert!(text.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    }
    assert!(seen.contains("&lt;redacted&gt;"), "an agent that sends its own secrets");
    let (page, revealed) = page.split_once("Show the variables").unwrap();
    let (_, rest) = revealed.split_once("</details>").unwrap();
    for secret in secrets(dir.path()) {
        let secret = secret.trim_end_matches('=');
        for text in [seen.as_str(), page, rest] {
            let found =
                text.find(secret).map(|at| &text[text.floor_char_boundary(at.saturating_sub(600))..at]);
            assert_eq!(found, None, "no secret is in a stream");
        }
    }
}

/// A hello that tells what it should not.
fn hello_of(own: &str) -> Json {
    let mut hello = hello_with("worker_id", json!(own));
    hello["payload"]["engines"] = json!([own]);
    hello
}

#[tokio::test]
async fn it_is_live_until_the_brain_stops() {
    let dir = tempfile::tempdir().unwrap();
    let serve = Serve::start(dir.path(), &["--no-tls"]);
    let browser = Browser::open(dir.path(), &serve);
    let mut live = browser.follow(0);
    live.until("sessions", "No agent has come yet");
    let mut agent = online(dir.path(), &serve).await;
    live.until("sessions", "demo-agent");
    agent.batch(json!([event("t-1", "task.failed", "2026-01-01T00:00:00Z")])).await;
    live.until("events", "t-1");
    // The frame that the event came in was told before or with it.
    browser.follow(0).until("wire", "event_batch_ack");
    assert_eq!(told(dir.path(), &["fault", "set", "ack.drop", "p=0.5"]).0, 0);
    live.until("faults", "ack.drop p=0.5");
    // Behind the newest entry there is nothing to add, and the lists come once.
    let after =
        browser.page().body.split("data-after=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let seen = browser.follow(after.parse().unwrap()).until("commands", "None sent");
    assert!(!seen.contains("event_batch"), "{seen}");
    let (code, _) = serve.signal("-TERM");
    assert_eq!(code, Some(0));
    let mut rest = String::new();
    live.0.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("0\r\n\r\n"), "the stream was ended in an orderly way: {rest:?}");
}

#[test]
fn so_many_pages_are_live_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let serve = Serve::start(dir.path(), &["--no-tls"]);
    let browser = Browser::open(dir.path(), &serve);
    let mut open: Vec<_> = (0..16).map(|_| browser.follow(0)).collect();
    assert!(open.iter_mut().all(|live| live.status() == 200));
    assert_eq!(browser.follow(0).status(), 503);
    assert_eq!(browser.page().status, 200);
}

#[tokio::test]
async fn events_of_an_earlier_run_are_there() {
    for journal in [&["--no-tls"][..], &["--no-tls", "--memory"]] {
        let dir = tempfile::tempdir().unwrap();
        let serve = Serve::start(dir.path(), journal);
        let events: Vec<_> =
            (0..150).map(|n| event(&format!("t-{n}."), "task.sent", "2026-01-01T00:00:00Z")).collect();
        online(dir.path(), &serve).await.batch(json!(events)).await;
        let serve = if journal.len() == 1 {
            assert_eq!(serve.signal("-TERM").0, Some(0));
            Serve::start(dir.path(), journal)
        } else {
            serve
        };
        let page = Browser::open(dir.path(), &serve).page().body;
        let rows = |n: u32| page.matches(&format!("<code>t-{n}.</code>")).count();
        assert_eq!((rows(149), rows(50)), (1, 1), "the newest hundred");
        // A batch may be shown whole.
        assert!(page.contains("demo-agent"));
    }
}

#[test]
fn without_a_brain_there_is_no_link() {
    let dir = tempfile::tempdir().unwrap();
    let (code, out, error) = told(dir.path(), &["dashboard"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(error.contains("no mock-brain is running"), "{error}");
    let mut serve = Serve::start(dir.path(), &["--no-tls"]);
    serve.kill();
    assert_eq!(told(dir.path(), &["dashboard"]).0, 1, "its file stayed, and it is gone");
}
