//! What goes into a manifest besides the run: the command that repeats it, the commit, the hour.

use results::spec::RunSpec;
use std::time::SystemTime;

/// Commit that this program was built from, if the build knew.
pub fn commit() -> Option<String> {
    option_env!("DJINN_COMMIT").map(str::to_owned)
}

/// Now, RFC 3339. It goes into the part of a manifest that digests leave out.
pub fn started() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

/// The command line as it was given, ready for a shell.
pub fn given() -> String {
    let mut words = vec!["djinn".to_owned()];
    words.extend(
        std::env::args_os()
            .skip(1)
            .map(|word| quote(&word.to_string_lossy())),
    );
    words.join(" ")
}

/// A command that gives the run of `spec` from nothing but itself: every key that differs from its default, as `--set`.
/// For specs that came from a pipe.
pub fn from_defaults(spec: &RunSpec) -> String {
    let table =
        |spec: &RunSpec| toml::Table::try_from(spec).expect("a spec is tables of plain values");
    let mut sets = Vec::new();
    differing("", &table(spec), &table(&RunSpec::default()), &mut sets);
    let sets = sets.iter().map(|set| format!(" --set {}", quote(set)));
    format!("djinn run{}", sets.collect::<String>())
}

fn differing(prefix: &str, table: &toml::Table, default: &toml::Table, sets: &mut Vec<String>) {
    for (key, value) in table {
        let key = format!("{prefix}{key}");
        let other = default.get(key.rsplit('.').next().unwrap_or(&key));
        match (value, other) {
            (toml::Value::Table(inner), Some(toml::Value::Table(other))) => {
                differing(&format!("{key}."), inner, other, sets);
            }
            (value, other) if other == Some(value) => {}
            (value, _) => sets.push(format!("{key}={value}")),
        }
    }
}

/// Quotes a word for a POSIX shell, if it needs that.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use results::spec::Layers;

    #[test]
    fn words_that_a_shell_would_change_are_quoted() {
        assert_eq!(quote("memory.host_gib=0"), "memory.host_gib=0");
        assert_eq!(quote("djinn[margin_ms=3]"), "'djinn[margin_ms=3]'");
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(quote(""), "''");
    }

    #[test]
    fn a_spec_is_rebuilt_from_the_command_alone() {
        let text = "policy = \"djinn[margin_ms=3]\"\nseed = 4\n[memory]\nhbm_blocks = 900\nhost_blocks = 5\n\
                    [workload]\ngen = \"poisson-agents\"\nsessions = 3\n[workload.params]\ngap_s = { uniform = { min = 1, max = 2 } }\n";
        let spec = RunSpec::load(&Layers::of_text("stdin", text)).expect("a valid spec");
        let mut sets = Vec::new();
        let table = |spec: &RunSpec| toml::Table::try_from(spec).expect("plain values");
        differing("", &table(&spec), &table(&RunSpec::default()), &mut sets);
        let layers = Layers {
            set: sets,
            ..Layers::of_text("defaults", results::spec::template())
        };
        assert_eq!(RunSpec::load(&layers).expect("valid"), spec);
    }
}
