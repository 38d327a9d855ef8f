//! Variables in, a proxy out; and tunnels through small proxies in the test.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

fn environment(variables: &[(&str, &str)]) -> Environment {
    let mut environment = Environment::capture();
    environment.variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    environment
}

fn brain(url: &str) -> Outcome<BrainUrl> {
    Ok(BrainUrl::parse(url).map_err(|problem| problem.to_string())?)
}

#[test]
fn the_variables_are_read_as_curl_reads_them() -> Outcome {
    let https = "https://brain.test/";
    for (variables, url, proxy) in [
        (vec![("HTTPS_PROXY", "http://p:3128")], https, Some("p:3128")),
        (vec![("https_proxy", "q:1"), ("HTTPS_PROXY", "http://p:3128")], https, Some("q:1")),
        (vec![("ALL_PROXY", "http://p")], https, Some("p:80")),
        (vec![("HTTPS_PROXY", "http://[fd00::1]:3128/")], https, Some("[fd00::1]:3128")),
        (vec![("HTTPS_PROXY", ""), ("ALL_PROXY", "p:1")], https, Some("p:1")),
        (vec![("http_proxy", "http://p:3128")], https, None),
        (vec![("http_proxy", "http://p:3128")], "http://brain.test/", Some("p:3128")),
        (vec![("HTTP_PROXY", "http://p:3128")], "http://brain.test/", None),
        (vec![("HTTPS_PROXY", "http://p:3128"), ("NO_PROXY", "test")], https, None),
        (vec![("HTTPS_PROXY", "http://p:3128"), ("no_proxy", "brain.test:8443")], https, Some("p:3128")),
        (vec![("HTTPS_PROXY", "socks5://p"), ("NO_PROXY", "*")], https, None),
        (vec![("HTTPS_PROXY", "http://p:3128")], "https://localhost:8443/", None),
        (vec![("HTTPS_PROXY", "http://p:3128")], "https://127.0.0.9/", None),
        (vec![("HTTPS_PROXY", "http://p:3128")], "https://[::1]/", None),
    ] {
        let chosen = choose(&environment(&variables), &brain(url)?)?;
        assert_eq!(chosen.map(|chosen| chosen.endpoint()).as_deref(), proxy, "{variables:?} {url}");
    }
    Ok(())
}

#[test]
fn what_is_not_spoken_is_refused_without_its_password() -> Outcome {
    for (value, words) in [
        ("socks5://me:geheim@p:1080", "SOCKS"),
        ("https://me:geheim@p:1080", "TLS"),
        ("ftp://me:geheim@p", "no URL"),
        ("http://me:geheim@", "no URL"),
        ("http://me:geheim@p:99999", "no URL"),
    ] {
        let refused = choose(&environment(&[("HTTPS_PROXY", value)]), &brain("https://brain.test/")?);
        let Err(error) = refused else { return Err(format!("{value} was taken: {refused:?}").into()) };
        assert!(error.problem.contains(words), "{error:?}");
        assert!(!format!("{error:?} {error}").contains("geheim"), "{error:?}");
    }
    let proxy =
        choose(&environment(&[("HTTPS_PROXY", "http://me:geh%65im@p")]), &brain("https://brain.test/")?)?;
    assert!(proxy.as_ref().is_some_and(Proxy::has_credentials));
    let shown = format!("{proxy:?}");
    assert!(!shown.contains("geh") && !shown.contains("bWU6"), "{shown}");
    Ok(())
}

/// Connects through a proxy that answers so; returns what the brain's side says first, and the request.
async fn through(userinfo: &str, answer: &'static str) -> Outcome<(Result<String, Failure>, String)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        stream.write_all(answer.as_bytes()).await?;
        if answer.contains(" 200 ") {
            // From here on this is the brain, which waits to be spoken to.
            let mut hello = [0; 5];
            stream.read_exact(&mut hello).await?;
            stream.write_all(&hello).await?;
        }
        std::io::Result::Ok(String::from_utf8_lossy(&head).into_owned())
    });
    let variable = format!("http://{userinfo}127.0.0.1:{}", address.port());
    let url = brain("https://brain.test:8443/x")?;
    let proxy = choose(&environment(&[("HTTPS_PROXY", &variable)]), &url)?.ok_or("no proxy")?;
    let stream = TcpStream::connect((proxy.host_text(), proxy.port())).await?;
    let budget = Budget::new(Duration::from_secs(5), Duration::from_secs(10));
    let echoed = match proxy.connect(stream, &url, &budget).await {
        Err(failure) => Err(failure),
        Ok(mut stream) => {
            stream.write_all(b"hello").await?;
            let mut echo = [0; 5];
            stream.read_exact(&mut echo).await?;
            Ok(String::from_utf8_lossy(&echo).into_owned())
        }
    };
    Ok((echoed, served.await??))
}

#[tokio::test]
async fn a_tunnel_carries_what_the_brain_says() -> Outcome {
    let (echoed, request) = through("me:geh%65im@", "HTTP/1.1 200 Connection established\r\n\r\n").await?;
    assert_eq!(echoed, Ok("hello".to_owned()));
    assert!(
        request.starts_with("CONNECT brain.test:8443 HTTP/1.1\r\nHost: brain.test:8443\r\n"),
        "{request}"
    );
    let basic = format!("\r\nProxy-Authorization: Basic {}\r\n", STANDARD.encode("me:geheim"));
    assert!(request.contains(&basic), "{request}");
    let (_, request) = through("", "HTTP/1.0 200 OK\r\n\r\n").await?;
    assert!(!request.contains("Authorization"), "{request}");
    Ok(())
}

#[test]
fn every_challenge_is_read_wherever_it_stands() {
    for (lines, expected) in [
        (&["Negotiate, Basic realm=\"corp\""][..], &["Negotiate", "Basic"][..]),
        (&["Basic realm=\"corp, Digest, \\\" NTLM, x\", charset=\"UTF-8\""], &["Basic"]),
        (
            &["Digest realm=\"x\", qop = \"auth,auth-int\" ,nonce=\"y==\",Basic realm=\"z\""],
            &["Digest", "Basic"],
        ),
        (&["NTLM TlRMTVNTUAAC==", ",, basic"], &["NTLM", "basic"]),
        (&[""], &[]),
    ] {
        let headers = lines.iter().map(|line| ("proxy-authenticate".to_owned(), (*line).to_owned()));
        let answer = http::Answer { headers: headers.collect(), ..http::Answer::default() };
        assert_eq!(schemes(&answer), expected, "{lines:?}");
    }
}

#[tokio::test]
async fn a_proxy_that_says_no_is_quoted() -> Outcome {
    let answered = |status, reason: &str, schemes: &[&str]| Failure::Answered {
        status,
        reason: reason.to_owned(),
        schemes: schemes.iter().map(|scheme| (*scheme).to_owned()).collect(),
    };
    for (answer, failure) in [
        (
            "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: NTLM\r\n\
             Proxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n",
            answered(407, "Proxy Authentication Required", &["NTLM", "Basic"]),
        ),
        ("HTTP/1.1 403 Forbidden\r\n\r\n", answered(403, "Forbidden", &[])),
        ("HTTP/1.1 502 \r\n\r\n", answered(502, "", &[])),
        ("SSH-2.0-OpenSSH\r\n", Failure::NotHttp("SSH-2.0-OpenSSH".into())),
        ("", Failure::Broken(Break::Closed)),
    ] {
        let (echoed, _) = through("", answer).await?;
        assert_eq!(echoed, Err(failure), "{answer}");
    }
    Ok(())
}
