//! Screen sizes, colour schemes, and where pictures go.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// A screen size and colour scheme.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// In CSS pixels.
    pub screen: (u32, u32),
    /// Whether the colour scheme is dark.
    pub dark: bool,
}

impl Default for Look {
    fn default() -> Self {
        Self {
            screen: WIDE,
            dark: false,
        }
    }
}

/// A wide and a narrow screen, in CSS pixels.
pub const WIDE: (u32, u32) = (960, 560);

/// The narrowest supported width.
pub const NARROW: (u32, u32) = (360, 600);

/// The folder of pictures: `PICTURES`, or below target/.
pub fn pictures() -> PathBuf {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/pictures");
    let folder = env::var_os("PICTURES").map_or(default, PathBuf::from);
    fs::create_dir_all(&folder).expect("a folder");
    folder
}
