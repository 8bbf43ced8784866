//! The files of the console: those in `pages/`, and one generated from the tables that ingest reads
//! headers by, so that the preview of a file agrees with its processing.

use std::borrow::Cow;

use mpulse_shared::columns::{DELIMITERS, aliases};
use mpulse_shared::http::conditional::etag_of;
use mpulse_shared::member::Field;
use serde_json::json;

/// The page, which loads the others.
pub const PAGE: &str = "index.html";

/// The generated file of columns and delimiters.
const COLUMNS: &str = "columns.js";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! pages {
    ($($name:literal: $media_type:expr),* $(,)?) => {
        [$(($name, $media_type, include_str!(concat!("../pages/", $name)))),*]
    };
}

/// The files that are served unchanged.
const PAGES: [(&str, &str, &str); 22] = pages! {
    "index.html": HTML,
    "console.css": CSS,
    "api.js": SCRIPT,
    "app.js": SCRIPT,
    "batches.js": SCRIPT,
    "changes.js": SCRIPT,
    "choose.js": SCRIPT,
    "csv.js": SCRIPT,
    "decode.js": SCRIPT,
    "dom.js": SCRIPT,
    "header.js": SCRIPT,
    "keys.js": SCRIPT,
    "mapping.js": SCRIPT,
    "members.js": SCRIPT,
    "plan.js": SCRIPT,
    "preview.js": SCRIPT,
    "report.js": SCRIPT,
    "send.js": SCRIPT,
    "transfer.js": SCRIPT,
    "watch.js": SCRIPT,
    "workbook.js": SCRIPT,
    "zip.js": SCRIPT,
};

/// A file to serve.
#[derive(Debug)]
pub struct File {
    name: &'static str,
    /// Its media type.
    pub media_type: &'static str,
    /// Its text.
    pub content: Cow<'static, str>,
    /// Its `ETag`, which differs in every version.
    pub tag: String,
}

/// All files.
#[derive(Debug)]
pub struct Files(Vec<File>);

impl Files {
    /// Returns the files of this build.
    #[must_use]
    pub fn new() -> Self {
        let pages = PAGES.map(|(name, media_type, text)| (name, media_type, Cow::from(text)));
        let made = (COLUMNS, SCRIPT, Cow::from(columns()));
        let files = pages.into_iter().chain([made]);
        Self(
            files
                .map(|(name, media_type, content)| File {
                    name,
                    media_type,
                    tag: etag_of([&*content]),
                    content,
                })
                .collect(),
        )
    }

    /// Returns a file by name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&File> {
        self.0.iter().find(|file| file.name == name)
    }
}

impl Default for Files {
    fn default() -> Self {
        Self::new()
    }
}

/// The fields of a member with their labels and aliases, and the delimiters.
fn columns() -> String {
    let columns: Vec<_> = Field::ALL
        .into_iter()
        .map(
            |field| json!({"name": field.name(), "label": label(field), "aliases": aliases(field)}),
        )
        .collect();
    let delimiters: Vec<char> = DELIMITERS.map(char::from).to_vec();
    format!(
        "// Generated from the tables that the server reads files by.\nexport const COLUMNS = {};\n\
         export const DELIMITERS = {};\n",
        json!(columns),
        json!(delimiters)
    )
}

fn label(field: Field) -> &'static str {
    match field {
        Field::AccountId => "Account",
        Field::ClientMemberId => "Client id",
        Field::FirstName => "First name",
        Field::LastName => "Last name",
        Field::PhoneNumber => "Phone",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The maximum size of the whole console, in bytes.
    const MOST: usize = 135_000;

    #[test]
    fn all_of_it_is_light() {
        let bytes: usize = Files::new().0.iter().map(|file| file.content.len()).sum();
        assert!(bytes < MOST, "{bytes}");
    }

    #[test]
    fn every_file_is_served_and_every_referenced_file_exists() {
        let files = Files::new();
        let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/pages")).unwrap();
        for entry in folder {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(files.get(&name).is_some(), "{name}");
        }
        for file in &files.0 {
            let named = file.content.split(['"', '\'']).filter_map(|text| {
                text.strip_prefix("./")
                    .or_else(|| text.strip_prefix("/assets/"))
            });
            for name in named {
                assert!(files.get(name).is_some(), "{} names {name}", file.name);
            }
        }
    }

    #[test]
    fn no_page_contains_script_or_style_that_the_policy_forbids() {
        let page = &Files::new().get(PAGE).unwrap().content.to_lowercase();
        for forbidden in ["<style", " style=", " onclick=", "<script>", "javascript:"] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
        assert_eq!(page.matches("<script").count(), 1);
    }
}
