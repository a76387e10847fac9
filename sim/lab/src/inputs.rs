//! From what a spec names to what it stands for now: fingerprints of program, profiles and workload.
//!
//! A [`Setup`](crate::Setup) says what it was made from, of the very text that it read. [`InputCache`] says what one would be made from, without
//! making it: that is all it takes to tell whether a result that is there is still the one that is asked for.

use crate::LabError;
use crate::setup::parse_generator;
use results::inputs::Inputs;
use results::spec::RunSpec;
use results::{sha256_hex, sha256_of_file};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use trace::TraceError;
use trace::generate::Generator;

/// Fingerprint of the source that the results of a simulation depend on, from the build script.
pub const PROGRAM_SHA256: &str = env!("DJINN_PROGRAM_SHA256");

/// Inputs of many specs: each file is read once.
#[derive(Debug, Default)]
pub struct InputCache(Mutex<BTreeMap<Source, String>>);

/// What a fingerprint is taken of, by its name in a spec.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Hardware(String),
    Model(String),
    Trace(String),
    /// With the parameters in place of its own, which may name a trace to resample.
    Generator(String, String),
}

impl InputCache {
    /// What a run of `spec` would be made from, as of the first time that each of its names was asked for.
    ///
    /// # Errors
    /// If a profile, the model or the trace cannot be read, or the spec names no workload.
    pub fn of(&self, spec: &RunSpec) -> Result<Inputs, LabError> {
        let hardware = Source::Hardware(spec.hardware.clone());
        let model = Source::Model(spec.model.clone());
        Ok(Inputs {
            program_sha256: PROGRAM_SHA256.to_owned(),
            hardware_sha256: self.once(hardware, || {
                Ok(sha256_hex(
                    devices::hardware_text(&spec.hardware)?.as_bytes(),
                ))
            })?,
            model_sha256: self.once(model, || {
                Ok(sha256_hex(devices::model_text(&spec.model)?.as_bytes()))
            })?,
            workload_sha256: self.workload(spec)?,
        })
    }

    fn workload(&self, spec: &RunSpec) -> Result<String, LabError> {
        let workload = &spec.workload;
        match (&workload.trace, &workload.generator) {
            (Some(file), _) => self.once(Source::Trace(file.clone()), || of_trace(Path::new(file))),
            (None, Some(name)) => {
                let changes = workload.params.to_string();
                self.once(Source::Generator(name.clone(), changes), || {
                    let text = Generator::text(name)?;
                    of_generator(&text, &parse_generator(spec, name, &text)?)
                })
            }
            (None, None) => Err(no_workload()),
        }
    }

    fn once(
        &self,
        source: Source,
        sha256: impl FnOnce() -> Result<String, LabError>,
    ) -> Result<String, LabError> {
        let mut known = self.0.lock().expect("no holder panics");
        if let Some(sha256) = known.get(&source) {
            return Ok(sha256.clone());
        }
        let sha256 = sha256()?;
        known.insert(source, sha256.clone());
        Ok(sha256)
    }
}

/// What a spec without a workload is told.
pub(crate) fn no_workload() -> LabError {
    LabError::Value {
        key: "workload",
        what: "needs `trace = \"file\"` or `gen = \"name\"`".to_owned(),
    }
}

/// Fingerprint of a trace: of its file as it lies there.
pub(crate) fn of_trace(file: &Path) -> Result<String, LabError> {
    sha256_of_file(file).map_err(|source| {
        LabError::Trace(TraceError::File {
            action: "open",
            file: file.display().to_string(),
            source,
        })
    })
}

/// Fingerprint of a generator whose text has been read: of that, and of the trace that it resamples.
pub(crate) fn of_generator(text: &str, generator: &Generator) -> Result<String, LabError> {
    let own = sha256_hex(text.as_bytes());
    match generator.resamples() {
        None => Ok(own),
        Some(file) => Ok(sha256_hex(format!("{own}{}", of_trace(file)?).as_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Setup;
    use results::spec::Layers;
    use std::fs;

    fn spec(set: &[String]) -> RunSpec {
        let layers = Layers {
            set: set.to_vec(),
            ..Layers::of_text(
                "test",
                "[workload]\ngen = \"poisson-agents\"\nsessions = 3\n",
            )
        };
        RunSpec::load(&layers).expect("a valid spec")
    }

    /// Of the profile in the checkout, a copy that may be edited.
    fn copy(folder: &Path, name: &str, text: &str) -> String {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    #[test]
    fn what_a_run_would_be_made_from_is_what_it_is_made_from() {
        let folder = tempfile::tempdir().unwrap();
        let hardware = copy(
            folder.path(),
            "h.toml",
            &devices::hardware_text("h200").unwrap(),
        );
        let model = copy(
            folder.path(),
            "m.toml",
            &devices::model_text("llama-3.1-8b").unwrap(),
        );
        let fleet = copy(
            folder.path(),
            "w.toml",
            &Generator::text("batch-coding").unwrap(),
        );
        let mut specs = vec![spec(&[])];
        specs.extend(trace::generate::SHIPPED.iter().map(|shipped| {
            let many = ["workload.sessions=2", "workload.too_long=truncate-session"];
            let many = many.map(str::to_owned);
            spec(&[many.as_slice(), &[format!("workload.gen={}", shipped.name)]].concat())
        }));
        specs.push(spec(&[
            format!("hardware={hardware}"),
            format!("model={model}"),
            format!("workload.gen={fleet}"),
            "workload.too_long=truncate-session".to_owned(),
        ]));
        let cache = InputCache::default();
        for spec in specs {
            let setup = Setup::new(&spec).unwrap_or_else(|error| panic!("{error}: {spec:?}"));
            assert_eq!(setup.inputs, cache.of(&spec).unwrap());
        }
    }

    #[test]
    fn each_input_has_a_fingerprint_of_its_own_which_follows_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let hardware = devices::hardware_text("h200").unwrap();
        let model = devices::model_text("llama-3.1-8b").unwrap();
        let starts = "{\"ts_ms\":0,\"prompt\":1}";
        let set = |hardware_end: &str, model_end: &str, trace: &str| {
            let hardware = copy(
                folder.path(),
                "h.toml",
                &format!("{hardware}{hardware_end}"),
            );
            let model = copy(folder.path(), "m.toml", &format!("{model}{model_end}"));
            let file = copy(folder.path(), "t.jsonl", trace);
            spec(&[
                format!("hardware={hardware}"),
                format!("model={model}"),
                "workload.gen=chat".to_owned(),
                format!("workload.params.arrivals={{ trace = {{ file = \"{file}\" }} }}"),
            ])
        };
        let of = |spec: &RunSpec| InputCache::default().of(spec).unwrap();
        let first = of(&set("", "", starts));
        for (ends, changed) in [
            (["# edited\n", "", starts], "hardware profile"),
            (["", "# edited\n", starts], "model"),
            (["", "", "{}"], "workload"),
        ] {
            let [hardware, model, trace] = ends;
            let spec = set(hardware, model, trace);
            let changes = of(&spec).changes(&first, &spec);
            assert!(
                changes.len() == 1 && changes[0].starts_with(changed),
                "{changes:?}"
            );
        }
    }

    #[test]
    fn a_file_is_read_once_for_all_runs_that_name_it() {
        let folder = tempfile::tempdir().unwrap();
        let text = devices::hardware_text("h200").unwrap();
        let spec = spec(&[format!("hardware={}", copy(folder.path(), "h.toml", &text))]);
        let cache = InputCache::default();
        let first = cache.of(&spec).unwrap();
        fs::remove_file(folder.path().join("h.toml")).unwrap();
        let again = RunSpec { seed: 2, ..spec };
        assert_eq!(cache.of(&again).unwrap(), first);
        assert!(InputCache::default().of(&again).is_err());
    }
}
