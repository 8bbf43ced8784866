//! Generates the page of the API's contract from openapi.yaml: one HTML file without scripts and
//! external resources.

use std::error::Error;
use std::path::Path;
use std::{env, fs};

#[path = "build/html.rs"]
mod html;
#[path = "build/page.rs"]
mod page;
#[path = "build/schema.rs"]
mod schema;
#[path = "build/tree.rs"]
mod tree;

/// The contract, relative to this crate's folder.
const CONTRACT: &str = "../../openapi.yaml";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={CONTRACT}");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    let text = fs::read_to_string(CONTRACT)?;
    let page = tree::read(&text, page::render)?;
    let out = env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?;
    fs::write(Path::new(&out).join("docs.html"), page)?;
    Ok(())
}
