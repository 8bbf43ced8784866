//! The body of a request: its bytes, decompressed if the client compressed it (`Content-Encoding: gzip`).

use std::io::Read;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use lambda_http::http::header::CONTENT_ENCODING;
use lambda_http::{Body, Request};

use crate::problem::Problem;

/// Returns the bytes of a body.
#[must_use]
pub fn bytes(body: Body) -> Bytes {
    match body {
        Body::Text(text) => Bytes::from(text),
        Body::Binary(bytes) => Bytes::from(bytes),
        _ => Bytes::new(),
    }
}

/// Returns the request with its body as it was before the client compressed it, of at most `max` bytes. A body that is not
/// compressed is returned as it is.
///
/// # Errors
/// Returns 400 if the body is not what `Content-Encoding` says, 413 if it is larger, and 415 if the coding is not supported.
pub fn decompressed(mut request: Request, max: usize) -> Result<Request, Problem> {
    let coding = request.headers_mut().remove(CONTENT_ENCODING);
    let coding = coding
        .as_ref()
        .map_or("", |value| value.to_str().unwrap_or("?"));
    // `x-gzip` is another name of `gzip` (RFC 9110, 8.4.1.3).
    match coding.trim().to_ascii_lowercase().as_str() {
        "" | "identity" => {}
        "gzip" | "x-gzip" => {
            let (head, body) = request.into_parts();
            let body = Body::Binary(gunzip(&body, max)?);
            request = Request::from_parts(head, body);
        }
        _ => return Err(Problem::content_coding()),
    }
    Ok(request)
}

fn gunzip(body: &[u8], max: usize) -> Result<Vec<u8>, Problem> {
    let mut decoded = Vec::new();
    if body.is_empty() {
        return Ok(decoded);
    }
    // One byte more than allowed shows that there is more, whatever the rest of a bomb is.
    let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    let mut reader = MultiGzDecoder::new(body).take(limit);
    reader.read_to_end(&mut decoded).map_err(|error| {
        Problem::malformed_body(format!(
            "The body is not gzip, although Content-Encoding says so: {error}."
        ))
    })?;
    if decoded.len() > max {
        return Err(Problem::too_large(format!(
            "The body has more than {max} bytes when it is decompressed, the maximum."
        )));
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn read(coding: &str, body: Vec<u8>) -> Result<Bytes, u16> {
        let request = lambda_http::http::Request::post("/")
            .header(CONTENT_ENCODING, coding)
            .body(Body::Binary(body))
            .unwrap();
        match decompressed(request, 1000) {
            Ok(request) => {
                assert!(!request.headers().contains_key(CONTENT_ENCODING));
                Ok(bytes(request.into_body()))
            }
            Err(problem) => Err(problem.into_response().status().as_u16()),
        }
    }

    #[test]
    fn gzip_is_decompressed_within_the_limit() {
        for coding in ["gzip", "GZip", "x-gzip"] {
            assert_eq!(read(coding, gzip(b"abc")).unwrap(), "abc", "{coding}");
        }
        let two = [gzip(b"abc"), gzip(b"def")].concat();
        assert_eq!(read("gzip", two).unwrap(), "abcdef");
        assert_eq!(read("gzip", gzip(&[b'x'; 1000])).unwrap().len(), 1000);
        assert_eq!(read("gzip", gzip(&[b'x'; 1001])), Err(413));
        assert_eq!(read("gzip", gzip(&vec![b'x'; 10_000_000])), Err(413));
        assert_eq!(read("gzip", Vec::new()).unwrap(), "");
    }

    #[test]
    fn other_bodies_and_codings() {
        for coding in ["", "identity"] {
            assert_eq!(read(coding, b"abc".to_vec()).unwrap(), "abc");
        }
        for coding in ["br", "deflate", "gzip, gzip", "zstd"] {
            assert_eq!(read(coding, gzip(b"abc")), Err(415), "{coding}");
        }
        let mut cut = gzip(b"abc");
        cut.truncate(15);
        for damaged in [cut, b"abc".to_vec()] {
            assert_eq!(read("gzip", damaged), Err(400));
        }
    }
}
