//! `mio-echo generate`: prints man pages and shell completions, for packagers.

use std::io::{self, Write};

use clap::builder::PossibleValuesParser;
use clap::error::ErrorKind;
use clap::{Arg, Args, Command, ValueEnum, ValueHint};
use clap_complete::Shell;
use clap_mangen::Man;

use super::failure::Failure;

/// Print a man page, or the completions of a shell
#[derive(Args, Debug)]
#[command(after_help = PLACES)]
pub(super) struct GenerateArgs {
    /// What to print
    #[arg(value_enum)]
    what: What,

    /// Command whose man page is printed, such as serve [default: the page of mio-echo itself]
    #[arg(value_name = "COMMAND")]
    command: Option<String>,
}

/// The text to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// A man page in roff, of mio-echo or of one of its commands
    Man,
    /// Completions for bash
    Bash,
    /// Completions for zsh
    Zsh,
    /// Completions for fish
    Fish,
}

/// Prints the text for this command line.
pub(super) fn run(args: &GenerateArgs, mut program: Command) -> Result<(), Failure> {
    if args.what != What::Man {
        program = with_candidates(program);
    }
    program.build();
    let mut text = Vec::new();
    let shell = match args.what {
        What::Man => None,
        What::Bash => Some(Shell::Bash),
        What::Zsh => Some(Shell::Zsh),
        What::Fish => Some(Shell::Fish),
    };
    match (shell, &args.command) {
        (Some(shell), None) => {
            clap_complete::generate(shell, &mut program, "mio-echo", &mut text);
            if shell == Shell::Bash {
                text.extend_from_slice(COLONS.as_bytes());
            }
        }
        (Some(_), Some(_)) => {
            return Err(Failure::Usage(
                "the completions are those of all commands: leave the command out".to_owned(),
            ));
        }
        (None, None) => page(program, &mut text)?,
        (None, Some(name)) => match program.find_subcommand(name) {
            Some(command) => page(command.clone(), &mut text)?,
            None => return Err(Failure::Usage(format!("there is no command {name:?}"))),
        },
    }
    match io::stdout().write_all(&text) {
        // `mio-echo generate man | head` ends the pipe early.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::OutputClosed),
        other => Ok(other?),
    }
}

/// Adds candidates to the arguments that have an entry in [`CANDIDATES`]: the forms of an address, and values that a
/// user often needs. The shells offer them. File arguments get a hint for paths instead. The changed program accepts
/// only the candidates. This does not matter, because it is used only to generate the text.
fn with_candidates(program: Command) -> Command {
    let accepting = program.clone();
    let accepts = move |command: &str, argument: &Arg, value: &str| {
        let value = match argument.get_long() {
            Some(long) => format!("--{long}={value}"),
            None => value.to_owned(),
        };
        let parsed = accepting
            .clone()
            .try_get_matches_from(["mio-echo", command, &value]);
        !parsed.is_err_and(|error| error.kind() == ErrorKind::ValueValidation)
    };
    program.mut_subcommands(|command| {
        let name = command.get_name().to_owned();
        command
            .mut_args(|argument| offer(argument, |argument, value| accepts(&name, argument, value)))
    })
}

/// Gives an argument its default and those candidates that it accepts.
fn offer(argument: Arg, accepts: impl Fn(&Arg, &str) -> bool) -> Arg {
    let name = argument.get_value_names().and_then(<[_]>::first);
    let name = name.map(ToString::to_string).unwrap_or_default();
    if name.starts_with("FILE") || name.ends_with(".json") {
        return argument.value_hint(ValueHint::FilePath);
    }
    let key = argument.get_id().as_str();
    let offered = CANDIDATES.iter().find(|(of, _)| *of == key || *of == name);
    let Some((_, values)) = offered else {
        return argument;
    };
    let default = argument.get_default_values().first();
    let default = default.map(|value| value.to_string_lossy().into_owned());
    let mut all: Vec<String> = default.into_iter().collect();
    for value in values.iter().filter(|value| accepts(&argument, value)) {
        if !all.iter().any(|other| other == value) {
            all.push((*value).to_owned());
        }
    }
    argument.value_parser(PossibleValuesParser::new(all))
}

/// Writes the man page of a command.
fn page(command: Command, text: &mut Vec<u8>) -> io::Result<()> {
    let name = command
        .get_bin_name()
        .unwrap_or("mio-echo")
        .replace(' ', "-");
    let is_whole = command.has_subcommands();
    // The name of a page has hyphens, and its synopsis has the words as they are typed.
    let man = Man::new(command.clone().display_name(name.clone()))
        .title(name.to_uppercase())
        .section("1")
        .source(concat!("mio-echo ", env!("CARGO_PKG_VERSION")))
        .manual("mio-echo");
    man.render_title(text)?;
    writeln!(
        text,
        ".SH NAME\n{} \\- {}",
        name.replace('-', "\\-"),
        about(&command)
    )?;
    man.render_synopsis_section(text)?;
    man.render_description_section(text)?;
    man.render_options_section(text)?;
    if is_whole {
        man.render_subcommands_section(text)?;
    }
    man.render_extra_section(text)?;
    writeln!(text, "{}", SEE_ALSO.trim())
}

/// Returns the first sentence about a command.
fn about(command: &Command) -> String {
    let about = command.get_about().map(ToString::to_string);
    about.unwrap_or_default().replace('-', "\\-")
}

/// The candidates of an argument, by its key or else by the name of its value. The more special ones come first.
const CANDIDATES: &[(&str, &[&str])] = &[
    (
        "metrics",
        &[
            "7008",
            "auto",
            "127.0.0.1:7008",
            "0.0.0.0:7008",
            "[::1]:7008",
        ],
    ),
    ("threads", &["auto", "2", "4"]),
    (
        "ADDRESS",
        &[
            "127.0.0.1:7007",
            "127.0.0.1:auto",
            ":7007",
            "[::1]:7007",
            "localhost:7007",
            "unix:/run/mio-echo.sock",
        ],
    ),
    ("TIME", &["off", "100ms", "1s", "10s", "1m"]),
    ("SIZE", &["64", "1KiB", "64KiB", "1MiB", "256MiB"]),
    ("R", &["100", "1k", "10k", "100k"]),
    (
        "CONDITION",
        &[
            "p99>20ms",
            "p99<2ms",
            "errors>0",
            "rate<5k",
            "regress(p99)>10%",
        ],
    ),
    ("MODE", &["0600", "0660", "0666"]),
];

/// The end of the completions for bash.
const COLONS: &str = "
# By default bash ends a word at a colon, and an address has colons.
COMP_WORDBREAKS=${COMP_WORDBREAKS//:}
";

const SEE_ALSO: &str = r"
.SH SEE ALSO
The documents of the project: README.md, docs/COMMANDS.md, docs/BENCHMARKING.md, docs/CHECKS.md.
.br
.BR epoll (7),
.BR tcp (7),
.BR nc (1)
";

const PLACES: &str = "\
Where they belong: `generate man` in share/man/man1/mio-echo.1, `generate man serve` in \
share/man/man1/mio-echo-serve.1, bash in share/bash-completion/completions/mio-echo, zsh in \
share/zsh/site-functions/_mio-echo, fish in share/fish/vendor_completions.d/mio-echo.fish.";
