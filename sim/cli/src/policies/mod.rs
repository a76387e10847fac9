//! `djinn policies`: what there is to choose from, for a terminal and for `docs/policies.md`.

mod describe;

use crate::error::CliError;
use crate::out;
use crate::table::Table;
use describe::describe;
use policy::{Family, REGISTRY};
use std::fmt::Write as _;

/// List the policies, or describe one with its parameters
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A policy, with or without parameters
    #[arg(value_name = "NAME")]
    name: Option<String>,

    /// Describe all of them in Markdown: the text of docs/policies.md
    #[arg(long, conflicts_with = "name")]
    markdown: bool,
}

const EXAMPLES: &str = "\
Examples:
  djinn policies                          all of them, a line each
  djinn policies djinn                    the rule, its formula, source, caveats and parameters
  djinn policies 'djinn[margin_ms=50]'    the full name, defaults filled in
  djinn policies --markdown               everything at once: > docs/policies.md";

pub fn run(args: &Args) -> Result<(), CliError> {
    match &args.name {
        None if args.markdown => out::stdout(&policy::page()),
        None => out::stdout(&list()),
        Some(name) => {
            let (entry, _) = policy::find(name)?;
            out::stdout(&describe(entry, &policy::describe(name)?))
        }
    }
}

fn list() -> String {
    let mut text = String::new();
    for family in Family::ALL {
        let _ = writeln!(text, "{}", family.title());
        let mut table = Table::new(&["policy", "rules from", "what it does"]).left(3);
        for entry in REGISTRY.iter().filter(|entry| entry.family == family) {
            table.row([entry.name, entry.provenance.name(), entry.summary]);
        }
        text.push_str(&table.render());
        text.push('\n');
    }
    text.push_str("parameters and their defaults\n");
    for entry in REGISTRY.iter().filter(|entry| !entry.params.is_empty()) {
        let full = policy::describe(entry.name).expect("a registered name is valid");
        let _ = writeln!(text, "  {full}");
    }
    text.push_str("\n`djinn policies NAME` explains one.\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_is_listed_once() {
        for entry in REGISTRY {
            let rows = format!("\n  {} ", entry.name);
            assert_eq!(list().matches(&rows).count(), 1, "{}", entry.name);
        }
    }
}
