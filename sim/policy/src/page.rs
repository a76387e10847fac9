//! All policies as a page: the text of `docs/policies.md`, which a test compares with this.

use crate::{Entry, Family, Needs, REGISTRY};
use std::fmt::Write as _;

const HEAD: &str = "\
# Policies

What becomes of the KV cache of an agent that waits: every rule that `djinn run --policy NAME` knows, where it comes from, and what is
uncertain about it. `djinn policies NAME` prints one of these entries; `djinn policies --markdown > docs/policies.md` writes this page.

*Rules from* says how a policy is known here. **release**: from code that was released. **paper**: from the paper's text, where that
differs from the code or there is none. **reconstructed**: put together from descriptions, without the original's code or full text.
**own**: this project's.
";

/// The page, in Markdown.
pub fn page() -> String {
    let mut text = HEAD.to_owned();
    for family in Family::ALL {
        let _ = writeln!(text, "\n## {}\n", family.title());
        text.push_str("| policy | rules from | what it does |\n|---|---|---|\n");
        let members = REGISTRY.iter().filter(|entry| entry.family == family);
        for entry in members.clone() {
            let (name, from) = (entry.name, entry.provenance.name());
            let _ = writeln!(text, "| [{name}](#{name}) | {from} | {} |", entry.summary);
        }
        for entry in members {
            section(&mut text, entry);
        }
    }
    text
}

fn section(text: &mut String, entry: &Entry) {
    let _ = writeln!(text, "\n### {}\n\n{}", entry.name, words(entry.about));
    if !entry.formula.is_empty() {
        text.push_str("\n```text\n");
        for line in entry.formula.lines() {
            let _ = writeln!(text, "{}", line.trim());
        }
        text.push_str("```\n");
    }
    let _ = writeln!(
        text,
        "\n*Rules from:* {}. {}",
        entry.provenance.name(),
        words(entry.source)
    );
    if !entry.caveats.is_empty() {
        let _ = writeln!(text, "\n*Caveats:* {}", words(entry.caveats));
    }
    if !entry.grows.is_empty() {
        let _ = writeln!(
            text,
            "\n*Cost grows with the sessions that wait:* {}",
            words(entry.grows)
        );
    }
    if entry.needs == Needs::Oracle {
        text.push_str("\nNeeds the truth: it knows what no server can.\n");
    }
    if !entry.listens {
        text.push_str("\nIgnores signals.\n");
    }
    if entry.params.is_empty() {
        return;
    }
    text.push_str("\n| parameter | default | unit | range | meaning |\n|---|---|---|---|---|\n");
    for param in entry.params {
        let (key, unit) = (param.key, param.unit());
        let (default, range) = (param.spell(param.default), param.range());
        let help = words(param.help);
        let _ = writeln!(text, "| `{key}` | {default} | {unit} | {range} | {help} |");
    }
}

/// One line: source text is broken where the code's lines end.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
