//! Workbooks: the XML of their parts, in an archive that is whole, so that mutations reach the cells. The parts of an input
//! are separated by lines of three hyphens: the sheet, the shared texts, the styles, and the list of sheets.

use std::io::{Cursor, Write};

use ingest::fuzz;
use mpulse_shared::batch::{Container, FileFormat};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::files::rows_of;
use crate::pieces::choice;

const SEPARATOR: &str = "\n---\n";

/// The parts that an input has, and what takes the place of those that it lacks.
const PARTS: [(&str, &str); 4] = [
    ("xl/worksheets/sheet1.xml", ""),
    ("xl/sharedStrings.xml", "<sst/>"),
    (
        "xl/styles.xml",
        r#"<styleSheet><cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs></styleSheet>"#,
    ),
    (
        "xl/workbook.xml",
        r#"<workbook xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets><sheet name="a" sheetId="1" r:id="rId1"/></sheets></workbook>"#,
    ),
];

const ROOT: &str = r#"<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="xl/workbook.xml"/></Relationships>"#;

const RELATIONSHIPS: &str = r#"<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet1.xml"/><Relationship Id="rId2" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/styles" Target="styles.xml"/><Relationship Id="rId3" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/sharedStrings" Target="sharedStrings.xml"/></Relationships>"#;

/// The cells are UTF-8 text, and their rows are read as those of any file.
pub fn workbook(input: &[u8]) {
    let (seed, input) = choice(input);
    let text = String::from_utf8_lossy(input);
    let mut given = text.split(SEPARATOR);
    let parts = PARTS.map(|(name, default)| (name, given.next().unwrap_or(default)));
    let rels = [
        ("_rels/.rels", ROOT),
        ("xl/_rels/workbook.xml.rels", RELATIONSHIPS),
    ];
    let file = archive(parts.into_iter().chain(rels));
    let Ok((container, content)) = fuzz::unpacked(&file, None) else {
        return;
    };
    assert_eq!(container, Container::Workbook);
    std::str::from_utf8(&content).expect("the text of a workbook");
    rows_of(seed, container, &content, &FileFormat::default());
}

fn archive<'a>(parts: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, content) in parts {
        archive.start_file(name, options).expect("a part");
        archive.write_all(content.as_bytes()).expect("its content");
    }
    archive.finish().expect("an archive").into_inner()
}
