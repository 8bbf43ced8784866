//! Where s3s-fs stores an object: the file itself, and beside the buckets two small files with its
//! `ETag` and its headers. This module knows those names, so that an object can be assembled
//! elsewhere and then moved into place, and deleted completely.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mpulse_shared::time::Timestamp;
use s3s_fs::FileSystem;
use serde_json::json;
use ulid::Ulid;

use super::S3Error;

/// The bucket in which objects are assembled. A template cannot name it; it is not listed, and its
/// content is deleted at the start.
pub(super) const STAGING: &str = "mpulse-staging";

/// The longest name of a file in common file systems, in bytes.
const MAX_NAME: usize = 255;

/// The length of the id of a multipart upload, a UUID.
const UPLOAD_ID_BYTES: usize = 36;

/// The folder of the buckets.
#[derive(Debug, Clone)]
pub(super) struct Files {
    /// s3s-fs on the same folder.
    pub(super) system: Arc<FileSystem>,
    root: PathBuf,
}

impl Files {
    /// Opens the folder, and deletes what a killed process left incomplete.
    pub(super) fn open(folder: &Path) -> Result<Self, S3Error> {
        fs::create_dir_all(folder)?;
        let root = folder.canonicalize()?;
        let staging = root.join(STAGING);
        if staging.exists() {
            fs::remove_dir_all(&staging)?;
        }
        fs::create_dir(&staging)?;
        let leftover = format!(".bucket-{}.", URL_SAFE_NO_PAD.encode(STAGING));
        for entry in fs::read_dir(&root)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(&leftover) {
                fs::remove_file(entry.path())?;
            }
        }
        let system = FileSystem::new(&root).map_err(|e| S3Error::Open(format!("{e:?}")))?;
        Ok(Self {
            system: Arc::new(system),
            root,
        })
    }

    /// Creates the bucket if it does not exist.
    pub(super) fn ensure_bucket(&self, bucket: &str) -> io::Result<()> {
        fs::create_dir_all(self.root.join(bucket))
    }

    /// Returns whether the bucket exists.
    pub(super) fn has_bucket(&self, bucket: &str) -> bool {
        bucket != STAGING && self.root.join(bucket).is_dir()
    }

    /// Returns whether a key can be the name of a file: no empty or relative segments, and short
    /// enough for the files beside it, whose names contain it in Base64.
    pub(super) fn can_hold(&self, bucket: &str, key: &str) -> bool {
        let parts_fit = key
            .split('/')
            .all(|part| !matches!(part, "" | "." | "..") && part.len() <= MAX_NAME);
        let upload_id = "-".repeat(UPLOAD_ID_BYTES);
        let longest = self.headers(bucket, key, Some(&upload_id));
        let name = longest.file_name().map_or(0, std::ffi::OsStr::len);
        parts_fit && name <= MAX_NAME && !key.contains(['\0', '\\'])
    }

    /// Returns the path of the object.
    pub(super) fn object(&self, bucket: &str, key: &str) -> PathBuf {
        self.root.join(bucket).join(key)
    }

    /// Returns the path of the object's `ETag` and checksums.
    fn info(&self, bucket: &str, key: &str) -> PathBuf {
        self.beside(bucket, key, "internal.json")
    }

    /// Returns the path of the object's headers, or those of a multipart upload.
    pub(super) fn headers(&self, bucket: &str, key: &str, upload_id: Option<&str>) -> PathBuf {
        match upload_id {
            Some(id) => self.beside(bucket, key, &format!("upload-{id}.metadata.json")),
            None => self.beside(bucket, key, "metadata.json"),
        }
    }

    fn beside(&self, bucket: &str, key: &str, rest: &str) -> PathBuf {
        let (bucket, key) = (URL_SAFE_NO_PAD.encode(bucket), URL_SAFE_NO_PAD.encode(key));
        self.root
            .join(format!(".bucket-{bucket}.object-{key}.{rest}"))
    }

    /// Returns the path of the file that marks a multipart upload.
    pub(super) fn upload(&self, upload_id: &str) -> PathBuf {
        self.root.join(format!(".upload-{upload_id}.json"))
    }

    /// Returns the path of a part of an upload.
    pub(super) fn part(&self, upload_id: &str, number: i32) -> PathBuf {
        self.root
            .join(format!(".upload_id-{upload_id}.part-{number}"))
    }

    /// Returns the path of a temporary file: s3s-fs deletes files with such names at the start.
    pub(super) fn temporary(&self) -> PathBuf {
        self.root
            .join(format!(".tmp.{}.internal.part", Ulid::generate()))
    }

    /// Moves an object that was assembled as `staged` into its place.
    pub(super) fn publish_staged(&self, staged: &str, bucket: &str, key: &str) -> io::Result<()> {
        self.place(&self.object(STAGING, staged), bucket, key)?;
        move_if_there(&self.info(STAGING, staged), &self.info(bucket, key))?;
        let headers = self.headers(bucket, key, None);
        move_if_there(&self.headers(STAGING, staged, None), &headers)
    }

    /// Moves an object that was joined from parts into its place.
    pub(super) fn publish_joined(
        &self,
        joined: &Path,
        bucket: &str,
        key: &str,
        upload_id: &str,
        e_tag: &str,
    ) -> io::Result<()> {
        self.place(joined, bucket, key)?;
        let info = self.temporary();
        fs::write(&info, json!({ "e_tag": e_tag }).to_string())?;
        fs::rename(&info, self.info(bucket, key))?;
        let headers = self.headers(bucket, key, None);
        // Copied, since a retry needs it again.
        match fs::copy(self.headers(bucket, key, Some(upload_id)), headers) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Deletes the stored `ETag`: a file without one is at worst hashed again, while one with a
    /// wrong `ETag` would count as another object.
    fn place(&self, from: &Path, bucket: &str, key: &str) -> io::Result<()> {
        let object = self.object(bucket, key);
        set_time(from)?;
        remove_if_there(&self.info(bucket, key))?;
        loop {
            if let Some(folder) = object.parent() {
                fs::create_dir_all(folder)?;
            }
            match fs::rename(from, &object) {
                // The folder's last object was deleted in between, and the folder with it.
                Err(error) if error.kind() == io::ErrorKind::NotFound && from.exists() => {}
                result => return result,
            }
        }
    }

    /// Deletes an object, the files beside it, and folders that are empty without it.
    pub(super) fn remove(&self, bucket: &str, key: &str) -> io::Result<()> {
        let object = self.object(bucket, key);
        remove_if_there(&object)?;
        remove_if_there(&self.info(bucket, key))?;
        remove_if_there(&self.headers(bucket, key, None))?;
        let root = self.root.join(bucket);
        let folders = object.ancestors().skip(1);
        for folder in folders.take_while(|folder| *folder != root && folder.starts_with(&root)) {
            // An error means that it is not empty.
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Deletes the rest of a multipart upload that is complete.
    pub(super) fn end_upload(
        &self,
        bucket: &str,
        key: &str,
        upload_id: &str,
        parts: impl Iterator<Item = i32>,
    ) -> io::Result<()> {
        remove_if_there(&self.upload(upload_id))?;
        remove_if_there(&self.headers(bucket, key, Some(upload_id)))?;
        for number in parts {
            remove_if_there(&self.part(upload_id, number))?;
        }
        Ok(())
    }

    /// Returns the time of an object, or `None` if it does not exist.
    pub(super) fn time(&self, bucket: &str, key: &str) -> io::Result<Option<SystemTime>> {
        match fs::metadata(self.object(bucket, key)) {
            Ok(metadata) => metadata.modified().map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the key and the time of every object of a bucket.
    pub(super) fn objects(&self, bucket: &str) -> io::Result<Vec<(String, SystemTime)>> {
        let root = self.root.join(bucket);
        let mut found = Vec::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                // An object that is deleted meanwhile is not there any more.
                let Ok(metadata) = entry.metadata() else {
                    continue;
                };
                let path = entry.path();
                if metadata.is_dir() {
                    folders.push(path);
                } else if let Ok(key) = path.strip_prefix(&root)
                    && let Some(key) = key.to_str()
                {
                    found.push((key.to_owned(), metadata.modified()?));
                }
            }
        }
        Ok(found)
    }

    /// Returns the id of every multipart upload that has not ended, and the time of its oldest file.
    pub(super) fn uploads(&self) -> io::Result<BTreeMap<String, SystemTime>> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            let name = entry.file_name();
            if let Some(id) = name.to_str().and_then(upload_id_of)
                && let Ok(metadata) = entry.metadata()
            {
                let time = metadata.modified()?;
                let oldest = found.entry(id.to_owned()).or_insert(time);
                *oldest = time.min(*oldest);
            }
        }
        Ok(found)
    }

    /// Sets the time of a multipart upload that has just been created.
    pub(super) fn set_upload_time(
        &self,
        bucket: &str,
        key: &str,
        upload_id: &str,
    ) -> io::Result<()> {
        set_time(&self.upload(upload_id))?;
        set_time(&self.headers(bucket, key, Some(upload_id)))
    }

    /// Deletes a multipart upload with its parts. Their files have its id in their names.
    pub(super) fn abort_upload(&self, upload_id: &str) -> io::Result<()> {
        // First, so that no part arrives afterwards.
        remove_if_there(&self.upload(upload_id))?;
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().contains(upload_id) {
                remove_if_there(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Returns the numbers of an upload's parts, in order.
    pub(super) fn parts(&self, upload_id: &str) -> io::Result<Vec<i32>> {
        let prefix = format!(".upload_id-{upload_id}.part-");
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix(&prefix));
            numbers.extend(number.and_then(|number| number.parse::<i32>().ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }
}

/// Returns the id of the multipart upload to which a file belongs: its mark, its headers, or a part.
fn upload_id_of(name: &str) -> Option<&str> {
    let id = if let Some(part) = name.strip_prefix(".upload_id-") {
        part.split_once('.')?.0
    } else if let Some(mark) = name.strip_prefix(".upload-") {
        mark.strip_suffix(".json")?
    } else {
        let headers = name.strip_suffix(".metadata.json")?;
        headers.rsplit_once(".upload-")?.1
    };
    (id.len() == UPLOAD_ID_BYTES).then_some(id)
}

/// Sets the time of a file by the clock of the local stack, which tests move.
pub(super) fn set_time(path: &Path) -> io::Result<()> {
    let file = fs::File::options().write(true).open(path)?;
    file.set_modified(Timestamp::now().into())
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn move_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => remove_if_there(to),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_an_upload_are_recognised_by_their_names() {
        let id = "0123abcd-0123-0123-0123-0123456789ab";
        for name in [
            format!(".upload-{id}.json"),
            format!(".upload_id-{id}.part-12"),
            format!(".bucket-Yg.object-aw.upload-{id}.metadata.json"),
        ] {
            assert_eq!(upload_id_of(&name), Some(id), "{name}");
        }
        for name in [
            ".upload-.json",
            ".bucket-Yg.object-aw.metadata.json",
            ".bucket-Yg.object-aw.internal.json",
            "mpulse-files-local",
        ] {
            assert_eq!(upload_id_of(name), None, "{name}");
        }
    }
}
