//! Rosters for measurements: the samples of `mpulse sample`, in a file.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use mpulse_cli::sample::{HEADER, Roster};

use crate::error::Error;

/// The account of all rows: one account is the harder case, and the usual one.
pub const ACCOUNT: &str = "4";

/// The seed of the people.
const SEED: u64 = 42;

/// Bytes collected before they are written.
const BUFFER: usize = 256 * 1024;

/// Writes a roster of `rows` rows, of which `bad` are invalid. Memory does not depend on
/// either.
///
/// # Errors
/// Returns an error if the file cannot be written.
pub fn write(path: &Path, rows: u64, bad: u64) -> Result<(), Error> {
    write_all(path, Roster::new(rows, bad, SEED, vec![ACCOUNT.to_owned()]))
}

/// Writes a roster of `rows` rows of another account. Each seed has other people.
///
/// # Errors
/// Returns an error if the file cannot be written.
pub fn write_account(path: &Path, rows: u64, account: &str, seed: u64) -> Result<(), Error> {
    write_all(
        path,
        Roster::new(rows, 0, SEED + seed, vec![account.to_owned()]),
    )
}

fn write_all(path: &Path, mut roster: Roster) -> Result<(), Error> {
    let mut file = File::create(path)?;
    let mut buffer = Vec::with_capacity(2 * BUFFER);
    buffer.extend_from_slice(HEADER.as_bytes());
    while roster.write_next(&mut buffer) {
        if buffer.len() >= BUFFER {
            file.write_all(&buffer)?;
            buffer.clear();
        }
    }
    file.write_all(&buffer)?;
    Ok(())
}

/// A member of a roster, to look up.
#[derive(Debug)]
pub struct Person {
    /// The client's own id.
    pub client_member_id: String,
    phone: String,
}

impl Person {
    /// Returns the phone number as a parameter of a URL.
    pub fn phone_in_url(&self) -> String {
        self.phone.replace('+', "%2B").replace(' ', "%20")
    }
}

/// Returns at most `most` members spread over a roster of `rows` rows: of rows without quotes, which are most.
///
/// # Errors
/// Returns an error if the file cannot be read.
pub fn people(roster: &Path, rows: u64, most: usize) -> Result<Vec<Person>, Error> {
    let every = usize::try_from(rows)?.div_ceil(most);
    let mut people = Vec::new();
    for line in BufReader::new(File::open(roster)?)
        .lines()
        .skip(1)
        .step_by(every)
    {
        let line = line?;
        let fields: Vec<&str> = line.split(',').collect();
        if let [_, client_member_id, _, _, phone] = fields[..]
            && !line.contains('"')
        {
            people.push(Person {
                client_member_id: client_member_id.to_owned(),
                phone: phone.to_owned(),
            });
        }
    }
    Ok(people)
}

/// How some rows of a roster that is sent again differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edit {
    /// An additional letter in the first name.
    FirstName,
    /// Another last digit in the phone.
    Phone,
}

/// Writes a roster again with about one row in `every` changed, and returns how many were. Rows
/// with quotes, which are few, are not changed.
///
/// # Errors
/// Returns an error if a file cannot be read or written.
pub fn edit(from: &Path, to: &Path, every: u64, edit: Edit) -> Result<u64, Error> {
    let mut lines = BufReader::with_capacity(BUFFER, File::open(from)?);
    let mut out = BufWriter::with_capacity(BUFFER, File::create(to)?);
    // The two edits change different rows.
    let first = match edit {
        Edit::FirstName => 1,
        Edit::Phone => 1 + every / 2,
    };
    let (mut number, mut changed, mut line) = (0, 0, Vec::new());
    while lines.read_until(b'\n', &mut line)? > 0 {
        let due = first + changed * every;
        if number >= due && !line.contains(&b'"') && change(&mut line, edit).is_some() {
            changed += 1;
        }
        out.write_all(&line)?;
        line.clear();
        number += 1;
    }
    out.flush()?;
    Ok(changed)
}

/// Changes a row without quotes in the columns of [`HEADER`].
fn change(line: &mut Vec<u8>, edit: Edit) -> Option<()> {
    match edit {
        Edit::FirstName => {
            let after = memchr::memchr_iter(b',', line).nth(2)?;
            line.insert(after, b'a');
        }
        Edit::Phone => {
            let digit = line.iter_mut().rev().find(|byte| byte.is_ascii_digit())?;
            *digit = b'0' + (*digit - b'0' + 1) % 10;
        }
    }
    Some(())
}

/// Writes the header of a roster and every `every`th of its rows, at most `rows`.
///
/// # Errors
/// Returns an error if a file cannot be read or written.
pub fn pick(from: &Path, to: &Path, every: usize, rows: usize) -> Result<(), Error> {
    let mut out = BufWriter::new(File::create(to)?);
    out.write_all(HEADER.as_bytes())?;
    let lines = BufReader::new(File::open(from)?).split(b'\n');
    for line in lines.skip(1).step_by(every).take(rows) {
        out.write_all(&line?)?;
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(())
}

/// Writes a roster again without one row in `every`, and returns how many are missing.
///
/// # Errors
/// Returns an error if a file cannot be read or written.
pub fn without(from: &Path, to: &Path, every: usize) -> Result<u64, Error> {
    let mut out = BufWriter::with_capacity(BUFFER, File::create(to)?);
    let mut missing = 0;
    let lines = BufReader::with_capacity(BUFFER, File::open(from)?).split(b'\n');
    for (number, line) in lines.enumerate() {
        if number > 0 && number % every == 0 {
            missing += 1;
            continue;
        }
        out.write_all(&line?)?;
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(path: &Path) -> Vec<String> {
        let text = std::fs::read_to_string(path).expect("a file of text");
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn one_row_in_a_hundred_differs_in_one_field() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name| folder.path().join(name);
        let (old, names, phones) = (path("old"), path("names"), path("phones"));
        write(&old, 1000, 0).expect("written");
        assert_eq!(
            edit(&old, &names, 100, Edit::FirstName).expect("edited"),
            10
        );
        assert_eq!(edit(&old, &phones, 100, Edit::Phone).expect("edited"), 10);
        let (old, names, phones) = (rows(&old), rows(&names), rows(&phones));
        let changed =
            |new: &[String]| -> Vec<usize> { (0..1001).filter(|&n| old[n] != new[n]).collect() };
        assert_eq!((changed(&names).len(), changed(&phones).len()), (10, 10));
        for n in changed(&names) {
            assert_eq!(names[n].len(), old[n].len() + 1);
            assert_eq!(phones[n], old[n]);
        }
        for n in changed(&phones) {
            assert_eq!(phones[n].len(), old[n].len());
        }
    }

    #[test]
    fn picked_rows_are_spread() {
        let folder = tempfile::tempdir().expect("a folder");
        let (all, some) = (folder.path().join("all"), folder.path().join("some"));
        write(&all, 100, 0).expect("written");
        pick(&all, &some, 5, 20).expect("picked");
        let (all, some) = (rows(&all), rows(&some));
        assert_eq!(some.len(), 21);
        assert_eq!(
            (&some[0], &some[1], &some[20]),
            (&all[0], &all[1], &all[96])
        );
    }
}
