//! How to read the file of a batch, as the client that creates the batch says. All of it is optional: most
//! files are recognised by their content.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::member::Field;

/// The settings by which a file is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFormat {
    /// The fields of columns, instead of those that their names mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Columns>,
    /// Whether the file has a header. Without one, `columns` has a field for each column.
    pub header: bool,
    /// The country of phone numbers without a country code, instead of the deployment's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_region: Option<String>,
    /// The charset: a label of the WHATWG Encoding Standard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// The sheet of a workbook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sheet: Option<String>,
    /// Whether the batch fails if nearly all of its first rows are rejected for one reason.
    pub stop_early: bool,
}

/// The fields of columns; `None` ignores a column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Columns {
    /// By the name in the header, in any notation.
    ByName(BTreeMap<String, Option<Field>>),
    /// One for each column, in order.
    InOrder(Vec<Option<Field>>),
}

impl Default for FileFormat {
    fn default() -> Self {
        Self {
            columns: None,
            header: true,
            default_region: None,
            encoding: None,
            sheet: None,
            stop_early: true,
        }
    }
}

impl FileFormat {
    /// Returns whether nothing is set.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Fills what is not set from the format of the parent's file: a corrected report has its columns, and a
    /// header, and is UTF-8.
    pub fn inherit(&mut self, parent: &Self) {
        let is_by_name = matches!(parent.columns, Some(Columns::ByName(_)));
        if self.columns.is_none() && self.header && is_by_name {
            self.columns.clone_from(&parent.columns);
        }
        if self.default_region.is_none() {
            self.default_region.clone_from(&parent.default_region);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_an_object_or_an_array() {
        let by_name: Columns =
            serde_json::from_str(r#"{"Handy": "phone_number", "Notiz": null}"#).unwrap();
        assert!(matches!(by_name, Columns::ByName(map) if map.len() == 2));
        let in_order: Columns = serde_json::from_str(r#"["phone_number", null]"#).unwrap();
        assert_eq!(
            in_order,
            Columns::InOrder(vec![Some(Field::PhoneNumber), None])
        );
        assert!(serde_json::from_str::<Columns>(r#"["phone"]"#).is_err());
    }

    #[test]
    fn a_corrected_report_inherits_its_columns_and_region() {
        let parent = FileFormat {
            columns: Some(Columns::ByName(BTreeMap::from([("a".into(), None)]))),
            default_region: Some("GB".into()),
            encoding: Some("windows-1252".into()),
            ..FileFormat::default()
        };
        let mut child = FileFormat::default();
        child.inherit(&parent);
        assert_eq!(child.columns, parent.columns);
        assert_eq!(child.default_region, parent.default_region);
        assert_eq!(child.encoding, None);
    }
}
