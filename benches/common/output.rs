//! Output of a bench: tables for standard output, progress on standard error.

use std::io::{self, IsTerminal, Write};

/// Returns a Markdown table whose columns are aligned on a terminal too. The first line is the header.
pub(crate) fn aligned<const N: usize>(lines: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = lines.iter().map(|line| line[column].chars().count());
        cells.max().unwrap_or(0).max(2)
    };
    let mut text = String::new();
    for (n, line) in lines.iter().enumerate() {
        text.push('|');
        for (column, cell) in line.iter().enumerate() {
            let width = width(column);
            text += &match column {
                0 => format!(" {cell:<width$} |"),
                _ => format!(" {cell:>width$} |"),
            };
        }
        text.push('\n');
        if n == 0 {
            text.push('|');
            for column in 0..N {
                let dashes = "-".repeat(width(column));
                text += &match column {
                    0 => format!("-{dashes}-|"),
                    _ => format!("-{dashes}:|"),
                };
            }
            text.push('\n');
        }
    }
    text
}

/// Overwrites the line of progress on standard error. Prints nothing if standard error is not a terminal.
pub(crate) fn show_progress(what: &str) {
    let mut output = io::stderr();
    if output.is_terminal() {
        let _ = write!(output, "\r\x1b[K{what}");
        let _ = output.flush();
    }
}
