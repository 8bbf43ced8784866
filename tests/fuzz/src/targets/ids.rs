//! Ids, cursors and credentials: what is written is read as it was, and what is read is written as it was.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lambda_http::http::Request;
use lambda_http::http::header::{AUTHORIZATION, HeaderValue};
use mpulse_shared::access;
use mpulse_shared::batch::BatchId;
use mpulse_shared::columns;
use mpulse_shared::http::cursor;
use mpulse_shared::key::KeyId;
use mpulse_shared::member::{AccountId, ClientMemberId, MemberId};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Ids of members, batches and keys, and names of columns.
pub fn id(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    if let Ok(id) = text.parse::<MemberId>() {
        check_member_id(&id);
    }
    if let (Ok(account_id), Ok(client_member_id)) =
        (AccountId::parse("4"), ClientMemberId::parse(text))
    {
        check_member_id(&MemberId {
            account_id,
            client_member_id,
        });
    }
    if let Ok(id) = text.parse::<BatchId>() {
        assert_eq!(id.as_str().parse::<BatchId>().as_ref(), Ok(&id));
        assert_eq!(BatchId::from_upload_key(&id.upload_key()), Some(id));
    }
    if let Some(id) = BatchId::from_upload_key(text) {
        assert_eq!(BatchId::from_upload_key(&id.upload_key()), Some(id));
    }
    if let Ok(id) = text.parse::<KeyId>() {
        assert_eq!(id.as_str(), text);
    }
    assert_eq!(columns::field(&columns::plain(text)), columns::field(text));
}

/// A public id is read from its text, and from that encoded once more or decoded once.
fn check_member_id(id: &MemberId) {
    let token = id.to_string();
    let encoded = utf8_percent_encode(&token, NON_ALPHANUMERIC).to_string();
    let decoded = percent_decode_str(&token).decode_utf8().expect("UTF-8");
    for text in [token.as_str(), &encoded, &decoded] {
        assert_eq!(text.parse::<MemberId>().as_ref(), Ok(id), "{text}");
    }
}

/// Cursors: a position and a list, in two lines.
pub fn cursor(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let (position, list) = text.split_once('\n').unwrap_or((text, ""));
    let cursor = cursor::encode(position, list);
    assert_eq!(cursor::decode(&cursor, list).as_deref(), Some(position));
    assert_eq!(cursor::decode(&cursor, &format!("{list}x")), None);
    if let Some(position) = cursor::decode(text, "") {
        assert_eq!(cursor::encode(&position, ""), text);
    }
}

/// The Authorization header: any, and that of an id and a secret.
pub fn credentials(input: &[u8]) {
    let read = |header: HeaderValue| {
        let request = Request::builder().header(AUTHORIZATION, header);
        let request = request.body(lambda_http::Body::Empty).expect("a request");
        access::credentials(&request)
    };
    if let Ok(header) = HeaderValue::from_bytes(input)
        && let Ok(found) = read(header)
    {
        let (id, _) = found.expect("the request has the header");
        assert!(!id.contains(':'));
    }
    let text = String::from_utf8_lossy(input);
    let encoded = format!("Basic {}", STANDARD.encode(text.as_bytes()));
    let header = HeaderValue::try_from(encoded).expect("a header");
    match (read(header), text.split_once(':')) {
        (Ok(Some((id, secret))), Some(expected)) => assert_eq!((&*id, secret.reveal()), expected),
        (Err(_), None) => {}
        _ => panic!("{text:?}"),
    }
}
