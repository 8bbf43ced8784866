use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use mpulse_shared::batch::BatchId;
use mpulse_shared::run::Guard;
use mpulse_shared::setup::Setup;

use super::super::Kind;
use super::*;

const MIB: u64 = 1 << 20;

fn part(from: u64, run: u32, to: Option<u64>) -> Part {
    let span = Span { from, run, to };
    Part { span, bytes: 1 }
}

#[test]
fn a_part_of_several_windows_takes_the_place_of_theirs() {
    let segments = [
        Segment {
            run: 1,
            from: 0,
            to: 30,
        },
        Segment {
            run: 2,
            from: 30,
            to: 60,
        },
    ];
    let parts = vec![
        part(0, 1, None),
        part(10, 1, None),
        part(0, 1, Some(20)),
        part(20, 1, None),
        // The run was killed before it could save that.
        part(20, 1, Some(40)),
        part(30, 1, None),
        part(30, 2, None),
        part(30, 2, Some(50)),
        part(50, 2, None),
    ];
    let spans: Vec<_> = belonging(parts, &segments)
        .into_iter()
        .map(|part| (part.span.from, part.span.run, part.span.to))
        .collect();
    assert_eq!(
        spans,
        [
            (0, 1, Some(20)),
            (20, 1, None),
            (30, 2, Some(50)),
            (50, 2, None)
        ]
    );
}

#[test]
fn large_parts_are_copied_and_small_ones_are_put_together() {
    let piece = |from: u64, to: u64, copy| Piece { from, to, copy };
    let of = |parts: &[u64]| plan(1, parts.iter().copied(), 8 * MIB);
    assert_eq!(of(&[3]), [piece(0, 4, None)]);
    // The header is too short for a piece: the first part is read.
    let large = 9 * MIB;
    assert_eq!(
        of(&[large, large, 7]),
        [
            piece(0, 1 + large, None),
            piece(1 + large, 1 + 2 * large, Some(1)),
            piece(1 + 2 * large, 8 + 2 * large, None),
        ]
    );
    // Small parts make pieces of the same size; their rest is a piece if it is large enough.
    let pieces = of(&[4 * MIB, 4 * MIB, 5 * MIB - 1, large, 4 * MIB, large]);
    assert_eq!(
        pieces,
        [
            piece(0, 4 * MIB + 1 + 4 * MIB - 1, None),
            piece(8 * MIB, 13 * MIB, None),
            piece(13 * MIB, 22 * MIB, Some(3)),
            piece(22 * MIB, 35 * MIB, None),
        ]
    );
    for pieces in [pieces, of(&[large; 4])] {
        let (last, others) = pieces.split_last().unwrap();
        assert!(
            others
                .iter()
                .all(|piece| piece.to - piece.from >= SMALLEST_PIECE)
        );
        assert!(pieces.windows(2).all(|pair| pair[0].to == pair[1].from));
        assert!(last.to > last.from);
    }
}

/// Reads a request, and returns its line and headers in lower case.
fn head_of(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    while !request.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "the request is complete");
        request.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8_lossy(&request).to_lowercase()
}

#[tokio::test]
async fn neither_the_creation_of_an_upload_nor_its_pieces_have_a_checksum() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let vars = [
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", "id".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "secret".to_owned()),
        (
            "AWS_ENDPOINT_URL_S3",
            format!("http://{}", listener.local_addr().unwrap()),
        ),
    ];
    let vars: HashMap<_, _> = vars.map(|(name, value)| (name.to_owned(), value)).into();
    let service = std::thread::spawn(move || {
        let body =
            "<InitiateMultipartUploadResult><UploadId>7</UploadId></InitiateMultipartUploadResult>";
        [body, ""].map(|body| {
            let (mut stream, _) = listener.accept().unwrap();
            let head = head_of(&mut stream);
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 200 OK\r\netag: \"e\"\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
            );
            stream.write_all(answer.as_bytes()).unwrap();
            head
        })
    });
    let report = Report::new(
        Setup::new(vars).s3().unwrap(),
        "files".to_owned(),
        BatchId::generate(),
        Kind::Rejects,
        Guard::new(Guard::now(), Instant::now() + Duration::from_mins(1)),
        Duration::from_millis(1),
    );
    let piece = |from, to| Piece {
        from,
        to,
        copy: None,
    };
    let mut join = Join {
        report,
        header: Bytes::from_static(b"line\nmore\n"),
        parts: Vec::new(),
        starts: Vec::new(),
        total: 10,
        pieces: vec![piece(0, 5), piece(5, 10)],
        upload: None,
        sent: Vec::new(),
    };
    join.open(None).await.unwrap();
    assert!(join.send_piece().await.unwrap());
    let [created, sent] = service.join().unwrap();
    assert!(created.starts_with("post /files/rejects/"), "{created}");
    assert!(sent.starts_with("put /files/rejects/"), "{sent}");
    assert!(sent.contains("\r\ncontent-length: 5\r\n"), "{sent}");
    // The SHA-256 of the content is signed.
    let signed = "\r\nx-amz-content-sha256: c73b73af8851e9e91bc6b4dc12e7dace0a2bfb931c1d0b8b36ef367319f58cd1\r\n";
    assert!(sent.contains(signed), "{sent}");
    for head in [created, sent] {
        assert!(!head.contains("checksum"), "{head}");
        assert!(!head.contains("streaming"), "{head}");
    }
}
