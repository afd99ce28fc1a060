//! The client against servers that behave well, badly or not at all.

use bytes::Bytes;
use client::{Client, ClientConfig};
use futures_util::{StreamExt, stream};
use model::ports::HttpClient;
use model::ports::http::{ClientCertificate, HttpBody, HttpMethod, HttpRequest};
use model::{Error, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

fn config() -> ClientConfig {
    ClientConfig { ca_certificates: None, verify_peers: true, timeout: Duration::from_secs(30), proxy: None }
}

/// Answers one connection after the other: what came up to the end of the first request, for each answer.
async fn server(answers: Vec<&'static str>) -> (SocketAddr, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut seen = vec![];
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut text = vec![];
            let mut buffer = [0; 4096];
            while !is_whole(&text) {
                match stream.read(&mut buffer).await.unwrap() {
                    0 => break,
                    n => text.extend_from_slice(&buffer[..n]),
                }
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            seen.push(String::from_utf8(text).unwrap());
        }
        seen
    });
    (address, task)
}

fn is_whole(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let head = head.to_lowercase();
    match head.split("content-length: ").nth(1) {
        Some(rest) => body.len() >= rest.lines().next().unwrap().parse().unwrap(),
        None => !head.contains("transfer-encoding") || body.ends_with("0\r\n\r\n"),
    }
}

fn pieces(pieces: Vec<model::Result<Bytes>>, size_bytes: Option<u64>) -> HttpBody {
    HttpBody::Stream { size_bytes, pieces: stream::iter(pieces).boxed() }
}

#[tokio::test]
async fn what_is_asked_arrives_and_what_is_answered_comes_back() {
    let (address, seen) = server(vec!["HTTP/1.1 404 Not Found\r\nX-A: b\r\nContent-Length: 5\r\n\r\nhello"]).await;
    let request = HttpRequest {
        headers: vec![("X-Token".into(), "t".into())],
        body: HttpBody::Bytes("body".into()),
        credentials: Some(("user".into(), "pass".into())),
        ..HttpRequest::new(HttpMethod::Post, format!("http://{address}/instances?a=b"))
    };
    let answer = Client::new(&config()).unwrap().send(request).await.unwrap();
    assert_eq!((answer.status, answer.is_success()), (404, false));
    assert!(answer.headers.contains(&("x-a".into(), "b".into())));
    assert_eq!(answer.read(5).await.unwrap(), "hello");
    let seen = seen.await.unwrap().remove(0);
    assert!(seen.starts_with("POST /instances?a=b HTTP/1.1\r\n") && seen.ends_with("\r\n\r\nbody"), "{seen}");
    for line in ["x-token: t\r\n", "authorization: Basic dXNlcjpwYXNz\r\n", "content-length: 4\r\n"] {
        assert!(seen.contains(line), "{line} in {seen}");
    }
}

#[tokio::test]
async fn bodies_are_streams() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let (address, seen) = server(vec![ok, ok]).await;
    let client = Client::new(&config()).unwrap();
    for size in [Some(6), None] {
        let body = pieces(vec![Ok("abc".into()), Ok("def".into())], size);
        let request = HttpRequest { body, ..HttpRequest::new(HttpMethod::Put, format!("http://{address}/")) };
        assert!(client.send(request).await.unwrap().is_success());
    }
    let seen = seen.await.unwrap();
    assert!(seen[0].contains("content-length: 6\r\n") && seen[0].ends_with("\r\n\r\nabcdef"), "{}", seen[0]);
    assert!(seen[1].contains("transfer-encoding: chunked\r\n"), "{}", seen[1]);
}

#[tokio::test]
async fn what_breaks_a_body_is_told() {
    let (address, seen) = server(vec![""]).await;
    let body = pieces(vec![Ok("abc".into()), Err(Error::new(ErrorKind::Corrupted, "its checksum"))], Some(6));
    let request = HttpRequest { body, ..HttpRequest::new(HttpMethod::Post, format!("http://{address}/")) };
    let error = Client::new(&config()).unwrap().send(request).await.err().unwrap();
    assert_eq!((error.kind(), error.message()), (ErrorKind::Corrupted, "its checksum"));
    assert!(!is_whole(seen.await.unwrap()[0].as_bytes()));
}

#[tokio::test]
async fn answers_are_bounded_in_size_and_time() {
    let (address, _seen) = server(vec!["HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n123456"]).await;
    let client = Client::new(&config()).unwrap();
    let answer = client.send(HttpRequest::new(HttpMethod::Get, format!("http://{address}/"))).await.unwrap();
    assert_eq!(answer.read(5).await.unwrap_err().kind(), ErrorKind::TooLarge);

    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://user:secret@{}/a?token=secret", silent.local_addr().unwrap());
    let slow = HttpRequest { timeout: Some(Duration::from_millis(100)), ..HttpRequest::new(HttpMethod::Get, &url) };
    let error = client.send(slow).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::NetworkProtocol);
    assert!(error.message().contains("in time") && error.message().contains("/a failed"), "{error}");
    assert!(!error.message().contains("secret"), "{error}");
    let impatient = Client::new(&ClientConfig { timeout: Duration::from_millis(100), ..config() }).unwrap();
    assert!(impatient.send(HttpRequest::new(HttpMethod::Get, &url)).await.err().unwrap().message().contains("in time"));
}

#[tokio::test]
async fn an_answer_that_ends_early_is_an_error() {
    let (address, _seen) = server(vec!["HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n123"]).await;
    let answer = Client::new(&config()).unwrap().send(HttpRequest::new(HttpMethod::Get, format!("http://{address}/"))).await;
    assert_eq!(answer.unwrap().read(100).await.unwrap_err().kind(), ErrorKind::NetworkProtocol);
}

#[tokio::test]
async fn redirections_stay_on_their_host() {
    let (address, seen) = server(vec![
        "HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: http://localhost:1/c\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    ])
    .await;
    let request = HttpRequest {
        headers: vec![("X-Token".into(), "t".into())],
        ..HttpRequest::new(HttpMethod::Get, format!("http://{address}/a"))
    };
    assert_eq!(Client::new(&config()).unwrap().send(request).await.unwrap().status, 302);
    let seen = seen.await.unwrap();
    assert!(seen[0].starts_with("GET /a ") && seen[1].starts_with("GET /b "), "{seen:?}");
}

#[tokio::test]
async fn a_proxy_is_asked_for_everything() {
    let (address, seen) = server(vec!["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]).await;
    let client = Client::new(&ClientConfig { proxy: Some(format!("me:secret@{address}")), ..config() }).unwrap();
    assert!(client.send(HttpRequest::new(HttpMethod::Get, "http://peer.invalid/x")).await.unwrap().is_success());
    let seen = seen.await.unwrap().remove(0);
    assert!(seen.starts_with("GET http://peer.invalid/x HTTP/1.1"), "{seen}");
    assert!(seen.contains("proxy-authorization: Basic bWU6c2VjcmV0"), "{seen}");
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let client = Client::new(&config()).unwrap();
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----\n";
    for (path, kind) in [
        (folder.path().join("none.pem"), ErrorKind::InexistentFile),
        (file("junk.pem", "junk"), ErrorKind::BadDicom),
        (file("encrypted.pem", encrypted), ErrorKind::NotImplemented),
    ] {
        let request = HttpRequest {
            certificate: Some(ClientCertificate { file: path.clone(), key_file: None }),
            ..HttpRequest::new(HttpMethod::Get, "https://127.0.0.1:1/")
        };
        let error = client.send(request).await.err().unwrap();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.message().contains(path.to_str().unwrap()), "{error}");
    }
    for path in [folder.path().join("none.pem"), file("empty.pem", "")] {
        let refused = Client::new(&ClientConfig { ca_certificates: Some(path.clone()), ..config() }).err().unwrap();
        assert!(refused.message().contains("HttpsCACertificates"), "{refused}");
        assert!(refused.message().contains(path.to_str().unwrap()), "{refused}");
    }
}
