//! How to read the file, as the arguments say; and the file compressed before it is sent.

use std::fs::File;
use std::io;
use std::path::Path;

use clap::Args;
use flate2::Compression;
use flate2::write::GzEncoder;
use mpulse_shared::member::Field;
use serde_json::{Map, Value, json};
use tempfile::NamedTempFile;

use crate::client::Format;

/// The arguments about the form of the file.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Form of the file")]
pub struct FormatArgs {
    /// The field of a column, such as `Handy=phone_number`; without a field, `Notes=`, the column is not used.
    /// Repeat it for further columns
    #[arg(long = "column", value_name = "NAME=FIELD", value_parser = column)]
    columns: Vec<(String, Option<Field>)>,

    /// The file has no header: the field of each column, in order, and "-" for a column that is not used
    #[arg(
        long,
        value_name = "FIELD,…",
        value_delimiter = ',',
        value_parser = field_or_unused,
        conflicts_with = "columns"
    )]
    no_header: Vec<Unused>,

    /// The country of phone numbers without a country code, such as GB
    #[arg(long, value_name = "COUNTRY")]
    region: Option<String>,

    /// The charset, unless the file is UTF-8 or UTF-16: windows-1252, big5, …
    #[arg(long, value_name = "CHARSET")]
    encoding: Option<String>,

    /// The sheet of a workbook, unless it is the first visible one
    #[arg(long, value_name = "NAME")]
    sheet: Option<String>,

    /// Read all rows, even if nearly all of the first ones are rejected for one reason
    #[arg(long)]
    read_all: bool,

    /// Compress the file before it is sent
    #[arg(long)]
    pub gzip: bool,
}

/// The field of a column, or none.
#[derive(Debug, Clone, Copy)]
struct Unused(Option<Field>);

impl FormatArgs {
    /// Returns the fields of the request.
    pub fn request(&self) -> Format {
        let columns = if self.no_header.is_empty() {
            let by_name: Map<String, Value> = self
                .columns
                .iter()
                .map(|(name, field)| (name.clone(), json!(field)))
                .collect();
            (!by_name.is_empty()).then_some(Value::Object(by_name))
        } else {
            Some(
                self.no_header
                    .iter()
                    .map(|unused| json!(unused.0))
                    .collect(),
            )
        };
        Format {
            columns,
            header: (!self.no_header.is_empty()).then_some(false),
            default_region: self.region.clone(),
            encoding: self.encoding.clone(),
            sheet: self.sheet.clone(),
            stop_early: self.read_all.then_some(false),
        }
    }
}

/// Compresses a file into a temporary one, which is deleted when it is dropped. The same file always has the same
/// result, so an upload in parts can be resumed.
///
/// # Errors
/// Returns the error of reading or writing.
pub fn compress(path: &Path) -> io::Result<NamedTempFile> {
    let compressed = NamedTempFile::new()?;
    let mut encoder = GzEncoder::new(io::BufWriter::new(&compressed), Compression::default());
    io::copy(&mut File::open(path)?, &mut encoder)?;
    encoder
        .finish()?
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?;
    Ok(compressed)
}

fn column(text: &str) -> Result<(String, Option<Field>), String> {
    let (name, field) = text
        .rsplit_once('=')
        .ok_or("must be NAME=FIELD, such as \"Handy=phone_number\"")?;
    let field = match field.trim() {
        "" => None,
        field => Some(self::field(field)?),
    };
    Ok((name.to_owned(), field))
}

fn field_or_unused(text: &str) -> Result<Unused, String> {
    match text.trim() {
        "-" | "" => Ok(Unused(None)),
        name => field(name).map(|field| Unused(Some(field))),
    }
}

fn field(name: &str) -> Result<Field, String> {
    Field::ALL
        .into_iter()
        .find(|field| field.name() == name)
        .ok_or_else(|| {
            let names = Field::ALL.map(Field::name).join(", ");
            format!("{name:?} is not a field; the fields are {names}")
        })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        format: FormatArgs,
    }

    fn request(args: &[&str]) -> Result<Value, clap::Error> {
        let command = Command::try_parse_from([&["x"], args].concat())?;
        Ok(json!(command.format.request()))
    }

    #[test]
    fn arguments_become_fields_of_the_request() {
        assert_eq!(request(&[]).unwrap(), json!({}));
        assert_eq!(
            request(&["--column", "Handy=phone_number", "--column", "a=b="]).unwrap(),
            json!({"columns": {"Handy": "phone_number", "a=b": null}})
        );
        assert_eq!(
            request(&["--no-header", "account_id,-,phone_number", "--read-all"]).unwrap(),
            json!({"columns": ["account_id", null, "phone_number"], "header": false, "stop_early": false})
        );
        assert!(request(&["--column", "Handy=phone"]).is_err());
        assert!(request(&["--column", "Handy"]).is_err());
        assert!(request(&["--no-header", "-", "--column", "a="]).is_err());
    }
}
