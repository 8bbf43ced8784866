//! A DynamoDB endpoint whose members table accepts every write, contains nothing and costs almost
//! nothing, so that the client is measured. It counts the writes, to prove that the work was done.
//! All other requests (claims, checkpoints) go to a real engine.
//!

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use memchr::memmem;

use crate::error::Error;
use crate::http_server::{self, Answer};

/// Write units of one member: the table and its two indexes, all under 1 KB.
pub const UNITS_A_WRITE: u64 = 3;

/// The endpoint.
#[derive(Debug)]
pub struct NullTable {
    /// Its URL.
    pub url: String,
    shared: Arc<Shared>,
}

/// The requests since the last reading.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// Requests about members.
    pub requests: u64,
    /// Members to be written.
    pub writes: u64,
}

#[derive(Debug)]
struct Shared {
    members: String,
    engine: String,
    http: reqwest::Client,
    requests: AtomicU64,
    writes: AtomicU64,
}

impl NullTable {
    /// Starts an endpoint whose null table is called `members`, in front of the engine at `engine`.
    ///
    /// # Errors
    /// Returns an error if no port is free.
    pub async fn start(members: &str, engine: String) -> Result<Self, Error> {
        let shared = Arc::new(Shared {
            members: members.to_owned(),
            engine,
            http: mpulse_local::http_client::builder().no_proxy().build()?,
            requests: AtomicU64::new(0),
            writes: AtomicU64::new(0),
        });
        let of_server = Arc::clone(&shared);
        let address = http_server::serve(move |request| {
            let shared = Arc::clone(&of_server);
            async move { shared.answer(request).await }
        })
        .await?;
        Ok(Self {
            url: format!("http://{address}"),
            shared,
        })
    }

    /// Returns the counts and resets them.
    pub fn take_asked(&self) -> Asked {
        Asked {
            requests: self.shared.requests.swap(0, Ordering::Relaxed),
            writes: self.shared.writes.swap(0, Ordering::Relaxed),
        }
    }
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        let Ok(body) = body.collect().await else {
            return plain(StatusCode::BAD_REQUEST, Bytes::new());
        };
        let body = body.to_bytes();
        let target = head.headers.get("x-amz-target");
        let operation = target.map_or(&b""[..], |target| target.as_bytes());
        match self.nothing(operation, &body) {
            Some(answer) => {
                self.requests.fetch_add(1, Ordering::Relaxed);
                plain(StatusCode::OK, Bytes::from(answer))
            }
            None => self.forward(&head.headers, body).await.unwrap_or_else(|e| {
                eprintln!("mpulse-bench: the engine did not respond: {e}");
                plain(StatusCode::BAD_GATEWAY, Bytes::new())
            }),
        }
    }

    /// Returns the response of a table that accepts everything and contains nothing; `None` if
    /// ingest makes no such request of the members table.
    fn nothing(&self, target: &[u8], body: &[u8]) -> Option<String> {
        let operation = &target[memchr::memrchr(b'.', target)? + 1..];
        let asked = memmem::find(body, br#""ReturnConsumedCapacity":"#).is_some();
        match operation {
            b"BatchWriteItem" => {
                let writes = self.count_writes(body, br#""PutRequest":"#);
                let units = self.units(asked, writes * UNITS_A_WRITE, true);
                Some(format!(r#"{{"UnprocessedItems":{{}}{units}}}"#))
            }
            b"BatchExecuteStatement" => {
                let writes = self.count_writes(body, br#""Statement":"#);
                let units = self.units(asked, writes * UNITS_A_WRITE, true);
                let one = format!(r#"{{"TableName":"{}"}}"#, self.members);
                let all = vec![one; usize::try_from(writes).unwrap_or_default()].join(",");
                Some(format!(r#"{{"Responses":[{all}]{units}}}"#))
            }
            b"BatchGetItem" => {
                let units = self.units(asked, count(body, br#""client_member_id":"#), true);
                let table = &self.members;
                Some(format!(
                    r#"{{"Responses":{{"{table}":[]}},"UnprocessedKeys":{{}}{units}}}"#
                ))
            }
            b"Query" => {
                let units = self.units(asked, 1, false);
                Some(format!(
                    r#"{{"Items":[],"Count":0,"ScannedCount":0{units}}}"#
                ))
            }
            _ => None,
        }
    }

    fn count_writes(&self, body: &[u8], mark: &[u8]) -> u64 {
        let writes = count(body, mark);
        self.writes.fetch_add(writes, Ordering::Relaxed);
        writes
    }

    fn units(&self, asked: bool, units: u64, is_list: bool) -> String {
        if !asked {
            return String::new();
        }
        let (open, close) = if is_list { ("[", "]") } else { ("", "") };
        format!(
            r#","ConsumedCapacity":{open}{{"TableName":"{}","CapacityUnits":{units}.0}}{close}"#,
            self.members
        )
    }

    async fn forward(&self, headers: &http::HeaderMap, body: Bytes) -> Result<Answer, Error> {
        let mut request = self.http.post(&self.engine).body(body);
        for name in [
            "authorization",
            "content-type",
            "x-amz-date",
            "x-amz-target",
        ] {
            if let Some(value) = headers.get(name) {
                request = request.header(name, value);
            }
        }
        let answer = request.send().await?;
        let status = answer.status();
        Ok(plain(status, answer.bytes().await?))
    }
}

/// Counts the occurrences of a JSON key in a body. Quotes in values are escaped, so none looks like
/// a key.
fn count(body: &[u8], key: &[u8]) -> u64 {
    memmem::find_iter(body, key).count() as u64
}

fn plain(status: StatusCode, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/x-amz-json-1.0"),
    );
    answer
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn ask(operation: &str, body: &Value) -> (Option<Value>, u64) {
        let shared = Shared {
            members: "M".to_owned(),
            engine: String::new(),
            http: mpulse_local::http_client::builder()
                .build()
                .expect("a client"),
            requests: AtomicU64::new(0),
            writes: AtomicU64::new(0),
        };
        let target = format!("DynamoDB_20120810.{operation}");
        let answer = shared.nothing(target.as_bytes(), body.to_string().as_bytes());
        let answer = answer.map(|text| serde_json::from_str(&text).expect("JSON"));
        (answer, shared.writes.into_inner())
    }

    #[test]
    fn every_write_is_counted_and_accepted() {
        let put = json!({"PutRequest": {"Item": {"first_name": {"S": "\"PutRequest\":"}}}});
        let body = json!({"RequestItems": {"M": [put, put]}, "ReturnConsumedCapacity": "TOTAL"});
        let units = json!([{"TableName": "M", "CapacityUnits": 6.0}]);
        let answer = json!({"UnprocessedItems": {}, "ConsumedCapacity": units});
        assert_eq!(ask("BatchWriteItem", &body), (Some(answer), 2));

        let insert = json!({"Statement": "INSERT INTO \"M\" VALUE {}", "Parameters": []});
        let answer = json!({"Responses": [{"TableName": "M"}, {"TableName": "M"}]});
        let body = json!({"Statements": [insert, insert]});
        assert_eq!(ask("BatchExecuteStatement", &body), (Some(answer), 2));
    }

    #[test]
    fn nothing_is_found() {
        let key = json!({"account_id": {"S": "4"}, "client_member_id": {"S": "1"}});
        let body = json!({"RequestItems": {"M": {"Keys": [key, key, key]}},
            "ReturnConsumedCapacity": "TOTAL"});
        let (answer, writes) = ask("BatchGetItem", &body);
        let answer = answer.expect("an answer");
        assert_eq!(answer["Responses"], json!({"M": []}));
        assert_eq!(answer["ConsumedCapacity"][0]["CapacityUnits"], 3.0);
        assert_eq!(writes, 0);

        let body = json!({"TableName": "M", "ReturnConsumedCapacity": "TOTAL"});
        let (answer, _) = ask("Query", &body);
        let answer = answer.expect("an answer");
        assert_eq!(answer["Items"], json!([]));
        assert_eq!(answer["ConsumedCapacity"]["CapacityUnits"], 1.0);
    }

    #[test]
    fn the_rest_is_not_ours() {
        assert_eq!(ask("UpdateItem", &json!({})), (None, 0));
    }
}
