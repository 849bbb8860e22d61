//! Colours of the words that a person looks for first. A text without styles has no escape sequence.

use anstyle::{AnsiColor, Style};

/// Whether a text has colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colours {
    On,
    Off,
}

/// What a word says.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tone {
    Good,
    Bad,
    Doubtful,
}

impl Colours {
    /// Puts a word into the colour of its tone.
    pub(super) fn paint(self, tone: Tone, word: &str) -> String {
        if self == Colours::Off {
            return word.to_owned();
        }
        let colour = match tone {
            Tone::Good => AnsiColor::Green,
            Tone::Bad => AnsiColor::Red,
            Tone::Doubtful => AnsiColor::Yellow,
        };
        let style = Style::new().bold().fg_color(Some(colour.into()));
        format!("{style}{word}{style:#}")
    }
}
