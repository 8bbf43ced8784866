use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use mpulse_shared::setup::Setup;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::addresses::Endpoints;
use crate::clock::Clock;
use crate::queue::open_all;
use crate::settings::lambda_variables;
use crate::template::Template;

const PART: usize = 5 * 1024 * 1024;

struct Stack {
    client: Client,
    bucket: String,
    queue: Arc<Queue>,
    s3: Option<S3>,
    folder: tempfile::TempDir,
}

impl Stack {
    async fn start() -> Self {
        let template = Template::parse(crate::BUILT_IN_TEMPLATE, &HashMap::new()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let queues = open_all(&template.queues, None, Clock::start()).unwrap();
        let notification = &template.buckets[0].notifications[0];
        let queue = queues[&notification.queue_arn].clone();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let s3 = S3::start(listener, folder.path(), &template.buckets, queues).unwrap();
        let variables = lambda_variables(&Endpoints {
            s3: format!("http://{address}"),
            ..Endpoints::default()
        });
        let setup = Setup::new(variables.into_iter().collect());
        Self {
            client: setup.s3().unwrap(),
            bucket: template.buckets[0].name.clone(),
            queue,
            s3: Some(s3),
            folder,
        }
    }

    async fn put(&self, key: &str, body: &'static [u8]) -> String {
        let put = self.client.put_object().bucket(&self.bucket).key(key);
        let put = put
            .body(ByteStream::from_static(body))
            .send()
            .await
            .unwrap();
        put.e_tag().unwrap().to_owned()
    }

    async fn read(&self, key: &str) -> Vec<u8> {
        let get = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(key)
            .send()
            .await;
        get.unwrap().body.collect().await.unwrap().to_vec()
    }

    fn events(&self) -> Vec<Value> {
        let messages = self.queue.receive(100).unwrap();
        messages
            .iter()
            .map(|message| {
                serde_json::from_str::<Value>(&message.body).unwrap()["Records"][0].take()
            })
            .collect()
    }

    fn files(&self) -> usize {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        entries
            .filter(|entry| entry.as_ref().unwrap().path().is_file())
            .count()
    }
}

fn status<T: std::fmt::Debug, E: std::fmt::Debug>(
    result: Result<T, aws_sdk_s3::error::SdkError<E>>,
) -> u16 {
    let error = result.expect_err("an error");
    error.raw_response().expect("an answer").status().as_u16()
}

#[tokio::test]
async fn the_longest_key_that_functions_use_is_a_file_name() {
    let stack = Stack::start().await;
    // A part of a report of changes that contains those of several windows.
    let key = format!(
        "changes/{}/{:020}-{:06}-{:020}.csv",
        "0".repeat(26),
        1,
        2,
        3
    );
    stack.put(&key, b"lines").await;
    assert_eq!(stack.read(&key).await, b"lines");
}

#[tokio::test]
async fn an_object_is_stored_read_and_announced() {
    let stack = Stack::start().await;
    let e_tag = stack.put("uploads/a b.csv", b"hello world").await;
    assert_eq!(stack.read("uploads/a b.csv").await, b"hello world");
    stack.put("rejects/x.csv", b"").await;
    let events = stack.events();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["eventName"], "ObjectCreated:Put");
    let object = &events[0]["s3"]["object"];
    assert_eq!(object["key"], "uploads/a+b.csv");
    assert_eq!(object["size"], 11);
    assert_eq!(object["eTag"], e_tag.trim_matches('"'));

    let get = || {
        stack
            .client
            .get_object()
            .bucket(&stack.bucket)
            .key("uploads/a b.csv")
    };
    let range = get()
        .range("bytes=6-")
        .if_match(&e_tag)
        .send()
        .await
        .unwrap();
    assert_eq!(range.content_range(), Some("bytes 6-10/11"));
    assert_eq!(range.body.collect().await.unwrap().to_vec(), b"world");
    assert_eq!(status(get().if_match("\"other\"").send().await), 412);
    assert_eq!(status(get().if_none_match(&e_tag).send().await), 304);
    assert_eq!(status(get().range("bytes=11-").send().await), 416);
    for (range, content) in [("bytes=-5", &b"world"[..]), ("bytes=-99", b"hello world")] {
        let rest = get().range(range).send().await.unwrap();
        assert_eq!(rest.body.collect().await.unwrap().to_vec(), content);
    }
    let head = || {
        stack
            .client
            .head_object()
            .bucket(&stack.bucket)
            .key("uploads/a b.csv")
    };
    assert_eq!(status(head().if_match("\"other\"").send().await), 412);
    assert_eq!(head().send().await.unwrap().e_tag(), Some(e_tag.as_str()));

    let list = stack
        .client
        .list_objects_v2()
        .bucket(&stack.bucket)
        .prefix("uploads/");
    assert_eq!(list.send().await.unwrap().key_count(), Some(1));
    for _ in 0..2 {
        let delete = stack
            .client
            .delete_object()
            .bucket(&stack.bucket)
            .key("uploads/a b.csv");
        delete.send().await.unwrap();
    }
    assert_eq!(status(get().send().await), 404);
    let folder = stack
        .client
        .get_object()
        .bucket(&stack.bucket)
        .key("uploads");
    assert_eq!(status(folder.send().await), 404);
    let outside = stack.client.get_object().bucket(&stack.bucket).key("../x");
    assert_eq!(status(outside.send().await), 404);
    // Only the files of rejects/x.csv are left beside the buckets.
    assert_eq!(stack.files(), 2);
    stack.s3.unwrap().stop().await;
}

#[tokio::test]
async fn a_failed_upload_keeps_the_earlier_object() {
    let stack = Stack::start().await;
    stack.put("uploads/a", b"before").await;
    let put = stack
        .client
        .put_object()
        .bucket(&stack.bucket)
        .key("uploads/a");
    let put = put
        .body(ByteStream::from_static(b"after"))
        .checksum_crc32("AAAAAA==");
    assert_eq!(status(put.send().await), 400);
    assert_eq!(stack.read("uploads/a").await, b"before");
    let put = stack
        .client
        .put_object()
        .bucket(&stack.bucket)
        .key("uploads/a");
    let put = put
        .body(ByteStream::from_static(b"after"))
        .if_none_match("*");
    assert_eq!(status(put.send().await), 412);
    assert_eq!(stack.read("uploads/a").await, b"before");
    assert_eq!(stack.events().len(), 1);
    let staging = stack.folder.path().join(files::STAGING);
    assert_eq!(std::fs::read_dir(staging).unwrap().count(), 0);
}

#[tokio::test]
async fn an_upload_in_parts_is_joined_and_announced() {
    let stack = Stack::start().await;
    let (bucket, key) = (&stack.bucket, "uploads/big");
    stack.put(key, b"old").await;
    stack.events();
    let create = stack
        .client
        .create_multipart_upload()
        .bucket(bucket)
        .key(key);
    let create = create.content_type("text/csv").send().await.unwrap();
    let id = create.upload_id().unwrap();
    let mut parts = CompletedMultipartUpload::builder();
    for (number, body) in [(1, vec![b'a'; PART]), (3, b"tail".to_vec())] {
        let part = stack
            .client
            .upload_part()
            .bucket(bucket)
            .key(key)
            .upload_id(id);
        let part = part
            .part_number(number)
            .body(body.into())
            .send()
            .await
            .unwrap();
        let e_tag = part.e_tag().unwrap();
        parts = parts.parts(
            CompletedPart::builder()
                .part_number(number)
                .e_tag(e_tag)
                .build(),
        );
    }
    let listed = stack
        .client
        .list_parts()
        .bucket(bucket)
        .key(key)
        .upload_id(id);
    let listed = listed.send().await.unwrap();
    assert_eq!(listed.parts().len(), 2);
    assert_eq!(listed.parts()[1].size(), Some(4));
    let complete = || {
        let complete = stack
            .client
            .complete_multipart_upload()
            .bucket(bucket)
            .key(key);
        complete
            .upload_id(id)
            .multipart_upload(parts.clone().build())
            .send()
    };
    let complete_answer = complete().await.unwrap();
    assert!(complete_answer.e_tag().unwrap().ends_with("-2\""));
    assert_eq!(stack.read(key).await.len(), PART + 4);
    let head = stack
        .client
        .head_object()
        .bucket(bucket)
        .key(key)
        .send()
        .await
        .unwrap();
    assert_eq!(head.content_type(), Some("text/csv"));
    let events = stack.events();
    assert_eq!(
        events[0]["eventName"],
        "ObjectCreated:CompleteMultipartUpload"
    );
    assert_eq!(events[0]["s3"]["object"]["size"], PART + 4);
    assert_eq!(status(complete().await), 404);
    // The object's two files, nothing of the upload.
    assert_eq!(stack.files(), 2);
}

impl Stack {
    async fn begin(&self, key: &str) -> String {
        let create = self.client.create_multipart_upload();
        let create = create.bucket(&self.bucket).key(key).send().await.unwrap();
        create.upload_id().unwrap().to_owned()
    }

    /// Sends a part; returns its `ETag`.
    async fn send_part(&self, key: &str, id: &str, number: i32, body: Vec<u8>) -> String {
        let part = self.client.upload_part().bucket(&self.bucket).key(key);
        let part = part.upload_id(id).part_number(number).body(body.into());
        part.send().await.unwrap().e_tag().unwrap().to_owned()
    }

    /// Returns what `ListParts` returns after a part number: the parts, and whether there are more.
    async fn parts_after(&self, key: &str, id: &str, after: i32, most: i32) -> (Vec<i32>, bool) {
        let list = self.client.list_parts().bucket(&self.bucket).key(key);
        let list = list.upload_id(id).part_number_marker(after.to_string());
        let list = list.max_parts(most).send().await.unwrap();
        let numbers = list.parts().iter().map(|part| part.part_number().unwrap());
        (numbers.collect(), list.is_truncated().unwrap())
    }
}

/// Sends five of ten bytes, and closes the connection.
async fn hang_up_within(url: &str) {
    let (host, path) = url
        .strip_prefix("http://")
        .unwrap()
        .split_once('/')
        .unwrap();
    let mut socket = tokio::net::TcpStream::connect(host).await.unwrap();
    let head = format!("PUT /{path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: 10\r\n\r\n12345");
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.shutdown().await.unwrap();
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
}

#[tokio::test]
async fn parts_are_listed_page_by_page() {
    let stack = Stack::start().await;
    let key = "rejects/many";
    let id = stack.begin(key).await;
    let count = 1003;
    for number in (1..=count).rev() {
        stack.send_part(key, &id, number, b"x".to_vec()).await;
    }
    let page = async |after, most| stack.parts_after(key, &id, after, most).await;
    // S3 returns at most a thousand, whatever is requested.
    assert_eq!(page(0, 5000).await, ((1..=1000).collect(), true));
    assert_eq!(page(1000, 1000).await, ((1001..=count).collect(), false));
    assert_eq!(page(500, 2).await, (vec![501, 502], true));
    assert_eq!(page(count - 2, 2).await, (vec![count - 1, count], false));
    assert_eq!(page(count, 10).await, (vec![], false));
    let all = stack.client.list_parts().bucket(&stack.bucket).key(key);
    let all = all.upload_id(&id).into_paginator().send();
    let pages = all.collect::<Result<Vec<_>, _>>().await.unwrap();
    assert_eq!(
        pages.iter().map(|page| page.parts().len()).sum::<usize>(),
        1003
    );
}

#[tokio::test]
async fn the_last_version_of_a_part_is_joined() {
    let stack = Stack::start().await;
    let key = "rejects/twice";
    let id = stack.begin(key).await;
    let first = stack.send_part(key, &id, 1, b"first".to_vec()).await;
    let complete = async |e_tag: &str| {
        let part = CompletedPart::builder().part_number(1).e_tag(e_tag).build();
        let parts = CompletedMultipartUpload::builder().parts(part).build();
        let complete = stack.client.complete_multipart_upload();
        let complete = complete.bucket(&stack.bucket).key(key).upload_id(&id);
        complete.multipart_upload(parts).send().await
    };
    let second = stack.send_part(key, &id, 1, b"other".to_vec()).await;
    let error = complete(&first).await.unwrap_err().into_service_error();
    assert_eq!(error.meta().code(), Some("InvalidPart"));
    complete(&second).await.unwrap();
    assert_eq!(stack.read(key).await, b"other");
}

#[tokio::test]
async fn an_upload_that_has_ended_leaves_nothing_on_disk() {
    let stack = Stack::start().await;
    let key = "uploads/given-up";
    let id = stack.begin(key).await;
    for number in 1..4 {
        stack.send_part(key, &id, number, vec![0; PART]).await;
    }
    // It is found by its object's name.
    let other = stack.client.list_parts().bucket(&stack.bucket);
    let other = other.key("uploads/other").upload_id(&id).send().await;
    assert_eq!(status(other), 404);
    let http = crate::http_client::builder().no_proxy().build().unwrap();
    let minute = PresigningConfig::expires_in(Duration::from_mins(1)).unwrap();
    let part = stack.client.upload_part().bucket(&stack.bucket).key(key);
    let part = part.upload_id(&id).part_number(4).content_length(10);
    let url = part.presigned(minute).await.unwrap().uri().to_owned();
    hang_up_within(&url).await;
    let there = stack.parts_after(key, &id, 0, 1000).await;
    assert_eq!(
        there,
        (vec![1, 2, 3], false),
        "an incomplete part is not stored"
    );
    let abort = stack.client.abort_multipart_upload().bucket(&stack.bucket);
    abort.key(key).upload_id(&id).send().await.unwrap();
    let late = http.put(&url).body("1234567890").send().await.unwrap();
    assert_eq!(late.status(), 404);
    assert!(late.text().await.unwrap().contains("NoSuchUpload"));
    assert_eq!(stack.files(), 0);
}

#[tokio::test]
async fn a_copy_is_conditional_on_the_e_tag_of_its_source() {
    let stack = Stack::start().await;
    let bucket = &stack.bucket;
    stack.put("rejects/part", b"line\n").await;
    let head = stack.client.head_object().bucket(bucket);
    let head = head.key("rejects/part").send().await.unwrap();
    let e_tag = head.e_tag().unwrap();
    for wanted in ["\"0123\"", e_tag] {
        let copies = stack
            .client
            .copy_object()
            .bucket(bucket)
            .key("rejects/copy");
        let whole = copies
            .copy_source(format!("{bucket}/rejects/part"))
            .copy_source_if_match(wanted)
            .send();
        let other = stack
            .client
            .create_multipart_upload()
            .bucket(bucket)
            .key("rejects/copy");
        let other = other.send().await.unwrap();
        let part = stack
            .client
            .upload_part_copy()
            .bucket(bucket)
            .key("rejects/copy")
            .upload_id(other.upload_id().unwrap())
            .part_number(1)
            .copy_source(format!("{bucket}/rejects/part"))
            .copy_source_range("bytes=1-2")
            .copy_source_if_match(wanted)
            .send();
        let codes = (
            whole.await.err().and_then(|e| e.code().map(str::to_owned)),
            part.await.err().and_then(|e| e.code().map(str::to_owned)),
        );
        let failed = (wanted != e_tag).then(|| "PreconditionFailed".to_owned());
        assert_eq!(codes, (failed.clone(), failed), "{wanted}");
    }
}

#[tokio::test]
async fn parts_can_be_copied_from_objects() {
    let stack = Stack::start().await;
    let bucket = &stack.bucket;
    stack.put("rejects/part", b"line\n").await;
    let key = "rejects/all";
    let create = stack
        .client
        .create_multipart_upload()
        .bucket(bucket)
        .key(key);
    let create = create.send().await.unwrap();
    let id = create.upload_id().unwrap();
    let copy = stack
        .client
        .upload_part_copy()
        .bucket(bucket)
        .key(key)
        .upload_id(id);
    let copy = copy
        .part_number(1)
        .copy_source(format!("{bucket}/rejects/part"));
    let copy = copy.send().await.unwrap();
    let e_tag = copy.copy_part_result().unwrap().e_tag().unwrap();
    let part = CompletedPart::builder().part_number(1).e_tag(e_tag).build();
    let parts = CompletedMultipartUpload::builder().parts(part).build();
    let complete = stack
        .client
        .complete_multipart_upload()
        .bucket(bucket)
        .key(key);
    complete
        .upload_id(id)
        .multipart_upload(parts)
        .send()
        .await
        .unwrap();
    assert_eq!(stack.read(key).await, b"line\n");
    let copy = stack
        .client
        .copy_object()
        .bucket(bucket)
        .key("uploads/copy");
    copy.copy_source(format!("{bucket}/{key}"))
        .send()
        .await
        .unwrap();
    assert_eq!(stack.events()[0]["eventName"], "ObjectCreated:Copy");
    let again = stack
        .client
        .create_multipart_upload()
        .bucket(bucket)
        .key(key);
    let again = again.send().await.unwrap();
    let abort = || {
        let abort = stack
            .client
            .abort_multipart_upload()
            .bucket(bucket)
            .key(key);
        abort.upload_id(again.upload_id().unwrap()).send()
    };
    abort().await.unwrap();
    assert_eq!(status(abort().await), 404);
}

#[tokio::test]
async fn presigned_urls_are_checked() {
    let stack = Stack::start().await;
    let http = crate::http_client::builder().no_proxy().build().unwrap();
    let minute = PresigningConfig::expires_in(Duration::from_mins(1)).unwrap();
    let put = stack
        .client
        .put_object()
        .bucket(&stack.bucket)
        .key("uploads/p.csv");
    let put = put.content_type("text/csv").content_length(5);
    let put = put.presigned(minute.clone()).await.unwrap();
    let send = |body: &'static str| {
        let mut request = http
            .put(put.uri())
            .body(body)
            .header("origin", "https://example.com");
        for (name, value) in put.headers().filter(|(name, _)| *name != "content-length") {
            request = request.header(name, value);
        }
        request
    };
    let answer = send("12345").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["access-control-allow-origin"], "*");
    assert_eq!(answer.headers()["access-control-expose-headers"], "ETag");
    assert_eq!(send("123456").send().await.unwrap().status(), 403);
    let both = send("12345")
        .header("authorization", "Basic x")
        .send()
        .await
        .unwrap();
    assert_eq!(both.status(), 400);
    assert_eq!(both.headers()["access-control-allow-origin"], "*");

    let get = stack
        .client
        .get_object()
        .bucket(&stack.bucket)
        .key("uploads/p.csv");
    let get = get.response_content_disposition("attachment; filename=\"r.csv\"");
    let url = get.clone().presigned(minute).await.unwrap();
    let answer = http.get(url.uri()).send().await.unwrap();
    assert_eq!(
        answer.headers()["content-disposition"],
        "attachment; filename=\"r.csv\""
    );
    assert_eq!(answer.headers()["content-type"], "text/csv");
    assert_eq!(answer.text().await.unwrap(), "12345");
    let past = std::time::SystemTime::now() - Duration::from_mins(2);
    let expired = PresigningConfig::builder().start_time(past);
    let expired = expired.expires_in(Duration::from_mins(1)).build().unwrap();
    let url = get.presigned(expired).await.unwrap();
    assert_eq!(http.get(url.uri()).send().await.unwrap().status(), 403);
    let unsigned = url.uri().split('?').next().unwrap().to_owned();
    assert_eq!(http.get(unsigned).send().await.unwrap().status(), 403);
}
