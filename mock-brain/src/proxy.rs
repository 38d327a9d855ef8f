//! What stands between an agent and the brain in HTTP: proxies, portals, firewalls, other programs.
//!
//! Owns the faults at `request`: whether a request reaches the brain, as what, and what it gets otherwise. Must
//! not answer in the brain's name (`web`).

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER, SERVER};
use http::{HeaderName, HeaderValue, Response, StatusCode, Uri};
use tokio::io::AsyncWriteExt;

use crate::fault::{Fault, Http, LongPoll, Point, Ws};
use crate::hub::Hub;
use crate::stream::Stream;
use crate::stream::served::Pace;
use crate::stream::silence::Silence;
use crate::web::{self, AgentRequest, Peer, with_type};

/// How a request reaches the brain.
#[derive(Default)]
pub(crate) struct Through {
    /// An upgrade is none any more.
    pub(crate) is_stripped: bool,
    /// The answer is HTTP/1.0's.
    pub(crate) is_old: bool,
    /// What becomes of a 101.
    pub(crate) handshake: Option<Ws>,
}

/// The connection is let go of, and these bytes are written over it.
#[derive(Debug, thiserror::Error)]
#[error("a fault answers beneath HTTP")]
pub(crate) struct LetGo(Vec<u8>);

/// What comes of a request on its way.
pub(crate) enum Passage {
    /// It gets to the brain.
    Through(Through),
    /// Something else answers.
    Answered(Response<Body>),
}

/// Takes a request to the brain, past the fault that strikes it.
pub(crate) async fn pass(
    hub: &Hub,
    peer: &Peer,
    request: &mut AgentRequest,
    pace: &Pace,
) -> Result<Passage, LetGo> {
    pace.reset();
    let upgrade = web::wants_upgrade(request);
    let struck = web::struck(hub, peer, Point::Request, request.headers(), |fault| {
        let here = match fault {
            Fault::Http(_) | Fault::Ws(Ws::Path(_)) => true,
            Fault::Ws(_) | Fault::LongPoll(LongPoll::Only) => upgrade,
            _ => false,
        };
        here.then(|| fault.clone())
    });
    Ok(match struck {
        None => Passage::Through(Through::default()),
        Some(Fault::Http(fault)) => of_http(fault, pace).await?,
        Some(Fault::Ws(Ws::Path(prefix))) => beneath(&prefix, request),
        Some(Fault::Ws(Ws::UpgradeStripped | Ws::ConnectionStripped)) => {
            Passage::Through(Through { is_stripped: true, ..Through::default() })
        }
        Some(Fault::Ws(Ws::HttpStatus(code))) => Passage::Answered(nginx_page(code)),
        Some(Fault::Ws(fault)) => Passage::Through(Through { handshake: Some(fault), ..Through::default() }),
        Some(_) => Passage::Answered(nginx_page(StatusCode::FORBIDDEN)),
    })
}

async fn of_http(fault: Http, pace: &Pace) -> Result<Passage, LetGo> {
    let html = |status, page: &str| Passage::Answered(with_type(status, "text/html", page.to_owned()));
    Ok(match fault {
        Http::Status { code, retry_after, location, .. } => {
            let mut page = nginx_page(code);
            told(&mut page, retry_after, location.as_deref());
            Passage::Answered(page)
        }
        Http::Captive => html(StatusCode::OK, PORTAL),
        Http::WafPage => html(StatusCode::FORBIDDEN, BLOCKED),
        Http::WrongService => html(StatusCode::OK, WELCOME),
        Http::HttpsOnly => html(StatusCode::BAD_REQUEST, WANTS_TLS),
        Http::HugeHead => {
            let mut page = nginx_page(StatusCode::OK);
            let padding = HeaderValue::from_bytes(PADDING).unwrap_or(HeaderValue::from_static("x"));
            let name = HeaderName::from_static("x-padding");
            for _ in 0..HUGE {
                page.headers_mut().append(name.clone(), padding.clone());
            }
            Passage::Answered(page)
        }
        Http::Http10 => Passage::Through(Through { is_stripped: true, is_old: true, ..Through::default() }),
        Http::Dribble(time) => {
            pace.set(time);
            Passage::Through(Through::default())
        }
        Http::Late(time) => {
            tokio::time::sleep(time).await;
            Passage::Through(Through::default())
        }
        Http::Empty => return Err(LetGo(Vec::new())),
        Http::Garbage => return Err(LetGo(GARBAGE.to_vec())),
        Http::BadChunk => return Err(LetGo(BAD_CHUNK.to_vec())),
    })
}

/// What a client gets whose request hyper let go of: the bytes, and the end.
pub(crate) async fn finish(hub: &Arc<Hub>, mut stream: Stream, LetGo(bytes): &LetGo) {
    let write = async {
        stream.write_all(bytes).await?;
        stream.flush().await
    };
    let _ = tokio::time::timeout(WRITE_TIMEOUT, write).await;
    let _ = tokio::time::timeout(WRITE_TIMEOUT, stream.shutdown()).await;
    if let Some(socket) = stream.into_socket() {
        hub.hold(socket, Silence::Closed);
    }
}

/// How long a fault's bytes may take to be written.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Lets what is asked for below the prefix through, without it.
fn beneath(prefix: &str, request: &mut AgentRequest) -> Passage {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let rest = target.strip_prefix(prefix).filter(|rest| rest.starts_with('/'));
    match rest.and_then(|rest| rest.parse::<Uri>().ok()) {
        Some(uri) => {
            *request.uri_mut() = uri;
            Passage::Through(Through::default())
        }
        None => Passage::Answered(nginx_page(StatusCode::NOT_FOUND)),
    }
}

/// Adds what a refusal says of the way on.
pub(crate) fn told(response: &mut Response<Body>, retry_after: Option<u32>, location: Option<&str>) {
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    if let Some(location) = location.and_then(|location| HeaderValue::from_str(location).ok()) {
        response.headers_mut().insert(LOCATION, location);
    }
}

/// What nginx shows of itself.
fn nginx_page(status: StatusCode) -> Response<Body> {
    let title = status.to_string();
    let page = format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n\
         <hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    );
    let mut response = Response::new(Body::from(page));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
    response.headers_mut().insert(SERVER, HeaderValue::from_static("nginx"));
    response
}

/// How often the padding stands in a head that is too long: a megabyte in all.
const HUGE: usize = 1_024;
const PADDING: &[u8; 1_024] = &[b'x'; 1_024];
const BAD_CHUNK: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{\"status\":\"ok\"}\r\n0\r\n\r\n";
/// The start of a MySQL server's greeting, which speaks first and no HTTP.
const GARBAGE: &[u8] = b"\x4a\0\0\0\x0a8.0.36\0\x0b\0\0\0mock-brain\0\xff\xf7\xff\x02\0\xff\xdf\x15\0\0\0";
const PORTAL: &str = "<!doctype html>\n<html><head><title>Guest network: log in</title></head>\n<body><h1>Welcome</h1>\
     <form action=\"/login\" method=\"post\"><input name=\"room\"><button>Connect</button></form></body></html>\n";
const BLOCKED: &str = "<!doctype html>\n<html><head><title>Request blocked</title></head>\n<body><h1>This request was \
     blocked by the security policy.</h1><p>Support id: 0000000000000000000</p></body></html>\n";
const WELCOME: &str = "<!DOCTYPE html>\n<html>\n<head>\n<title>Welcome to nginx!</title>\n</head>\n<body>\n<h1>Welcome \
     to nginx!</h1>\n</body>\n</html>\n";
/// What nginx says in plain HTTP on a port with `listen … ssl`.
const WANTS_TLS: &str = "<html>\r\n<head><title>400 The plain HTTP request was sent to HTTPS port</title></head>\r\n\
     <body>\r\n<center><h1>400 Bad Request</h1></center>\r\n<center>The plain HTTP request was sent to HTTPS \
     port</center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n";
/// What nginx says to a TLS client hello on a port without TLS.
pub(crate) const PLAIN_400: &[u8] = b"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\nContent-Type: text/html\r\n\
    Content-Length: 150\r\nConnection: close\r\n\r\n<html>\r\n<head><title>400 Bad Request</title></head>\r\n<body>\r\n\
    <center><h1>400 Bad Request</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n";
