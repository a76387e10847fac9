//! Does a run's account of itself hold? Checkers over a run folder, one for each of the original implementation's five defects.
//!
//! Each defect is a way in which a system was wrong while its counters looked right, so each checker holds one record of the
//! run against another: bytes against decisions, time against what the GPU did. They need `decisions.log` and `ops.csv`, know nothing
//! of how a fault is injected, and run on any device's folder.
//!
//! | checker | holds against each other |
//! |---|---|
//! | [`RESTORED_IS_THERE`] | blocks that a restore brought, and what the next admission found |
//! | [`EVICTED_IS_GONE`] | HBM that the pool says is held for idle sessions, and what the sessions' accounts add up to |
//! | [`MOVED_ONCE`] | copies that began, and copies that ended |
//! | [`NO_WAIT_ON_AN_IDLE_GPU`] | the end of a wait, and the first step, where nothing stood in between |
//! | [`SIGNALS_ARRIVE`] | waits of the trace, and `IO_WAIT`s delivered |

use crate::LabError;
use crate::timeline::LogLine;
use results::folder::{RunFolder, SAMPLES};
use results::rows::{OpRow, SampleRow, SessionRow, TurnRow};
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

/// A ready turn may wait this long in a row for an idle GPU \[ns\]: a poll of the scheduler takes 1 ms, and a broken pin one more; synchronous
/// I/O takes some 5.
const IDLE_GPU_NS: u64 = 2_500_000;
/// The pool's level, summed over samples, may exceed the accounts by this share.
const HELD_SLACK: f64 = 1.1;

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
    let mut trail = Trail::new(block_tokens);
    for line in folder.decisions()?.lines() {
        let line = line.map_err(|error| LabError::File {
            path: folder.file(results::folder::DECISIONS),
            error,
        })?;
        if let Some(line) = LogLine::parse(&line) {
            trail.follow(&line);
        }
    }
    let mut found: Vec<Violation> = trail.found.violations();
    if folder.has(SAMPLES) {
        let samples: Vec<SampleRow> = folder.samples()?.collect::<Result<_, _>>()?;
        found.extend(held_in_secret(&sessions, &samples, block_bytes).violations());
    }
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
    sessions: BTreeMap<u32, Session>,
    io_waits: u64,
    found: Cases,
}

#[derive(Default)]
struct Session {
    /// Copies in flight by the log: H2D, and to and from the disk.
    moving: [u32; 3],
    /// Blocks that restores have brought since the last turn, and nothing has taken away.
    restored: u32,
}

impl Trail {
    fn new(block_tokens: u32) -> Self {
        Self {
            block_tokens,
            sessions: BTreeMap::new(),
            io_waits: 0,
            found: Cases::default(),
        }
    }

    fn follow(&mut self, line: &LogLine<'_>) {
        let session = self.sessions.entry(line.session).or_default();
        let mut words = line.what.split(' ');
        let event = words.next().unwrap_or_default();
        let rest: Vec<&str> = words.collect();
        let number = |text: Option<&&str>| text.and_then(|text| text.parse::<u32>().ok());
        match (event, rest.first().copied()) {
            ("io-wait", _) => self.io_waits += 1,
            ("copy-start", Some(way)) => {
                if let Some(lane) = lane_of(way) {
                    session.moving[lane] += 1;
                }
            }
            ("copy-end", Some(way)) => {
                if way == "H2D" {
                    session.restored += number(rest.get(1)).unwrap_or_default();
                }
                let moving = lane_of(way).map(|lane| &mut session.moving[lane]);
                if moving.as_ref().is_some_and(|moving| **moving == 0) {
                    self.found.add(MOVED_ONCE, || {
                        format!(
                            "session {} at {} s: a copy ({way}) ends that never began",
                            line.session, line.at
                        )
                    });
                }
                if let Some(moving) = moving {
                    *moving = moving.saturating_sub(1);
                }
            }
            // The turn is over, or KV is taken away again.
            ("done" | "swap-out" | "discard" | "release", _) => session.restored = 0,
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
                session.restored = 0;
            }
            _ => {}
        }
    }
}

/// Which of the counted lanes a copy takes. Swap-outs are not counted: the defect is of what comes back, and the disk has no other checker.
fn lane_of(way: &str) -> Option<usize> {
    ["H2D", "disk-write", "disk-read"]
        .iter()
        .position(|lane| *lane == way)
}

/// HBM that the pool holds for idle sessions, and that no session's account has.
fn held_in_secret(sessions: &[SessionRow], samples: &[SampleRow], block_bytes: u64) -> Cases {
    let mut cases = Cases::default();
    let accounts: u64 = sessions.iter().map(|row| row.idle_byte_ms).sum();
    let accounted = accounts as f64 / block_bytes as f64;
    let block_ms = |row: &SampleRow, span: u64| f64::from(row.hbm_idle_blocks) * span as f64 / 1e6;
    let pooled: f64 = samples
        .windows(2)
        .map(|pair| block_ms(&pair[0], pair[1].time_ns - pair[0].time_ns))
        .sum();
    // What happens between two samples, everything at once.
    let noise = samples
        .windows(2)
        .map(|pair| pair[1].time_ns - pair[0].time_ns);
    let noise = noise.max().unwrap_or_default() as f64 / 1e6;
    let capacity = samples.first().map_or(0, |row| row.hbm_capacity_blocks);
    if pooled > accounted * HELD_SLACK + noise * f64::from(capacity) {
        cases.add(EVICTED_IS_GONE, || {
            format!(
                "the pool held {:.1} block seconds for idle sessions, whose accounts add up to {:.1}",
                pooled / 1e3,
                accounted / 1e3
            )
        });
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
        // The longest stretch between signal and schedule in which no step ran: of a queue, each turn may have had its own poll.
        let from = steps.partition_point(|&(_, end)| end <= turn.signal_ns);
        let meanwhile = steps[from..]
            .iter()
            .take_while(|&&(start, _)| start < turn.scheduled_ns);
        let (mut idle, mut since) = (0, turn.signal_ns);
        for &(start, end) in meanwhile {
            idle = idle.max(start.saturating_sub(since));
            since = end;
        }
        idle = idle.max(turn.scheduled_ns.saturating_sub(since));
        if idle >= IDLE_GPU_NS {
            cases.add(NO_WAIT_ON_AN_IDLE_GPU, || {
                format!(
                    "turn {} of session {} was ready at {} ns and scheduled {:.1} ms later, {:.1} of them in a row without a step",
                    turn.turn,
                    turn.session,
                    turn.signal_ns,
                    waited as f64 / 1e6,
                    idle as f64 / 1e6
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
        gap_s = { uniform = { min = 1.0, max = 2.0 } }\n\
        [hints.noise]\nbias = 1.002\n";

    fn audited(policy: &str, fault: &str) -> Vec<&'static str> {
        audited_on(CONFIG, policy, fault).0
    }

    /// What is found, and how many operations of each kind there were.
    fn audited_on(
        config: &str,
        policy: &str,
        fault: &str,
    ) -> (Vec<&'static str>, BTreeMap<String, u32>) {
        let mut spec = RunSpec::load(&Layers::of_text("test", config)).unwrap();
        policy.clone_into(&mut spec.policy);
        spec.faults.inject = (fault != "none")
            .then(|| fault.to_owned())
            .into_iter()
            .collect();
        let options = RunOptions {
            wants: Wants {
                ops: true,
                samples: Some(model::Nanos::from_millis(20)),
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
        let mut kinds = BTreeMap::new();
        for op in run.folder.ops().unwrap() {
            *kinds.entry(op.unwrap().kind).or_default() += 1;
        }
        let found = audit(&run.folder).unwrap().into_iter();
        (found.map(|violation| violation.checker).collect(), kinds)
    }

    /// A host for three of ten contexts, and a disk behind it.
    #[test]
    fn a_sound_run_with_a_disk_passes_every_checker() {
        let config = CONFIG.replace("host_blocks = 900", "host_blocks = 150\ndisk_gib = 40");
        for policy in ["cached-attention", "hicache-wt[stop=1]", "hicache-wb"] {
            let (found, kinds) = audited_on(&config, policy, "none");
            assert_eq!(found, Vec::<&str>::new(), "{policy}");
            assert!(
                kinds["disk-write"] > 0 && kinds["disk-read"] > 0,
                "{policy}: {kinds:?}"
            );
        }
    }

    #[test]
    fn a_profile_without_a_disk_is_named_before_the_run() {
        let config = CONFIG.replace("host_blocks = 900", "disk_gib = 1");
        let config = config.replace("\"h200\"", "\"h100-hf-eager\"");
        let spec = RunSpec::load(&Layers::of_text("test", &config)).unwrap();
        let text = Setup::new(&spec).unwrap_err().to_string();
        assert!(
            text.contains("memory.disk_gib") && text.contains("has no table `disk`"),
            "{text}"
        );
    }

    #[test]
    fn a_sound_run_passes_every_checker_under_several_policies() {
        for policy in ["djinn", "swap-on-demand", "vllm-recompute", "keep-always"] {
            assert_eq!(audited(policy, "none"), Vec::<&str>::new(), "{policy}");
        }
    }

    /// Hints are a little late, so that `COMPUTE` finds the prefetch under way.
    #[test]
    fn each_of_the_five_defects_is_caught_by_its_checker() {
        for (fault, checker) in [
            ("restore-drops-copy", RESTORED_IS_THERE),
            ("evict-frees-nothing", EVICTED_IS_GONE),
            ("prefetch-races-compute", MOVED_ONCE),
            ("io-on-hot-path", NO_WAIT_ON_AN_IDLE_GPU),
            ("signal-lost", SIGNALS_ARRIVE),
        ] {
            let found = audited("djinn[margin_ms=0]", fault);
            assert!(found.contains(&checker), "{fault}: {found:?}");
        }
    }
}
