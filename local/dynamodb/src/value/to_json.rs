//! Writes values and items as the protocol's JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use super::{Item, Number, Value};

impl Serialize for Item {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for (name, value) in self.iter() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        let name = self.type_name();
        match self {
            Self::S(text) => map.serialize_entry(name, text)?,
            Self::N(number) => map.serialize_entry(name, &AsText(number))?,
            Self::B(bytes) => map.serialize_entry(name, &STANDARD.encode(bytes))?,
            Self::Bool(value) => map.serialize_entry(name, value)?,
            Self::Null => map.serialize_entry(name, &true)?,
            Self::L(values) => map.serialize_entry(name, values)?,
            Self::M(item) => map.serialize_entry(name, item)?,
            Self::Ss(texts) => map.serialize_entry(name, texts)?,
            Self::Ns(numbers) => map.serialize_entry(name, &Numbers(numbers))?,
            Self::Bs(all) => map.serialize_entry(name, &Binaries(all))?,
        }
        map.end()
    }
}

struct AsText<'a>(&'a Number);

impl Serialize for AsText<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self.0)
    }
}

struct Numbers<'a>(&'a [Number]);

impl Serialize for Numbers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for number in self.0 {
            list.serialize_element(&AsText(number))?;
        }
        list.end()
    }
}

struct Binaries<'a>(&'a [Vec<u8>]);

impl Serialize for Binaries<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for bytes in self.0 {
            list.serialize_element(&STANDARD.encode(bytes))?;
        }
        list.end()
    }
}
