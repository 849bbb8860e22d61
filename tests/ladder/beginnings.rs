//! The beginnings of `examples/others`: each stands on the rung that its header names.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use check::{Launcher, RUNGS, Verdict};

use crate::turns::{made_alone, made_together, needs_the_machine};

/// A beginning, and what its header says about it.
#[derive(Clone, Debug)]
pub(crate) struct Beginning {
    /// The name of its file.
    pub(crate) file: String,
    text: String,
}

/// Returns all beginnings.
pub(crate) fn beginnings() -> Vec<Beginning> {
    let mut all: Vec<Beginning> = fs::read_dir(root().join("examples/others"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end != "md"))
        .map(|path| Beginning {
            file: path.file_name().unwrap().to_string_lossy().into_owned(),
            text: fs::read_to_string(&path).unwrap(),
        })
        .collect();
    all.sort_by(|a, b| a.file.cmp(&b.file));
    all
}

impl Beginning {
    /// Returns the program that this machine lacks to run the beginning: an interpreter or a compiler.
    pub(crate) fn missing(&self) -> Option<String> {
        let build = self.header("Build: ").unwrap_or_else(|| self.run());
        let program = build.split(' ').next().unwrap_or_default().to_owned();
        let search = ["-c", "command -v \"$0\"", program.as_str()];
        let found = Command::new("sh")
            .args(search)
            .stdout(Stdio::null())
            .status();
        (!found.is_ok_and(|status| status.success())).then_some(program)
    }

    /// Builds and starts the beginning as its header says, and makes the checks of the ladder up to the one that it
    /// fails.
    pub(crate) fn stands_where_it_says(&self) -> Result<(), String> {
        let says = self.header("Stands on: ").ok_or("no entry `Stands on`")?;
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let in_folder =
            |command: &str| command.replace("/tmp", &folder.path().display().to_string());
        if let Some(build) = self.header("Build: ") {
            let built = Command::new("sh")
                .args(["-c", &in_folder(&build)])
                .current_dir(root())
                .output()
                .map_err(|error| format!("{build}: {error}"))?;
            let complaints = [built.stdout, built.stderr].concat();
            if !built.status.success() || !complaints.is_empty() {
                return Err(format!("{build}: {}", String::from_utf8_lossy(&complaints)));
            }
        }
        let path = |word: &str| match word.starts_with("examples/") {
            true => root().join(word).display().to_string(),
            false => word.to_owned(),
        };
        let launcher = Launcher::new(in_folder(&self.run()).split(' ').map(path).collect())?;
        let mut next = None;
        for rung in RUNGS {
            for check in rung.breaks_on {
                let made = match needs_the_machine(check) {
                    true => made_alone(&launcher, check, |made| made.verdict == Verdict::Pass),
                    false => made_together(&launcher, vec![check]),
                };
                let remark = made[0].remark.as_ref().map_or("", |remark| &remark.en);
                println!("{}: {check}: {:?}: {remark}", self.file, made[0].verdict);
                match made[0].verdict {
                    Verdict::Pass => {}
                    Verdict::Fail => {
                        next = Some((rung.number, *check));
                        break;
                    }
                    Verdict::Inconclusive | Verdict::Skipped => {
                        return Err(format!("{check} was not decided: {remark}"));
                    }
                }
            }
            if next.is_some() {
                break;
            }
        }
        let (rung, check) = next.ok_or("it passes the checks of all rungs")?;
        let measured = format!("rung {rung} of the ladder. Next: `{check}`");
        match says.starts_with(&measured) && self.is_in_the_table(rung, check) {
            true => Ok(()),
            false => Err(format!(
                "measured: {measured}; the header or README.md says: {says}"
            )),
        }
    }

    /// Returns true if the table of `examples/others/README.md` has this rung and this check for the file.
    fn is_in_the_table(&self, rung: u32, check: &str) -> bool {
        let text = fs::read_to_string(root().join("examples/others/README.md")).unwrap();
        let start = format!("| [{}]", self.file);
        let line = text.lines().find(|line| line.starts_with(&start));
        line.is_some_and(|line| line.contains(&format!("| {rung} | `{check}` |")))
    }

    /// Returns the command that starts the server.
    fn run(&self) -> String {
        let run = self.header("Run: ").unwrap_or_default();
        run.replace("mio-echo check -- ", "")
    }

    /// Returns the rest of the header's line that begins with this name.
    fn header(&self, name: &str) -> Option<String> {
        let mut lines = self
            .text
            .lines()
            .map(|line| line.trim_start_matches(['/', '!', '#', ' ']));
        lines
            .find_map(|line| line.strip_prefix(name))
            .map(str::to_owned)
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}
