//! `mio-echo check`: finds out what an echo server survives.

use std::io::{self, IsTerminal, Write};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use ::check::{
    Check, CheckReport, Endpoint, Language, Launcher, Overall, Plan, Process, Progress, Report,
    Server, ServerReport, Verdict,
};
use clap::{Args, ValueEnum};
use mio_echo::Address;

use super::failure::{CHECK_FAILED, FAILURE, Failure, INCONCLUSIVE, INTERRUPTED};
use super::values;
use super::writing::{is_stdout, print, write};

/// Check what an echo server survives: each check says what the client did, what came, and why it matters
#[derive(Args, Debug)]
#[command(after_help = ENDS)]
pub(super) struct CheckArgs {
    /// The echo server: HOST:PORT, [IPV6]:PORT, :PORT (this machine) or unix:PATH. Further addresses are those of the
    /// same server, for the checks unix and ipv6 [default: 127.0.0.1:7007]
    #[arg(value_name = "ADDRESS", value_parser = values::address)]
    addresses: Vec<Address>,

    /// A command that starts the server, after --. It is started anew for each check. {address} in it is replaced by
    /// the address to listen on, {host} and {port} by its parts
    #[arg(last = true, value_name = "COMMAND", conflicts_with_all = ["addresses", "servers", "pid"])]
    command: Vec<String>,

    /// A server with its name and its command; may be repeated, and the report compares them
    #[arg(long = "server", value_name = "NAME=COMMAND", conflicts_with_all = ["addresses", "pid"])]
    #[arg(value_parser = named)]
    servers: Vec<(String, Launcher)>,

    /// Process of the server, for the checks that look at it, stop it and limit it (Linux)
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,

    /// Run only these checks or groups, separated by commas
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,

    /// Leave out these checks or groups, separated by commas
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    except: Vec<String>,

    /// List the checks, and run none
    #[arg(long)]
    list: bool,

    /// Explain a check or a group, and run none
    #[arg(long, value_name = "NAME")]
    explain: Option<String>,

    /// Require the checks of the level "should" too
    #[arg(long)]
    strict: bool,

    /// Append what the started servers print to this file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["addresses", "pid"])]
    server_log: Option<PathBuf>,

    /// Time limit of the checks. A short answer must come within 3/4 of it. While an echo is under way, the server may
    /// send nothing for at most 1.5 times this time
    #[arg(
        long,
        value_name = "TIME",
        default_value = "2s",
        allow_hyphen_values = true
    )]
    #[arg(value_parser = values::duration)]
    timeout: Duration,

    /// Time after which the server closes idle clients, for the check squatters
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = values::duration)]
    idle: Option<Duration>,

    /// The server promises to echo, after SIGTERM, the bytes that its kernel acknowledged before. This option raises
    /// the check "sigterm" to the level "should"
    #[arg(long)]
    drains: bool,

    /// Run checks that could harm a server that is not on this machine
    #[arg(long)]
    yes_it_is_mine: bool,

    /// Language of the report
    #[arg(long, value_name = "LANGUAGE", value_enum, default_value_t)]
    lang: LangArg,

    /// Write the report as JSON. With - it goes to standard output, and the text to standard error
    #[arg(long, value_name = "FILE", help_heading = REPORT)]
    json: Option<PathBuf>,

    /// Write the grid of checks and servers as Markdown
    #[arg(long, value_name = "FILE", help_heading = REPORT)]
    markdown: Option<PathBuf>,

    /// Write the grid as a page, in one HTML file
    #[arg(long, value_name = "FILE", help_heading = REPORT)]
    html: Option<PathBuf>,

    /// Write the report as JUnit XML, for CI
    #[arg(long, value_name = "FILE", help_heading = REPORT)]
    junit: Option<PathBuf>,
}

/// The value of `--lang`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum LangArg {
    /// English
    #[default]
    En,
    /// Japanese
    Ja,
}

impl From<LangArg> for Language {
    fn from(arg: LangArg) -> Language {
        match arg {
            LangArg::En => Language::English,
            LangArg::Ja => Language::Japanese,
        }
    }
}

/// Makes the checks, writes the report, and returns the exit code that follows from it.
pub(super) fn run(args: &CheckArgs) -> Result<(), Failure> {
    let language = args.lang.into();
    if args.list {
        return print(&::check::plain::list(wanted(args)?.into_iter(), language));
    }
    if let Some(name) = &args.explain {
        let named = ::check::checks().filter(|check| is_named(check, name));
        let texts: Vec<String> = named
            .map(|check| ::check::plain::explanation(check, language))
            .collect();
        return match texts.is_empty() {
            true => Err(unknown(name)),
            false => print(&texts.join("\n")),
        };
    }
    let plans = plans(args)?;
    // A check opens up to 3,000 connections.
    let _ = mio_echo::raise_descriptor_limit();
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, interrupted.clone())?;
    }
    let mut report = Report {
        schema: ::check::SCHEMA.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        date: humantime::format_rfc3339_seconds(SystemTime::now())
            .to_string()
            .chars()
            .take(10)
            .collect(),
        system: system(),
        servers: Vec::new(),
    };
    let mut not_reached = Ok(());
    for plan in &plans {
        let server = match check_one(args, plan, plans.len() > 1, &interrupted)? {
            Ok(server) => server,
            // The other servers still make a report.
            Err(why) if plans.len() > 1 => {
                let _ = writeln!(io::stderr(), "mio-echo: {why}");
                not_reached = Err(Failure::Code(FAILURE));
                continue;
            }
            Err(why) => return Err(Failure::Message(why)),
        };
        let is_interrupted = server.interrupted;
        report.servers.push(server);
        if is_interrupted {
            break;
        }
    }
    write_files(args, &report)?;
    if report.servers.iter().any(|server| server.interrupted) {
        return Err(Failure::Code(INTERRUPTED));
    }
    // A report without one of the servers is not the answer that was asked for.
    not_reached?;
    match report.overall(args.strict) {
        Overall::Passed => Ok(()),
        Overall::Failed => Err(Failure::Code(CHECK_FAILED)),
        Overall::Inconclusive => Err(Failure::Code(INCONCLUSIVE)),
    }
}

/// Makes the checks on one server, and prints each result when it is known. The inner error says why the server is not
/// reached.
fn check_one(
    args: &CheckArgs,
    plan: &Plan,
    is_one_of_several: bool,
    interrupted: &AtomicBool,
) -> Result<Result<ServerReport, String>, Failure> {
    let language = args.lang.into();
    let show = |text: &str| show(args, text);
    if is_one_of_several {
        show(&format!("{}\n\n", plan.name))?;
    }
    let mut closed = Ok(());
    let made = ::check::run(plan, interrupted, |progress| match progress {
        Progress::Begins(check, n, all) => status(&format!("{n} of {all}: {}", check.name)),
        Progress::Over(made) => {
            status("");
            let text = ::check::plain::found(made, language);
            if closed.is_ok() && is_worth_a_line(made) {
                closed = show(&text);
            }
        }
    });
    status("");
    closed?;
    let server = match made {
        Ok(server) => server,
        Err(why) => return Ok(Err(format!("{}: {}", plan.name, why.of(language)))),
    };
    show(&::check::plain::conclusion(&server, language))?;
    if is_one_of_several {
        show("\n")?;
    }
    Ok(Ok(server))
}

/// Returns true if a result is printed. Skipped checks are only counted.
fn is_worth_a_line(made: &CheckReport) -> bool {
    made.verdict != Verdict::Skipped
}

/// Prints to standard output, or to standard error if the JSON goes to standard output.
fn show(args: &CheckArgs, text: &str) -> Result<(), Failure> {
    if args.json.as_deref().is_some_and(is_stdout) {
        // The text is for a person who watches. A closed standard error is not an error here.
        let _ = io::stderr().write_all(text.as_bytes());
        return Ok(());
    }
    print(text)
}

/// Shows the current check on a terminal, and removes the one before.
fn status(text: &str) {
    let mut error = io::stderr();
    if error.is_terminal() {
        // CSI K clears the line from the cursor on (ECMA-48).
        let _ = write!(error, "\r\x1b[K{text}");
        let _ = error.flush();
    }
}

/// Returns a plan for each server.
fn plans(args: &CheckArgs) -> Result<Vec<Plan>, Failure> {
    let checks: Vec<&'static str> = wanted(args)?.iter().map(|check| check.name).collect();
    let plan = |name: String, server: Server| Plan {
        name,
        server,
        checks: checks.clone(),
        timeout: args.timeout,
        idle_timeout: args.idle,
        drains: args.drains,
        may_harm: args.yes_it_is_mine,
    };
    let logged = |launcher: Launcher| match &args.server_log {
        Some(file) => launcher.with_log(file.clone()),
        None => launcher,
    };
    if !args.servers.is_empty() {
        let plans = args.servers.iter();
        let plans = plans
            .map(|(name, launcher)| plan(name.clone(), Server::Command(logged(launcher.clone()))));
        return Ok(plans.collect());
    }
    if !args.command.is_empty() {
        let launcher = Launcher::new(args.command.clone()).map_err(Failure::Usage)?;
        return Ok(vec![plan(
            args.command.join(" "),
            Server::Command(logged(launcher)),
        )]);
    }
    let named = match args.addresses.is_empty() {
        true => vec![Address::default()],
        false => args.addresses.clone(),
    };
    let mut addresses = Vec::new();
    for address in &named {
        addresses.push(endpoint(address)?);
    }
    let process = match args.pid {
        None => None,
        Some(id) => match Process::new(id) {
            Some(process) => Some(process),
            None => return Err(Failure::Usage(format!("there is no process {id}"))),
        },
    };
    Ok(vec![plan(
        named[0].to_string(),
        Server::Running { addresses, process },
    )])
}

/// Returns the first socket address of an address, or its path.
fn endpoint(address: &Address) -> Result<Endpoint, Failure> {
    if let Address::Unix(path) = address {
        return Ok(Endpoint::Unix(path.clone()));
    }
    let resolved = address
        .resolve()
        .map_err(|error| format!("{address}: {error}"))?;
    match resolved.first() {
        // The empty host: this machine.
        Some(any) if any.ip().is_unspecified() => {
            Ok(Endpoint::Tcp((Ipv4Addr::LOCALHOST, any.port()).into()))
        }
        Some(address) => Ok(Endpoint::Tcp(*address)),
        None => Err(Failure::Message(format!("{address}: no address found"))),
    }
}

/// Returns the checks that `--only` and `--except` leave.
fn wanted(args: &CheckArgs) -> Result<Vec<&'static Check>, Failure> {
    for name in args.only.iter().chain(&args.except) {
        if !::check::checks().any(|check| is_named(check, name)) {
            return Err(unknown(name));
        }
    }
    let named = |check: &Check, names: &[String]| names.iter().any(|name| is_named(check, name));
    let wanted: Vec<&Check> = ::check::checks()
        .filter(|check| args.only.is_empty() || named(check, &args.only))
        .filter(|check| !named(check, &args.except))
        .collect();
    match wanted.is_empty() {
        true => Err(Failure::Usage("no check is left".to_owned())),
        false => Ok(wanted),
    }
}

/// Whether a name is that of the check, or of its group.
fn is_named(check: &Check, name: &str) -> bool {
    check.name == name || check.group.name() == name
}

fn unknown(name: &str) -> Failure {
    let names = ::check::checks().flat_map(|check| [check.name, check.group.name()]);
    let similar = |other: &str| strsim::jaro_winkler(&name.to_lowercase().replace('_', "-"), other);
    let nearest = names.max_by(|a, b| similar(a).total_cmp(&similar(b)));
    let hint = match nearest.filter(|other| similar(other) > SIMILAR) {
        Some(other) => format!("did you mean {other}? "),
        None => String::new(),
    };
    Failure::Usage(format!(
        "there is no check {name:?}: {hint}mio-echo check --list shows all checks and their groups"
    ))
}

/// The similarity from which a name is suggested, as in clap's messages.
const SIMILAR: f64 = 0.8;

/// Parses `NAME=COMMAND`. The command is divided into words as a shell does.
fn named(text: &str) -> Result<(String, Launcher), String> {
    let Some((name, command)) = text.split_once('=').filter(|(name, _)| !name.is_empty()) else {
        return Err("write NAME=COMMAND, such as 'mine=./mine {address}'".to_owned());
    };
    let words = shell_words::split(command).map_err(|error| error.to_string())?;
    Ok((name.to_owned(), Launcher::new(words)?))
}

/// Returns the name and version of the operating system.
fn system() -> String {
    let system = rustix::system::uname();
    let release = system.release().to_string_lossy().into_owned();
    format!("{} {release}", system.sysname().to_string_lossy())
}

fn write_files(args: &CheckArgs, report: &Report) -> Result<(), Failure> {
    if let Some(path) = &args.json {
        let json = report.to_json()?;
        match is_stdout(path) {
            true => print(&json)?,
            false => write(path, &json)?,
        }
    }
    let language = args.lang.into();
    let files = [
        (&args.markdown, ::check::markdown(report, language)),
        (&args.html, ::check::page(report, language)),
        (&args.junit, ::check::junit(report)),
    ];
    for (path, text) in files {
        if let Some(path) = path {
            write(path, &text)?;
        }
    }
    Ok(())
}

/// The heading of the files in the help.
const REPORT: &str = "Report";

const ENDS: &str = "\
Exit codes: 0 every required check passed, 1 the server was not reached, 2 usage error, 3 a required check failed, \
4 none failed and a required one is inconclusive, 130 interrupted, 141 the reader of standard output has gone. The \
checks of level must are required, and with --strict those of level should too. All checks from outside take about 20 \
seconds, and with the process about one minute.";
