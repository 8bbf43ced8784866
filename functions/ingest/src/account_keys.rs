//! The ids of an account's members, in order, as its pages were read: compressed, so that a `replace` finds the absent
//! members without reading the account a second time.

use mpulse_shared::member::{ClientMemberId, Profile};

/// The largest list, in bytes. An id whose beginning is that of the one before needs three bytes and the rest.
pub const MAX_BYTES: usize = 192 << 20;

/// The ids of the members from the first one of the account.
#[derive(Debug)]
pub struct AccountKeys {
    /// Each id as the number of bytes that it shares with the one before, the number of the others (two bytes, little
    /// endian), and these.
    packed: Vec<u8>,
    last: String,
    most: usize,
}

impl AccountKeys {
    /// Creates an empty list of at most `most` bytes.
    pub fn new(most: usize) -> Self {
        Self {
            packed: Vec::new(),
            last: String::new(),
            most,
        }
    }

    /// Adds the members of the account's next page. Returns `false` if there is no room.
    pub fn add(&mut self, members: &[Profile]) -> bool {
        for profile in members {
            let id = profile.id.client_member_id.as_str();
            let shared = shared(&self.last, id);
            let rest = &id.as_bytes()[usize::from(shared)..];
            if self.packed.len() + rest.len() + 3 > self.most {
                return false;
            }
            self.packed.push(shared);
            let length = u16::try_from(rest.len()).unwrap_or(u16::MAX);
            self.packed.extend_from_slice(&length.to_le_bytes());
            self.packed.extend_from_slice(rest);
            id.clone_into(&mut self.last);
        }
        true
    }

    /// Returns up to `most` ids from a place of the list, and the place after them.
    pub fn some(&self, from: &Place, most: usize) -> (Vec<ClientMemberId>, Place) {
        let mut place = from.clone();
        let mut ids = Vec::new();
        while ids.len() < most
            && let Some(&[shared, low, high]) = self.packed.get(place.at..place.at + 3)
        {
            let begin = place.at + 3;
            let end = begin + usize::from(u16::from_le_bytes([low, high]));
            place.id.truncate(usize::from(shared));
            place.id.extend_from_slice(&self.packed[begin..end]);
            place.at = end;
            let id = String::from_utf8_lossy(&place.id).into_owned();
            ids.push(ClientMemberId::from_stored(id));
        }
        (ids, place)
    }
}

/// A place in the list.
#[derive(Debug, Clone, Default)]
pub struct Place {
    at: usize,
    /// The id before it.
    id: Vec<u8>,
}

/// Returns the number of bytes with which both begin, at most 255.
fn shared(a: &str, b: &str) -> u8 {
    let count = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    u8::try_from(count).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mpulse_shared::member::{AccountId, MemberId};
    use mpulse_shared::phone::Phone;

    fn profile(id: &str) -> Profile {
        Profile {
            id: MemberId {
                account_id: AccountId::from_stored("4".to_owned()),
                client_member_id: ClientMemberId::from_stored(id.to_owned()),
            },
            first_name: String::new(),
            last_name: String::new(),
            phone_number: Phone::from_stored(String::new()),
        }
    }

    #[test]
    fn ids_read_back_in_order() {
        let long = "x".repeat(256);
        let ids = [
            "1",
            "10",
            "100",
            "11",
            "Zoë",
            "Zoé",
            &long,
            &format!("{long}y"),
            "ü",
        ];
        let members: Vec<_> = ids.map(profile).into();
        let mut keys = AccountKeys::new(10_000);
        assert!(keys.add(&members[..2]));
        assert!(keys.add(&members[2..]));
        let (mut found, mut place) = (Vec::new(), Place::default());
        loop {
            let (some, next) = keys.some(&place, 4);
            if some.is_empty() {
                break;
            }
            found.extend(some.into_iter().map(|id| id.as_str().to_owned()));
            place = next;
        }
        assert_eq!(found, ids);
        assert!(!AccountKeys::new(10).add(&members));
    }
}
