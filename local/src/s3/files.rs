//! Where s3s-fs keeps an object: the file itself, and beside the buckets two small
//! files with its `ETag` and its headers. This module knows those names, so that an
//! object can be put together elsewhere and then moved into place, and taken away whole.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use s3s_fs::FileSystem;
use serde_json::json;
use ulid::Ulid;

use super::S3Error;

/// The bucket in which objects are put together. No template can name it: it is not
/// listed, and its content is thrown away at the start.
pub(super) const STAGING: &str = "mpulse-staging";

/// The longest name of a file that common file systems take, in bytes.
const MAX_NAME: usize = 255;

/// The folder of the buckets.
#[derive(Debug, Clone)]
pub(super) struct Files {
    /// s3s-fs at work on the same folder.
    pub(super) system: Arc<FileSystem>,
    root: PathBuf,
}

impl Files {
    /// Opens the folder and clears away what a killed process left unfinished.
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

    /// Makes the bucket if it isn't there.
    pub(super) fn ensure_bucket(&self, bucket: &str) -> io::Result<()> {
        fs::create_dir_all(self.root.join(bucket))
    }

    /// Whether there is such a bucket.
    pub(super) fn has_bucket(&self, bucket: &str) -> bool {
        bucket != STAGING && self.root.join(bucket).is_dir()
    }

    /// Whether a key can be the name of a file: no empty or relative parts, and short
    /// enough for the files beside it, whose names hold it in base64.
    pub(super) fn can_hold(&self, bucket: &str, key: &str) -> bool {
        let parts_fit = key
            .split('/')
            .all(|part| !matches!(part, "" | "." | "..") && part.len() <= MAX_NAME);
        let upload_id = "-".repeat(36);
        let longest = self.headers(bucket, key, Some(&upload_id));
        let name = longest.file_name().map_or(0, std::ffi::OsStr::len);
        parts_fit && name <= MAX_NAME && !key.contains(['\0', '\\'])
    }

    /// The file that is the object.
    pub(super) fn object(&self, bucket: &str, key: &str) -> PathBuf {
        self.root.join(bucket).join(key)
    }

    /// The file with the object's `ETag` and checksums.
    fn info(&self, bucket: &str, key: &str) -> PathBuf {
        self.beside(bucket, key, "internal.json")
    }

    /// The file with the object's headers, or those of an upload in parts.
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

    /// The file that says that an upload in parts is under way.
    pub(super) fn upload(&self, upload_id: &str) -> PathBuf {
        self.root.join(format!(".upload-{upload_id}.json"))
    }

    /// The file with one part of an upload.
    pub(super) fn part(&self, upload_id: &str, number: i32) -> PathBuf {
        self.root
            .join(format!(".upload_id-{upload_id}.part-{number}"))
    }

    /// A file that doesn't outlive the process: s3s-fs clears away names like this.
    pub(super) fn temporary(&self) -> PathBuf {
        self.root
            .join(format!(".tmp.{}.internal.part", Ulid::generate()))
    }

    /// Moves an object that was put together as `staged` into its place.
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
        // Copied, since a retry will want it again.
        match fs::copy(self.headers(bucket, key, Some(upload_id)), headers) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Without its `ETag` a file is at worst hashed again; with that of another it
    /// would pass for the other.
    fn place(&self, from: &Path, bucket: &str, key: &str) -> io::Result<()> {
        let object = self.object(bucket, key);
        if let Some(folder) = object.parent() {
            fs::create_dir_all(folder)?;
        }
        remove_if_there(&self.info(bucket, key))?;
        fs::rename(from, &object)
    }

    /// Takes away an object and what is kept beside it.
    pub(super) fn remove(&self, bucket: &str, key: &str) -> io::Result<()> {
        remove_if_there(&self.object(bucket, key))?;
        remove_if_there(&self.info(bucket, key))?;
        remove_if_there(&self.headers(bucket, key, None))
    }

    /// Takes away what is left of an upload in parts that is complete.
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

    /// The numbers of the parts an upload has, in order.
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
