//! How a file is cut into the parts of an S3 multipart upload: S3's rules, and the arithmetic
//! of numbers, places and sizes that follows from them. No I/O.

use serde::{Deserialize, Serialize};

const MIB: u64 = 1024 * 1024;

/// Bytes of a part, unless there would be too many of them. S3 wants at least 5 MiB of all
/// but the last.
pub const PART_BYTES: u64 = 8 * MIB;

/// The most parts of an upload (an S3 limit).
pub const MOST_PARTS: u64 = 10_000;

/// The size of the parts of a file: [`PART_BYTES`], or as many whole MiB as keep them to
/// [`MOST_PARTS`].
#[must_use]
pub fn part_size(file: u64) -> u64 {
    PART_BYTES.max(file.div_ceil(MOST_PARTS).div_ceil(MIB) * MIB)
}

/// A file, cut. Parts are counted from 1, as S3 counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// The file's size in bytes.
    pub file: u64,
    /// The size of every part but the last, in bytes.
    pub part_size: u64,
}

impl Cut {
    /// How many parts there are: at least one, which may be empty.
    #[must_use]
    pub fn count(self) -> u64 {
        self.file.div_ceil(self.part_size.max(1)).max(1)
    }

    /// The part of that number, if there is one.
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

    /// Up to `most` parts from that number on.
    pub fn from(self, number: u64, most: u64) -> impl Iterator<Item = Part> {
        (number..number.saturating_add(most)).map_while(move |number| self.part(number))
    }
}

/// One part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Its number, from 1.
    pub number: u64,
    /// The byte of the file that it begins at.
    pub offset: u64,
    /// Its size in bytes.
    pub size: u64,
}

/// The multipart upload that a batch's file comes by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Multipart {
    /// S3's id of it.
    pub upload_id: String,
    /// The size of every part but the last, in bytes.
    pub part_size: u64,
}

/// Numbers as people write them, of which runs are drawn together: `3, 7 to 9`. More than
/// `most` runs are cut, with a word of how many numbers are left.
#[must_use]
pub fn told(numbers: &[u64], most: usize) -> String {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for &number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => runs.push((number, number)),
        }
    }
    let mut told: Vec<String> = runs
        .iter()
        .take(most)
        .map(|&(first, last)| match last - first {
            0 => first.to_string(),
            1 => format!("{first}, {last}"),
            _ => format!("{first} to {last}"),
        })
        .collect();
    let left: u64 = runs.iter().skip(most).map(|(a, b)| b - a + 1).sum();
    if left > 0 {
        told.push(format!("and {left} more"));
    }
    told.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(file: u64) -> Cut {
        let part_size = part_size(file);
        Cut { file, part_size }
    }

    #[test]
    fn parts_are_of_eight_mib_until_there_would_be_too_many() {
        const GIB: u64 = 1024 * MIB;
        for (file, size, count) in [
            (0, PART_BYTES, 1),
            (1, PART_BYTES, 1),
            (PART_BYTES, PART_BYTES, 1),
            (PART_BYTES + 1, PART_BYTES, 2),
            (300 * MIB, PART_BYTES, 38),
            (MOST_PARTS * PART_BYTES, PART_BYTES, MOST_PARTS),
            (MOST_PARTS * PART_BYTES + 1, 9 * MIB, 8889),
            (100 * GIB, 11 * MIB, 9310),
            (5 * 1024 * GIB, 525 * MIB, 9987),
        ] {
            assert_eq!(
                (cut(file).part_size, cut(file).count()),
                (size, count),
                "{file}"
            );
        }
    }

    #[test]
    fn the_parts_are_the_whole_file_one_after_the_other() {
        for file in [0, 1, PART_BYTES - 1, PART_BYTES, 3 * PART_BYTES + 7] {
            let cut = cut(file);
            let mut at = 0;
            for (number, part) in (1..).zip(cut.from(1, u64::MAX)) {
                assert_eq!((part.number, part.offset), (number, at));
                at += part.size;
            }
            assert_eq!(at, file);
            assert_eq!(cut.part(0), None);
            assert_eq!(cut.part(cut.count() + 1), None);
        }
        let numbers: Vec<u64> = cut(5 * PART_BYTES).from(4, 9).map(|p| p.number).collect();
        assert_eq!(numbers, [4, 5]);
    }

    #[test]
    fn numbers_are_told_by_their_runs() {
        assert_eq!(told(&[3, 7, 8, 9], 5), "3, 7 to 9");
        assert_eq!(told(&[1, 2, 4], 5), "1, 2, 4");
        assert_eq!(told(&[1, 3, 5, 6, 7, 9], 2), "1, 3, and 4 more");
    }
}
