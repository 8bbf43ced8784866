//! A browser that a test uses as a person does: by labels, the texts of buttons and links, and
//! keys. Everything that is looked for is waited for; where it doesn't come, the test fails with
//! the page's text and a picture of it. At its end a browser must have had nothing to complain
//! about: no error of a script, nothing that the page's policy forbids.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::future::Future;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fantoccini::elements::Element;
use fantoccini::error::CmdError;
use fantoccini::key::Key;
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder, Locator};
use mpulse_tests::{Login, Stack};
use reqwest::{Method, Url};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{Semaphore, SemaphorePermit};

/// How long anything that is waited for may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// The time between two looks at something that is waited for.
const GLANCE: Duration = Duration::from_millis(30);

/// Where `.ci/run` puts the script of axe-core.
const AXE: &str = "../target/ci-axe/node_modules/axe-core/axe.min.js";

/// Browsers at a time: a machine of two cores has the stacks to run as well.
static BROWSERS: Semaphore = Semaphore::const_new(2);

/// A screen, and whether the system wants it dark.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// In CSS pixels.
    pub screen: (u32, u32),
    /// Whether light text stands on a dark ground.
    pub dark: bool,
}

impl Default for Look {
    fn default() -> Self {
        Self {
            screen: WIDE,
            dark: false,
        }
    }
}

/// A wide and a narrow screen, in CSS pixels.
pub const WIDE: (u32, u32) = (960, 560);
/// The narrowest that is promised.
pub const NARROW: (u32, u32) = (360, 600);

/// The text of what is seen: of the topmost dialog, or of the page.
const SEEN: &str =
    "return ([...document.querySelectorAll('dialog[open]')].at(-1) ?? document.body).innerText";

/// A command that `WebDriver` has in Chromium alone.
#[derive(Debug)]
struct Own {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Own {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, url::ParseError> {
        let session = session.unwrap_or_default();
        base.join(&format!("session/{session}/{}", self.path))
    }

    fn method_and_body(&self, _url: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.body.to_string()))
    }
}

/// A browser with one page.
pub struct Browser {
    client: Client,
    /// The console's URL.
    url: String,
    _session: Session,
    _driver: Child,
    _profile: TempDir,
    _permit: SemaphorePermit<'static>,
}

impl Browser {
    /// A browser, with the console of the stack open.
    pub async fn start(stack: &Stack) -> Self {
        let permit = BROWSERS.acquire().await.expect("a browser may start");
        let profile = tempfile::tempdir().expect("a folder");
        let (driver, port) = driver().await;
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
        ];
        let mut arguments: Vec<String> = arguments.map(str::to_owned).into();
        arguments.push(format!("--user-data-dir={}", profile.path().display()));
        let binary = env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".to_owned());
        let wishes = json!({
            "goog:chromeOptions": {"args": arguments, "binary": binary},
            "goog:loggingPrefs": {"browser": "ALL"},
            "unhandledPromptBehavior": "accept",
        });
        let wishes = wishes.as_object().expect("an object").clone();
        let client = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
            .capabilities(wishes)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .expect("chromium starts");
        let id = client.session_id().await.expect("an answer");
        let browser = Self {
            _session: Session {
                port,
                id: id.expect("a session"),
            },
            client,
            url: stack.machine.api_url(),
            _driver: driver,
            _profile: profile,
            _permit: permit,
        };
        browser.look(Look::default()).await;
        browser.go("/").await;
        browser
    }

    /// The same, signed in.
    pub async fn signed_in(stack: &Stack, login: &Login) -> Self {
        let browser = Self::start(stack).await;
        browser.sign_in(login).await;
        browser
    }

    /// Signs in on the page that is open.
    pub async fn sign_in(&self, login: &Login) {
        self.fill("Key id", &login.id).await;
        self.fill("Secret", &login.secret).await;
        self.press("Sign in").await;
        self.shows(&format!("{} (", login.id)).await;
    }

    /// Ends the browser, which must have had nothing to complain about.
    pub async fn end(self) {
        let complaints = self.complaints().await;
        assert!(complaints.is_empty(), "{complaints:#?}");
        self.client.close().await.expect("it ends");
    }

    /// What the browser has written to its console, but for answers that a page expects.
    async fn complaints(&self) -> Vec<String> {
        let log = self.own("se/log", json!({"type": "browser"})).await;
        let lines = log.as_array().cloned().unwrap_or_default();
        lines
            .iter()
            .filter(|line| line["source"] != "network")
            .map(|line| line["message"].to_string())
            .collect()
    }

    /// Opens a path of the console.
    pub async fn go(&self, path: &str) {
        let url = format!("{}{path}", self.url);
        self.client.goto(&url).await.expect("the page opens");
    }

    /// Loads the page again.
    pub async fn reload(&self) {
        self.client.refresh().await.expect("it loads");
    }

    /// The text of what is seen: of the topmost dialog, or of the page.
    pub async fn text(&self) -> String {
        let text = self.run(SEEN).await;
        text.as_str().expect("a text").to_owned()
    }

    /// The same, unless the page is just being loaded.
    async fn seen(&self) -> Option<String> {
        let text = self.client.execute(SEEN, vec![]).await.ok()?;
        text.as_str().map(str::to_owned)
    }

    /// Runs a script in the page.
    pub async fn run(&self, script: &str) -> Value {
        let answer = self.client.execute(script, vec![]).await;
        answer.unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// Waits until `look` gives something.
    pub async fn until<T, F>(&self, what: &str, mut look: impl FnMut() -> F) -> T
    where
        F: Future<Output = Option<T>>,
    {
        let began = Instant::now();
        loop {
            if let Some(found) = look().await {
                return found;
            }
            if began.elapsed() > PATIENCE {
                let picture = self.picture("png").await;
                let path = pictures().join("failed.png");
                fs::write(&path, picture).expect("a picture");
                let text = self.seen().await.unwrap_or_default();
                let log = self.complaints().await;
                panic!(
                    "no {what}; see {}. The page:\n{text}\n{log:#?}",
                    path.display()
                );
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Waits until the text is seen.
    pub async fn shows(&self, text: &str) {
        self.until(text, async || {
            self.seen().await?.contains(text).then_some(())
        })
        .await;
    }

    /// Waits until the text is not seen any more.
    pub async fn shows_no(&self, text: &str) {
        let what = format!("end of {text:?}");
        self.until(&what, async || {
            (!self.seen().await?.contains(text)).then_some(())
        })
        .await;
    }

    /// Waits until a script gives true.
    pub async fn holds(&self, script: &str) {
        self.until(script, async || {
            self.client
                .execute(script, vec![])
                .await
                .is_ok_and(|answer| answer == true)
                .then_some(())
        })
        .await;
    }

    /// Waits until a batch of this status is seen.
    pub async fn status(&self, name: &str) {
        self.holds(&format!(
            "return !!document.querySelector('.status.{name}')"
        ))
        .await;
    }

    /// The place at which a person looks: the topmost dialog, or the page.
    async fn place(&self) -> &'static str {
        let open = self
            .run("return !!document.querySelector('dialog[open]')")
            .await;
        if open == true {
            "(//dialog[@open])[last()]"
        } else {
            "//body"
        }
    }

    /// An element that is seen, by an `XPath` below where a person looks.
    async fn find(&self, what: &str, path: &str) -> Element {
        self.until(what, async || {
            let place = self.place().await;
            let found = self
                .client
                .find_all(Locator::XPath(&format!("{place}{path}")))
                .await;
            for element in found.ok()? {
                if element.is_displayed().await.unwrap_or(false) {
                    return Some(element);
                }
            }
            None
        })
        .await
    }

    /// The field with a label.
    pub async fn field(&self, label: &str) -> Element {
        let path = format!("//*[@id=//label[normalize-space()={}]/@for]", quoted(label));
        self.find(&format!("field {label:?}"), &path).await
    }

    /// Puts a text into a field, in place of what is there.
    pub async fn fill(&self, label: &str, text: &str) {
        let field = self.field(label).await;
        field.clear().await.expect("it can be cleared");
        field.send_keys(text).await.expect("it takes text");
    }

    /// Chooses an option.
    pub async fn choose(&self, label: &str, value: &str) {
        let field = self.field(label).await;
        field.select_by_value(value).await.expect("an option");
    }

    /// Gives files to a field.
    pub async fn give(&self, label: &str, files: &[&Path]) {
        let paths: Vec<String> = files
            .iter()
            .map(|file| file.display().to_string())
            .collect();
        let field = self.field(label).await;
        field.send_keys(&paths.join("\n")).await.expect("files");
    }

    /// A button or link with a text, or an accessible name.
    pub async fn control(&self, name: &str) -> Element {
        let name = quoted(name);
        let named = format!("(normalize-space()={name} or @aria-label={name})");
        let path = format!("//*[(self::button or self::a or self::summary) and {named}]");
        self.find(&format!("control {name}"), &path).await
    }

    /// Presses a button or link.
    pub async fn press(&self, name: &str) {
        self.until(&format!("{name:?} to press"), async || {
            let control = self.control(name).await;
            // It may rest, or be drawn anew, just now.
            let ready = control.is_enabled().await.unwrap_or(false);
            (ready && control.click().await.is_ok()).then_some(())
        })
        .await;
    }

    /// Whether a button or link is there now.
    pub async fn has(&self, name: &str) -> bool {
        let name = quoted(name);
        let path = format!("//*[(self::button or self::a) and normalize-space()={name}]");
        let found = self.client.find_all(Locator::XPath(&path)).await;
        !found.expect("an answer").is_empty()
    }

    /// What is said of a field: that it is wrong, and why.
    pub async fn fault(&self, label: &str) -> String {
        let field = self.field(label).await;
        self.until(&format!("fault of {label}"), async || {
            let wrong = field.attr("aria-invalid").await.ok()??;
            let described = field.attr("aria-describedby").await.ok()??;
            let id = described.split(' ').next_back()?;
            let fault = self.client.find(Locator::Id(id)).await.ok()?;
            let text = fault.text().await.ok()?;
            (wrong == "true" && !text.is_empty()).then_some(text)
        })
        .await
    }

    /// Presses a key where the focus is.
    pub async fn key(&self, key: Key) {
        self.types(&char::from(key).to_string()).await;
    }

    /// Presses Enter on a button or link, which has the focus then.
    pub async fn enter(&self, name: &str) {
        let enter = char::from(Key::Enter).to_string();
        let control = self.control(name).await;
        control.send_keys(&enter).await.expect("it takes keys");
    }

    /// The text of what has the focus.
    pub async fn focused(&self) -> Value {
        self.run("return document.activeElement.textContent").await
    }

    /// Waits until no dialog is open any more.
    pub async fn no_dialog(&self) {
        self.holds("return !document.querySelector('dialog')").await;
    }

    /// Types where the focus is.
    pub async fn types(&self, text: &str) {
        let focused = self.client.active_element().await.expect("a focus");
        focused.send_keys(text).await.expect("keys");
    }

    /// The screen from now on.
    pub async fn look(&self, look: Look) {
        let (width, height) = look.screen;
        let size = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false,
        });
        self.cdp("Emulation.setDeviceMetricsOverride", size).await;
        let value = if look.dark { "dark" } else { "light" };
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": value}]});
        self.cdp("Emulation.setEmulatedMedia", media).await;
    }

    /// How many bytes a second the browser's line takes from now on; without any it is offline.
    pub async fn line(&self, bytes: u32) {
        self.cdp("Network.enable", json!({})).await;
        let line = json!({
            "offline": bytes == 0, "latency": 0, "downloadThroughput": bytes, "uploadThroughput": bytes,
        });
        self.cdp("Network.emulateNetworkConditions", line).await;
    }

    /// From now on the page waits for the answers of such URLs until `release()`.
    pub async fn hold_answers(&self, url: &str) {
        let script = format!(
            "const real = fetch, held = new Promise((release) => {{ globalThis.release = release; }});
             globalThis.fetch = async (url, options) => {{
               const answer = await real(url, options);
               if (url.includes('{url}') && globalThis.release) {{ globalThis.holding = true; await held; }}
               return answer;
             }};"
        );
        self.run(&script).await;
    }

    /// From now on what a screen reader is told is noted, and whether it can be heard: not while
    /// a dialog is open.
    pub async fn listen(&self) {
        let script = "globalThis.heard = [];
            globalThis.unheard = [];
            const said = document.getElementById('said');
            new MutationObserver(() => {
              (document.querySelector('dialog[open]') ? unheard : heard).push(said.textContent);
            }).observe(said, { childList: true });";
        self.run(script).await;
    }

    /// Waits until a text was told, and could be heard as all before.
    pub async fn hears(&self, text: &str) {
        self.holds(&format!("return heard.includes('{text}')"))
            .await;
        assert_eq!(self.run("return unheard").await, json!([]));
    }

    /// Waits until an answer is held.
    pub async fn holds_an_answer(&self) {
        self.holds("return globalThis.holding === true").await;
    }

    /// Lets the page have all answers.
    pub async fn release(&self) {
        self.run("release(); globalThis.release = null").await;
    }

    /// Drops files onto the page, over an element.
    pub async fn drop_files(&self, over: &str, files: &[&Path]) {
        let middle = format!(
            "const {{ x, y, width, height }} = document.querySelector('{over}').getBoundingClientRect();
             return [x + width / 2, y + height / 2]"
        );
        let middle = self.run(&middle).await;
        for kind in ["dragEnter", "dragOver", "drop"] {
            let drag = json!({
                "type": kind, "x": middle[0], "y": middle[1],
                "data": {"items": [], "files": files, "dragOperationsMask": 1},
            });
            self.cdp("Input.dispatchDragEvent", drag).await;
        }
    }

    /// Where files go that are downloaded.
    pub async fn downloads_to(&self, folder: &Path) {
        let allow = json!({"behavior": "allow", "downloadPath": folder});
        self.cdp("Browser.setDownloadBehavior", allow).await;
    }

    /// Goes on in another tab of the browser, with the console open.
    pub async fn other_tab(&self) {
        let tab = self.client.new_window(true).await.expect("a tab");
        let tab = self.client.switch_to_window(tab.handle);
        tab.await.expect("it is gone to");
        self.go("/").await;
    }

    /// Closes the tab, and goes back to the first.
    pub async fn close_tab(&self) {
        self.client.close_window().await.expect("it closes");
        let tabs = self.client.windows().await.expect("tabs");
        let first = tabs.into_iter().next().expect("a tab");
        let back = self.client.switch_to_window(first);
        back.await.expect("it is gone back to");
    }

    /// A command of the Chrome `DevTools` protocol.
    pub async fn cdp(&self, command: &str, params: Value) -> Value {
        let body = json!({"cmd": command, "params": params});
        self.own("goog/cdp/execute", body).await
    }

    async fn own(&self, path: &'static str, body: Value) -> Value {
        let answer: Result<Value, CmdError> = self.client.issue_cmd(Own { path, body }).await;
        answer.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// A picture of the screen.
    pub async fn picture(&self, format: &str) -> Vec<u8> {
        let mut wish = json!({"format": format});
        if format == "webp" {
            wish["quality"] = json!(30);
        }
        let answer = self.cdp("Page.captureScreenshot", wish).await;
        let data = answer["data"].as_str().expect("a picture");
        STANDARD.decode(data).expect("Base64")
    }

    /// What axe-core finds wrong with the page, seriously or critically, by rule.
    pub async fn barriers(&self) -> BTreeMap<String, String> {
        let default = Path::new(env!("CARGO_MANIFEST_DIR")).join(AXE);
        let path = env::var_os("AXE").map_or(default, PathBuf::from);
        let axe = fs::read_to_string(&path);
        self.run(&axe.unwrap_or_else(|error| panic!("axe-core at {}: {error}", path.display())))
            .await;
        let script = "const done = arguments[0];
            axe.run().then(({ violations }) => done(violations
              .filter(({ impact }) => ['serious', 'critical'].includes(impact))
              .map(({ id, nodes }) => [id, nodes.map(({ html }) => html).join('\\n')])))";
        let found = self
            .client
            .execute_async(script, vec![])
            .await
            .expect("axe runs");
        let pairs = found.as_array().expect("a list").iter().map(|pair| {
            let text = |at: usize| pair[at].as_str().unwrap_or_default().to_owned();
            (text(0), text(1))
        });
        pairs.collect()
    }

    /// How far the page could be scrolled sideways, in CSS pixels.
    pub async fn overhang(&self) -> i64 {
        let script = "return document.documentElement.scrollWidth - innerWidth";
        self.run(script).await.as_i64().expect("a number")
    }
}

/// A session of the driver, which ends with the value: else the browser of a test that fails
/// would outlive its driver.
struct Session {
    port: u16,
    id: String,
}

impl Drop for Session {
    fn drop(&mut self) {
        let Self { port, id } = self;
        let request = format!(
            "DELETE /session/{id} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
        );
        // Where the driver is gone, there is nothing left to end.
        if let Ok(mut driver) = TcpStream::connect(("127.0.0.1", *port)) {
            let _ = driver.set_read_timeout(Some(Duration::from_secs(5)));
            let _ = driver.write_all(request.as_bytes());
            let _ = driver.read(&mut [0; 64]);
        }
    }
}

/// A text for an `XPath`, which has no way to escape a quote.
fn quoted(text: &str) -> String {
    assert!(!text.contains('"'), "{text}");
    format!("\"{text}\"")
}

/// Where pictures go: `PICTURES`, or below target/.
pub fn pictures() -> PathBuf {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/pictures");
    let folder = env::var_os("PICTURES").map_or(default, PathBuf::from);
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// Starts chromedriver on a port of its choice. It ends with the value.
async fn driver() -> (Child, u16) {
    let program = env::var("CHROMEDRIVER").unwrap_or_else(|_| "chromedriver".to_owned());
    let mut driver = Command::new(&program)
        .arg("--port=0")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{program} starts: {error}"));
    let output = driver.stdout.take().expect("it is piped");
    let mut lines = BufReader::new(output).lines();
    while let Some(line) = lines.next_line().await.expect("output") {
        if let Some((_, port)) = line.split_once("successfully on port ") {
            let port = port.trim_end_matches('.').parse().expect("a port");
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return (driver, port);
        }
    }
    panic!("{program} ended before it was ready");
}
