//! The engines of the tests' local stacks: their own, or those elsewhere that two variables name, `MPULSE_TEST_DYNAMODB`
//! and `MPULSE_TEST_S3` (URLs). Each local stack has tables and buckets of its own there.

use std::env;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, RandomState};

use mpulse_local::template::Stack;
use mpulse_local::{Data, Engines};

/// Returns the engines elsewhere of a local stack with this data, if the variables name some.
#[must_use]
pub fn engines(data: &Data) -> Option<Engines> {
    let dynamodb = env::var("MPULSE_TEST_DYNAMODB").ok()?;
    let s3 = env::var("MPULSE_TEST_S3").expect("MPULSE_TEST_S3 is set too");
    let id = match data {
        // The same after a restart.
        Data::Folder(path) => BuildHasherDefault::<DefaultHasher>::default().hash_one(path),
        Data::Ephemeral => RandomState::new().hash_one(()),
    };
    let stack = Stack::with_id(&format!("{id:016x}"));
    Some(Engines {
        dynamodb,
        s3,
        stack,
    })
}
