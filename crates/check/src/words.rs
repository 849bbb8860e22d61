//! Sentences in English and Japanese. Each sentence is written in both languages at one place, so that neither can be
//! forgotten.

use serde::{Deserialize, Serialize};

/// A language of the report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// Japanese.
    Japanese,
}

/// A fixed sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Words {
    /// The sentence in English.
    pub en: &'static str,
    /// The sentence in Japanese.
    pub ja: &'static str,
}

impl Words {
    /// Returns the sentence in a language.
    #[must_use]
    pub fn of(&self, language: Language) -> &'static str {
        match language {
            Language::English => self.en,
            Language::Japanese => self.ja,
        }
    }
}

/// Makes a fixed sentence.
pub(crate) const fn words(en: &'static str, ja: &'static str) -> Words {
    Words { en, ja }
}

/// A sentence with figures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Text {
    /// The sentence in English.
    pub en: String,
    /// The sentence in Japanese.
    pub ja: String,
}

impl Text {
    /// Returns the sentence in a language.
    #[must_use]
    pub fn of(&self, language: Language) -> &str {
        match language {
            Language::English => &self.en,
            Language::Japanese => &self.ja,
        }
    }
}

/// Formats a sentence in both languages: `text!("{n} bytes came", "{n} バイト届いた")`. Values are captured by name.
macro_rules! text {
    ($en:literal, $ja:literal) => {
        $crate::words::Text {
            en: format!($en),
            ja: format!($ja),
        }
    };
}
pub(crate) use text;
