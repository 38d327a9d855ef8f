//! The long-poll pair.

use mock_brain::Brain;
use serde_json::{Value as Json, json};
use z4j_protocol::{Binding, HmacSecret, Signer, Timestamp, Value, Verifier};

use crate::support::{at, event, now, plain, rand, request};

pub(crate) const PROBE: &str = "GET /api/v1/agent/commands?wait=0&max_frames=0";
pub(crate) const POLL: &str = "GET /api/v1/agent/commands?wait=0";

pub(crate) struct Poller<'b> {
    brain: &'b Brain,
    pub(crate) nonce: String,
    signer: Signer,
}

impl<'b> Poller<'b> {
    pub(crate) fn new(brain: &'b Brain, nonce: &str) -> Self {
        let credentials = brain.credentials();
        let binding = Binding {
            agent_id: credentials.agent_id,
            project_id: credentials.project_uuid,
            session_id: nonce.to_owned(),
        };
        let signer = Signer::new(&HmacSecret::parse(&credentials.hmac_secret).unwrap(), binding);
        Self { brain, nonce: nonce.to_owned(), signer }
    }

    pub(crate) fn headers(&self) -> String {
        let nonce = if self.nonce.is_empty() {
            String::new()
        } else {
            format!("X-Z4J-Session-Nonce: {}\r\n", self.nonce)
        };
        format!("Authorization: Bearer {}\r\n{nonce}", self.brain.credentials().token)
    }

    pub(crate) async fn get(&self, line: &str) -> (u16, String) {
        request(self.brain, line, &self.headers(), "").await
    }

    pub(crate) fn frame(&mut self, frame: &Json) -> String {
        let document = Value::parse(frame.to_string().as_bytes()).unwrap();
        self.signer.sign_document(document, now(), rand()).unwrap()
    }

    /// A frame that was signed so many seconds from now.
    fn signed_at(&mut self, seconds: i64) -> String {
        self.frame(&json!({"v": 2, "type": "heartbeat", "id": "h", "ts": at(seconds), "payload": {}}))
    }

    pub(crate) fn heartbeat(&mut self) -> String {
        self.frame(&json!({"v": 2, "type": "heartbeat", "id": "h", "payload": {}}))
    }

    /// The commands of an answer, as they were signed.
    async fn commands(&self) -> Vec<String> {
        let (_, body) = parsed(self.get(POLL).await);
        body["frames"].as_array().unwrap().iter().map(|frame| frame.as_str().unwrap().to_owned()).collect()
    }

    fn verifier(&self) -> Verifier {
        let credentials = self.brain.credentials();
        let binding = Binding {
            agent_id: credentials.agent_id,
            project_id: credentials.project_uuid,
            session_id: self.nonce.clone(),
        };
        Verifier::new(&HmacSecret::parse(&credentials.hmac_secret).unwrap(), binding)
    }

    pub(crate) async fn post(&self, frames: &[String]) -> (u16, Json) {
        let headers = self.headers() + "Content-Type: application/json\r\n";
        let body = json!({ "frames": frames }).to_string();
        parsed(request(self.brain, "POST /api/v1/agent/events", &headers, &body).await)
    }
}

pub(crate) fn parsed((status, answer): (u16, String)) -> (u16, Json) {
    (status, serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap())
}

#[tokio::test]
async fn probe_poll_and_post() {
    let brain = plain().await;
    let mut poller = Poller::new(&brain, "n1");
    let credentials = brain.credentials();
    let (status, answer) = poller.get(PROBE).await;
    assert_eq!(status, 200);
    assert!(answer.contains(&format!("X-Z4j-Agent-Id: {}\r\n", credentials.agent_id)), "{answer}");
    assert!(answer.contains(&format!("X-Z4j-Project-Id: {}\r\n", credentials.project_uuid)), "{answer}");
    assert!(answer.ends_with(r#"{"frames":[]}"#));
    let batch = json!({"v": 2, "type": "event_batch", "id": "b", "payload": {"events": [event("t", "task.sent", &at(0))]}});
    let frames = [poller.heartbeat(), poller.frame(&batch)];
    let counts = json!({"accepted": 2, "rejected": 0, "errors": [], "error_code": null});
    assert_eq!(poller.post(&frames).await, (200, counts));
    assert_eq!(poller.get(POLL).await.0, 200);
    assert_eq!(brain.events().len(), 1);
    let session = &brain.sessions()[0];
    assert_eq!(
        (session.accepted, session.frames, session.transport),
        (true, 2, mock_brain::Transport::LongPoll)
    );
}

#[tokio::test]
async fn a_poll_is_held_and_a_stop_ends_it() {
    let brain = plain().await;
    let poller = Poller::new(&brain, "n1");
    let (address, headers) = (brain.local_addr(), poller.headers());
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let text = format!("GET /api/v1/agent/commands?wait=60 HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
    tokio::io::AsyncWriteExt::write_all(&mut socket, text.as_bytes()).await.unwrap();
    // Answered on another connection: the held one does not stand in its way.
    assert_eq!(poller.get(PROBE).await.0, 200);
    crate::support::within(brain.stop()).await;
    let mut answer = String::new();
    crate::support::within(tokio::io::AsyncReadExt::read_to_string(&mut socket, &mut answer)).await.unwrap();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_command_that_no_session_can_be_told_waits_on() {
    let brain = plain().await;
    let mut poller = Poller::new(&brain, "n1");
    assert_eq!(poller.get(PROBE).await.0, 200);
    let held = async { request(&brain, "GET /api/v1/agent/commands?wait=20", &poller.headers(), "").await.0 };
    let mut held = Box::pin(held);
    // It is under way before the session is buried.
    assert!(tokio::time::timeout(std::time::Duration::from_millis(300), &mut held).await.is_err());
    let mut other = Poller::new(&brain, "n1");
    let bad = other.heartbeat().replace("\"payload\":{}", "\"payload\":{\"odd\":1}");
    assert_eq!(other.post(&[bad]).await.0, 409);
    let id = brain.send_command(mock_brain::NewCommand::new("purge_queue")).unwrap().id;
    assert_eq!(crate::support::within(held).await, 409);
    let command = brain.commands().into_iter().find(|command| command.id == id).unwrap();
    assert_eq!((command.status, command.deliveries), (mock_brain::CommandState::Pending, 0));
    poller = Poller::new(&brain, "n2");
    assert_eq!(poller.get(PROBE).await.0, 200);
    assert!(poller.get(POLL).await.1.contains(&id));
}

#[tokio::test]
async fn frames_that_are_settled_or_sent_again() {
    let brain = plain().await;
    let mut poller = Poller::new(&brain, "n1");
    let skewed = poller.frame(&json!({"v": 3, "type": "heartbeat", "id": "h", "payload": {}}));
    let schedule = json!({"v": 2, "type": "event_batch", "id": "b", "payload": {"events": [event("s", "schedule.deleted", &at(0))]}});
    let frames = [
        "garbage".to_owned(),
        "[]".to_owned(),
        json!({"v": 2, "type": "hello", "id": "x", "payload": {}}).to_string(),
        poller.frame(&json!({"v": 2, "type": "nope", "id": "h", "payload": {}})),
        poller.frame(&json!({"v": "2", "type": "heartbeat", "id": "h", "payload": {}})),
        poller.frame(&json!({"v": 2, "type": "command_result", "id": "h", "payload": {"status": "timeout"}})),
        poller.frame(&json!({"v": 2, "type": "command", "id": "h", "payload": {}})),
    ];
    let (status, tally) = poller.post(&frames).await;
    assert_eq!((status, &tally["accepted"], &tally["rejected"]), (200, &json!(7), &json!(0)));
    let (_, tally) = poller.post(&[skewed]).await;
    assert_eq!((&tally["accepted"], &tally["rejected"]), (&json!(0), &json!(1)));
    assert!(tally["errors"][0].as_str().unwrap().starts_with("version skew (retry): "));
    let mut schedule = schedule;
    schedule["payload"]["events"].as_array_mut().unwrap().push(event("t", "task.sent", &at(0)));
    let frames = [poller.frame(&schedule), poller.heartbeat()];
    let (_, tally) = poller.post(&frames).await;
    assert_eq!((&tally["accepted"], &tally["rejected"]), (&json!(1), &json!(1)));
    assert_eq!(tally["error_code"], "scheduler_upgrade_required");
    assert_eq!(brain.events().len(), 1, "what else was in the batch is stored");
}

#[tokio::test]
async fn a_failed_signature_takes_a_probe_with_a_fresh_nonce() {
    let brain = plain().await;
    let mut bad = Poller::new(&brain, "bad");
    let good_batch = json!({"v": 2, "type": "event_batch", "id": "b", "payload": {"events": [event("t", "task.sent", &at(0))]}});
    let frames =
        [bad.frame(&good_batch), bad.heartbeat().replace("heartbeat", "agent_status"), bad.heartbeat()];
    let (status, body) = bad.post(&frames).await;
    assert_eq!((status, body["detail"].is_string()), (409, true));
    assert_eq!(brain.events().len(), 1, "what came before was applied");
    let fresh = Poller::new(&brain, "fresh");
    for (poller, line, status) in [
        (&bad, POLL, 409),
        (&bad, PROBE, 409),
        (&fresh, POLL, 409),
        (&fresh, PROBE, 200),
        (&fresh, POLL, 200),
        (&bad, POLL, 200),
    ] {
        assert_eq!(poller.get(line).await.0, status, "{} {line}", poller.nonce);
    }
    let mut again = Poller::new(&brain, "bad");
    let frames = [again.heartbeat()];
    assert_eq!(again.post(&frames).await.0, 200, "its seq state is fresh");
    assert_eq!(again.post(&frames).await.0, 409, "a replay");
}

#[tokio::test]
async fn a_lost_session_is_begun_anew_by_a_probe() {
    let brain = plain().await;
    let mut poller = Poller::new(&brain, "n1");
    brain.set_fault("longpoll.session-lost at poll first 1".parse().unwrap()).unwrap();
    assert_eq!(poller.get(PROBE).await.0, 200);
    assert_eq!(brain.fault_strikes(), 0, "a probe is no arrival of it");
    for status in [409, 200] {
        assert_eq!(poller.get(POLL).await.0, status);
    }
    brain.set_fault("longpoll.session-lost at poll".parse().unwrap()).unwrap();
    brain.set_fault("longpoll.session-lost at post".parse().unwrap()).unwrap();
    for nonce in ["n2", "n3"] {
        poller = Poller::new(&brain, nonce);
        assert_eq!(poller.get("GET /api/v1/agent/commands?max_frames=0&wait=%30").await.0, 200);
        let frames = [poller.heartbeat()];
        assert_eq!((poller.get(POLL).await.0, poller.post(&frames).await.0), (409, 409));
    }
}

#[tokio::test]
async fn a_brain_with_another_secret_signs_and_verifies_with_it() {
    let brain = plain().await;
    let mut poller = Poller::new(&brain, "n1");
    assert_eq!(poller.get(PROBE).await.0, 200);
    brain.set_fault("ws.hmac-mismatch".parse().unwrap()).unwrap();
    brain.send_command(mock_brain::NewCommand::new("x")).unwrap();
    let commands = poller.commands().await;
    let refusal = poller.verifier().verify(commands[0].as_bytes(), now()).unwrap_err();
    assert_eq!(refusal.reason, z4j_protocol::Reason::HmacMismatch);
    let frames = ["garbage".to_owned(), poller.heartbeat()];
    assert_eq!(poller.post(&frames).await.0, 409);
    brain.clear_faults();
    assert_eq!(poller.get(PROBE).await.0, 409, "the session has ended, as with a wrong secret");
    let mut poller = Poller::new(&brain, "n2");
    assert_eq!(poller.get(PROBE).await.0, 200);
    let frames = [poller.heartbeat()];
    assert_eq!(poller.post(&frames).await.0, 200);
    assert_eq!(poller.commands().await.len(), 0);
    assert!(brain.violations().iter().all(|violation| violation.rule == "frame.malformed"), "of the garbage");
}

#[tokio::test]
async fn a_wrong_clock_is_in_what_is_signed_verified_and_dated() {
    let brain = plain().await;
    let mut poller = Poller::new(&brain, "n1");
    assert_eq!(poller.get(PROBE).await.0, 200);
    // Frames may be off by 60 s either way: these are, from there only.
    let (early, old) = (poller.signed_at(30), poller.signed_at(-30));
    brain.set_fault("ws.clock-skew(seconds=50)".parse().unwrap()).unwrap();
    brain.send_command(mock_brain::NewCommand::new("x")).unwrap();
    let commands = poller.commands().await;
    let frame = poller.verifier().verify(commands[0].as_bytes(), now().plus_seconds(50)).unwrap();
    let Some(Value::String(ts)) = frame.object().get("ts") else { panic!("{}", commands[0]) };
    assert!(ts.as_str() > at(20).as_str(), "{ts}");
    assert_eq!(poller.post(&[early]).await.0, 200);
    assert_eq!(poller.post(&[old]).await.0, 409);
    assert_eq!(brain.violations().len(), 0, "it is the brain's clock");
    brain.set_fault("ws.clock-skew(seconds=864000)".parse().unwrap()).unwrap();
    let (status, answer) = poller.get(POLL).await;
    let date = answer.split("Date: ").nth(1).and_then(|rest| rest.lines().next()).unwrap();
    let date = httpdate::parse_http_date(date).unwrap();
    assert!(status == 409 && Timestamp::from(date) > now().plus_seconds(86_400), "{answer}");
}

#[tokio::test]
async fn nonces_have_their_own_sequences_and_are_bounded() {
    let brain = plain().await;
    let mut first = Poller::new(&brain, "");
    let text = [first.heartbeat()];
    assert_eq!(first.post(&text).await.0, 200);
    let text = [first.heartbeat()];
    assert_eq!(first.post(&text).await.0, 200, "the sequence goes on over requests");
    for index in 0..16 {
        let mut other = Poller::new(&brain, &format!("n{index}"));
        let text = [other.heartbeat()];
        assert_eq!(other.post(&text).await.0, 200);
    }
    let mut renewed = Poller::new(&brain, "");
    let text = [renewed.heartbeat()];
    assert_eq!(renewed.post(&text).await.0, 200, "the oldest nonce was evicted, so seq 1 is new");
}

#[tokio::test]
async fn refusals() {
    let brain = plain().await;
    let poller = Poller::new(&brain, "n");
    let json_type = "Content-Type: application/json\r\n";
    let auth = poller.headers();
    let long = format!(r#"{{"frames":["{}"]}}"#, "x".repeat(8_191 - 15));
    assert_eq!(long.len(), 8_191);
    let post = "POST /api/v1/agent/events";
    let get = |query: &str| format!("GET /api/v1/agent/commands?{query}");
    let cases = [
        (get("wait=0"), "Authorization: Bearer x\r\n".to_owned(), String::new(), 401),
        (get("wait=0"), String::new(), String::new(), 401),
        (get("wait=61"), String::new(), String::new(), 422),
        (get("w%61it=%36%31"), auth.clone(), String::new(), 422),
        (get("wait=%30"), auth.clone(), String::new(), 200),
        (get("max_frames=x"), auth.clone(), String::new(), 422),
        (get("wait=0"), format!("{auth}X-Z4J-Project: other\r\n"), String::new(), 403),
        (get("wait=0"), format!("{auth}X-Z4J-Project: demo\r\n"), String::new(), 200),
        (post.to_owned(), json_type.to_owned(), r#"{"frames":["x"]}"#.to_owned(), 401),
        (post.to_owned(), json_type.to_owned(), r#"{"frames":[]}"#.to_owned(), 422),
        (post.to_owned(), auth.clone() + json_type, r#"{"frames":[1]}"#.to_owned(), 422),
        (post.to_owned(), auth.clone() + json_type, "{".to_owned(), 422),
        (post.to_owned(), auth.clone(), r#"{"frames":["x"]}"#.to_owned(), 422),
        (post.to_owned(), auth.clone() + json_type, long.clone() + " ", 200),
        (post.to_owned(), json_type.to_owned(), long + "  ", 413),
        (
            post.to_owned(),
            format!("{auth}{json_type}X-Z4J-Project: other\r\n"),
            r#"{"frames":["x"]}"#.to_owned(),
            403,
        ),
    ];
    for (line, headers, body, status) in cases {
        let answer = request(&brain, &line, &headers, &body).await;
        assert_eq!(answer.0, status, "{line} {headers} {}: {}", body.len(), answer.1);
        let (_, body) = parsed(answer);
        match status {
            403 => assert_eq!(body["error"], "project_mismatch"),
            413 => {
                assert_eq!(
                    (&body["error"], &body["request_id"]),
                    (&json!("payload_too_large"), &json!(null))
                );
            }
            401 => assert_eq!(body, json!({"detail": "invalid agent token"})),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_chunked_body_over_the_cap() {
    let brain = plain().await;
    let body = format!("{:x}\r\n{}\r\n0\r\n\r\n", 9_000, "x".repeat(9_000));
    let head = "POST /api/v1/agent/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    let answer = parsed(crate::support::raw(&brain, &format!("{head}{body}")).await);
    assert_eq!(answer, (400, json!({"detail": "There was an error parsing the body"})));
}
