//! What a run was made from besides its spec.
//!
//! A spec names a hardware profile, a model and a workload, and [`RunSpec::run_id`] is taken of those names. What the names stood for, and the
//! program that ran, may change from one day to the next; a result is only that of a run asked for now if these are equal, too.
//!
//! **Invariant:** no part of a digest: the same results are the same, whatever they were made from.

use crate::spec::RunSpec;
use serde::{Deserialize, Serialize};

/// Fingerprints of what a run was made from, each of 64 hex digits. The columns that a sweep adds to the rows it keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// SHA-256 over the program's source, as its build script takes it.
    pub program_sha256: String,
    /// SHA-256 of the hardware profile's text.
    pub hardware_sha256: String,
    /// SHA-256 of the model's text.
    pub model_sha256: String,
    /// SHA-256 of the trace, or of the generator's text; of that and the trace that its arrivals are resampled from, if they are.
    pub workload_sha256: String,
}

impl Inputs {
    /// What of a run of `spec` is no longer as it was in `before`, in words; empty if all is.
    pub fn changes(&self, before: &Self, spec: &RunSpec) -> Vec<String> {
        let workload = if spec.workload.trace.is_some() {
            "trace"
        } else {
            "workload"
        };
        let all = [
            (
                &self.program_sha256,
                &before.program_sha256,
                "program".to_owned(),
            ),
            (
                &self.hardware_sha256,
                &before.hardware_sha256,
                format!("hardware profile `{}`", spec.hardware),
            ),
            (
                &self.model_sha256,
                &before.model_sha256,
                format!("model `{}`", spec.model),
            ),
            (
                &self.workload_sha256,
                &before.workload_sha256,
                format!("{workload} `{}`", spec.workload_name()),
            ),
        ];
        let changed = all.into_iter().filter(|(now, then, _)| now != then);
        changed.map(|(.., what)| what).collect()
    }

    /// Whether each is whole: a row that was cut off ends within the last one.
    pub(crate) fn are_whole(&self) -> bool {
        let all = [
            &self.program_sha256,
            &self.hardware_sha256,
            &self.model_sha256,
            &self.workload_sha256,
        ];
        all.iter().all(|sha256| sha256.len() == 64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_named_as_the_spec_names_it() {
        let before = Inputs::default();
        let mut spec = RunSpec::default();
        assert_eq!(before.changes(&before, &spec), [""; 0]);
        let now = Inputs {
            program_sha256: "a".to_owned(),
            hardware_sha256: "b".to_owned(),
            model_sha256: "c".to_owned(),
            workload_sha256: "d".to_owned(),
        };
        let words = [
            "program",
            "hardware profile `h200`",
            "model `llama-3.1-8b`",
            "workload `poisson-agents`",
        ];
        assert_eq!(now.changes(&before, &spec), words);
        spec.workload.trace = Some("days/weka.trace.jsonl.zst".to_owned());
        assert_eq!(now.changes(&before, &spec)[3], "trace `weka`");
    }
}
