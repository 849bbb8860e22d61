//! The steps, their headers, and the checks that each of them fails.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use check::{CheckReport, Launcher, Level, RUNGS, Standing, Verdict, checks};
use libtest_mimic::{Arguments, Failed, Trial};

use crate::beginnings::beginnings;
use crate::turns::{made_alone, made_together, needs_the_machine};

/// Includes the steps in Rust, and runs one of them.
macro_rules! steps {
    ($($number:literal $file:literal $module:ident,)+) => {
        $(
            #[path = $file]
            #[allow(unreachable_pub, reason = "a step is a program of its own too")]
            mod $module;
        )+

        /// Runs the step with this number.
        fn serve(number: &str) -> std::io::Result<()> {
            match number {
                $($number => $module::main(),)+
                _ => panic!("no step {number}"),
            }
        }
    };
}

steps! {
    "01" "../../examples/01_one_at_a_time.rs" one_at_a_time,
    "02" "../../examples/02_thread_each.rs" thread_each,
    "03" "../../examples/03_spin.rs" spin,
    "04" "../../examples/04_readiness.rs" readiness,
    "05" "../../examples/05_keep_the_rest.rs" keep_the_rest,
    "06" "../../examples/06_back_pressure.rs" back_pressure,
    "07" "../../examples/07_whose_error.rs" whose_error,
    "08" "../../examples/08_edges.rs" edges,
    "09" "../../examples/09_drain.rs" drain,
    "10" "../../examples/10_turns.rs" turns,
    "11" "../../examples/11_listener.rs" listener,
    "12" "../../examples/12_deadlines.rs" deadlines,
}

/// The variable with the number of the step as which the test is started again.
const STEP: &str = "MIO_ECHO_STEP";

pub(crate) fn main() -> ExitCode {
    if let Ok(number) = std::env::var(STEP) {
        return match serve(&number) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        };
    }
    let steps = steps();
    let mut trials = vec![
        trial("every_step_has_its_file", every_step_has_its_file),
        trial("headers_name_checks_and_files_that_exist", headers),
        trial("a_step_is_short_and_adds_little", lengths),
        trial("the_grid_is_a_ladder", the_grid_is_a_ladder),
    ];
    for step in steps {
        let name = format!("step_{}_fails_what_the_grid_says", step.number);
        trials.push(trial(&name, move || step.agrees_with_the_grid()));
    }
    for beginning in beginnings() {
        let missing = beginning.missing();
        if let Some(program) = &missing {
            eprintln!("{}: {program} is not installed", beginning.file);
        }
        let name = format!("others_{}_stands_where_it_says", beginning.file);
        let test = trial(&name, move || beginning.stands_where_it_says());
        trials.push(test.with_ignored_flag(missing.is_some()));
    }
    let mut arguments = Arguments::from_args();
    // A failed check mostly waits, so more steps than processors can be tried at the same time.
    arguments.test_threads.get_or_insert(6);
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(name: &str, test: impl FnOnce() -> Result<(), String> + Send + 'static) -> Trial {
    Trial::test(name, move || test().map_err(Failed::from))
}

/// A step of the ladder.
#[derive(Clone, Debug)]
struct Step {
    /// Its two digits.
    number: String,
    /// Its path.
    path: PathBuf,
    text: String,
}

/// Returns all steps, from the first one up.
fn steps() -> Vec<Step> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut steps: Vec<Step> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?;
            let (number, _) = name.split_once('_')?;
            number.parse::<u32>().ok()?;
            Some(Step {
                number: number.to_owned(),
                text: fs::read_to_string(&path).ok()?,
                path,
            })
        })
        .collect();
    steps.sort_by(|a, b| a.number.cmp(&b.number));
    steps
}

fn every_step_has_its_file() -> Result<(), String> {
    let numbers: Vec<String> = steps().into_iter().map(|step| step.number).collect();
    let expected: Vec<String> = (0..13).map(|n| format!("{n:02}")).collect();
    if numbers != expected {
        return Err(format!("the steps are {numbers:?}"));
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    for rung in RUNGS {
        if !folder.join(rung.file).exists() {
            return Err(format!("{} does not exist", rung.file));
        }
    }
    Ok(())
}

impl Step {
    /// Returns the entries of the header: the text after each name.
    fn header(&self) -> BTreeMap<&'static str, String> {
        let mut entries: BTreeMap<&'static str, String> = BTreeMap::new();
        let mut current = None;
        for line in self.text.lines().map_while(comment) {
            let known = ENTRIES
                .iter()
                .find_map(|name| Some((*name, line.trim().strip_prefix(name)?.strip_prefix(':')?)));
            match known {
                Some((name, rest)) => {
                    entries.insert(name, rest.trim().to_owned());
                    current = Some(name);
                }
                None => {
                    if let Some(entry) = current.and_then(|name| entries.get_mut(name)) {
                        entry.push(' ');
                        entry.push_str(line.trim());
                    }
                }
            }
        }
        entries
    }

    /// Returns the lines after the header.
    fn body(&self) -> Vec<&str> {
        let lines = self.text.lines();
        lines.skip_while(|line| comment(line).is_some()).collect()
    }

    /// Returns the check that the header names.
    fn breaks_on(&self) -> Option<String> {
        let entry = self.header().remove("Breaks on")?;
        Some(in_backquotes(&entry)?.to_owned())
    }

    /// The command that starts the step, with these further arguments.
    fn launcher(&self, arguments: &[&str]) -> Launcher {
        let mut words = match self.path.extension().is_some_and(|end| end == "py") {
            true => vec![
                "python3".to_owned(),
                self.path.display().to_string(),
                "{address}".to_owned(),
            ],
            false => {
                let this = std::env::current_exe().unwrap();
                vec![
                    "env".to_owned(),
                    format!("{STEP}={}", self.number),
                    this.display().to_string(),
                    "{address}".to_owned(),
                ]
            }
        };
        words.extend(arguments.iter().map(ToString::to_string));
        Launcher::new(words).unwrap()
    }

    /// Makes the checks of the grid on this step.
    fn check(&self) -> Vec<CheckReport> {
        let (alone, together): (Vec<_>, Vec<_>) = self
            .checks()
            .into_iter()
            .partition(|name| needs_the_machine(name));
        // A server with a short idle timeout rightly closes the silent clients of other checks.
        let (squatters, together) = together.into_iter().partition(|name| *name == "squatters");
        let mut made = made_together(&self.launcher(&[]), together);
        let arguments: &[&str] = if self.number == "12" { &["1s"] } else { &[] };
        made.extend(made_together(&self.launcher(arguments), squatters));
        for name in alone {
            let is_fault = self.breaks_on().as_deref() == Some(name);
            let is_expected = |made: &CheckReport| !is_fault || made.verdict == Verdict::Fail;
            made.extend(made_alone(&self.launcher(&[]), name, is_expected));
        }
        made
    }

    /// Returns the checks of this step: those of level must, and those on which this step or an earlier one breaks.
    fn checks(&self) -> Vec<&'static str> {
        let number: u32 = self.number.parse().unwrap();
        let reached = RUNGS.iter().filter(|rung| rung.number <= number);
        let breakers: BTreeSet<&str> = reached
            .flat_map(|rung| rung.breaks_on.iter().copied())
            .collect();
        checks()
            .filter(|check| check.level == Level::Must || breakers.contains(check.name))
            .map(|check| check.name)
            .collect()
    }

    fn agrees_with_the_grid(&self) -> Result<(), String> {
        let grid = grid();
        let fails = grid
            .fails
            .get(&self.number)
            .ok_or("the grid does not have the step")?;
        let either = grid.either.get(&self.number);
        let may_fail = |name: &String| either.is_some_and(|names| names.contains(name));
        let mut problems = Vec::new();
        let all = self.check();
        let verdict = |name: &str| Some(all.iter().find(|made| made.name == name)?.verdict);
        let rung = Standing::of(verdict).rung;
        // Step 02 fails no check of a step.
        let expected = self.number.parse().ok().filter(|number| *number != 2);
        if rung != expected {
            problems.push(format!("stands on rung {rung:?}"));
        }
        for made in all {
            let remark = made.remark.as_ref().map_or("", |remark| &remark.en);
            println!(
                "{}: {} ms, {}: {:?}: {remark}",
                self.number, made.took_ms, made.name, made.verdict
            );
            match made.verdict {
                Verdict::Fail if !fails.contains(&made.name) && !may_fail(&made.name) => {
                    problems.push(format!("fails {}: {remark}", made.name));
                }
                Verdict::Pass if fails.contains(&made.name) => {
                    problems.push(format!("survives {}", made.name));
                }
                _ => {}
            }
        }
        match problems.is_empty() {
            true => Ok(()),
            false => Err(format!("step {} {}", self.number, problems.join("\nand "))),
        }
    }
}

/// Which checks each step fails: its two digits, and the names of the checks.
struct Grid {
    /// The checks that the step fails for certain.
    fails: BTreeMap<String, Vec<String>>,
    /// The checks that it fails or passes by chance.
    either: BTreeMap<String, Vec<String>>,
}

fn grid() -> Grid {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/grid.toml");
    let text = fs::read_to_string(path).unwrap();
    let table: toml::Table = text.parse().unwrap();
    let names = |value: &toml::Value| -> Vec<String> {
        let names = value.as_array().unwrap().iter();
        names
            .map(|name| name.as_str().unwrap().to_owned())
            .collect()
    };
    let part = |name: &str| {
        let steps = table
            .get(name)
            .and_then(toml::Value::as_table)
            .unwrap()
            .iter();
        steps
            .map(|(number, value)| (number.clone(), names(value)))
            .collect()
    };
    Grid {
        fails: part("fails"),
        either: part("either"),
    }
}

/// Each step breaks on the check of its header, and the next one survives it; also the names in the grid exist.
fn the_grid_is_a_ladder() -> Result<(), String> {
    let grid = grid();
    for pair in steps().windows(2) {
        let [step, next] = pair else { continue };
        let name = step.breaks_on().unwrap_or_default();
        let fails = |step: &Step| {
            let parts = [&grid.fails, &grid.either];
            let named = parts.map(|part| {
                part.get(&step.number)
                    .is_some_and(|names| names.contains(&name))
            });
            (named[0], named[1])
        };
        // Step 02 fails no check. It costs about 14 KiB of memory for each client.
        if fails(step) != (true, false) && step.number != "02" {
            return Err(format!(
                "step {} does not fail {name} for certain",
                step.number
            ));
        }
        if fails(next) != (false, false) {
            return Err(format!("step {} does not survive {name}", next.number));
        }
    }
    for name in grid.fails.values().chain(grid.either.values()).flatten() {
        if !checks().any(|check| check.name == name) {
            return Err(format!("there is no check {name:?}"));
        }
    }
    Ok(())
}

fn headers() -> Result<(), String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for step in steps() {
        let header = step.header();
        for name in ENTRIES {
            if header.get(name).is_none_or(String::is_empty) {
                return Err(format!("step {}: no entry {name:?}", step.number));
            }
        }
        let check = step.breaks_on().unwrap_or_default();
        if !checks().any(|known| known.name == check) {
            return Err(format!("step {}: there is no check {check:?}", step.number));
        }
        let grown = in_backquotes(&header["Grown up"])
            .unwrap_or_default()
            .to_owned();
        if grown.is_empty() || !root.join(&grown).exists() {
            return Err(format!("step {}: {grown:?} does not exist", step.number));
        }
    }
    Ok(())
}

fn lengths() -> Result<(), String> {
    let steps = steps();
    for pair in steps.windows(2) {
        let [before, step] = pair else { continue };
        let lines = step.body();
        let added = added(&before.body(), &lines);
        println!("{}: {} lines, {added} added", step.number, lines.len());
        if lines.len() > MOST_LINES {
            return Err(format!("step {}: {} lines", step.number, lines.len()));
        }
        // Step 01 changes the language, and step 08 the poller.
        if added > MOST_ADDED && !["01", "08"].contains(&step.number.as_str()) {
            return Err(format!("step {}: {added} added lines", step.number));
        }
    }
    Ok(())
}

/// Returns how many lines of `after` are not in `before`, in the same order: the length of `after` without the longest
/// common subsequence.
fn added(before: &[&str], after: &[&str]) -> usize {
    let mut row = vec![0; after.len() + 1];
    for line in before {
        let mut diagonal = 0;
        for (n, other) in after.iter().enumerate() {
            let above = row[n + 1];
            row[n + 1] = match line == other {
                true => diagonal + 1,
                false => above.max(row[n]),
            };
            diagonal = above;
        }
    }
    after.len() - row[after.len()]
}

/// Returns the text of a comment line of the header.
fn comment(line: &str) -> Option<&str> {
    line.strip_prefix("//!").or_else(|| line.strip_prefix('#'))
}

/// Returns the first part of a text that is in backquotes.
fn in_backquotes(text: &str) -> Option<&str> {
    text.split('`').nth(1)
}

/// The entries of each header.
const ENTRIES: [&str; 5] = ["New", "Look", "Breaks on", "Believed", "Grown up"];

/// The most lines of a step, without its header.
const MOST_LINES: usize = 120;

/// The most lines that a step adds to the one before.
const MOST_ADDED: usize = 35;
