use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde_json::json;
use tokio::net::TcpListener;

use super::*;
use crate::clock::Clock;
use crate::queue::open_all;
use crate::queue::poller::Poller;
use crate::serve::Server;
use crate::template::{Queue, QueueSource};

const TIMEOUT: Duration = Duration::from_millis(300);

fn function(binary: &str) -> Function {
    Function {
        logical_id: binary.into(),
        name: binary.into(),
        binary: binary.into(),
        timeout: TIMEOUT,
        memory: 128,
        environment: BTreeMap::new(),
        routes: Vec::new(),
        queues: Vec::new(),
    }
}

/// Serves functions as `cargo lambda watch` does: one that echoes, one that fails, one that reports
/// every message as failed except the third time, and others that never end.
async fn answer(request: Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    match path.split('/').nth(3).unwrap() {
        "echo" => Response::new(Full::new(body)),
        "fail" => Response::builder()
            .header("x-amz-function-error", "Unhandled")
            .body(Full::new(body))
            .unwrap(),
        "reluctant" => {
            let event: Value = serde_json::from_slice(&body).unwrap();
            let record = &event["Records"][0];
            let answer = if record["attributes"]["ApproximateReceiveCount"] == "3" {
                json!({})
            } else {
                json!({"batchItemFailures": [{"itemIdentifier": record["messageId"]}]})
            };
            Response::new(Full::new(answer.to_string().into()))
        }
        _ => std::future::pending().await,
    }
}

async fn host() -> (Host, Server) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = Server::start(listener, |request, _| answer(request));
    let functions = ["echo", "fail", "endless", "reluctant"].map(function);
    let host = Host::start(&functions, Some(&url), |_| HashMap::new()).unwrap();
    (host, server)
}

#[tokio::test]
async fn functions_elsewhere_respond_fail_and_time_out() {
    let (host, server) = host().await;
    let event = json!({"a": 1});
    assert_eq!(host.invoke("echo", event.clone()).await.unwrap(), event);
    let failed = host.invoke("fail", event.clone()).await;
    assert!(matches!(failed, Err(InvokeError::Failed(_))), "{failed:?}");
    let late = host.invoke("endless", event.clone()).await;
    assert!(
        matches!(late, Err(InvokeError::TimedOut(TIMEOUT))),
        "{late:?}"
    );
    let unknown = host.invoke("none", event.clone()).await;
    assert!(
        matches!(unknown, Err(InvokeError::Unknown(_))),
        "{unknown:?}"
    );
    let large = json!("x".repeat(MAX_EVENT_BYTES));
    let large = host.invoke("echo", large).await;
    assert!(
        matches!(large, Err(InvokeError::EventTooLarge(_))),
        "{large:?}"
    );
    server.stop().await;
    let gone = host.invoke("echo", event.clone()).await;
    assert!(matches!(gone, Err(InvokeError::Unreachable(_))), "{gone:?}");
    host.stop().await;
    let stopped = host.invoke("echo", event).await;
    assert!(matches!(stopped, Err(InvokeError::Stopped)), "{stopped:?}");
}

#[tokio::test]
async fn a_panic_affects_only_its_function() {
    let tasks = Tasks::default();
    let panicked = tasks.run(async { panic!("on purpose") }).await;
    assert_eq!(panicked, None::<Infallible>);
    assert_eq!(tasks.run(async { 1 }).await, Some(1));
}

#[tokio::test]
async fn failed_messages_are_redelivered_until_they_succeed() {
    let (host, server) = host().await;
    let host = Arc::new(host);
    let settings = Queue {
        logical_id: "q".into(),
        name: "q".into(),
        arn: "q".into(),
        visibility_timeout: TIMEOUT,
        retention: Duration::from_hours(1),
        redrive: None,
    };
    let folder = tempfile::tempdir().unwrap();
    let queues = open_all(&[settings], Some(folder.path()), Clock::start()).unwrap();
    let queue = &queues["q"];
    let source = QueueSource {
        queue_arn: "q".into(),
        batch_size: 1,
        report_batch_item_failures: true,
        maximum_concurrency: Some(2),
    };
    let poller = Poller::start(queue.clone(), source, "reluctant".into(), host.clone());
    queue.send("work".into()).unwrap();
    let messages = || std::fs::read_dir(folder.path().join("q")).unwrap().count();
    let started = std::time::Instant::now();
    while messages() > 0 {
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "it never ended"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(started.elapsed() >= 2 * TIMEOUT);
    poller.stop().await;
    host.stop().await;
    server.stop().await;
}

#[test]
fn an_unknown_binary_is_named() {
    let host = Host::start(&[function("unheard-of")], None, |_| HashMap::new());
    assert!(host.unwrap_err().to_string().contains("unheard-of"));
}
