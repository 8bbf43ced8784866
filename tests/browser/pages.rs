//! Every page, with accessibility checks, on a narrow screen, in light and dark, and the number of
//! requests of the first page. Pictures go to the folder that `PICTURES` names, or below target/;
//! those in docs/console are made this way.
//!

use std::fmt::Write;
use std::fs;

use mpulse_shared::key::Role;
use mpulse_tests::{HEADER, Stack, roster, send, text};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::browser::Browser;
use crate::screen::{Look, NARROW, WIDE, pictures};

/// The pages of which pictures are made, by name.
const PICTURED: [&str; 8] = [
    "sign-in", "members", "member", "send", "sending", "batches", "batch", "keys",
];

/// The other pages.
const OTHERS: [&str; 2] = ["new-key", "new-member"];

/// The element to scroll to on long pages, so that the picture shows the main content.
const PLACES: [(&str, &str); 2] = [("sending", "section:has(.watch)"), ("batch", ".outcomes")];

/// Every screen size and colour scheme, by name.
const LOOKS: [(&str, Look); 4] = [
    ("wide-light", look(WIDE, false)),
    ("wide-dark", look(WIDE, true)),
    ("narrow-light", look(NARROW, false)),
    ("narrow-dark", look(NARROW, true)),
];

const fn look(screen: (u32, u32), dark: bool) -> Look {
    Look { screen, dark }
}

/// The maximum size of all pictures together, in bytes.
const MOST: usize = 450_000;

/// Write units per second, so that a file is shown while it is processed.
const SLOW: &str = "wcu=2500,seed=7";

const PEOPLE: [(&str, &str, &str); 12] = [
    ("Zoë", "Brien", "(714) 555-0123"),
    ("José", "Nuñez", "+1 212 555 0188"),
    ("Ann", "Lee", "415-555-0199"),
    ("Søren", "Kjær", "+45 32 12 34 56"),
    ("Amélie", "Dupré", "+33 1 42 68 53 00"),
    ("Tomás", "Molnár", "810-625-7560"),
    ("Chiara", "Ruiz", "906-421-0136"),
    ("Ian", "O’Shea", "949-363-5044"),
    ("Mei", "Tanaka", "+81 3 3224 9999"),
    ("Priya", "Nair", "+91 22 2202 4499"),
    ("Łukasz", "Wójcik", "+48 22 694 42 00"),
    ("Ngozi", "Okafor", "+1 646 555 0142"),
];

/// A roster of those people, some of whom have an invalid phone.
fn people(bad: &[usize]) -> String {
    let mut file = HEADER.to_owned();
    for (at, (first, last, phone)) in PEOPLE.iter().enumerate() {
        let phone = if bad.contains(&at) { "555-01" } else { phone };
        let id = 5_622_780 + at;
        writeln!(file, "4,{id},{first},{last},{phone}").expect("room");
    }
    file
}

/// A registry with some content.
struct Scene<'a> {
    stack: &'a Stack,
    folder: TempDir,
    /// A batch with rejected rows.
    batch: Value,
}

impl<'a> Scene<'a> {
    async fn new(stack: &'a Stack) -> Self {
        let named = |name: &str| json!({"file_name": name});
        let monday = named("members-monday.csv");
        stack.upload_with(&monday, people(&[])).await;
        let headless = named("no-header.csv");
        stack
            .upload_with(&headless, "4,1,Ann,Lee,4155550199\n")
            .await;
        let tuesday = named("members-tuesday.csv");
        let batch = stack.upload_with(&tuesday, people(&[2, 5, 6])).await;
        let corrected = json!({
            "file_name": "members-tuesday-corrected.csv", "parent_batch_id": batch["batch_id"],
        });
        stack.upload_with(&corrected, people(&[])).await;
        let wrong = stack.open_batch(&named("wrong-file.csv")).await;
        let wrong = format!("/api/members/batch/{}", text(&wrong["batch_id"]));
        stack.delete(&wrong).await.expect(200);
        stack.open_batch(&named("members-wednesday.csv")).await;

        stack
            .bound_key("night-job", Role::Writer, &["4", "7"])
            .await;
        stack.bound_key("old-job", Role::Writer, &["4"]).await;
        let revoke = stack.request_as(&stack.admin, Method::DELETE, "/api/keys/old-job");
        send(revoke).await.expect(200);

        let folder = tempfile::tempdir().expect("a folder");
        for (name, file) in [
            ("members.csv", people(&[])),
            ("large.csv", roster("7", 40_000)),
        ] {
            fs::write(folder.path().join(name), file).expect("a file");
        }
        Self {
            stack,
            folder,
            batch,
        }
    }

    /// Opens a page in a browser in which an admin is signed in, except for the first page.
    async fn open(&self, browser: &Browser, page: &str) {
        let file = |name: &str| self.folder.path().join(name);
        match page {
            "sign-in" => browser.shows("Sign in with the access key").await,
            "members" => {
                browser.sign_in(&self.stack.admin).await;
                browser.fill("Account", "4").await;
                browser.press("Find").await;
                browser.shows("12 members").await;
            }
            "member" => {
                browser.press("Zoë Brien").await;
                browser.shows("Last updated").await;
            }
            "new-member" => {
                browser.press("Close").await;
                browser.press("Members").await;
                browser.press("New member").await;
                browser.press("Create").await;
                browser.fault("Phone").await;
            }
            "send" => {
                browser.press("Close").await;
                browser.press("Send a file").await;
                let members = file("members.csv");
                browser.give("Choose CSV files", &[&members]).await;
                browser.shows("Existing members").await;
            }
            "sending" => {
                browser.press("Remove").await;
                browser
                    .give("Choose CSV files", &[&file("large.csv")])
                    .await;
                browser.press("Send").await;
                browser.shows("Rows per second over").await;
            }
            "batches" => {
                browser.press("Batches").await;
                browser.shows("members-monday.csv").await;
            }
            "batch" => {
                let id = text(&self.batch["batch_id"]);
                browser.go(&format!("/admin/#/batches/{id}")).await;
                browser.shows("All of them").await;
            }
            "keys" => {
                browser.press("Keys").await;
                browser.shows("old-job").await;
            }
            "new-key" => {
                browser.fill("Key id", "shown-once").await;
                browser.press("Create").await;
                browser.shows("never shown again").await;
            }
            _ => panic!("there is no page {page}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_accessible_and_fits_its_screen() {
    let stack = Stack::with_faults(SLOW).await;
    let scene = Scene::new(&stack).await;
    let browser = Browser::start(&stack).await;
    let mut bytes = 0;
    for page in PICTURED.into_iter().chain(OTHERS) {
        browser.look(Look::default()).await;
        scene.open(&browser, page).await;
        for (name, look) in LOOKS {
            browser.look(look).await;
            let barriers = browser.barriers().await;
            assert!(barriers.is_empty(), "{page}, {name}: {barriers:#?}");
            let overhang = browser.overhang().await;
            assert!(overhang <= 0, "{page}, {name}: {overhang} pixels too wide");
            if PICTURED.contains(&page) {
                for (_, place) in PLACES.into_iter().filter(|(name, _)| *name == page) {
                    let scroll = format!("document.querySelector('{place}').scrollIntoView()");
                    browser.run(&scroll).await;
                }
                let picture = browser.picture("webp").await;
                bytes += picture.len();
                let path = pictures().join(format!("{page}-{name}.webp"));
                fs::write(path, picture).expect("it is written");
            }
        }
    }
    assert!(bytes < MOST, "{bytes} bytes of pictures");
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_page_loads_the_document_and_four_files() {
    let stack = Stack::start().await;
    let browser = Browser::start(&stack).await;
    browser.shows("Sign in with the access key").await;
    browser
        .holds("return performance.getEntriesByName('first-contentful-paint').length === 1")
        .await;
    let files =
        "return performance.getEntriesByType('resource').map(({ name }) => new URL(name).pathname)";
    let files = browser.run(files).await;
    let files = files.as_array().expect("a list");
    // Nothing more is requested until the user signs in.
    assert!(files.len() <= 4, "{files:?}");
    browser.end().await;
}
