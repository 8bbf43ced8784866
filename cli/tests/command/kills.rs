//! One roster, loaded by a local stack that is killed with SIGKILL twenty-five times while faults
//! are injected. Each kill happens while the batch is running. At the end, the counters, every
//! member and the report are compared with a simple model. The roster is sent as it is and packed: then each run decodes
//! it again from its start.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use fastrand::Rng;
use mpulse_tests::packed::Packing;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::dev::{Api, Dev, GLANCE, KEY, PATIENCE, folder, has_ended, read_so_far};

/// How often the local stack is killed while the batch is running.
const KILLS: u64 = 25;

/// The rows of the roster.
const ROWS: usize = 50_000;

/// The injected faults.
const FAULTS: &str = "unprocessed=0.2,throttle=0.05,error=0.02,drop=0.02";

/// A row: its text, and the expected result.
struct Row {
    text: String,
    verdict: Result<Said, &'static str>,
}

/// The fields of a valid row.
struct Said {
    id: String,
    /// First name, last name, phone.
    profile: [String; 3],
}

/// Rows of so few people that most repeat, and one row in fifty that is rejected.
fn rows(random: &mut Rng) -> Vec<Row> {
    let mut rows = Vec::with_capacity(ROWS);
    for _ in 0..ROWS {
        let (account, person) = (random.u32(4..7), random.u32(..20_000));
        let first = random.choice(["Ann", "Bo", "Zoë"]).expect("a name");
        let (last, phone) = (format!("O'Brien {person}, Jr."), 2_000_000 + person);
        let line =
            |first: &str, phone: &str| format!("{account},c{person},{first},\"{last}\",{phone}\n");
        let (text, verdict) = match random.u32(..150) {
            0 => (line(first, "12"), Err("invalid_phone")),
            1 => (line("", "7145550123"), Err("required")),
            2 => (
                format!("{account},c{person},short\n"),
                Err("wrong_field_count"),
            ),
            _ => {
                let id = format!("{account}~c{person}");
                let profile = [(*first).to_owned(), last.clone(), format!("+1714{phone}")];
                (
                    line(first, &format!("714{phone}")),
                    Ok(Said { id, profile }),
                )
            }
        };
        rows.push(Row { text, verdict });
    }
    rows
}

/// The result of applying the rows one by one to an empty registry.
#[derive(Default)]
struct Model<'a> {
    created: u64,
    updated: u64,
    unchanged: u64,
    members: BTreeMap<&'a str, &'a [String; 3]>,
    /// Line and code of each rejected row.
    rejects: Vec<(usize, &'static str)>,
}

impl<'a> Model<'a> {
    fn of(rows: &'a [Row]) -> Self {
        let mut model = Self::default();
        for (index, row) in rows.iter().enumerate() {
            match &row.verdict {
                Err(code) => model.rejects.push((index + 2, *code)),
                Ok(said) => match model.members.insert(&said.id, &said.profile) {
                    None => model.created += 1,
                    Some(was) if *was == said.profile => model.unchanged += 1,
                    Some(_) => model.updated += 1,
                },
            }
        }
        model
    }
}

/// Polls the batch until `enough` holds, as long as it makes progress. With faults, the local stack
/// may fail to respond.
async fn wait_until(api: &Api, id: &str, enough: impl Fn(&Value) -> bool) -> Value {
    let mut moved = Instant::now();
    let mut batch = Value::Null;
    while moved.elapsed() < PATIENCE {
        let request = api.request(Method::GET, &format!("/api/members/batch/{id}"));
        let answer = request.send().await.expect("an answer");
        if answer.status() == StatusCode::OK {
            let seen: Value = answer.json().await.expect("JSON");
            if enough(&seen) {
                return seen;
            }
            if seen["rows"] != batch["rows"] {
                moved = Instant::now();
            }
            batch = seen;
        }
        tokio::time::sleep(GLANCE).await;
    }
    panic!("waited too long for {batch:#}");
}

/// Creates a batch and sends its file. Returns the batch's id.
async fn send(api: &Api, file: Vec<u8>) -> String {
    let opened = loop {
        let request = api.request(Method::POST, "/api/members/batch");
        let answer = request.send().await.expect("an answer");
        if answer.status() == StatusCode::CREATED {
            break answer.json::<Value>().await.expect("JSON");
        }
        assert!(answer.status().is_server_error(), "{}", answer.status());
    };
    let url = opened["upload"]["url"].as_str().expect("a URL");
    let put = api.http.put(url).header("content-type", "text/csv");
    let sent = put.body(file).send().await.expect("an answer");
    assert_eq!(sent.status(), StatusCode::OK);
    opened["batch_id"].as_str().expect("an id").to_owned()
}

/// Returns line and code of each row of a batch's report, in order.
async fn report(api: &Api, id: &str) -> Vec<(usize, String)> {
    let request = api.request(Method::GET, &format!("/api/members/batch/{id}/rejects"));
    let answer = request.header("accept", "application/json").send().await;
    let way: Value = answer.expect("an answer").json().await.expect("JSON");
    let answer = api
        .http
        .get(way["url"].as_str().expect("a URL"))
        .send()
        .await;
    let text = answer.expect("an answer").text().await.expect("text");
    let line = |line: &str| {
        let (number, rest) = line.split_once(',')?;
        Some((number.parse().ok()?, rest.split_once(',')?.0.to_owned()))
    };
    text.lines()
        .skip(1)
        .map(|text| line(text).unwrap_or_else(|| panic!("{text}")))
        .collect()
}

#[tokio::test]
async fn a_batch_that_is_killed_twenty_five_times_is_its_rows_one_by_one() {
    kill(Packing::Plain).await;
}

#[tokio::test]
async fn so_is_a_gzip_file() {
    kill(Packing::Gzip).await;
}

#[tokio::test]
async fn so_is_a_utf_16_file() {
    kill(Packing::Utf16).await;
}

#[tokio::test]
async fn so_is_a_workbook() {
    kill(Packing::Workbook).await;
}

async fn kill(packing: Packing) {
    let random = &mut Rng::with_seed(25);
    let rows = rows(random);
    let model = Model::of(&rows);
    let mut file = String::from("account_id,client_member_id,first_name,last_name,phone_number\n");
    for row in &rows {
        file.push_str(&row.text);
    }

    let folder = folder();
    let folder = folder.path();
    let faults = |seed: u64| {
        [
            "--key".into(),
            KEY.into(),
            "--faults".into(),
            format!("{FAULTS},seed={seed}"),
        ]
    };
    let start = |port, arguments: &[String]| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match port {
            None => Dev::start(folder, &arguments),
            Some(port) => Dev::start_on(port, folder, &arguments).expect("it starts again"),
        }
    };
    let mut dev = start(None, &faults(0));
    let (port, api) = (dev.port, Api::new(&dev, KEY));
    let id = send(&api, packing.pack(&file)).await;
    let mut log = String::new();
    for kill in 1..=KILLS {
        // Each run that began was interrupted: so there is one more of them at each kill.
        wait_until(&api, &id, |batch| batch["attempts"] == kill).await;
        // At a random moment, but never so late that nothing is left for the kills to come.
        let moment = Instant::now() + Duration::from_millis(random.u64(100..1000));
        let share = ROWS as u64 * kill / (KILLS + 5);
        let seen = wait_until(&api, &id, |batch| {
            Instant::now() >= moment || read_so_far(batch) > share
        })
        .await;
        assert!(
            !has_ended(&seen),
            "it was killed while running: {seen:#}\n{log}"
        );
        dev.process.kill();
        writeln!(log, "kill {kill} with {} rows read", read_so_far(&seen)).expect("a string");
        dev = start(Some(port), &faults(kill));
    }
    let ended = wait_until(&api, &id, has_ended).await;
    println!("{log}");
    // From here on there are no faults, so that everything can be read.
    dev.process.kill();
    let _dev = start(Some(port), &[]);

    assert_eq!(ended["attempts"], KILLS + 1, "{ended:#}");
    assert_eq!(ended["status"], "completed_with_rejects", "{ended:#}");
    let counted = json!({
        "read": ROWS, "created": model.created, "updated": model.updated,
        "unchanged": model.unchanged, "superseded": 0, "rejected": model.rejects.len(), "absent": 0, "removed": 0,
    });
    assert_eq!(ended["rows"], counted, "{log}");
    let sum = model.created + model.updated + model.unchanged + model.rejects.len() as u64;
    assert_eq!(sum, ROWS as u64, "every row is accounted for");

    let rows = report(&api, &id).await;
    let rows: Vec<_> = rows
        .iter()
        .map(|(line, code)| (*line, code.as_str()))
        .collect();
    assert!(rows == model.rejects, "each rejected row once, in order");

    let (members, by) = (everyone(&api).await, format!("batch:{id}"));
    assert_eq!(members.len(), model.members.len());
    let at = &members[0]["created_at"];
    let mut found = BTreeMap::new();
    for member in &members {
        for (field, wanted) in [("created_at", at), ("updated_at", at)] {
            assert_eq!(
                &member[field], wanted,
                "the upload's time, whichever run wrote it"
            );
        }
        assert!(
            member["created_by"] == *by && member["updated_by"] == *by,
            "{member}"
        );
        let field = |name: &str| member[name].as_str().expect("text");
        let profile =
            ["first_name", "last_name", "phone_number"].map(|name| field(name).to_owned());
        found.insert(field("id"), profile);
    }
    for (id, profile) in &model.members {
        assert_eq!(found.get(id), Some(*profile), "{id}\n{log}");
    }
}

/// Returns every member.
async fn everyone(api: &Api) -> Vec<Value> {
    let (mut members, mut url) = (Vec::new(), "/api/members/?limit=1000".to_owned());
    loop {
        let mut page = api.get(&url).await;
        let results = page["results"].as_array_mut().expect("results");
        members.append(results);
        match page["next"].as_str() {
            Some(next) => next.clone_into(&mut url),
            None => return members,
        }
    }
}
