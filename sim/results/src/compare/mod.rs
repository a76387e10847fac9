//! Is one run better than another? Paired, with the uncertainty stated.
//!
//! Two runs of one workload with one seed have the same sessions and turns, so they are compared turn by
//! turn and session by session: what makes a session slow in both cancels out. Every difference is
//! `b - a`, with two 95 % intervals (percentile bootstrap):
//!
//! - **by session**: whole sessions are drawn again, with all of their turns, because the turns of a
//!   session are not independent. It says how much the result hangs on the sessions of these workloads.
//! - **by seed**: pairs of runs are drawn again. It says how much the result hangs on the seeds, and exists
//!   from [`SEEDS_MIN`] pairs on. Where it exists it decides.
//!
//! Where the interval includes 0, *no difference is shown*.
//!
//! **Absent on purpose:** comparing runs that are not paired. Two workloads differ for reasons that are not
//! the policy's.

mod bootstrap;
mod rank;
mod ratio;
mod sample;

pub use bootstrap::{Bootstrap, Difference, Statistic};
pub use rank::kendall_tau;
pub use ratio::{Crossing, Ratio};
pub use sample::{Metric, RunSample};

/// Pairs from which on an interval over seeds is given.
pub const SEEDS_MIN: usize = 5;

/// Why runs cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompareError {
    /// There is nothing on one side.
    #[error("nothing to compare: {a} runs on one side and {b} on the other")]
    Empty {
        /// Runs of the first side.
        a: usize,
        /// Runs of the second side.
        b: usize,
    },
    /// A run without a partner.
    #[error(
        "unpaired: `{run}` (seed {seed}, draw {draw} of the jitter, trace {trace}) has no partner with the same on \
         the other side; compare runs of one workload, seed by seed and draw by draw"
    )]
    Unpaired {
        /// Name of the run.
        run: String,
        /// Its seed.
        seed: u64,
        /// Its draw of the jitter.
        draw: u32,
        /// Start of its trace's hash.
        trace: String,
    },
    /// Two runs of one side that would pair with the same run.
    #[error(
        "`{first}` and `{second}` have the same trace, seed ({seed}) and draw of the jitter ({draw}); keep one of them"
    )]
    Ambiguous {
        /// One run.
        first: String,
        /// The other.
        second: String,
        /// Their seed.
        seed: u64,
        /// Their draw of the jitter.
        draw: u32,
    },
    /// Paired runs without a turn in common.
    #[error("`{a}` and `{b}` have no finished turn in common; did one of them fail?")]
    Disjoint {
        /// Run of the first side.
        a: String,
        /// Run of the second side.
        b: String,
    },
}

/// What came of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Pairs of runs.
    pub pairs: usize,
    /// Sessions with at least one turn that both have.
    pub sessions: usize,
    /// Turns that only one side has (failures, the measured time): `[only a, only b]`. They are left out, so a side
    /// that fails its slow sessions looks better than it is; read them before the differences.
    pub turns_unmatched: [usize; 2],
    /// Finished sessions that only one side has: `[only a, only b]`.
    pub sessions_unmatched: [usize; 2],
    /// One entry per metric and statistic that there are samples of.
    pub differences: Vec<Difference>,
}

/// Compares runs of two sides, paired by trace, seed and draw of the jitter; the order of either side does not matter.
///
/// # Errors
/// If a run has no partner, or more than one, or a pair has nothing in common.
pub fn compare(
    a: &[RunSample],
    b: &[RunSample],
    bootstrap: Bootstrap,
) -> Result<Comparison, CompareError> {
    let pairs = pair(a, b)?;
    let mut comparison = Comparison {
        pairs: pairs.len(),
        sessions: 0,
        turns_unmatched: [0; 2],
        sessions_unmatched: [0; 2],
        differences: Vec::new(),
    };
    for (a, b) in &pairs {
        let matched = a.turns.keys().filter(|key| b.turns.contains_key(key));
        let mut sessions: Vec<u32> = matched.clone().map(|&(session, _)| session).collect();
        let turns = sessions.len();
        sessions.dedup();
        if turns == 0 {
            return Err(CompareError::Disjoint {
                a: a.name.clone(),
                b: b.name.clone(),
            });
        }
        comparison.sessions += sessions.len();
        comparison.turns_unmatched[0] += a.turns.len() - turns;
        comparison.turns_unmatched[1] += b.turns.len() - turns;
        let finished = a
            .completion
            .keys()
            .filter(|key| b.completion.contains_key(key))
            .count();
        comparison.sessions_unmatched[0] += a.completion.len() - finished;
        comparison.sessions_unmatched[1] += b.completion.len() - finished;
    }
    for metric in Metric::ALL {
        let clusters: Vec<_> = pairs.iter().map(|(a, b)| metric.clusters(a, b)).collect();
        comparison
            .differences
            .extend(bootstrap.differences(metric, &clusters));
    }
    Ok(comparison)
}

/// Pairs of runs with equal trace, seed and draw, in that order.
fn pair<'a>(
    a: &'a [RunSample],
    b: &'a [RunSample],
) -> Result<Vec<(&'a RunSample, &'a RunSample)>, CompareError> {
    if a.is_empty() || b.is_empty() {
        return Err(CompareError::Empty {
            a: a.len(),
            b: b.len(),
        });
    }
    let (a, b) = (sorted(a)?, sorted(b)?);
    let unpaired = |run: &RunSample| CompareError::Unpaired {
        run: run.name.clone(),
        seed: run.seed,
        draw: run.draw,
        trace: run.trace.chars().take(12).collect(),
    };
    for (one, other) in [(&a, &b), (&b, &a)] {
        if let Some(alone) = one
            .iter()
            .find(|run| !other.iter().any(|o| o.key() == run.key()))
        {
            return Err(unpaired(alone));
        }
    }
    Ok(a.into_iter().zip(b).collect())
}

fn sorted(side: &[RunSample]) -> Result<Vec<&RunSample>, CompareError> {
    let mut side: Vec<&RunSample> = side.iter().collect();
    side.sort_by_key(|run| run.key());
    match side.windows(2).find(|pair| pair[0].key() == pair[1].key()) {
        Some(pair) => Err(CompareError::Ambiguous {
            first: pair[0].name.clone(),
            second: pair[1].name.clone(),
            seed: pair[0].seed,
            draw: pair[0].draw,
        }),
        None => Ok(side),
    }
}

#[cfg(test)]
mod tests;
