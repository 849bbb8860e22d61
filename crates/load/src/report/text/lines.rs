//! Adds lines to a text: sentences that are broken between words, and tables with columns as wide as their contents.

/// Adds a sentence after `head`, broken into lines of at most [`WIDTH`] characters.
pub(super) fn prose(text: &mut String, head: &str, sentence: &str) {
    let mut column = head.chars().count();
    text.push_str(head);
    for (n, word) in sentence.split(' ').enumerate() {
        let length = word.chars().count();
        if n > 0 && column + 1 + length > WIDTH {
            text.push_str("\n    ");
            column = 4;
        } else if n > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += length;
    }
    text.push('\n');
}

/// Adds one line.
pub(super) fn line(text: &mut String, line: &str) {
    text.push_str(line.trim_end());
    text.push('\n');
}

/// A column of a table.
pub(super) struct Column {
    pub(super) name: String,
    pub(super) cells: Vec<String>,
    /// Whether the cells are words, which begin at the same place. Figures end at the same place.
    pub(super) is_words: bool,
}

impl Column {
    pub(super) fn figures(name: &str, cells: Vec<String>) -> Column {
        Column {
            name: name.to_owned(),
            cells,
            is_words: false,
        }
    }

    pub(super) fn words(name: &str, cells: Vec<String>) -> Column {
        Column {
            name: name.to_owned(),
            cells,
            is_words: true,
        }
    }
}

/// Adds a table. Each column is as wide as its widest cell.
pub(super) fn table(text: &mut String, columns: &[Column]) {
    let rows = columns.iter().map(|c| c.cells.len()).max().unwrap_or(0);
    let widths: Vec<usize> = columns.iter().map(width).collect();
    let cell = |column: &Column, row: Option<usize>| match row {
        None => column.name.clone(),
        Some(row) => column.cells.get(row).cloned().unwrap_or_default(),
    };
    for row in std::iter::once(None).chain((0..rows).map(Some)) {
        let cells = columns.iter().zip(&widths).map(|(column, width)| {
            let cell = cell(column, row);
            match column.is_words {
                true => format!("  {cell:<width$}"),
                false => format!("  {cell:>width$}"),
            }
        });
        line(text, &cells.collect::<String>());
    }
}

fn width(column: &Column) -> usize {
    let cells = column.cells.iter().map(|cell| cell.chars().count());
    let widest = cells.max().unwrap_or(0);
    widest.max(column.name.chars().count())
}

/// The usual width of a terminal, in characters.
pub(super) const WIDTH: usize = 80;
