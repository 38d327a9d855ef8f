//! A headless Chromium with a profile of its own, ended with its guard.

use std::ops::Deref;
use std::path::{Path, PathBuf};

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program::{Running, command, eventually};
use crate::webdriver::Session;

/// Programs that a browser takes.
const PROGRAMS: [&str; 2] = ["chromium", "chromedriver"];

/// A browser under a driver.
pub(crate) struct Chromium {
    session: Session,
    /// Its process group.
    group: Option<Pid>,
    _driver: Running,
    _profile: TempDir,
}

/// Whether there is a browser here. Where there is none the test is skipped, and says why.
pub(crate) fn is_here() -> bool {
    let missing = PROGRAMS.into_iter().find(|name| !Path::new("/usr/bin").join(name).exists());
    let Some(missing) = missing else { return true };
    let reason = format!("/usr/bin/{missing} is missing: apt-get install chromium chromium-driver");
    assert!(!require_all(), "{reason}");
    eprintln!("SKIPPED: {reason}");
    false
}

/// Whether a test that finds something missing must fail: in CI nothing is skipped.
#[expect(clippy::disallowed_methods, reason = "tests have no other way to be told")]
fn require_all() -> bool {
    std::env::var_os("Z4J_TESTS_REQUIRE_ALL").is_some()
}

impl Chromium {
    /// Starts one with a window of that size; `scheme` is `light` or `dark`.
    pub(crate) fn start(width: u32, height: u32, scheme: &str) -> anyhow::Result<Self> {
        let profile = tempfile::tempdir()?;
        let mut program = command(Path::new("/usr/bin/chromedriver"), profile.path(), &[]);
        let driver = Running::start(program.arg("--port=0"))?;
        let port = driver.text("the driver", |line| {
            let port = line.strip_prefix("ChromeDriver was started successfully on port ")?;
            port.trim_end_matches('.').parse::<u16>().ok()
        })?;
        let arguments = [
            "--headless=new".to_owned(),
            // Tests run as root too, and on machines without shared memory to speak of.
            "--no-sandbox".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--disable-gpu".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            "--no-proxy-server".to_owned(),
            "--hide-scrollbars".to_owned(),
            format!("--window-size={width},{height}"),
            format!("--user-data-dir={}", profile.path().join("profile").display()),
        ];
        let capabilities = json!({
            "browserName": "chrome",
            "goog:chromeOptions": { "binary": "/usr/bin/chromium", "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let (session, told) = Session::start(&format!("http://127.0.0.1:{port}"), &capabilities)?;
        let group = told["goog:processID"].as_i64().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        let chromium = Self { session, group, _driver: driver, _profile: profile };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        chromium.devtools("Emulation.setEmulatedMedia", &json!({ "features": features }))?;
        chromium.size(width, height)?;
        Ok(chromium)
    }

    /// Makes the page's area that large.
    pub(crate) fn size(&self, width: u32, height: u32) -> anyhow::Result<()> {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", &size)
    }

    /// Waits until a script says true.
    pub(crate) fn until(&self, what: &str, script: &str) -> anyhow::Result<()> {
        let holds = || Ok((self.run(script)? == Value::Bool(true)).then_some(()));
        eventually(what, holds).with_context(|| self.text("body").unwrap_or_default())
    }

    /// Waits until an element shows a text.
    pub(crate) fn shows(&self, selector: &str, text: &str) -> anyhow::Result<()> {
        let script = format!(
            "return document.querySelector({})?.textContent.includes({}) ?? false",
            json!(selector),
            json!(text)
        );
        self.until(&format!("{text:?} in {selector}"), &script)
    }

    /// Keeps what is seen in `target/browser/NAME.png`.
    pub(crate) fn keep(&self, name: &str) -> anyhow::Result<()> {
        let folder = pictures()?;
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(format!("{name}.png")), STANDARD.decode(self.screenshot()?)?)?;
        Ok(())
    }

    /// Nothing was complained of on the console.
    pub(crate) fn expect_quiet(&self) -> anyhow::Result<()> {
        let said = self.console()?;
        anyhow::ensure!(said.is_empty(), "on the console: {said:#?}");
        Ok(())
    }
}

/// This test lies in `deps` of a profile's folder of the target folder.
fn pictures() -> anyhow::Result<PathBuf> {
    let test = std::env::current_exe()?;
    Ok(test.ancestors().nth(3).context("a target folder")?.join("browser"))
}

impl Deref for Chromium {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // The driver ends it, unless it hangs: then the group of its processes, which the driver made, is killed.
        let _ = self.session.end();
        if let Some(group) = self.group {
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}
