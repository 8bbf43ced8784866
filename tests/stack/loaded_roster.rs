//! A loaded roster: every member is found, by every field, and once.

use mpulse_tests::{Rows, Stack, client_id, phone, roster, roster_ids, row_of, text};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn every_member_of_a_roster_is_found_by_every_field() {
    let stack = Stack::start().await;
    let people = 3000;
    Rows::created(people).check(&stack.upload(roster("4", people)).await);
    // The first and the last, those around a page and a request, and some in between.
    for index in [
        0, 1, 24, 25, 49, 50, 99, 100, 999, 1000, 1999, 2000, 2998, 2999,
    ] {
        let client = client_id(index);
        let stored = phone(index);
        let digits = &stored["+1".len()..];
        let (area, exchange, line) = (&digits[..3], &digits[3..6], &digits[6..]);
        let answer = stack.get(&format!("/api/members/4~{client}")).await;
        answer.expect(200);
        let member = answer.json();
        assert_eq!(member["phone_number"], stored);
        assert_eq!(member["last_name"], format!("Lee {index}"));
        for query in [
            format!("ph={digits}"),
            format!("ph=({area})%20{exchange}-{line}"),
            format!("ph=%2B1.{area}.{exchange}.{line}"),
            format!("cmid={client}"),
            format!("aid=4&cmid={client}"),
            format!("id=4~{client}"),
        ] {
            let answer = stack.get(&format!("/api/members/?{query}")).await;
            answer.expect(200);
            assert_eq!(
                answer.json(),
                json!({"next": null, "results": [member]}),
                "{query}"
            );
        }
    }
    for limit in [999, 1000] {
        let found = stack.ids(&format!("aid=4&limit={limit}")).await;
        assert_eq!(
            found,
            roster_ids("4", people),
            "paging neither repeats nor skips"
        );
    }
    let mut everyone = stack.ids("limit=1000").await;
    everyone.sort_unstable();
    assert_eq!(everyone, roster_ids("4", people), "without a filter too");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_phone_is_found_and_the_old_one_is_not() {
    let stack = Stack::start().await;
    stack.upload(roster("4", 3)).await;
    let batch = stack
        .upload(roster("4", 3).replace(&phone(1), "+17145559999"))
        .await;
    assert_eq!(batch["rows"]["updated"], 1);
    assert_eq!(stack.ids("ph=7145559999").await, ["4~c000001"]);
    assert_eq!(stack.ids(&format!("ph={}", &phone(1)[2..])).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_file_again_accepts_the_same_rows_unchanged() {
    let stack = Stack::start().await;
    let mut file = roster("4", 120);
    file.push_str("4,bad,Ann,Lee,12\n4,short\n");
    let first = stack.upload(file.clone()).await;
    let rows = Rows {
        created: 120,
        rejected: 2,
        ..Rows::default()
    };
    rows.check(&first);
    let before = stack.pages("aid=4&limit=1000").await;
    for _ in 0..2 {
        let again = stack.upload(file.clone()).await;
        let rows = Rows {
            unchanged: 120,
            rejected: 2,
            ..Rows::default()
        };
        rows.check(&again);
        assert_eq!(again["capacity"]["write_units"], 0.0, "nothing was written");
        assert_eq!(stack.pages("aid=4&limit=1000").await, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_concurrent_files_leave_each_member_as_in_one_of_them() {
    let stack = Stack::start().await;
    let people = 1500;
    let file = |name: &str| {
        let rows: String = (0..people).map(|index| row_of("4", index, name)).collect();
        format!("{}{rows}", mpulse_tests::HEADER)
    };
    let (ann, bob) = tokio::join!(stack.upload(file("Ann")), stack.upload(file("Bob")));
    for batch in [&ann, &bob] {
        assert_eq!(batch["status"], "completed", "{batch:#}");
        assert_eq!(batch["rows"]["read"], people);
    }
    let pages = stack.pages("aid=4&limit=1000").await;
    let members: Vec<&Value> = pages.iter().flatten().collect();
    assert_eq!(members.len() as u64, people);
    for member in members {
        let author = if member["first_name"] == "Ann" {
            &ann
        } else {
            &bob
        };
        let author = format!("batch:{}", text(&author["batch_id"]));
        assert_eq!(
            member["updated_by"], author,
            "a member is not a mixture: {member}"
        );
    }
}
