//! Chromium without a screen, driven over WebDriver (W3C) by `chromedriver`.

use super::{process, wait};
use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use std::{
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;

/// WebDriver's name of an element in JSON.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with one window; driver and browser end with the value.
pub struct Browser {
    driver: Child,
    base: String,
    folder: TempDir,
}

impl Browser {
    /// Starts the driver at a free port and opens a window of a desk's size.
    pub fn start(port: u16) -> Result<Self> {
        let folder = TempDir::with_prefix("xinguan-browser-")?;
        let log = std::fs::File::create(folder.path().join("driver.log"))?;
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .context("cannot start chromedriver (apt packages chromium and chromium-driver; scripts/console-check installs them)")?;
        let mut this = Self { driver, base: format!("http://127.0.0.1:{port}"), folder };
        wait::until("chromedriver answers", Duration::from_secs(60), || this.send("GET", "/status", None))?;
        let profile = format!("--user-data-dir={}", this.folder.path().join("profile").display());
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--window-size=1400,1000",
            &profile,
            "--lang=zh-CN",
        ];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" } } } });
        let session = this.send("POST", "/session", Some(&wanted))?;
        let id = session["sessionId"].as_str().context("no session")?;
        this.base = format!("{}/session/{id}", this.base);
        Ok(this)
    }

    /// By curl, like everything else here: one call, one answer's `value`.
    fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let mut curl = Command::new("curl");
        curl.args(["-q", "-sS", "--max-time", "120", "-X", method]).arg(format!("{}{path}", self.base));
        if let Some(body) = body {
            let file = self.folder.path().join("body.json");
            std::fs::write(&file, body.to_string())?;
            curl.args(["-H", "Content-Type: application/json", "--data-binary"])
                .arg(format!("@{}", file.display()));
        }
        let out = curl.stdin(Stdio::null()).output().context("cannot run curl (apt package curl)")?;
        let answer: Value = serde_json::from_slice(&out.stdout).with_context(|| process::text(&out))?;
        let value = answer["value"].clone();
        if let Some(error) = value["error"].as_str() {
            bail!("{method} {path}: {error}: {}", value["message"]);
        }
        Ok(value)
    }

    /// Goes to an address and waits until the page is loaded.
    pub fn open(&self, url: &str) -> Result<()> {
        self.send("POST", "/url", Some(&json!({ "url": url }))).map(drop)
    }
    /// Where it is.
    pub fn url(&self) -> Result<String> {
        Ok(self.send("GET", "/url", None)?.as_str().unwrap_or_default().to_owned())
    }
    fn find(&self, css: &str) -> Result<String> {
        let found = self.send("POST", "/element", Some(&json!({ "using": "css selector", "value": css })))?;
        Ok(found[ELEMENT].as_str().with_context(|| format!("no element {css}"))?.to_owned())
    }
    /// The text that a person sees of the first such element.
    pub fn text(&self, css: &str) -> Result<String> {
        let path = format!("/element/{}/text", self.find(css)?);
        Ok(self.send("GET", &path, None)?.as_str().unwrap_or_default().to_owned())
    }
    /// Clicks the first such element; what it leads to is loaded.
    pub fn click(&self, css: &str) -> Result<()> {
        self.send("POST", &format!("/element/{}/click", self.find(css)?), Some(&json!({}))).map(drop)
    }
    /// Types into the first such element.
    pub fn type_into(&self, css: &str, text: &str) -> Result<()> {
        let path = format!("/element/{}/value", self.find(css)?);
        self.send("POST", &path, Some(&json!({ "text": text }))).map(drop)
    }
    /// What an expression is, in the page.
    pub fn evaluate(&self, expression: &str) -> Result<Value> {
        let script = format!("return {expression}");
        self.send("POST", "/execute/sync", Some(&json!({ "script": script, "args": [] })))
    }
    /// What the page was blamed for: errors of its policy, of its markup, of what it wanted to load.
    pub fn complaints(&self) -> Result<Vec<String>> {
        let log = self.send("POST", "/se/log", Some(&json!({ "type": "browser" })))?;
        let said = log.as_array().into_iter().flatten().map(|l| l["message"].to_string());
        // every browser asks for this by itself
        Ok(said.filter(|m| !m.contains("favicon.ico")).collect())
    }
    /// A picture of the whole window.
    pub fn screenshot(&self, to: &Path) -> Result<()> {
        let picture = self.send("GET", "/screenshot", None)?;
        let picture = picture.as_str().context("no picture")?;
        let bytes = base64::engine::general_purpose::STANDARD.decode(picture)?;
        ensure!(bytes.starts_with(b"\x89PNG"), "the picture is no PNG");
        Ok(std::fs::write(to, bytes)?)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // the browser's many processes are in the driver's group
        if let Some(group) = i32::try_from(self.driver.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.driver.wait();
    }
}
