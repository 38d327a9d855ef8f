//! One process's world: directories, environment, and the run itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub(crate) type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// A secret of 32 bytes.
pub(crate) const SECRET: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

pub(crate) struct World {
    dir: tempfile::TempDir,
    variables: BTreeMap<String, String>,
}

/// What a run left behind.
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl World {
    /// A complete configuration for a brain; home and temporary directory are writable. The application's
    /// Python environment is that of a bare agent without an engine.
    pub(crate) fn new(brain_url: &str) -> Outcome<Self> {
        let dir = tempfile::tempdir()?;
        std::fs::create_dir(dir.path().join("home"))?;
        std::fs::create_dir(dir.path().join("tmp"))?;
        let mut world = Self { dir, variables: BTreeMap::new() };
        for (name, value) in [
            ("Z4J_BRAIN_URL", brain_url),
            ("Z4J_TOKEN", "s3cr3t-token"),
            ("Z4J_PROJECT_ID", "picker"),
            ("Z4J_HMAC_SECRET", SECRET),
            ("PATH", "/usr/bin:/bin"),
        ] {
            world.set(name, value);
        }
        let (home, tmp) = (world.path("home"), world.path("tmp"));
        world.set("HOME", &home.display().to_string());
        world.set("TMPDIR", &tmp.display().to_string());
        world.with_python(&["z4j_core-1.13.0", "z4j_bare-1.13.0"])?;
        Ok(world)
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) -> &mut Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Takes the Python environment away again.
    pub(crate) fn without_python(&mut self) {
        self.variables.remove("VIRTUAL_ENV");
    }

    /// Takes the home root away, for root too: a file stands where it would be.
    pub(crate) fn without_home(&mut self) -> Outcome {
        std::fs::write(self.path("home/.z4j"), "")?;
        Ok(())
    }

    /// Installs distributions into a virtual environment.
    pub(crate) fn with_python(&mut self, distributions: &[&str]) -> Outcome {
        for distribution in distributions {
            let name = format!("venv/lib/python3.11/site-packages/{distribution}.dist-info");
            std::fs::create_dir_all(self.path(&name))?;
        }
        let venv = self.path("venv").display().to_string();
        self.set("VIRTUAL_ENV", &venv);
        Ok(())
    }

    /// The program in this world, its output thrown away unless it is asked for.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_z4j"));
        command.args(arguments).env_clear().envs(&self.variables).current_dir(self.dir.path());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome<Run> {
        let output = self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).output()?;
        let run = Run {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout)?,
            stderr: String::from_utf8(output.stderr)?,
        };
        // Whatever happened, no secret is in what was said.
        for said in [&run.stdout, &run.stderr] {
            assert!(!said.contains("s3cr3t") && !said.contains(&SECRET[..12]), "{said}");
        }
        Ok(run)
    }

    /// Runs the doctor and returns the JSON report.
    pub(crate) fn doctor(&self, arguments: &[&str]) -> Outcome<serde_json::Value> {
        let run = self.run(&[&["doctor", "--json"], arguments].concat())?;
        assert!(matches!(run.code, Some(0 | 1)), "{}", run.stderr);
        Ok(serde_json::from_str(&run.stdout)?)
    }

    /// The codes of what failed, probe by probe.
    pub(crate) fn failures(&self, arguments: &[&str]) -> Outcome<Vec<String>> {
        let report = self.doctor(arguments)?;
        let probes = report["probes"].as_array().cloned().unwrap_or_default();
        Ok(probes.iter().filter_map(|probe| Some(probe["code"].as_str()?.to_owned())).collect())
    }
}

/// Every path below a directory, sorted.
pub(crate) fn tree(dir: &Path) -> Outcome<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(tree(&path)?);
        }
        found.push(path);
    }
    found.sort();
    Ok(found)
}

/// The codes of the notes of a report, without the one that depends on who runs the tests.
pub(crate) fn notes(report: &serde_json::Value) -> Vec<String> {
    let notes = report["notes"].as_array().cloned().unwrap_or_default();
    let codes = notes.iter().filter_map(|note| note["code"].as_str());
    codes.filter(|code| *code != "note.root" && *code != "note.tmpfs").map(str::to_owned).collect()
}
