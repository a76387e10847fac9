//! Does a run's account of itself hold? Checkers over a run folder, one for each of the original implementation's five defects.
//!
//! Each defect is a way in which a system was wrong while its counters looked right, so each checker holds one record of the
//! run against another: bytes against decisions, time against what the GPU did. They need `decisions.log` and `ops.csv`, know nothing
//! of how a fault is injected, and run on any device's folder.
//!
//! | checker | holds against each other |
//! |---|---|
//! | [`RESTORED_IS_THERE`] | blocks that a restore brought, and what the next admission found |
//! | [`EVICTED_IS_GONE`] | HBM held while idle, and what the log says was still there |
//! | [`MOVED_ONCE`] | copies that began, and copies that ended |
//! | [`NO_WAIT_ON_AN_IDLE_GPU`] | the end of a wait, and the first step, where nothing stood in between |
//! | [`SIGNALS_ARRIVE`] | waits of the trace, and `IO_WAIT`s delivered |

use crate::LabError;
use crate::timeline::LogLine;
use results::folder::RunFolder;
use results::rows::{OpRow, SessionRow, TurnRow};
use std::collections::BTreeMap;
use std::io::BufRead as _;

/// A restore copies, and its copy is dropped (P0-1).
pub const RESTORED_IS_THERE: &str = "what was restored is there";
/// An eviction frees nothing (P0-2).
pub const EVICTED_IS_GONE: &str = "what was evicted is gone";
/// Prefetch and `COMPUTE` both move the same KV (P1-3).
pub const MOVED_ONCE: &str = "every transfer happens once";
/// Something holds the scheduler up (P1-4).
pub const NO_WAIT_ON_AN_IDLE_GPU: &str = "nothing waits for an idle GPU";
/// A signal is lost in silence (P2-5).
pub const SIGNALS_ARRIVE: &str = "signals sent are signals received";

/// A ready turn may wait this long for an idle GPU \[ns\]: launches and polling take some 0.1 ms, synchronous I/O 1 to 10.
const IDLE_GPU_NS: u64 = 1_000_000;
/// HBM held may exceed what the log says by this share: samples of the same instants differ by a wake.
const HELD_SLACK: f64 = 1.02;

/// Something that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which checker found it.
    pub checker: &'static str,
    /// The first case, with session and time, and how many there are.
    pub what: String,
}

/// Every checker over a finished run; at most one violation of each.
///
/// # Errors
/// If the folder lacks `decisions.log` or `ops.csv`, or a row is damaged.
pub fn audit(folder: &RunFolder) -> Result<Vec<Violation>, LabError> {
    let manifest = folder.manifest();
    let block_tokens = manifest.spec.memory.block_tokens;
    let block_bytes = manifest.model.kv_token_bytes * u64::from(block_tokens);
    let turns: Vec<TurnRow> = folder.turns()?.collect::<Result<_, _>>()?;
    let sessions: Vec<SessionRow> = folder.sessions()?.collect::<Result<_, _>>()?;
    let ops: Vec<OpRow> = folder.ops()?.collect::<Result<_, _>>()?;
    let mut trail = Trail::new(block_tokens, &turns);
    for line in folder.decisions()?.lines() {
        let line = line.map_err(|error| LabError::File {
            path: folder.path().join(results::folder::DECISIONS),
            error,
        })?;
        if let Some(line) = LogLine::parse(&line) {
            trail.follow(&line);
        }
    }
    let mut found: Vec<Violation> = trail.found.violations();
    found.extend(held_too_long(&sessions, &trail, block_bytes).violations());
    found.extend(waited_for_nothing(&turns, &ops).violations());
    found.extend(lost_signals(&turns, &trail, manifest.spec.hints.noise.drop).violations());
    Ok(found)
}

/// Cases by checker.
#[derive(Default)]
struct Cases(BTreeMap<&'static str, (String, u64)>);

impl Cases {
    fn add(&mut self, checker: &'static str, what: impl FnOnce() -> String) {
        let entry = self.0.entry(checker).or_insert_with(|| (what(), 0));
        entry.1 += 1;
    }

    fn violations(&self) -> Vec<Violation> {
        let violation = |(&checker, (what, count)): (&&'static str, &(String, u64))| Violation {
            checker,
            what: format!("{what}; {count} in all"),
        };
        self.0.iter().map(violation).collect()
    }
}

/// What the log says of each session as it goes.
struct Trail {
    block_tokens: u32,
    /// Context after each turn, in blocks.
    blocks: BTreeMap<(u32, u32), u32>,
    sessions: BTreeMap<u32, Session>,
    io_waits: u64,
    found: Cases,
}

#[derive(Default)]
struct Session {
    /// Blocks that may be in HBM for it while it is idle, and since when.
    held: u64,
    since: u64,
    /// Their sum over time so far [block·ns].
    block_ns: u128,
    /// H2D copies in flight by the log.
    moving: u32,
    /// Blocks that restores have brought since the last turn, and nothing has taken away.
    restored: u32,
}

impl Session {
    fn settle(&mut self, at: u64) {
        self.block_ns += u128::from(self.held) * u128::from(at.saturating_sub(self.since));
        self.since = at;
    }
}

impl Trail {
    fn new(block_tokens: u32, turns: &[TurnRow]) -> Self {
        let blocks = turns.iter().map(|turn| {
            let tokens = turn.input_tokens + turn.output_tokens;
            ((turn.session, turn.turn), tokens.div_ceil(block_tokens))
        });
        Self {
            block_tokens,
            blocks: blocks.collect(),
            sessions: BTreeMap::new(),
            io_waits: 0,
            found: Cases::default(),
        }
    }

    fn follow(&mut self, line: &LogLine<'_>) {
        let session = self.sessions.entry(line.session).or_default();
        session.settle(line.at.0);
        let mut words = line.what.split(' ');
        let event = words.next().unwrap_or_default();
        let rest: Vec<&str> = words.collect();
        let number = |text: Option<&&str>| text.and_then(|text| text.parse::<u32>().ok());
        match (event, rest.first().copied()) {
            ("io-wait", _) => self.io_waits += 1,
            ("done", _) => {
                let blocks = self.blocks.get(&(line.session, line.turn));
                session.held = blocks.copied().unwrap_or_default().into();
                session.restored = 0;
            }
            ("copy-start", Some("H2D")) => {
                session.moving += 1;
                session.held += u64::from(number(rest.get(2)).unwrap_or_default());
            }
            ("copy-end", Some("H2D")) => {
                session.restored += number(rest.get(1)).unwrap_or_default();
                if session.moving == 0 {
                    self.found.add(MOVED_ONCE, || {
                        format!(
                            "session {} at {} s: a copy ends that never began",
                            line.session, line.at
                        )
                    });
                }
                session.moving = session.moving.saturating_sub(1);
            }
            ("copy-end", Some("D2H")) => {
                let left = u64::from(number(rest.get(1)).unwrap_or_default());
                session.held = session.held.saturating_sub(left);
            }
            // Whatever takes KV away again.
            ("swap-out" | "discard" | "release", _) => session.restored = 0,
            ("admit", Some(hit)) => {
                let hit = hit
                    .strip_prefix("hit=")
                    .and_then(|hit| hit.parse::<u32>().ok());
                // The last block may be a partial one, which is computed again.
                let due = session.restored.saturating_sub(1) * self.block_tokens;
                if let Some(hit) = hit.filter(|&hit| hit < due) {
                    let restored = session.restored;
                    self.found.add(RESTORED_IS_THERE, || {
                        format!(
                            "session {} at {} s: {restored} blocks were restored, and {hit} tokens found",
                            line.session, line.at
                        )
                    });
                }
                session.held = 0;
                session.restored = 0;
            }
            _ => {}
        }
    }
}

/// Sessions that held more HBM while idle than the log leaves them.
fn held_too_long(sessions: &[SessionRow], trail: &Trail, block_bytes: u64) -> Cases {
    let mut cases = Cases::default();
    for row in sessions {
        let Some(session) = trail.sessions.get(&row.session) else {
            continue;
        };
        let bound = session.block_ns as f64 * block_bytes as f64 / 1e6;
        // A block for a tenth of a second is noise.
        let held = row.idle_byte_ms as f64;
        if held > bound * HELD_SLACK + block_bytes as f64 * 100.0 {
            cases.add(EVICTED_IS_GONE, || {
                format!(
                    "session {} held {:.1} GB s of HBM while idle, and the log leaves it {:.1}",
                    row.session,
                    held / 1e12,
                    bound / 1e12
                )
            });
        }
    }
    cases
}

/// Turns that waited although they were ready and no step ran.
fn waited_for_nothing(turns: &[TurnRow], ops: &[OpRow]) -> Cases {
    let mut steps: Vec<(u64, u64)> = ops
        .iter()
        .filter(|op| op.kind == "steps")
        .map(|op| (op.start_ns, op.end_ns))
        .collect();
    steps.sort_unstable();
    let mut cases = Cases::default();
    for turn in turns {
        let own = turn.wake_hold_ns + turn.wake_copy_ns + turn.wake_stall_ns;
        let waited = turn.scheduled_ns.saturating_sub(turn.signal_ns);
        if own > 0 || waited < IDLE_GPU_NS || turn.preemptions > 0 {
            continue;
        }
        // Time between signal and schedule in which a step ran.
        let from = steps.partition_point(|&(_, end)| end <= turn.signal_ns);
        let busy: u64 = steps[from..]
            .iter()
            .take_while(|&&(start, _)| start < turn.scheduled_ns)
            .map(|&(start, end)| end.min(turn.scheduled_ns) - start.max(turn.signal_ns))
            .sum();
        if waited.saturating_sub(busy) >= IDLE_GPU_NS {
            cases.add(NO_WAIT_ON_AN_IDLE_GPU, || {
                format!(
                    "turn {} of session {} was ready at {} ns and scheduled {:.1} ms later, {:.1} of them without a step",
                    turn.turn,
                    turn.session,
                    turn.signal_ns,
                    waited as f64 / 1e6,
                    waited.saturating_sub(busy) as f64 / 1e6
                )
            });
        }
    }
    cases
}

/// Waits whose beginning nobody heard of. A spec that drops signals on purpose is not judged.
fn lost_signals(turns: &[TurnRow], trail: &Trail, drop: f64) -> Cases {
    let mut cases = Cases::default();
    let waits = turns.iter().filter(|turn| turn.wait_ns.is_some()).count() as u64;
    if drop == 0.0 && trail.io_waits < waits {
        cases.add(SIGNALS_ARRIVE, || {
            format!("{waits} waits began, and {} were signalled", trail.io_waits)
        });
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{Ran, RunOptions, simulate};
    use crate::{Setup, Wants};
    use results::spec::{Layers, RunSpec};

    const CONFIG: &str = "model = \"llama-2-7b\"\nhardware = \"h200\"\n\
        [memory]\nhbm_blocks = 300\nhost_blocks = 900\n\
        [workload]\ngen = \"closed-loop-agents\"\nsessions = 10\n[workload.params]\n\
        ramp_s = 0.5\nturns = 4\nfirst_prompt = 512\nappend = 64\noutput = 16\n\
        gap_s = { uniform = { min = 1.0, max = 2.0 } }\n";

    fn audited(policy: &str, fault: &str) -> Vec<&'static str> {
        let mut spec = RunSpec::load(&Layers::of_text("test", CONFIG)).unwrap();
        policy.clone_into(&mut spec.policy);
        spec.faults.inject = (fault != "none")
            .then(|| fault.to_owned())
            .into_iter()
            .collect();
        let options = RunOptions {
            wants: Wants {
                ops: true,
                samples: None,
                decisions: true,
            },
            ..RunOptions::default()
        };
        let folder = tempfile::tempdir().unwrap();
        let setup = Setup::new(&spec).unwrap();
        let Ran::Now(run) = simulate(&setup, &folder.path().join("run"), &options, |_| ()).unwrap()
        else {
            panic!("the folder is new")
        };
        let found = audit(&run.folder).unwrap();
        found
            .into_iter()
            .map(|violation| violation.checker)
            .collect()
    }

    #[test]
    fn a_sound_run_passes_every_checker_under_several_policies() {
        for policy in ["djinn", "swap-on-demand", "vllm-recompute", "keep-always"] {
            assert_eq!(audited(policy, "none"), Vec::<&str>::new(), "{policy}");
        }
    }

    #[test]
    fn each_of_the_five_defects_is_caught_by_its_checker() {
        for (fault, checker) in [
            ("restore-drops-copy", RESTORED_IS_THERE),
            ("evict-frees-nothing", EVICTED_IS_GONE),
            ("prefetch-races-compute", MOVED_ONCE),
            ("io-on-hot-path", NO_WAIT_ON_AN_IDLE_GPU),
            ("signal-lost", SIGNALS_ARRIVE),
        ] {
            let found = audited("djinn", fault);
            assert!(found.contains(&checker), "{fault}: {found:?}");
        }
    }
}
