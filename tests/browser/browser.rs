//! A browser that a test uses as a person does: by labels, the texts of buttons and links, and
//! keys. Everything is waited for; if it does not appear, the test fails with the page's text and a
//! picture. When a browser is closed, it must have logged no error of a script and no violation of
//! the page's policy.
//!

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
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
use tokio::process::Child;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::driver::{Session, driver};
use crate::screen::{Look, pictures};

/// The longest wait for anything.
const PATIENCE: Duration = Duration::from_mins(1);

/// The time between two polls.
const GLANCE: Duration = Duration::from_millis(30);

/// Where `.ci/run` puts the script of axe-core.
const AXE: &str = "../target/ci-axe/node_modules/axe-core/axe.min.js";

/// Browsers at a time: two cores have to run the stacks as well.
static BROWSERS: Semaphore = Semaphore::const_new(2);

/// The text of the topmost dialog, or of the page.
const SEEN: &str =
    "return ([...document.querySelectorAll('dialog[open]')].at(-1) ?? document.body).innerText";

/// A command that `WebDriver` has in Chromium only.
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
    /// Starts a browser, with the console of the stack open.
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
            url: stack.local_stack.api_url(),
            _driver: driver,
            _profile: profile,
            _permit: permit,
        };
        browser.look(Look::default()).await;
        browser.go("/").await;
        browser
    }

    /// Starts a browser that is signed in.
    pub async fn signed_in(stack: &Stack, login: &Login) -> Self {
        let browser = Self::start(stack).await;
        browser.sign_in(login).await;
        browser
    }

    /// Signs in on the open page.
    pub async fn sign_in(&self, login: &Login) {
        self.fill("Key id", &login.id).await;
        self.fill("Secret", &login.secret).await;
        self.press("Sign in").await;
        self.shows(&format!("{} (", login.id)).await;
    }

    /// Closes the browser, whose log must be empty.
    pub async fn end(self) {
        let complaints = self.complaints().await;
        assert!(complaints.is_empty(), "{complaints:#?}");
        self.client.close().await.expect("it ends");
    }

    /// Returns the browser's log, except for error responses that a page expects.
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

    /// Reloads the page.
    pub async fn reload(&self) {
        self.client.refresh().await.expect("it loads");
    }

    /// Returns the text of the topmost dialog, or of the page.
    pub async fn text(&self) -> String {
        let text = self.run(SEEN).await;
        text.as_str().expect("a text").to_owned()
    }

    /// Returns the text, unless the page is being loaded.
    async fn seen(&self) -> Option<String> {
        let text = self.client.execute(SEEN, vec![]).await.ok()?;
        text.as_str().map(str::to_owned)
    }

    /// Runs a script in the page.
    pub async fn run(&self, script: &str) -> Value {
        let answer = self.client.execute(script, vec![]).await;
        answer.unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// Waits until `look` returns a value.
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

    /// Waits until the text is shown.
    pub async fn shows(&self, text: &str) {
        self.until(text, async || {
            self.seen().await?.contains(text).then_some(())
        })
        .await;
    }

    /// Waits until the text is not shown any more.
    pub async fn shows_no(&self, text: &str) {
        let what = format!("end of {text:?}");
        self.until(&what, async || {
            (!self.seen().await?.contains(text)).then_some(())
        })
        .await;
    }

    /// Waits until a script returns true.
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

    /// Waits until a batch with this status is shown.
    pub async fn status(&self, name: &str) {
        self.holds(&format!(
            "return !!document.querySelector('.status.{name}')"
        ))
        .await;
    }

    /// Returns an `XPath` to the topmost dialog, or to the page.
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

    /// Finds a visible element by an `XPath` below the topmost dialog or the page.
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

    /// Finds the field with a label.
    pub async fn field(&self, label: &str) -> Element {
        let path = format!("//*[@id=//label[normalize-space()={}]/@for]", quoted(label));
        self.find(&format!("field {label:?}"), &path).await
    }

    /// Replaces the text of a field.
    pub async fn fill(&self, label: &str, text: &str) {
        let field = self.field(label).await;
        field.clear().await.expect("it can be cleared");
        field.send_keys(text).await.expect("it takes text");
    }

    /// Selects an option.
    pub async fn choose(&self, label: &str, value: &str) {
        let field = self.field(label).await;
        field.select_by_value(value).await.expect("an option");
    }

    /// Selects files in a field.
    pub async fn give(&self, label: &str, files: &[&Path]) {
        let paths: Vec<String> = files
            .iter()
            .map(|file| file.display().to_string())
            .collect();
        let field = self.field(label).await;
        field.send_keys(&paths.join("\n")).await.expect("files");
    }

    /// Finds a button or link by its text, or its accessible name.
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
            // It may be disabled, or drawn again, at this moment.
            let ready = control.is_enabled().await.unwrap_or(false);
            (ready && control.click().await.is_ok()).then_some(())
        })
        .await;
    }

    /// Returns whether a button or link exists now.
    pub async fn has(&self, name: &str) -> bool {
        let name = quoted(name);
        let path = format!("//*[(self::button or self::a) and normalize-space()={name}]");
        let found = self.client.find_all(Locator::XPath(&path)).await;
        !found.expect("an answer").is_empty()
    }

    /// Returns the error message of a field.
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

    /// Presses a key on the focused element.
    pub async fn key(&self, key: Key) {
        self.types(&char::from(key).to_string()).await;
    }

    /// Presses Enter on a button or link, which then has the focus.
    pub async fn enter(&self, name: &str) {
        let enter = char::from(Key::Enter).to_string();
        let control = self.control(name).await;
        control.send_keys(&enter).await.expect("it takes keys");
    }

    /// Returns the text of the focused element.
    pub async fn focused(&self) -> Value {
        self.run("return document.activeElement.textContent").await
    }

    /// Waits until no dialog is open.
    pub async fn no_dialog(&self) {
        self.holds("return !document.querySelector('dialog')").await;
    }

    /// Types into the focused element.
    pub async fn types(&self, text: &str) {
        let focused = self.client.active_element().await.expect("a focus");
        focused.send_keys(text).await.expect("keys");
    }

    /// Changes the screen.
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

    /// Limits the browser's connection to a number of bytes per second; without a number it is
    /// offline.
    pub async fn line(&self, bytes: u32) {
        self.cdp("Network.enable", json!({})).await;
        let line = json!({
            "offline": bytes == 0, "latency": 0, "downloadThroughput": bytes, "uploadThroughput": bytes,
        });
        self.cdp("Network.emulateNetworkConditions", line).await;
    }

    /// Delays the responses of such URLs until `release()`.
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

    /// Records what a screen reader announces, and whether it can be heard: not while a dialog is
    /// open.
    pub async fn listen(&self) {
        let script = "globalThis.heard = [];
            globalThis.unheard = [];
            const said = document.getElementById('said');
            new MutationObserver(() => {
              (document.querySelector('dialog[open]') ? unheard : heard).push(said.textContent);
            }).observe(said, { childList: true });";
        self.run(script).await;
    }

    /// Waits until a text was announced, and could be heard, as all before.
    pub async fn hears(&self, text: &str) {
        self.holds(&format!("return heard.includes('{text}')"))
            .await;
        assert_eq!(self.run("return unheard").await, json!([]));
    }

    /// Waits until a response is delayed.
    pub async fn holds_an_answer(&self) {
        self.holds("return globalThis.holding === true").await;
    }

    /// Releases delayed responses.
    pub async fn release(&self) {
        self.run("release(); globalThis.release = null").await;
    }

    /// Drops files onto an element of the page.
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

    /// The folder of downloads.
    pub async fn downloads_to(&self, folder: &Path) {
        let allow = json!({"behavior": "allow", "downloadPath": folder});
        self.cdp("Browser.setDownloadBehavior", allow).await;
    }

    /// Opens another tab of the browser, with the console.
    pub async fn other_tab(&self) {
        let tab = self.client.new_window(true).await.expect("a tab");
        let tab = self.client.switch_to_window(tab.handle);
        tab.await.expect("the tab opens");
        self.go("/").await;
    }

    /// Closes the tab, and returns to the first.
    pub async fn close_tab(&self) {
        self.client.close_window().await.expect("it closes");
        let tabs = self.client.windows().await.expect("tabs");
        let first = tabs.into_iter().next().expect("a tab");
        let back = self.client.switch_to_window(first);
        back.await.expect("the first tab is active");
    }

    /// Sends a command of the Chrome `DevTools` protocol.
    pub async fn cdp(&self, command: &str, params: Value) -> Value {
        let body = json!({"cmd": command, "params": params});
        self.own("goog/cdp/execute", body).await
    }

    async fn own(&self, path: &'static str, body: Value) -> Value {
        let answer: Result<Value, CmdError> = self.client.issue_cmd(Own { path, body }).await;
        answer.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Takes a picture of the screen.
    pub async fn picture(&self, format: &str) -> Vec<u8> {
        let mut wish = json!({"format": format});
        if format == "webp" {
            wish["quality"] = json!(30);
        }
        let answer = self.cdp("Page.captureScreenshot", wish).await;
        let data = answer["data"].as_str().expect("a picture");
        STANDARD.decode(data).expect("Base64")
    }

    /// Returns the serious and critical findings of axe-core, by rule.
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

    /// Returns how far the page can be scrolled sideways, in CSS pixels.
    pub async fn overhang(&self) -> i64 {
        let script = "return document.documentElement.scrollWidth - innerWidth";
        self.run(script).await.as_i64().expect("a number")
    }
}

/// Quotes text for an `XPath`, which has no escape for a quote.
fn quoted(text: &str) -> String {
    assert!(!text.contains('"'), "{text}");
    format!("\"{text}\"")
}
