//! Faults of TCP and of the gateway, as a client meets them.

use std::io::ErrorKind;

use mock_brain::{Brain, Options};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::support::{Agent, Heard, closed, hello, hello_with, plain, request, start, tcp, within};

fn set(brain: &Brain, text: &str) {
    brain.set_fault(text.parse().unwrap()).unwrap();
}

async fn read_error(socket: &mut TcpStream) -> ErrorKind {
    let mut bytes = Vec::new();
    within(socket.read_to_end(&mut bytes)).await.expect_err("an error is expected").kind()
}

#[tokio::test]
async fn reset_at_accept_is_a_real_rst_and_is_counted() {
    let brain = plain().await;
    set(&brain, "tcp.reset first 2");
    for _ in 0..2 {
        let mut socket = tcp(&brain).await;
        assert_eq!(read_error(&mut socket).await, ErrorKind::ConnectionReset);
    }
    assert_eq!(request(&brain, "GET /api/v1/health", "", "").await.0, 200);
    assert_eq!(brain.faults(), []);
}

#[tokio::test]
async fn reset_at_upgrade_and_at_hello() {
    for tls in [false, true] {
        let brain = start(Options { tls, ..Options::default() }).await;
        let bearer = format!("Bearer {}", brain.credentials().token);
        for point in ["upgrade", "hello"] {
            set(&brain, &format!("tcp.reset at {point} first 1"));
            let mut socket = if tls {
                let stream = crate::support::tls(&brain, "localhost").await.unwrap();
                let Ok(mut agent) = Agent::over(stream, &brain, "wss", &bearer).await else {
                    assert_eq!(point, "upgrade", "the RST overtook the 101");
                    continue;
                };
                agent.say(hello().to_string()).await;
                agent.socket.into_inner().into_inner().0
            } else {
                let Ok(mut agent) = Agent::over(tcp(&brain).await, &brain, "ws", &bearer).await else {
                    assert_eq!(point, "upgrade", "the RST overtook the 101");
                    continue;
                };
                agent.say(hello().to_string()).await;
                agent.socket.into_inner()
            };
            // A write after the RST reports it as a broken pipe, and takes the error with it.
            let mut bytes = Vec::new();
            match within(socket.read_to_end(&mut bytes)).await {
                Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{tls} {point}"),
                Ok(_) => assert_eq!(point, "upgrade"),
            }
        }
        assert_eq!(brain.sessions().last().unwrap().close_code, None);
    }
}

#[tokio::test]
async fn refused_and_back_again() {
    let brain = plain().await;
    let mut agent = Agent::online(&brain).await;
    for _ in 0..3 {
        set(&brain, "tcp.refused");
        let refused = within(TcpStream::connect(brain.local_addr())).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        assert_eq!(agent.batch(serde_json::json!([])).await, (0, 0, 0), "an open session goes on");
        assert!(brain.clear_fault("tcp.refused"));
        assert_eq!(request(&brain, "GET /api/v1/health", "", "").await.0, 200);
    }
    set(&brain, "tcp.refused");
    set(&brain, "tcp.reset");
    brain.clear_faults();
    assert_eq!(request(&brain, "GET /api/v1/health", "", "").await.0, 200);
    set(&brain, "tcp.refused");
    drop(agent);
    within(brain.stop()).await;
}

#[tokio::test]
async fn refused_from_the_start() {
    let brain =
        start(Options { tls: false, faults: vec!["tcp.refused".parse().unwrap()], ..Options::default() })
            .await;
    let refused = within(TcpStream::connect(brain.local_addr())).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    brain.clear_faults();
    assert_eq!(request(&brain, "GET /api/v1/health", "", "").await.0, 200);
}

#[test]
fn on_a_current_thread_runtime_as_well() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let brain = start(Options::default()).await;
        set(&brain, "tcp.refused");
        brain.clear_faults();
        assert!(crate::support::tls(&brain, "localhost").await.is_ok());
        within(brain.stop()).await;
    });
}

#[tokio::test]
async fn upgrade_stripped_is_the_404_of_a_plain_get() {
    use tokio_tungstenite::tungstenite::Error;
    let brain = plain().await;
    set(&brain, "ws.upgrade-stripped first 1");
    let bearer = format!("Bearer {}", brain.credentials().token);
    let Err(Error::Http(response)) = Agent::over(tcp(&brain).await, &brain, "ws", &bearer).await else {
        panic!("the upgrade is refused")
    };
    assert_eq!(response.status(), 404);
    assert_eq!(response.body().as_deref(), Some(&br#"{"detail":"Not Found"}"#[..]));
    Agent::online(&brain).await;
}

#[tokio::test]
async fn closes_at_each_point() {
    let brain = plain().await;
    set(&brain, r#"ws.close(code=4401, reason="x y") at upgrade first 1"#);
    let mut agent = Agent::connect_with(&brain, "Bearer wrong").await;
    assert_eq!(agent.hear().await, Heard::Close(4401, "x y".to_owned()));

    set(&brain, "ws.close(code=4429) first 1");
    let mut agent = Agent::connect(&brain).await;
    agent.say(hello().to_string()).await;
    assert_eq!(agent.hear().await, closed(4429));

    set(&brain, "ws.close(code=1012) at hello-ack first 1");
    let mut agent = Agent::online(&brain).await;
    assert_eq!(agent.hear().await, closed(1012));

    set(&brain, "ws.protocol-refused first 1");
    let mut agent = Agent::connect(&brain).await;
    agent.say(hello().to_string()).await;
    assert_eq!(agent.hear().await, closed(4426));

    // A fault after hello leaves the checks before it alone.
    set(&brain, "ws.close(code=4429)");
    let mut agent = Agent::connect_with(&brain, "Bearer wrong").await;
    assert_eq!(agent.hear().await, closed(4401));
    let mut agent = Agent::connect(&brain).await;
    agent.say(hello_with("protocol_version", serde_json::json!(2)).to_string()).await;
    assert_eq!(agent.hear().await, closed(4400));
    assert!(brain.clear_fault("ws.close"));
    assert!(!brain.clear_fault("ws.close"));
    Agent::online(&brain).await;
}

#[tokio::test]
async fn tls_faults_need_tls() {
    let brain = plain().await;
    let error = brain.set_fault("tls.expired".parse().unwrap()).unwrap_err();
    assert!(error.to_string().contains("--no-tls"), "{error}");
}
