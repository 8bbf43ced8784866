//! The storage of tables: keys and items as bytes, in keyspaces of an embedded store.

mod codec;
mod keys;
mod locks;
mod store;

pub(crate) use codec::{decode, encode};
pub(crate) use keys::{KeyRange, entry_key, item_key, item_key_of_entry, range_of, segment};
pub(crate) use locks::{HeldKeys, KeyLocks};
pub(crate) use store::{Batch, Store};
