//! What a comparison needs of a run.

use crate::folder::{FolderError, RunFolder};
use crate::metrics::Measure;
use crate::rows::{SessionRow, TurnRow};
use std::collections::BTreeMap;

/// The latencies of one run, by session and turn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunSample {
    /// For messages: policy or folder.
    pub name: String,
    /// Hash of the trace.
    pub trace: String,
    /// Seed of the run.
    pub seed: u64,
    /// Its draw of the jitter; 0 for none.
    pub draw: u32,
    pub(super) turns: BTreeMap<(u32, u32), TurnSample>,
    /// Completion time of finished sessions \[ns\].
    pub(super) completion: BTreeMap<u32, u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TurnSample {
    after_wait: bool,
    first_token_ns: u64,
    turn_ns: u64,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Wake-up latency: ready to first token, turns after a wait.
    Wakeup,
    /// The same for turns without a wait.
    Ttft,
    /// Ready to last token, all turns.
    Turn,
    /// Arrival to last token, sessions.
    Jct,
}

/// The samples of one session on both sides, in the same order \[ns\].
pub(super) type Cluster = (Vec<u64>, Vec<u64>);

impl Metric {
    /// All of them, in the order of reports.
    pub const ALL: [Self; 4] = [Self::Wakeup, Self::Ttft, Self::Turn, Self::Jct];

    /// Name of the column family in `runs.csv`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wakeup => "wakeup_ns",
            Self::Ttft => "ttft_ns",
            Self::Turn => "turn_ns",
            Self::Jct => "jct_ns",
        }
    }

    fn of(self, turn: &TurnSample) -> Option<u64> {
        match self {
            Self::Wakeup => turn.after_wait.then_some(turn.first_token_ns),
            Self::Ttft => (!turn.after_wait).then_some(turn.first_token_ns),
            Self::Turn => Some(turn.turn_ns),
            Self::Jct => None,
        }
    }

    /// What both runs have, session by session.
    pub(super) fn clusters(self, a: &RunSample, b: &RunSample) -> Vec<Cluster> {
        let mut clusters: BTreeMap<u32, Cluster> = BTreeMap::new();
        let mut add = |session: u32, in_a: u64, in_b: u64| {
            let cluster = clusters.entry(session).or_default();
            cluster.0.push(in_a);
            cluster.1.push(in_b);
        };
        if self == Self::Jct {
            for (session, in_a) in &a.completion {
                if let Some(in_b) = b.completion.get(session) {
                    add(*session, *in_a, *in_b);
                }
            }
        } else {
            for (key, turn) in &a.turns {
                let in_b = b.turns.get(key).and_then(|turn| self.of(turn));
                if let (Some(in_a), Some(in_b)) = (self.of(turn), in_b) {
                    add(key.0, in_a, in_b);
                }
            }
        }
        clusters.into_values().collect()
    }
}

impl RunSample {
    /// A run that has no rows yet.
    pub fn new(name: &str, trace: &str, seed: u64) -> Self {
        Self {
            name: name.to_owned(),
            trace: trace.to_owned(),
            seed,
            ..Self::default()
        }
    }

    /// Reads a run folder; what its spec does not measure is left out.
    ///
    /// # Errors
    /// If a row is damaged.
    pub fn of_folder(folder: &RunFolder) -> Result<Self, FolderError> {
        let manifest = folder.manifest();
        let measure = Measure::of(&manifest.spec);
        let mut sample = Self::new(&manifest.spec.policy, &manifest.trace.sha256, manifest.seed);
        sample.draw = manifest.spec.engine.jitter;
        for row in folder.turns()? {
            sample.turn(&row?, measure);
        }
        for row in folder.sessions()? {
            sample.session(&row?, measure);
        }
        Ok(sample)
    }

    /// Takes in a turn, unless it begins outside the measured time.
    pub fn turn(&mut self, row: &TurnRow, measure: Measure) {
        if measure.counts(row.ready_ns) {
            let sample = TurnSample {
                after_wait: row.wait_ns.is_some(),
                first_token_ns: row.first_token_ns.saturating_sub(row.ready_ns),
                turn_ns: row.end_ns.saturating_sub(row.ready_ns),
            };
            self.turns.insert((row.session, row.turn), sample);
        }
    }

    /// Takes in a session, if it finished and arrived within the measured time.
    pub fn session(&mut self, row: &SessionRow, measure: Measure) {
        if let Some(end_ns) = row.end_ns
            && measure.counts(row.start_ns)
        {
            self.completion
                .insert(row.session, end_ns.saturating_sub(row.start_ns));
        }
    }

    pub(super) fn key(&self) -> (&str, u64, u32) {
        (&self.trace, self.seed, self.draw)
    }
}
