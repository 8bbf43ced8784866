//! How a file is divided into the parts of an S3 multipart upload: S3's limits, and the numbers,
//! offsets and sizes that follow from them. No I/O.

use serde::{Deserialize, Serialize};

const MIB: u64 = 1024 * 1024;

/// Bytes of a part, unless a file would need too many of them. S3 requires at least 5 MiB for all
/// parts except the last.
pub const PART_BYTES: u64 = 8 * MIB;

/// The maximum number of parts of an upload (an S3 limit).
pub const MAX_PARTS: u64 = 10_000;

/// Returns the size of the parts of a file: [`PART_BYTES`], or as many whole MiB as keep their
/// number within [`MAX_PARTS`].
#[must_use]
pub fn part_size(file: u64) -> u64 {
    PART_BYTES.max(file.div_ceil(MAX_PARTS).div_ceil(MIB) * MIB)
}

/// How a file is divided into parts. Parts are numbered from 1, as in S3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartLayout {
    /// The size of the file in bytes.
    pub file: u64,
    /// The size of every part except the last, in bytes.
    pub part_size: u64,
}

impl PartLayout {
    /// Returns the number of parts: at least one, which may be empty.
    #[must_use]
    pub fn count(self) -> u64 {
        self.file.div_ceil(self.part_size.max(1)).max(1)
    }

    /// Returns the part of a number, if it exists.
    #[must_use]
    pub fn part(self, number: u64) -> Option<Part> {
        if !(1..=self.count()).contains(&number) {
            return None;
        }
        let offset = (number - 1) * self.part_size;
        Some(Part {
            number,
            offset,
            size: self.part_size.min(self.file - offset),
        })
    }

    /// Returns up to `max` parts, starting with the part `number`.
    pub fn parts_from(self, number: u64, max: u64) -> impl Iterator<Item = Part> {
        (number..number.saturating_add(max)).map_while(move |number| self.part(number))
    }
}

/// One part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Its number, from 1.
    pub number: u64,
    /// Its offset in the file, in bytes.
    pub offset: u64,
    /// Its size in bytes.
    pub size: u64,
}

/// The multipart upload of a batch's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Multipart {
    /// Its id in S3.
    pub upload_id: String,
    /// The size of every part except the last, in bytes.
    pub part_size: u64,
}

/// Formats sorted numbers for people, with consecutive ones joined: `3, 7 to 9`. After `max` groups,
/// only the count of the remaining numbers follows.
#[must_use]
pub fn numbers_as_text(numbers: &[u64], max: usize) -> String {
    let mut groups: Vec<(u64, u64)> = Vec::new();
    for &number in numbers {
        match groups.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => groups.push((number, number)),
        }
    }
    let mut texts: Vec<String> = groups
        .iter()
        .take(max)
        .map(|&(first, last)| match last - first {
            0 => first.to_string(),
            1 => format!("{first}, {last}"),
            _ => format!("{first} to {last}"),
        })
        .collect();
    let rest: u64 = groups.iter().skip(max).map(|(a, b)| b - a + 1).sum();
    if rest > 0 {
        texts.push(format!("and {rest} more"));
    }
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(file: u64) -> PartLayout {
        let part_size = part_size(file);
        PartLayout { file, part_size }
    }

    #[test]
    fn parts_have_eight_mib_unless_there_would_be_too_many() {
        const GIB: u64 = 1024 * MIB;
        for (file, size, count) in [
            (0, PART_BYTES, 1),
            (1, PART_BYTES, 1),
            (PART_BYTES, PART_BYTES, 1),
            (PART_BYTES + 1, PART_BYTES, 2),
            (300 * MIB, PART_BYTES, 38),
            (MAX_PARTS * PART_BYTES, PART_BYTES, MAX_PARTS),
            (MAX_PARTS * PART_BYTES + 1, 9 * MIB, 8889),
            (100 * GIB, 11 * MIB, 9310),
            (5 * 1024 * GIB, 525 * MIB, 9987),
        ] {
            assert_eq!(
                (layout(file).part_size, layout(file).count()),
                (size, count),
                "{file}"
            );
        }
    }

    #[test]
    fn the_parts_are_consecutive_and_cover_the_file() {
        for file in [0, 1, PART_BYTES - 1, PART_BYTES, 3 * PART_BYTES + 7] {
            let layout = layout(file);
            let mut at = 0;
            for (number, part) in (1..).zip(layout.parts_from(1, u64::MAX)) {
                assert_eq!((part.number, part.offset), (number, at));
                at += part.size;
            }
            assert_eq!(at, file);
            assert_eq!(layout.part(0), None);
            assert_eq!(layout.part(layout.count() + 1), None);
        }
        let numbers: Vec<u64> = layout(5 * PART_BYTES)
            .parts_from(4, 9)
            .map(|p| p.number)
            .collect();
        assert_eq!(numbers, [4, 5]);
    }

    #[test]
    fn consecutive_numbers_are_joined() {
        assert_eq!(numbers_as_text(&[3, 7, 8, 9], 5), "3, 7 to 9");
        assert_eq!(numbers_as_text(&[1, 2, 4], 5), "1, 2, 4");
        assert_eq!(numbers_as_text(&[1, 3, 5, 6, 7, 9], 2), "1, 3, and 4 more");
    }
}
