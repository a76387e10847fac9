//! The arguments that say what to run, shared by the verbs that run.

use crate::error::CliError;
use miette::{Diagnostic, NamedSource, SourceSpan};
use results::spec::{Layers, RunSpec, SweepSpec, split_policies};
use serde::Deserialize;
use std::io::Read as _;
use std::ops::Range;
use std::path::PathBuf;

/// A config and what the command line changes of it.
#[derive(Clone, Debug, clap::Args)]
pub struct ConfigArgs {
    /// Config in TOML (`djinn new FILE` writes one); `-` reads stdin; none: all defaults
    #[arg(value_name = "CONFIG")]
    pub file: Option<PathBuf>,
    /// Set a key of the config, `memory.host_gib=0`; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

impl ConfigArgs {
    /// Whether the config came through a pipe, so that the command line alone does not repeat the run.
    pub fn is_piped(&self) -> bool {
        self.file
            .as_ref()
            .is_some_and(|file| file.as_os_str() == "-")
    }

    /// The layers, with `policies` as given to `--policy`.
    pub fn layers(&self, policies: Option<&str>) -> Result<Layers, CliError> {
        let mut layers = match &self.file {
            None => Layers::of_text("defaults", results::spec::template()),
            Some(_) if self.is_piped() => {
                let mut text = String::new();
                let read = std::io::stdin().read_to_string(&mut text);
                read.map_err(|cause| CliError::failed(format!("cannot read stdin: {cause}")))?;
                Layers::of_text("stdin", &text)
            }
            Some(file) => Layers::of_file(file)?,
        };
        layers.set.clone_from(&self.set);
        layers.policies = policies.map(split_policies).unwrap_or_default();
        if policies.is_some() && layers.policies.is_empty() {
            return Err(CliError::Usage(
                "--policy needs the name of a policy".to_owned(),
            ));
        }
        Ok(layers)
    }
}

/// The run that the layers stand for; policy, model and hardware are there.
pub fn one_run(layers: &Layers) -> Result<RunSpec, CliError> {
    let spec = RunSpec::load(layers)?;
    check_names(layers, &spec)?;
    Ok(spec)
}

/// The runs that the layers stand for; all policies, models and hardware are there.
pub fn sweep(layers: &Layers) -> Result<SweepSpec, CliError> {
    let sweep = SweepSpec::load(layers)?;
    for point in sweep.points() {
        check_names(layers, &point.spec)?;
    }
    Ok(sweep)
}

/// Whether the names in a spec name something. A mistake is shown where the name was written.
fn check_names(layers: &Layers, spec: &RunSpec) -> Result<(), CliError> {
    if let Err(error) = policy::find(&spec.policy) {
        let hint = "`djinn policies` describes each";
        return Err(at(
            layers,
            "policy",
            &spec.policy,
            error.to_string(),
            Some(hint),
        ));
    }
    if let Err(error @ devices::ProfileError::Unknown { .. }) = devices::model(&spec.model) {
        return Err(at(layers, "model", &spec.model, error.to_string(), None));
    }
    if let Err(error @ devices::ProfileError::Unknown { .. }) = devices::hardware(&spec.hardware) {
        return Err(at(
            layers,
            "hardware",
            &spec.hardware,
            error.to_string(),
            None,
        ));
    }
    Ok(())
}

/// A name in a config that nothing has.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{name}:{line}:{column}: `{key}`: {message}")]
struct Misnamed {
    name: String,
    line: usize,
    column: usize,
    key: String,
    message: String,
    #[help]
    help: Option<String>,
    #[source_code]
    text: NamedSource<String>,
    #[label("here")]
    span: SourceSpan,
}

/// The places of names in a file.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Names {
    policy: Option<toml::Spanned<String>>,
    model: Option<toml::Spanned<String>>,
    hardware: Option<toml::Spanned<String>>,
    sweep: Axes,
}

/// The same in its sweep.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Axes {
    policy: Vec<toml::Spanned<String>>,
    model: Vec<toml::Spanned<String>>,
    hardware: Vec<toml::Spanned<String>>,
}

/// `message` about `value` of `key`, at the place that the value comes from.
fn at(layers: &Layers, key: &str, value: &str, message: String, hint: Option<&str>) -> CliError {
    let option = if key == "policy" && layers.policies.iter().any(|policy| policy == value) {
        Some(format!("--policy {value}"))
    } else {
        let prefix = format!("{key}=");
        let set = layers
            .set
            .iter()
            .find(|set| set.starts_with(&prefix) && set.contains(value));
        set.map(|set| format!("--set {set}"))
    };
    if let Some(option) = option {
        let what = format!("{option}: {message}");
        return CliError::Failed {
            what,
            hint: hint.map(str::to_owned),
        };
    }
    let span = place(&layers.text, key, value).unwrap_or(0..0);
    let before = &layers.text[..span.start];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let misnamed = Misnamed {
        name: layers.name.clone(),
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        key: key.to_owned(),
        message,
        help: hint.map(str::to_owned),
        text: NamedSource::new(&layers.name, layers.text.clone()),
        span: (span.start, span.len()).into(),
    };
    CliError::Spec(Box::new(misnamed))
}

/// The bytes of `value` as the value of `key`, or as one of its values in the sweep.
fn place(text: &str, key: &str, value: &str) -> Option<Range<usize>> {
    let names: Names = toml::from_str(text).ok()?;
    let (single, axis) = match key {
        "policy" => (names.policy, names.sweep.policy),
        "model" => (names.model, names.sweep.model),
        _ => (names.hardware, names.sweep.hardware),
    };
    let mut all = axis.into_iter().chain(single);
    all.find(|spanned| spanned.get_ref() == value)
        .map(|spanned| spanned.span())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_where_it_was_written() {
        let text = "seed = 1\npolicy = \"djinn\"\n[sweep]\npolicy = [\"djinn\", \"lru\"]\n";
        let span = place(text, "policy", "lru").expect("it is there");
        assert_eq!(&text[span], "\"lru\"");
        assert_eq!(place(text, "model", "lru"), None);
    }
}
