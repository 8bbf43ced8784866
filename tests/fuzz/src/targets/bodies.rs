//! The bodies of requests: forms and JSON, compressed or not.

use std::io::Write;

use create_batch::request;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::FutureExt;
use lambda_http::Body;
use lambda_http::http::Request;
use lambda_http::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use mpulse_shared::http::fields::Fields;
use mpulse_shared::http::form;

use crate::pieces::choice;

const MEDIA_TYPES: [&str; 4] = [
    "application/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/merge-patch+json; charset=utf-8",
];

/// The largest file that may be announced, as in the template.
const MAX_SIZE: u64 = 100 * 1024 * 1024 * 1024;

/// Reads the fields of a body; `None` if they are not valid.
fn fields(media_type: &str, coding: &str, body: Vec<u8>) -> Option<Fields> {
    let request = Request::post("/")
        .header(CONTENT_TYPE, media_type)
        .header(CONTENT_ENCODING, coding)
        .body(Body::Binary(body))
        .expect("a request");
    let read = form::fields(request).now_or_never();
    read.expect("the body is in memory").ok()
}

/// The fields of a form. They are read from a compressed body too, and from each media type alike.
pub fn form(input: &[u8]) {
    let (seed, body) = choice(input);
    let media_type = MEDIA_TYPES[usize::from(seed) % MEDIA_TYPES.len()];
    let read = fields(media_type, "", body.to_vec());
    if seed & 4 == 4 {
        assert_eq!(fields(media_type, "gzip", gzip(body)), read);
        let _ = fields(media_type, "gzip", body.to_vec());
    }
    let Some(read) = read else {
        return;
    };
    let json = serde_json::to_vec(&read).expect("JSON");
    if json.len() <= form::MAX_BYTES {
        assert_eq!(fields(MEDIA_TYPES[0], "", json).as_ref(), Some(&read));
    }
    let encoded: String = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(&read)
        .finish();
    if read.len() <= 100 && encoded.len() <= form::MAX_BYTES {
        let encoded = fields(MEDIA_TYPES[1], "", encoded.into_bytes());
        assert_eq!(encoded.as_ref(), Some(&read));
    }
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).expect("memory");
    encoder.finish().expect("memory")
}

/// The JSON of a request that creates a batch.
pub fn batch_request(body: &[u8]) {
    let Ok(fields) = form::json_fields(body, request::NOT_TEXT) else {
        return;
    };
    match request::parse(fields, MAX_SIZE) {
        Ok(request) => {
            assert!(request.size.is_none_or(|size| size <= MAX_SIZE));
            let _ = request::whole(&request);
        }
        Err(errors) => assert!(!errors.is_empty()),
    }
}
