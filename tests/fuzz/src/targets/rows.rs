//! The rules for the fields of a member, and phone numbers: what is accepted and stored is accepted again, as the same.

use mpulse_shared::csv::{fields_of, push_member};
use mpulse_shared::member::{Field, MemberId, Profile, RawProfile, Rules};
use mpulse_shared::phone::DefaultRegion;

use crate::pieces::choice;

/// Countries whose numbers differ in how they are dialled.
const REGIONS: [&str; 8] = ["US", "GB", "DE", "AU", "IT", "AR", "MX", "BR"];

/// The fields of a row, one in each line.
pub fn row(input: &[u8]) {
    let (seed, input) = choice(input);
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let region = REGIONS[usize::from(seed) % REGIONS.len()];
    let region: DefaultRegion = region.parse().expect("a region");
    let rules = Rules { region };
    let mut raw = RawProfile::default();
    for (field, text) in Field::ALL.into_iter().zip(text.split('\n')) {
        raw.set(field, text);
    }
    match rules.check(&raw) {
        Ok(profile) => check_valid(rules, &profile),
        Err(errors) => assert!(!errors.is_empty()),
    }
}

/// Checks a valid member: it is valid again, its id is read from its text, and its row has its fields.
pub fn check_valid(rules: Rules, profile: &Profile) {
    let mut raw = RawProfile::default();
    let fields = fields_of(profile);
    for (field, text) in Field::ALL.into_iter().zip(fields) {
        raw.set(field, text);
    }
    assert_eq!(rules.check(&raw).as_ref(), Ok(profile));
    let id: Result<MemberId, _> = profile.id.to_string().parse();
    assert_eq!(id.as_ref(), Ok(&profile.id));
    let mut row = String::new();
    push_member(&mut row, profile);
    let read = csv::ReaderBuilder::new()
        .has_headers(false)
        .from_reader(row.as_bytes())
        .into_records()
        .next();
    let read = read.expect("a row").expect("UTF-8");
    assert!(read.iter().eq(fields), "{row:?}");
}
