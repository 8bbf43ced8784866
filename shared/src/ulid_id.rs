//! Ids of records: ULIDs, so that they sort by creation time.

/// Defines the conversions of an id that is a newtype of its text.
macro_rules! ulid_id {
    ($type:ident, $invalid:ident) => {
        impl $type {
            /// Generates an id, greater than those of earlier milliseconds.
            #[must_use]
            pub fn generate() -> Self {
                Self(ulid::Ulid::generate().to_string())
            }

            /// Returns the id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::str::FromStr for $type {
            type Err = $invalid;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let id = ulid::Ulid::from_string(text).map_err(|_| $invalid)?;
                Ok(Self(id.to_string()))
            }
        }

        impl TryFrom<String> for $type {
            type Error = $invalid;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(id: $type) -> Self {
                id.0
            }
        }
    };
}

pub(crate) use ulid_id;
