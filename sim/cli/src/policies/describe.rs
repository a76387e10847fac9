//! One policy, for a terminal: rule, formula, source, caveats, cost, parameters.

use crate::table::Table;
use policy::{Entry, Needs};
use std::fmt::Write as _;

/// Columns of the text.
const WIDTH: usize = 96;

/// Everything about `entry`; `full` is its name with all parameters.
pub fn describe(entry: &Entry, full: &str) -> String {
    let mut text = format!("{full}\n  {}\n\n", entry.summary);
    paragraph(&mut text, 2, entry.about);
    if !entry.formula.is_empty() {
        text.push('\n');
        for line in entry.formula.lines() {
            paragraph(&mut text, 6, line);
        }
    }
    text.push('\n');
    labelled(&mut text, "rules from: ", entry.provenance.name());
    labelled(&mut text, "source: ", entry.source);
    if !entry.caveats.is_empty() {
        labelled(&mut text, "caveats: ", entry.caveats);
    }
    if !entry.grows.is_empty() {
        labelled(
            &mut text,
            "cost grows with the sessions that wait: ",
            entry.grows,
        );
    }
    if entry.needs == Needs::Oracle {
        text.push_str(
            "  needs the truth: it knows every wait before it is over, as no server can\n",
        );
    }
    if !entry.listens {
        text.push_str("  ignores signals: it is not told of waits, nor of the end of a session\n");
    }
    if entry.params.is_empty() {
        text.push_str("\n  no parameters\n");
        return text;
    }
    let mut table = Table::new(&["parameter", "default", "unit", "range"]).words_last();
    for param in entry.params {
        table.row([
            param.key.to_owned(),
            param.spell(param.default),
            param.unit().to_owned(),
            param.range(),
        ]);
    }
    let _ = write!(text, "\n{}", table.render());
    for param in entry.params {
        let _ = writeln!(text, "\n  {}", param.key);
        paragraph(&mut text, 4, param.help);
    }
    text
}

fn labelled(text: &mut String, label: &str, words: &str) {
    paragraph(text, 2, &format!("{label}{words}"));
}

fn paragraph(text: &mut String, indent: usize, words: &str) {
    for line in wrap(words, WIDTH - indent) {
        let _ = writeln!(text, "{:indent$}{line}", "");
    }
}

/// Breaks text between words, so that no line is longer than `width` unless a word is.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is one from the start");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy::REGISTRY;

    #[test]
    fn every_policy_is_described_in_full_and_fits_the_width() {
        for entry in REGISTRY {
            let text = describe(entry, entry.name);
            assert!(
                entry.params.iter().all(|param| text.contains(param.key)),
                "{text}"
            );
            let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(words(&text).contains(&words(entry.formula)), "{text}");
            assert!(
                text.lines().all(|line| line.chars().count() <= WIDTH),
                "{text}"
            );
        }
    }

    #[test]
    fn lines_are_broken_between_words() {
        assert_eq!(wrap("a bb  ccc dddddddd", 5), ["a bb", "ccc", "dddddddd"]);
    }
}
