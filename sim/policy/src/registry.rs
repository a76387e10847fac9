//! All policies. A new one is its file, and its name in the list of its folder; tests that loop over the registry then cover it.

use crate::{
    Param, ParamError, Params, Policy, baseline, hierarchy, own, program, retention, workflow,
};
use model::Oracle;
use std::sync::Arc;

/// The families in the order of [`Family::ALL`]; each lists its policies in its folder.
const FAMILIES: [&[Entry]; 6] = [
    baseline::ENTRIES,
    own::ENTRIES,
    retention::ENTRIES,
    program::ENTRIES,
    workflow::ENTRIES,
    hierarchy::ENTRIES,
];

/// Every policy, in the order in which lists and legends name them.
pub const REGISTRY: &[Entry] = &all::<{ count() }>();

const fn count() -> usize {
    let (mut family, mut count) = (0, 0);
    while family < FAMILIES.len() {
        count += FAMILIES[family].len();
        family += 1;
    }
    count
}

const fn all<const COUNT: usize>() -> [Entry; COUNT] {
    let mut all = [FAMILIES[0][0]; COUNT];
    let (mut family, mut at) = (0, 0);
    while family < FAMILIES.len() {
        let mut entry = 0;
        while entry < FAMILIES[family].len() {
            all[at] = FAMILIES[family][entry];
            (at, entry) = (at + 1, entry + 1);
        }
        family += 1;
    }
    all
}

/// Makes a policy of its parameters; the oracle is there exactly if the entry needs one.
pub type Build = fn(&Params, Option<Arc<dyn Oracle>>) -> Box<dyn Policy>;

/// What the registry knows of a policy.
#[derive(Clone, Copy)]
pub struct Entry {
    /// Name in configurations and results.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// What kind of rule it is.
    pub family: Family,
    /// The rule in a paragraph.
    pub about: &'static str,
    /// The rule in symbols, a line each; empty where the paragraph says it all.
    pub formula: &'static str,
    /// Paper, repository, version.
    pub source: &'static str,
    /// What is uncertain, left out, or peculiar; empty where there is nothing to warn of.
    pub caveats: &'static str,
    /// What it does to every waiting session, and when; empty where a decision reads no more of them when there are more, which a test
    /// holds it to (`tests/reads.rs`).
    pub grows: &'static str,
    /// Where the rule comes from.
    pub provenance: Provenance,
    /// What it must be given beyond the view.
    pub needs: Needs,
    /// Whether it acts on signals. vLLM's policies do not, and are never told that a session has ended.
    pub listens: bool,
    /// Parameters.
    pub params: &'static [Param],
    /// Makes one.
    pub build: Build,
}

/// What a policy mainly decides. Lists are in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// Engines without a notion of agents, the extremes, the truth.
    Baseline,
    /// This project's scheduler.
    Own,
    /// How long to hold the KV of a session that waits, and what then.
    Retention,
    /// Which sessions may run, and in which order.
    Program,
    /// What the workflow's graph says about who runs next.
    Workflow,
    /// What moves between the tiers, and which cached blocks go first.
    Hierarchy,
}

impl Family {
    /// All, in the order of lists.
    pub const ALL: [Self; 6] = [
        Self::Baseline,
        Self::Own,
        Self::Retention,
        Self::Program,
        Self::Workflow,
        Self::Hierarchy,
    ];

    /// Heading in lists.
    pub fn title(self) -> &'static str {
        match self {
            Self::Baseline => "Baselines",
            Self::Own => "This project's own",
            Self::Retention => "Retention during a wait",
            Self::Program => "Programs: admission and order",
            Self::Workflow => "Workflows",
            Self::Hierarchy => "Memory hierarchy",
        }
    }
}

/// Where a rule comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// Code that somebody released.
    Release,
    /// A paper's text.
    Paper,
    /// Put together from descriptions.
    Reconstructed,
    /// This project's own.
    Own,
}

impl Provenance {
    /// The word used in lists and manifests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Paper => "paper",
            Self::Reconstructed => "reconstructed",
            Self::Own => "own",
        }
    }
}

/// What a policy must be given beyond the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// The truth.
    Oracle,
}

/// Why there is no such policy.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PolicyError {
    /// No such name.
    #[error("no policy is called `{name}`; {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is, and what may have been meant.
        known: String,
    },
    /// Bad parameters.
    #[error("policy: {0}")]
    Params(#[from] ParamError),
}

/// Names that are more alike than this are taken for each other: `lru` and `t-lru` are not.
const NEAR: f64 = 0.85;

/// The entry and the parameters that `text` (`name` or `name[key=value,...]`) means.
///
/// # Errors
/// If the name or a parameter is unknown, or a value is out of range.
pub fn find(text: &str) -> Result<(&'static Entry, Params), PolicyError> {
    let (name, list) = Params::split(text)?;
    let entry = REGISTRY
        .iter()
        .find(|entry| entry.name == name)
        .ok_or_else(|| {
            let names: Vec<_> = REGISTRY.iter().map(|entry| entry.name).collect();
            let meant = meant(name, &names)
                .map_or(String::new(), |meant| format!("did you mean `{meant}`? "));
            PolicyError::Unknown {
                name: name.to_owned(),
                known: format!("{meant}known: {}", names.join(", ")),
            }
        })?;
    Ok((entry, Params::parse(name, entry.params, list)?))
}

/// The name that is nearest to a mistyped one, if one is near.
fn meant<'a>(name: &str, names: &[&'a str]) -> Option<&'a str> {
    let near = names
        .iter()
        .map(|known| (strsim::jaro_winkler(name, known), *known));
    near.filter(|(likeness, _)| *likeness > NEAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

/// Builds what `text` means. `oracle` is handed on only to a policy that needs it.
///
/// # Errors
/// As [`find`].
///
/// # Panics
/// If the policy needs an oracle and there is none.
pub fn build(text: &str, oracle: Option<Arc<dyn Oracle>>) -> Result<Box<dyn Policy>, PolicyError> {
    let (entry, params) = find(text)?;
    let oracle = match entry.needs {
        Needs::Nothing => None,
        Needs::Oracle => Some(oracle.expect("the caller provides what the entry needs")),
    };
    Ok((entry.build)(&params, oracle))
}

/// The full name of what `text` means, with every parameter.
///
/// # Errors
/// As [`find`].
pub fn describe(text: &str) -> Result<String, PolicyError> {
    let (entry, params) = find(text)?;
    Ok(format!("{}{params}", entry.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_name_reads_back_as_itself() {
        for entry in REGISTRY {
            let full = describe(entry.name).expect("defaults are valid");
            assert_eq!(describe(&full).expect("a printed name is valid"), full);
        }
    }

    #[test]
    fn a_mistyped_name_is_told_what_it_is_near_to() {
        let error = |name| {
            find(name)
                .err()
                .map_or(String::new(), |error| error.to_string())
        };
        for (typed, meant) in [
            ("djin", "djinn"),
            ("swap_on_demand", "swap-on-demand"),
            ("vllm-recomput", "vllm-recompute"),
            ("inferceptpaper", "infercept-paper"),
        ] {
            let says = format!("no policy is called `{typed}`; did you mean `{meant}`? known: ");
            assert!(error(typed).starts_with(&says), "{}", error(typed));
        }
        for far in ["lru", "fcfs", "x"] {
            assert!(error(far).contains("`; known: "), "{}", error(far));
        }
    }

    #[test]
    fn names_are_unique_and_sorted_out_of_their_summaries() {
        assert!(REGISTRY.is_sorted_by_key(|entry| entry.family));
        for (i, entry) in REGISTRY.iter().enumerate() {
            assert!(REGISTRY[..i].iter().all(|other| other.name != entry.name));
            assert!(
                entry.summary.len() < 90,
                "{} has a long summary",
                entry.name
            );
            assert!(entry.about.len() > 150, "{} is not explained", entry.name);
            assert!(!entry.source.is_empty(), "{} has no source", entry.name);
            for param in entry.params {
                assert!(
                    (param.min..=param.max).contains(&param.default),
                    "{}",
                    param.key
                );
            }
        }
    }

    #[test]
    fn an_unknown_policy_names_those_that_exist() {
        let error = find("lru").err().expect("there is none").to_string();
        assert!(
            error.contains("`lru`") && error.contains("vllm-recompute"),
            "{error}"
        );
    }

    #[test]
    fn parameters_are_read_strictly() {
        let error = |text: &str| find(text).err().expect(text).to_string();
        assert!(error("djinn[marginms=3]").contains("`margin_ms`"));
        assert!(error("djinn[margin_ms=3,margin_ms=4]").contains("twice"));
        assert!(error("djinn[margin_ms=-1]").contains("from 0"));
        assert!(error("djinn[margin_ms=3").contains("form"));
        assert!(error("keep-always[x=1]").contains("none"));
        assert!(error("vllm-offload[eviction=fifo]").contains("expected lru or arc"));
    }
}
