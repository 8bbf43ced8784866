//! The engine over HTTP, as a plain client sees it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use mpulse_dynamodb::{Engine, serve};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// Sends one request, and returns the answer's head and body.
fn exchange(stream: &mut TcpStream, target: &str, body: &str) -> (String, String) {
    let request = format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\nx-amz-target: {target}\r\n\
         content-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).expect("it is sent");
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("an answer");
        answer.push(byte[0]);
    }
    let head = String::from_utf8(answer).expect("a head").to_lowercase();
    let mut body = vec![0; header(&head, "content-length").parse().expect("a length")];
    stream.read_exact(&mut body).expect("a body");
    (head, String::from_utf8(body).expect("a text"))
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let line = head
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{name}: ")));
    line.unwrap_or_default()
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout");
    stream
}

fn talk(address: SocketAddr) {
    let mut stream = connect(address);
    let (head, body) = exchange(&mut stream, "DynamoDB_20120810.ListTables", "{}");
    assert!(head.starts_with("http/1.1 200 ok"), "{head}");
    assert_eq!(body, r#"{"TableNames":[]}"#);
    assert_eq!(header(&head, "content-type"), "application/x-amz-json-1.0");
    assert_eq!(
        header(&head, "x-amz-crc32"),
        crc32fast::hash(body.as_bytes()).to_string()
    );
    assert!(!header(&head, "x-amzn-requestid").is_empty());
    // The connection stays, after errors too.
    for target in ["DynamoDB_20120810.Nothing", "Other.ListTables"] {
        let (head, body) = exchange(&mut stream, target, "{}");
        assert!(head.starts_with("http/1.1 400 "), "{head}");
        assert!(body.contains("UnknownOperationException"), "{body}");
    }
    for faulty in ["", "{", "[]", "nonsense"] {
        let (head, body) = exchange(&mut stream, "DynamoDB_20120810.ListTables", faulty);
        assert!(head.starts_with("http/1.1 400 "), "{head}");
        assert!(body.contains("SerializationException"), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_answered_until_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = Engine::open(folder.path()).expect("it opens");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let (stop, stopped) = oneshot::channel::<()>();
    let served = tokio::spawn(serve(listener, engine, async {
        let _ = stopped.await;
    }));
    let clients = (0..4).map(|_| tokio::task::spawn_blocking(move || talk(address)));
    for client in clients.collect::<Vec<_>>() {
        client.await.expect("the client is answered");
    }
    // A connection that is idle doesn't hold the end up.
    let idle = connect(address);
    stop.send(()).expect("it serves");
    let ended = tokio::time::timeout(Duration::from_secs(10), served).await;
    ended
        .expect("it ends in time")
        .expect("without a panic")
        .expect("well");
    drop(idle);
    // Nothing holds the folder any more.
    Engine::open(folder.path()).expect("it opens again");
}
