//! Adds lines to a text.

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
    text.push_str(line);
    text.push('\n');
}

/// The usual width of a terminal, in characters.
const WIDTH: usize = 80;
