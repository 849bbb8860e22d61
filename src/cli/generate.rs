//! `mio-echo generate`: prints man pages and shell completions, for packagers.

use std::io::{self, Write};

use clap::{Args, Command, ValueEnum};
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
