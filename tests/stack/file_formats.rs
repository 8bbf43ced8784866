//! The formats of files, and files that are not rosters.

use mpulse_tests::{HEADER, Rows, Stack, count, roster, row, row_of, text};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_a_roster_fails_with_what_was_found() {
    let stack = Stack::start().await;
    let no_phone = "account_id,client_member_id,first_name,last_name\n4,1,Ann,Lee\n";
    let long = HEADER.replace("first_name", &"x".repeat(70_000));
    for (name, file, code, found) in [
        (
            "no phone column",
            no_phone.as_bytes().to_vec(),
            "missing_column",
            "phone_number",
        ),
        (
            "no header",
            row("4", 1).into_bytes(),
            "missing_column",
            "c000001",
        ),
        (
            "two columns missing",
            b"aid,cmid,phone\n".to_vec(),
            "missing_column",
            "first_name, last_name",
        ),
        ("empty", Vec::new(), "empty_file", "empty"),
        (
            "blank lines only",
            b"\r\n\n\n".to_vec(),
            "empty_file",
            "empty",
        ),
        (
            "a mark alone",
            b"\xEF\xBB\xBF".to_vec(),
            "empty_file",
            "empty",
        ),
        ("no text", b"a\0\0\0,b\n".to_vec(), "not_text", "NUL"),
        (
            "an archive that is none",
            b"PK\x03\x04 and so on".to_vec(),
            "truncated_file",
            "damaged",
        ),
        (
            "a gzip that is none",
            b"\x1F\x8B\x08 and so on".to_vec(),
            "corrupt_file",
            "damaged",
        ),
        (
            "a Latin-1 header",
            b"Pr\xE9nom,aid,cmid,last,phone\n".to_vec(),
            "not_utf8",
            "UTF-8",
        ),
        (
            "two phone columns",
            b"aid,cmid,first,last,phone,mobile\n".to_vec(),
            "duplicate_column",
            "mobile",
        ),
        (
            "a header without end",
            long.into_bytes(),
            "header_too_long",
            "65536",
        ),
    ] {
        let batch = stack.upload(file).await;
        assert_eq!(batch["status"], "failed", "{name}: {batch:#}");
        assert_eq!(batch["problem"]["code"], code, "{name}: {batch:#}");
        let message = text(&batch["problem"]["message"]);
        assert!(message.contains(found), "{name}: {message}");
        assert_eq!(batch["rows"]["read"], 0, "{name}");
        assert_ne!(batch["finished_at"], Value::Null, "{name}");
        stack.wait_for_deletion(&batch).await;
    }
    assert_eq!(stack.ids("").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_roster_is_read_in_every_notation() {
    let stack = Stack::start().await;
    let plain = roster("4", 3);
    let human = plain.replace(HEADER, "Account ID,Member ID,First Name,Last Name,Phone\n");
    let shouting = plain.replace(
        HEADER,
        "ACCOUNT-ID,CLIENT_MEMBER_ID,First name,LASTNAME,Mobile\n",
    );
    let short = plain.replace(HEADER, "aid,cmid,first,last,ph\n");
    let quoted = plain.replace(',', "\",\"").replace('\n', "\"\n\"");
    let quoted = format!("\"{}", &quoted[..quoted.len() - 1]);
    let reordered: String = plain
        .lines()
        .map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            [fields[4], fields[2], fields[1], fields[3], fields[0]].join(",") + "\n"
        })
        .collect();
    let spaced = plain.replace(',', " , ");
    for (name, file) in [
        ("as it is", plain.clone()),
        ("with a byte order mark", format!("\u{FEFF}{plain}")),
        ("with semicolons", plain.replace(',', ";")),
        ("with tabs", plain.replace(',', "\t")),
        ("with pipes", plain.replace(',', "|")),
        ("with CRLF", plain.replace('\n', "\r\n")),
        ("with CR alone", plain.replace('\n', "\r")),
        ("with blank lines", plain.replace('\n', "\n\r\n\n")),
        ("without a line end at the end", plain.trim_end().to_owned()),
        ("with human names", human),
        ("with loud names", shouting),
        ("with short names", short),
        ("in quotes", quoted),
        ("in another order", reordered),
        ("with blanks around", spaced),
        (
            "with a mark, semicolons and CRLF",
            format!("\u{FEFF}{}", plain.replace(',', ";").replace('\n', "\r\n")),
        ),
    ] {
        // The first creates, and each of the others is unchanged.
        let batch = stack.upload(file).await;
        let rows = if name == "as it is" {
            Rows::created(3)
        } else {
            Rows::unchanged(3)
        };
        assert_eq!(count(&batch["rows"]["read"]), 3, "{name}: {batch:#}");
        rows.check(&batch);
        assert_eq!(batch["ignored_columns"], json!([]), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_alone_is_an_empty_roster() {
    let stack = Stack::start().await;
    for file in [
        HEADER,
        HEADER.trim_end(),
        "\u{FEFF}aid;cmid;first;last;ph\r\n\r\n",
    ] {
        let batch = stack.upload(file).await;
        Rows::default().check(&batch);
        assert_eq!(
            batch["bytes"],
            json!({"total": file.len(), "done": file.len(), "percent": 100.0})
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_columns_are_ignored_and_named() {
    let stack = Stack::start().await;
    let file = "id,aid,cmid,Favourite Colour,first,last,ph,notes\n\
                9,4,1,blue,Ann,Lee,7145550123,\"two\nlines, and a comma\"\n";
    let batch = stack.upload(file).await;
    Rows::created(1).check(&batch);
    assert_eq!(
        batch["ignored_columns"],
        json!(["id", "Favourite Colour", "notes"])
    );
    assert_eq!(stack.ids("").await, ["4~1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn quotes_and_their_content_are_kept() {
    let stack = Stack::start().await;
    let file = format!("{HEADER}4,1,\"Zoë \"\"Z\"\"\",\"Lee, Jr.\",\"(714) 555-0123\"\n");
    Rows::created(1).check(&stack.upload(file).await);
    let member = stack.get("/api/members/4~1").await.json();
    assert_eq!(member["first_name"], "Zoë \"Z\"");
    assert_eq!(member["last_name"], "Lee, Jr.");
    assert_eq!(member["phone_number"], "+17145550123");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_twice_in_a_file_is_applied_in_order() {
    let stack = Stack::start().await;
    let one = |name| row_of("4", 1, name);
    // Near each other, so that one request would contain both.
    let file = [
        HEADER,
        &one("Ann"),
        &one("Bob"),
        &one("Bob"),
        &row("4", 2),
        &one("Ann"),
        &one("Cid"),
    ];
    let batch = stack.upload(file.concat()).await;
    let rows = Rows {
        created: 2,
        updated: 3,
        unchanged: 1,
        ..Rows::default()
    };
    rows.check(&batch);
    assert_eq!(
        stack.get("/api/members/4~c000001").await.json()["first_name"],
        "Cid"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_roster_repeated_five_times_in_a_file_equals_one() {
    let stack = Stack::start().await;
    // Further apart than anything that is compared or written together.
    let mut file = roster("4", 2500);
    for name in ["Bob", "Bob", "Ann", "Cid"] {
        for index in 0..2500 {
            file.push_str(&row_of("4", index, name));
        }
    }
    let batch = stack.upload(file).await;
    let rows = Rows {
        created: 2500,
        updated: 7500,
        unchanged: 2500,
        ..Rows::default()
    };
    rows.check(&batch);
    let pages = stack.pages("aid=4&limit=1000").await;
    let members: Vec<&Value> = pages.iter().flatten().collect();
    assert_eq!(members.len(), 2500);
    assert!(members.iter().all(|member| member["first_name"] == "Cid"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_batch_s_account_applies_to_a_file_without_accounts() {
    let stack = Stack::start().await;
    let options = json!({"account_id": "acme"});
    let file = "Member ID,First Name,Last Name,Phone\n1,Ann,Lee,7145550123\n2,Bob,Lee,7145550124\n";
    Rows::created(2).check(&stack.upload_with(&options, file).await);
    assert_eq!(stack.ids("aid=acme").await, ["acme~1", "acme~2"]);
    // A file with the column uses its own.
    Rows::created(2).check(&stack.upload_with(&options, roster("4", 2)).await);
    assert_eq!(stack.ids("aid=4").await.len(), 2);
    // Without an account the same file lacks a column.
    assert_eq!(
        stack.upload(file).await["problem"]["code"],
        "missing_column"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rest_and_csv_validate_alike() {
    let stack = Stack::start().await;
    let csv = stack
        .upload(format!("{HEADER}4,1, Zoë ,O'Brien,(714) 555-0123\n"))
        .await;
    Rows::created(1).check(&csv);
    let by_rest = json!({
        "account_id": "4",
        "client_member_id": "2",
        "first_name": " Zoë ",
        "last_name": "O'Brien",
        "phone_number": "(714) 555-0123",
    });
    stack.post("/api/members/", &by_rest).await.expect(201);
    let pages = stack.pages("aid=4").await;
    for field in ["first_name", "last_name", "phone_number"] {
        assert_eq!(pages[0][0][field], pages[0][1][field]);
    }
    // A file with the values that REST has stored leaves the member unchanged.
    let again = stack
        .upload(format!("{HEADER}4,2,Zoë,O'Brien,+17145550123\n"))
        .await;
    Rows::unchanged(1).check(&again);
}
