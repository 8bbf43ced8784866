//! Pictures of every page, light and dark, wide and narrow: those in docs/console. They are put
//! where `PICTURES` says, or below target/.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use mpulse_tests::{HEADER, Stack, roster, text};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::browser::{Browser, NARROW, WIDE, pictures};

/// The pages, by the names of their pictures.
pub const PAGES: [&str; 8] = [
    "sign-in", "members", "member", "send", "sending", "batches", "batch", "keys",
];

/// Write units a second, so that a file is seen at work.
pub const SLOW: &str = "wcu=2500,seed=7";

/// What all of them together may weigh, in bytes.
const MOST: usize = 450_000;

const PEOPLE: [(&str, &str, &str); 10] = [
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
];

/// A registry in which there is something to see.
pub struct Scene<'a> {
    stack: &'a Stack,
    folder: TempDir,
    /// A batch with rejects.
    batch: Value,
}

impl<'a> Scene<'a> {
    /// Fills a stack, whose writes are [`SLOW`].
    pub async fn new(stack: &'a Stack) -> Self {
        let file = |bad: &[usize]| {
            let mut file = HEADER.to_owned();
            for (at, (first, last, phone)) in PEOPLE.iter().enumerate() {
                let phone = if bad.contains(&at) { "555-01" } else { phone };
                writeln!(file, "4,{},{first},{last},{phone}", 5_622_780 + at)
                    .expect("it is written");
            }
            file
        };
        let named = |name: &str| json!({"file_name": name});
        stack
            .upload_with(&named("members-monday.csv"), file(&[]))
            .await;
        stack
            .upload_with(&named("no-header.csv"), "4,1,Ann,Lee,4155550199\n")
            .await;
        let batch = stack
            .upload_with(&named("members-tuesday.csv"), file(&[2, 5, 6]))
            .await;
        stack.open_batch(&named("members-wednesday.csv")).await;
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("members.csv"), file(&[])).expect("a file");
        fs::write(folder.path().join("large.csv"), roster("7", 40_000)).expect("a file");
        Self {
            stack,
            folder,
            batch,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Opens a page, as it looks best.
    pub async fn open(&self, browser: &Browser, page: &str) {
        browser.go("/admin/").await;
        browser.reload().await;
        browser.settled().await;
        if page == "sign-in" {
            browser.run("sessionStorage.clear()").await;
            browser.reload().await;
            browser.field("Key id").await;
            return;
        }
        if !browser.text().await.contains("Sign out") {
            browser.sign_in(&self.stack.admin).await;
        }
        match page {
            "members" | "member" => {
                browser.fill("Account", "4").await;
                browser.press("Find").await;
                browser.shows("10 members").await;
                if page == "member" {
                    browser.press("Zoë Brien").await;
                    browser.shows("Last written").await;
                }
            }
            "send" => {
                browser.press("Send a file").await;
                browser
                    .give("Choose CSV files", &[&self.file("members.csv")])
                    .await;
                browser.shows("What to do with the rows").await;
            }
            "sending" => {
                browser.press("Send a file").await;
                browser
                    .give("Choose CSV files", &[&self.file("large.csv")])
                    .await;
                browser.press("Send").await;
                browser.shows("Rows per second over").await;
            }
            "batches" => {
                browser.press("Batches").await;
                browser.shows("members-monday.csv").await;
            }
            "batch" => {
                browser
                    .go(&format!(
                        "/admin/#/batches/{}",
                        text(&self.batch["batch_id"])
                    ))
                    .await;
                browser.shows("All of them").await;
            }
            "keys" => {
                browser.press("Keys").await;
                browser.shows("in use").await;
            }
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_has_its_picture() {
    let stack = Stack::with_faults(SLOW).await;
    let scene = Scene::new(&stack).await;
    let browser = Browser::start(&stack).await;
    let mut bytes = 0;
    for page in PAGES {
        for (screen, width) in [(WIDE, "wide"), (NARROW, "narrow")] {
            browser.screen(screen).await;
            scene.open(&browser, page).await;
            for (dark, scheme) in [(false, "light"), (true, "dark")] {
                browser.dark(dark).await;
                let picture = browser.picture("webp").await;
                bytes += picture.len();
                let path = pictures().join(format!("{page}-{width}-{scheme}.webp"));
                fs::write(path, picture).expect("it is written");
            }
        }
    }
    assert!(bytes < MOST, "{bytes} bytes of pictures");
    browser.end().await;
}
