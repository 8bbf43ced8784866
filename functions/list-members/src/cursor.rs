//! Where a page ended, as a text that clients hand back and needn't understand. It begins
//! with a version, so that its content can change.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mpulse_shared::phone::Phone;
use mpulse_shared::store::members::After;

/// What the text begins with before it is encoded.
const VERSION: &str = "1";

/// The cursor that goes on after that member.
pub fn encode(after: &After) -> String {
    URL_SAFE_NO_PAD.encode(format!("{VERSION} {} {}", after.id, after.phone_number))
}

/// Reads a cursor back; `None` where it is none of ours.
pub fn decode(text: &str) -> Option<After> {
    let decoded = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    let mut parts = decoded.split(' ');
    let (version, id, phone) = (parts.next()?, parts.next()?, parts.next()?);
    let digits = phone.strip_prefix('+')?;
    let well_formed = version == VERSION
        && parts.next().is_none()
        && !digits.is_empty()
        && digits.bytes().all(|b| b.is_ascii_digit());
    well_formed.then_some(After {
        id: id.parse().ok()?,
        phone_number: Phone::from_stored(phone.to_owned()),
    })
}
