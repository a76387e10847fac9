//! `djinn policies`: what there is to choose from.

use crate::error::CliError;
use crate::out;
use crate::table::Table;
use policy::{Entry, Needs, REGISTRY};
use std::fmt::Write as _;

/// List the policies, or describe one with its parameters
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A policy, with or without parameters
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  djinn policies                          all of them, a line each
  djinn policies djinn                    what it does, and its parameters
  djinn policies 'djinn[margin_ms=50]'    the full name, defaults filled in";

/// Columns of the text that describes a policy.
const WIDTH: usize = 96;

pub fn run(args: &Args) -> Result<(), CliError> {
    match &args.name {
        None => out::stdout(&list()),
        Some(name) => {
            let (entry, _) = policy::find(name)?;
            out::stdout(&describe(entry, &policy::describe(name)?))
        }
    }
}

fn list() -> String {
    let mut table = Table::new(&["policy", "rules from", "what it does"]).left(3);
    for entry in REGISTRY {
        table.row([entry.name, entry.provenance.name(), entry.summary]);
    }
    let mut text = table.render();
    text.push_str("\nparameters and their defaults\n");
    for entry in REGISTRY.iter().filter(|entry| !entry.params.is_empty()) {
        let full = policy::describe(entry.name).expect("a registered name is valid");
        let _ = writeln!(text, "  {full}");
    }
    text.push_str("\n`djinn policies NAME` explains one.\n");
    text
}

fn describe(entry: &Entry, full: &str) -> String {
    let mut text = format!("{full}\n  {}\n\n", entry.summary);
    for line in wrap(entry.about, WIDTH - 2) {
        let _ = writeln!(text, "  {line}");
    }
    let _ = writeln!(text, "\n  rules from: {}", entry.provenance.name());
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
        let range = format!("{} to {}", param.min, param.max);
        table.row([
            param.key.to_owned(),
            param.default.to_string(),
            unit(param.key).to_owned(),
            range,
        ]);
    }
    let _ = write!(text, "\n{}", table.render());
    for param in entry.params {
        let _ = writeln!(text, "\n  {}", param.key);
        for line in wrap(param.help, WIDTH - 4) {
            let _ = writeln!(text, "    {line}");
        }
    }
    text
}

/// A key carries its unit last; without one it is a ratio or a count.
fn unit(key: &str) -> &'static str {
    const UNITS: [(&str, &str); 6] = [
        ("_ms", "ms"),
        ("_us", "us"),
        ("_s", "s"),
        ("_gib", "GiB"),
        ("_blocks", "blocks"),
        ("_tokens", "tokens"),
    ];
    UNITS
        .iter()
        .find(|(suffix, _)| key.ends_with(suffix))
        .map_or("-", |(_, unit)| unit)
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

    #[test]
    fn every_policy_is_listed_and_described() {
        for entry in REGISTRY {
            assert!(list().contains(entry.name), "{}", entry.name);
            let text = describe(entry, entry.name);
            assert!(
                entry.params.iter().all(|param| text.contains(param.key)),
                "{text}"
            );
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
