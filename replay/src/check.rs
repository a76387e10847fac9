//! Is every defect caught? The contract of a device, and faults that its checkers must name.
//!
//! Generic over the backend, so that the same checks run without a GPU, where they test the checkers' bookkeeping, and on
//! one, where they test the hardware path: a byte that really arrives wrong, a lane that really stalls.

use crate::backend::Backend;
use crate::device::{DeviceOptions, FaultPlan, ReplayDevice};
use crate::run::{ReplayError, Replayed, record};
use devices::CopyFault;
use devices::conformance::{POOL_BLOCKS, Subject};
use engine::device::{BlockCopy, Completion, CopyClass, CopyRun, Device, DeviceError, Op};
use lab::audit::{self, Violation};
use lab::run::RunOptions;
use lab::{Setup, Wants};
use model::{Bytes, ContentId, Direction, LineageId, Nanos, OpId, SessionId};
use results::manifest::DeviceInfo;
use results::spec::{Layers, RunSpec};
use std::path::Path;
use std::time::Duration;

/// Bytes of a block of the checks: those of the conformance suite.
pub const BLOCK_BYTES: u64 = 2 << 20;
/// Blocks that either pool needs.
pub const BLOCKS: u32 = POOL_BLOCKS;

/// How one check went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was checked.
    pub name: String,
    /// What the checker said, or why the check failed.
    pub outcome: Result<String, String>,
}

/// Makes a device with pools of [`BLOCKS`] blocks of [`BLOCK_BYTES`].
pub type Make<'a, B> = &'a dyn Fn(DeviceOptions) -> Result<ReplayDevice<B>, DeviceError>;

/// The contract, with and without scheduling ahead.
///
/// # Errors
/// If no device can be made.
pub fn contract<B: Backend + 'static>(make: Make<'_, B>) -> Result<Vec<Finding>, DeviceError> {
    let mut findings = Vec::new();
    for ahead in [0, 1] {
        let options = DeviceOptions {
            ahead,
            ..DeviceOptions::default()
        };
        drop(make(options)?);
        let boxed = || -> Box<dyn Device> {
            match make(options) {
                Ok(device) => Box::new(device),
                Err(error) => Box::new(Absent(error)),
            }
        };
        let subject = Subject {
            make: &boxed,
            ahead,
            lane_depth: options.lane_depth,
            exact: false,
        };
        let verdict = devices::conformance::check(&subject);
        findings.push(Finding {
            name: format!("contract, {ahead} steps ahead"),
            outcome: verdict
                .map(|()| "kept".to_owned())
                .map_err(|violation| violation.to_string()),
        });
    }
    Ok(findings)
}

/// A device that could not be made: every operation fails with the reason.
struct Absent(DeviceError);

impl Device for Absent {
    fn submit(&mut self, _: Op) {}

    fn cut(&mut self, _: OpId) -> u32 {
        1
    }

    fn progress(&self, _: OpId) -> u32 {
        0
    }

    fn wait(&mut self, until: Option<model::Time>, done: &mut Vec<Completion>) -> model::Time {
        let now = until.unwrap_or_default();
        let status = Err(self.0.clone());
        done.push(Completion {
            op: OpId(0),
            start: now,
            end: now,
            units: 1,
            status,
        });
        now
    }

    fn lane_busy(&self, _: Direction) -> Nanos {
        Nanos::ZERO
    }
}

/// How long a fault is waited for, and how long a chunk may take before the watchdog fails it.
const PATIENCE: Duration = Duration::from_millis(500);

/// Faults, the copy that has each (0 goes out, 1 comes back), and what must be said of it by which copy.
const FAULTS: [(&str, u64, CopyFault, u64, &str); 6] = [
    (
        "a flipped byte on the way out",
        0,
        CopyFault::FlipByte,
        1,
        "after arriving",
    ),
    (
        "a flipped byte on the way back",
        1,
        CopyFault::FlipByte,
        1,
        "after arriving",
    ),
    ("a failed copy", 0, CopyFault::Fail, 0, "failed on request"),
    (
        "a lost completion",
        1,
        CopyFault::LoseCompletion,
        1,
        "stalled: the completion of chunk",
    ),
    (
        "a stalled copy, D2H",
        0,
        CopyFault::Stall(Duration::from_millis(1_500)),
        0,
        "stalled: the completion of chunk 0",
    ),
    (
        "a stalled copy, H2D",
        1,
        CopyFault::Stall(Duration::from_millis(1_500)),
        1,
        "stalled: the completion of chunk 0",
    ),
];

/// Each fault in turn, then none, then content that is not what the ledger says.
///
/// # Errors
/// If no device can be made.
pub fn faults<B: Backend>(make: Make<'_, B>) -> Result<Vec<Finding>, DeviceError> {
    let options = DeviceOptions {
        patience: PATIENCE,
        ..DeviceOptions::default()
    };
    let mut findings = Vec::new();
    for (name, copy, fault, caught_by, words) in FAULTS {
        let mut device = make(options)?.with_faults(FaultPlan::default().with(copy, fault));
        let said = out_and_back(&mut device, 1);
        let outcome = match said {
            Err((by, text)) if by == caught_by && text.contains(words) => Ok(text),
            Err((by, text)) => Err(format!(
                "copy {by} was to be caught with `{words}` by copy {caught_by}, but: {text}"
            )),
            Ok(()) => Err("not caught".to_owned()),
        };
        findings.push(Finding {
            name: format!("{name} is caught"),
            outcome,
        });
    }
    let clean = out_and_back(&mut make(options)?, 1);
    findings.push(Finding {
        name: "without a fault nothing is reported".to_owned(),
        outcome: clean.map(|()| "clean".to_owned()).map_err(|(_, text)| text),
    });
    let outcome = match out_and_back(&mut make(options)?, 2) {
        Err((0, text)) if text.contains("before leaving") => Ok(text),
        other => Err(format!("not caught before leaving: {other:?}")),
    };
    findings.push(Finding {
        name: "content of another lineage is caught".to_owned(),
        outcome,
    });
    Ok(findings)
}

/// Writes blocks of lineage 1, copies them out and back as blocks of `lineage`. The copy that failed, and what was said.
fn out_and_back<B: Backend>(
    device: &mut ReplayDevice<B>,
    lineage: u32,
) -> Result<(), (u64, String)> {
    let content = |lineage, index| ContentId {
        lineage: LineageId(lineage),
        index,
    };
    for block in 0..12 {
        device.wrote(block, content(1, block));
    }
    for (copy, direction) in (0..).zip(Direction::LINK) {
        let block = |at| BlockCopy {
            source: at,
            destination: at,
            content: content(lineage, at),
        };
        device.submit(Op::Copy(CopyRun {
            id: OpId(copy),
            session: SessionId(3),
            direction,
            class: CopyClass::Demand,
            block_count: 12,
            chunk_blocks: 4,
            block_bytes: Bytes(BLOCK_BYTES),
            blocks: (0..12).map(block).collect(),
        }));
        let mut done = Vec::new();
        let begun = device.wait(Some(model::Time::ZERO), &mut done);
        let limit = begun + Nanos(10 * PATIENCE.as_nanos() as u64);
        let mut now = begun;
        while done.is_empty() && now < limit {
            now = device.wait(Some(limit), &mut done);
        }
        let Some(completion) = done.pop() else {
            return Err((copy, "no completion, and no checker said so".to_owned()));
        };
        completion
            .status
            .map_err(|error| (copy, error.to_string()))?;
    }
    Ok(())
}

/// Agents whose KV leaves HBM and comes back ahead of their turns, so that every defect has something to spoil. Hints are
/// a little late, so that `COMPUTE` finds the prefetch under way.
const DEFECT_RUN: &str = "model = \"llama-2-7b\"\nhardware = \"h200\"\npolicy = \"djinn[margin_ms=0]\"\n\
    [memory]\nhbm_blocks = 120\nhost_blocks = 400\n\
    [workload]\ngen = \"closed-loop-agents\"\nsessions = 8\n[workload.params]\n\
    ramp_s = 0.2\nturns = 3\nfirst_prompt = 320\nappend = 32\noutput = 8\n\
    gap_s = { uniform = { min = 0.3, max = 0.5 } }\n\
    [hints.noise]\nbias = 1.005\n";

/// The defects of the original implementation, and the checker that each must be caught by; `None`: a sound run.
pub const DEFECTS: [(Option<&str>, &str); 6] = [
    (None, "nothing is reported"),
    (Some("restore-drops-copy"), audit::RESTORED_IS_THERE),
    (Some("evict-frees-nothing"), audit::EVICTED_IS_GONE),
    (Some("prefetch-races-compute"), audit::MOVED_ONCE),
    (Some("io-on-hot-path"), audit::NO_WAIT_ON_AN_IDLE_GPU),
    (Some("signal-lost"), audit::SIGNALS_ARRIVE),
];

/// A short run with `defect`, on the device that `make` makes for it, and what the checkers of its folder say.
///
/// # Errors
/// If the run cannot be made or does not end.
pub fn audited<B: Backend>(
    defect: Option<&str>,
    make: &dyn Fn(&Setup) -> Result<ReplayDevice<B>, ReplayError>,
    scratch: &Path,
) -> Result<Vec<Violation>, ReplayError> {
    let mut spec =
        RunSpec::load(&Layers::of_text("defects", DEFECT_RUN)).map_err(lab::LabError::from)?;
    spec.faults.inject = defect.map(str::to_owned).into_iter().collect();
    let setup = Setup::new(&spec)?;
    let mut device = make(&setup)?;
    let options = RunOptions {
        wants: Wants {
            ops: true,
            samples: Some(model::Nanos::from_millis(20)),
            decisions: true,
        },
        live: true,
        ..RunOptions::default()
    };
    let target = scratch.join(defect.unwrap_or("sound"));
    let info = DeviceInfo::default();
    match record(&setup, &mut device, &info, &target, &options, |_| ())? {
        Replayed::Now(finished, ..) => Ok(audit::audit(&finished.folder)?),
        Replayed::Before(folder) => Ok(audit::audit(&folder)?),
    }
}

/// Whether a defect was caught, and nothing in a sound run.
pub fn judge(defect: Option<&str>, checker: &str, found: &[Violation]) -> Finding {
    let outcome = match (defect, found) {
        (None, []) => Ok("clean".to_owned()),
        (None, [first, ..]) => Err(format!("{}: {}", first.checker, first.what)),
        (Some(_), found) => found
            .iter()
            .find(|violation| violation.checker == checker)
            .map(|violation| violation.what.clone())
            .ok_or_else(|| format!("`{checker}` did not notice; others: {found:?}")),
    };
    Finding {
        name: match defect {
            None => "a sound run passes the checkers of its folder".to_owned(),
            Some(defect) => format!("defect `{defect}` is caught by `{checker}`"),
        },
        outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeGpu;
    use crate::run::device_options;

    fn make(options: DeviceOptions) -> Result<ReplayDevice<FakeGpu>, DeviceError> {
        ReplayDevice::new(FakeGpu::new(BLOCKS, BLOCKS), options)
    }

    #[test]
    fn every_fault_is_caught_and_a_clean_run_is_clean() {
        let findings = faults(&make).unwrap();
        assert_eq!(findings.len(), FAULTS.len() + 2);
        for finding in findings {
            assert!(finding.outcome.is_ok(), "{finding:?}");
        }
    }

    #[test]
    fn each_defect_of_the_original_is_caught_by_its_checker() {
        let folder = tempfile::tempdir().unwrap();
        let make = |setup: &Setup| {
            let mut gpu = FakeGpu::new(120, 400);
            // As the link of an H200.
            gpu.block = Duration::from_micros(150);
            let device = ReplayDevice::new(gpu, device_options(setup));
            Ok(device?)
        };
        for (defect, checker) in DEFECTS {
            let mut found = audited(defect, &make, folder.path()).unwrap();
            // A machine that is busy with other things holds a sound run up, too.
            if defect.is_none() {
                found.retain(|violation| violation.checker != audit::NO_WAIT_ON_AN_IDLE_GPU);
            }
            let finding = judge(defect, checker, &found);
            assert!(finding.outcome.is_ok(), "{finding:?}");
        }
    }

    #[test]
    fn a_caught_fault_names_session_and_copy() {
        let findings = faults(&make).unwrap();
        let text = findings[0].outcome.clone().unwrap();
        assert!(
            text.contains("H2D copy 1 of session 3") && text.contains("HBM block"),
            "{text}"
        );
    }

    #[test]
    fn a_device_that_cannot_be_made_is_an_error_with_its_reason() {
        let make = |_: DeviceOptions| -> Result<ReplayDevice<FakeGpu>, DeviceError> {
            Err(DeviceError("no memory".to_owned()))
        };
        assert_eq!(faults(&make).unwrap_err().to_string(), "device: no memory");
        assert_eq!(
            contract(&make).unwrap_err().to_string(),
            "device: no memory"
        );
    }
}
