//! Faults in what HTTP requests get, of proxies and others that answer in the brain's place.

use super::super::shape::Shape;
use super::{Entry, MAX_CODE, Parameter, made, optional, plain, required};
use crate::fault::{Fault, Http, Point};

const REQUEST: &[Point] = &[Point::Request];
const DELAY: Parameter = required("delay", "a time, such as 500ms or 10s", Shape::Time);

/// What is on the way knows no codes of the brain.
const ERROR: Parameter = Parameter {
    only_at: &[Point::Poll, Point::Post],
    ..optional("error", "the brain's code, such as project_inactive; at poll or post", Shape::Text(MAX_CODE))
};

const fn page(fault: Http, about: &'static str, example: &'static str) -> Entry {
    plain(Fault::Http(fault), REQUEST, about, example)
}

pub(super) const ENTRIES: &[Entry] = &[
    made(
        "http.status",
        &[Point::Request, Point::Poll, Point::Post],
        &[
            required("code", "HTTP status, 200..=599", Shape::Status),
            optional("retry_after", "seconds of a Retry-After header", Shape::Number(86_400)),
            optional("location", "where a redirect leads, in quotes", Shape::Text(200)),
            ERROR,
        ],
        "Every request, upgrades too, is answered with that status, as by a proxy whose brain is away; at \
         poll and post the brain itself says so to long-poll agents.",
        "http.status(code=429, retry_after=5) at post first 2",
        |values| {
            Some(Fault::Http(Http::Status {
                code: http::StatusCode::from_u16(values.u16("code")?).ok()?,
                retry_after: values.u32("retry_after"),
                location: values.text("location"),
                error: values.text("error"),
            }))
        },
    ),
    page(Http::Captive, "Every request gets a network's log-in page: 200 and HTML.", "http.captive for 1m"),
    page(Http::WafPage, "Every request gets a firewall's page: 403 and HTML.", "http.waf-page"),
    page(
        Http::WrongService,
        "Every request gets the page of another program that listens there: nginx's welcome, 200.",
        "http.wrong-service",
    ),
    page(Http::Empty, "The connection is closed in place of an answer.", "http.empty first 1"),
    page(
        Http::Garbage,
        "Bytes that are no HTTP come in place of an answer, and the connection is closed.",
        "http.garbage",
    ),
    page(
        Http::BadChunk,
        "The answer's head is good, and the length of its first chunk is no number; then the connection is \
         closed.",
        "http.bad-chunk",
    ),
    made(
        "http.dribble",
        REQUEST,
        &[DELAY],
        "The answer comes byte by byte, each so much later than the one before.",
        "http.dribble(delay=100ms)",
        |values| Some(Fault::Http(Http::Dribble(values.time("delay")?))),
    ),
    page(Http::HugeHead, "The answer has a head of a megabyte.", "http.huge-head"),
    page(
        Http::Http10,
        "What is in between speaks HTTP/1.0: answers are of that version, and an upgrade is a plain GET.",
        "http.http10",
    ),
    page(
        Http::HttpsOnly,
        "Every request gets what nginx says in plain HTTP on a port that wants TLS: 400.",
        "http.https-only",
    ),
    made(
        "http.late",
        &[Point::Request, Point::Poll, Point::Post],
        &[DELAY],
        "The answer comes so much later.",
        "http.late(delay=30s) at post first 1",
        |values| Some(Fault::Http(Http::Late(values.time("delay")?))),
    ),
];
