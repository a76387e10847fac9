//! From a workload, a rate and a policy to the runs that they stand for.

use super::shards::shard_file;
use super::spec::{RankingSpec, Workload};
use crate::LabError;
use results::ranking::{Label, Setting};
use results::spec::{RunSpec, SweepPoint, TooLong};
use std::path::{Path, PathBuf};

/// Makes runs of a ranking.
#[derive(Clone, Debug)]
pub(super) struct Points {
    base: RunSpec,
    out: PathBuf,
}

/// A rate of a workload, by the name of the load.
#[derive(Clone, Debug)]
pub(super) struct At<'a> {
    pub workload: &'a Workload,
    pub load: &'a str,
    pub surge: bool,
    pub rate: f64,
}

impl At<'_> {
    /// Time in which the sessions of a shard arrive, on average \[s\].
    pub fn arrivals_s(&self) -> f64 {
        rounded(f64::from(self.workload.sessions) / self.rate)
    }

    /// Time before which turns do not count \[s\].
    pub fn warmup_s(&self) -> f64 {
        rounded(self.arrivals_s() * self.workload.warmup)
    }
}

impl Points {
    pub fn new(spec: &RankingSpec, out: &Path) -> Result<Self, LabError> {
        Ok(Self {
            base: spec.base()?,
            out: out.to_owned(),
        })
    }

    /// The run of `policy` on one shard.
    pub fn spec(&self, at: &At<'_>, shard: u64, policy: &str) -> RunSpec {
        let mut spec = self.base.clone();
        policy.clone_into(&mut spec.policy);
        spec.seed = shard;
        let workload = &mut spec.workload;
        workload.generator.clone_from(&at.workload.generator);
        if workload.generator.is_some() {
            workload.trace = None;
            workload.sessions = Some(at.workload.sessions);
        } else {
            let file = shard_file(&self.out, &at.workload.name, shard);
            workload.trace = Some(file.to_string_lossy().into_owned());
            workload.sessions = None;
        }
        workload.rate = Some(at.rate);
        workload.gap_cap_s = at.workload.gap_cap_s;
        workload.too_long = TooLong::TruncateSession;
        spec.measure.warmup_s = at.warmup_s();
        spec.measure.until_s = Some(at.arrivals_s());
        spec
    }

    /// The runs of `policy` on `shards`.
    pub fn runs(
        &self,
        at: &At<'_>,
        shards: &[u64],
        policy: &str,
        setting: Setting,
    ) -> Vec<SweepPoint> {
        let label = Label {
            workload: at.workload.name.clone(),
            load: at.load.to_owned(),
            surge: at.surge,
            setting,
            rate: at.rate,
        };
        let params = serde_json::to_string(&label).expect("plain values");
        let point = |(index, &shard): (usize, &u64)| SweepPoint {
            index,
            spec: self.spec(at, shard, policy),
            params: params.clone(),
        };
        shards.iter().enumerate().map(point).collect()
    }
}

/// To four significant digits: rates and times are read by people.
pub(super) fn rounded(value: f64) -> f64 {
    format!("{value:.3e}").parse().expect("a number")
}
