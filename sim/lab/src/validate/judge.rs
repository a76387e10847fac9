//! Pairs of simulated and measured runs, and the tables that they come to.

use super::open_loop;
use crate::LabError;
use results::compare::Bootstrap;
use results::folder::{RunFolder, write_table};
use results::validation::{
    CLOSED_LOOP, ClosedLoopRow, OPEN_LOOP, OpenLoopRow, Pair, RANKING, RankRow, Side, WAKEUPS,
    WakeupPairRow, closed_loop, rankings, wakeups,
};
use std::path::Path;

/// Runs of one spec.
#[derive(Debug)]
pub struct Matched {
    /// Simulated, steps that cost the same taking the same.
    pub simulated: RunFolder,
    /// Simulated by draws of what such steps differ by; if there are any, these are judged.
    pub drawn: Vec<RunFolder>,
    /// Simulated again, with calibrations of like machines.
    pub again: Vec<RunFolder>,
    /// Measured, once or repeatedly.
    pub measured: Vec<RunFolder>,
}

/// What pairs of one workload come to.
#[derive(Debug)]
pub struct Judged {
    /// The pairs.
    pub pairs: Vec<Pair>,
    /// Each operation of the measured runs, as the cost model expects it.
    pub open: Vec<OpenLoopRow>,
    /// Whole runs.
    pub closed: Vec<ClosedLoopRow>,
    /// Single wake-ups.
    pub woken: Vec<WakeupPairRow>,
    /// Orders of the policies; empty of fewer than two.
    pub ranked: Vec<RankRow>,
}

impl Judged {
    /// Judges `matched`. Single operations are predicted by the profile `hardware`, or by that of each simulated run.
    ///
    /// # Errors
    /// If a run is damaged or has no operations, or the runs of a pair have no turn in common.
    pub fn of(
        matched: &[Matched],
        hardware: Option<&str>,
        bootstrap: Bootstrap,
    ) -> Result<Self, LabError> {
        let (mut open, mut pairs) = (Vec::new(), Vec::new());
        for runs in matched {
            let spec = &runs.simulated.manifest().spec;
            let hardware = hardware.unwrap_or(&spec.hardware);
            for (repeat, run) in (0..).zip(&runs.measured) {
                open.extend(open_loop(run, hardware, repeat)?);
            }
            let sides = |folders: &[RunFolder]| -> Result<Vec<Side>, _> {
                folders.iter().map(Side::of_folder).collect()
            };
            pairs.push(Pair {
                policy: spec.policy.clone(),
                simulated: Side::of_folder(&runs.simulated)?,
                drawn: sides(&runs.drawn)?,
                again: sides(&runs.again)?,
                measured: sides(&runs.measured)?,
            });
        }
        let mut closed = Vec::new();
        for pair in &pairs {
            closed.extend(closed_loop(pair, bootstrap)?);
        }
        let ranked = if pairs.len() > 1 {
            rankings(&pairs, bootstrap)?
        } else {
            Vec::new()
        };
        Ok(Self {
            open,
            closed,
            woken: pairs.iter().flat_map(wakeups).collect(),
            ranked,
            pairs,
        })
    }

    /// Names of the tables.
    pub const TABLES: [&str; 4] = [OPEN_LOOP, CLOSED_LOOP, WAKEUPS, RANKING];

    /// Writes the tables into `folder`, which is made if need be.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn write(&self, folder: &Path) -> Result<(), LabError> {
        std::fs::create_dir_all(folder).map_err(|error| LabError::File {
            path: folder.to_owned(),
            error,
        })?;
        write_table(&folder.join(OPEN_LOOP), self.open.iter().cloned())?;
        write_table(&folder.join(CLOSED_LOOP), self.closed.iter().cloned())?;
        write_table(&folder.join(WAKEUPS), self.woken.iter().cloned())?;
        write_table(&folder.join(RANKING), self.ranked.iter().cloned())?;
        Ok(())
    }
}
