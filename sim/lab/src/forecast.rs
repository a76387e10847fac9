//! Will this run show anything? A look at the workload before hours of work.
//!
//! Both figures are lower bounds, for sessions that are served alone and at once: memory that live sessions hold at their peak, and GPU time
//! that the tokens cost without any recomputation, in full batches. Content that sessions share counts once while one of them lives.

use crate::Setup;
use engine::device::{PrefillChunk, StepShape};
use model::Session;
use std::collections::BTreeMap;

/// Lower bounds of what a workload asks of a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Forecast {
    /// KV blocks of sessions that are live at once, at the peak.
    pub peak_blocks: u64,
    /// Blocks of HBM.
    pub hbm_blocks: u64,
    /// Blocks of the host pool.
    pub host_blocks: u64,
    /// Blocks of the disk.
    pub disk_blocks: u64,
    /// GPU time of all tokens over the time from the first arrival to the last.
    pub load: f64,
    /// The same over the time in which all sessions would be over if none waited, where they last longer than arrivals: all are there at once, and
    /// whatever waits is served in the end.
    pub load_together: Option<f64>,
    /// Bytes of a block.
    pub block_bytes: u64,
}

/// Changes of the number of blocks that are held: when, and by how many.
type Changes = Vec<(u64, i64)>;

/// What sessions hold, each for itself and together.
#[derive(Default)]
struct Held {
    own: Changes,
    /// By id of a shared prefix: its blocks beyond those of the prefix that it contains, and when sessions with it come and go.
    shared: BTreeMap<u64, (i64, Changes)>,
}

impl Held {
    /// The largest number of blocks held at once.
    fn peak(self) -> i64 {
        let mut changes = self.own;
        for (blocks, mut sessions) in self.shared.into_values() {
            sessions.sort_unstable();
            let mut live = 0;
            for (at, change) in sessions {
                let before = live;
                live += change;
                changes.push((at, blocks * (live.signum() - before.signum())));
            }
        }
        // Releases before acquisitions at one instant: a bound stays a bound.
        changes.sort_unstable();
        let (mut held, mut peak) = (0i64, 0i64);
        for (_, change) in changes {
            held += change;
            peak = peak.max(held);
        }
        peak
    }
}

impl Forecast {
    pub(crate) fn new(setup: &Setup) -> Self {
        let block = setup.engine.memory.block_tokens;
        let mut held = Held::default();
        let (mut gpu_ns, mut lasting, mut over) = (0f64, 0f64, 0f64);
        for session in &setup.sessions {
            let start = session.start.0 as f64;
            let (cost, end) = Self::session(setup, session, start, block, &mut held);
            gpu_ns += cost;
            lasting += end - start;
            over = over.max(end);
        }
        let first = setup.sessions.first().map_or(0, |s| s.start.0);
        let last = setup.sessions.last().map_or(0, |s| s.start.0);
        let span = last.saturating_sub(first);
        let arrivals = setup.sessions.len() as f64;
        // The interval after the last arrival counts as the others do.
        let span = if arrivals > 1.0 {
            span as f64 * arrivals / (arrivals - 1.0)
        } else {
            0.0
        };
        Self {
            peak_blocks: held.peak().unsigned_abs(),
            hbm_blocks: u64::from(setup.engine.memory.hbm_blocks),
            host_blocks: u64::from(setup.engine.memory.host_blocks),
            disk_blocks: u64::from(setup.engine.memory.disk_blocks),
            load: if span > 0.0 { gpu_ns / span } else { 0.0 },
            load_together: (lasting > arrivals * span && over > first as f64)
                .then(|| gpu_ns / (over - first as f64)),
            block_bytes: setup.engine.block_bytes.0,
        }
    }

    /// Adds the blocks that a session and its sub-agents hold over time, joins left aside; returns the GPU time of their tokens, and when it ends.
    fn session(
        setup: &Setup,
        session: &Session,
        start: f64,
        block: u32,
        all: &mut Held,
    ) -> (f64, f64) {
        let serial = setup.engine.batching.serial;
        let alone = |shape: &StepShape| setup.steps.step_ps(shape) as f64 / 1e3;
        let (mut at, mut held, mut cost) = (start, 0i64, 0f64);
        let longest = session.shared_prefixes.last();
        let shared = longest.map_or(0, |prefix| prefix.tokens.0 / block);
        for (i, turn) in session.turns.iter().enumerate() {
            if i > 0 {
                at += turn.gap.0 as f64;
                at = turn.at.map_or(at, |since| at.max(start + since.0 as f64));
            }
            let new = turn.input.0.saturating_sub(turn.keep.0).max(1);
            let prefill = StepShape {
                prefill: vec![PrefillChunk {
                    tokens: new,
                    context: turn.input.0 - new,
                }],
                ..StepShape::default()
            };
            let kv = u64::from(turn.input.0) + u64::from(turn.output.0) / 2;
            let decode = |seqs: u32| StepShape {
                decode_seqs: seqs,
                decode_kv_tokens: kv * u64::from(seqs),
                ..StepShape::default()
            };
            let steps = f64::from(turn.output.0 - 1);
            let needed = (turn.input + turn.output).0.div_ceil(block);
            let own = i64::from(needed.saturating_sub(shared));
            all.own.push((at as u64, own - held));
            held = own;
            at += alone(&prefill) + steps * alone(&decode(1));
            // In a batch as large as memory allows, a sequence pays its share of a step.
            let seqs = (setup.engine.memory.hbm_blocks / needed.max(1)).clamp(1, 256);
            let seqs = if serial { 1 } else { seqs };
            cost += alone(&prefill) + steps * alone(&decode(seqs)) / f64::from(seqs);
            for spawn in &turn.spawns {
                let begin = spawn.at.map_or(at + spawn.after.0 as f64, |since| {
                    at.max(start + since.0 as f64)
                });
                cost += Self::session(setup, &spawn.session, begin, block, all).0;
            }
        }
        all.own.push((at as u64, -held));
        let mut before = 0;
        for prefix in &session.shared_prefixes {
            let (blocks, sessions) = all.shared.entry(prefix.id).or_default();
            *blocks = i64::from(prefix.tokens.0 / block - before);
            sessions.extend([(start as u64, 1), (at as u64, -1)]);
            before = prefix.tokens.0 / block;
        }
        (cost, at)
    }

    /// What a user should hear before the run starts.
    pub fn warnings(&self) -> Vec<String> {
        let gib = |blocks: u64| (blocks * self.block_bytes) as f64 / f64::from(1u32 << 30);
        let mut warnings = Vec::new();
        if self.peak_blocks < self.hbm_blocks {
            warnings.push(format!(
                "peak demand is about {:.1} of {:.1} GiB of HBM: every policy that holds KV will look alike; \
                 more sessions, a higher rate or a smaller `memory.hbm_gib` would show differences",
                gib(self.peak_blocks),
                gib(self.hbm_blocks)
            ));
        }
        let room = self.hbm_blocks + self.host_blocks + self.disk_blocks;
        let tiers = match self.disk_blocks {
            0 => "HBM and host",
            _ => "HBM, host and disk",
        };
        // A fleet that is there from the beginning has no rate, and its queue an end.
        let (queue, fewer) = match self.load_together {
            Some(_) => ("queues will be long", "lower `workload.sessions`"),
            None => ("the queue may grow without bound", "lower `workload.rate`"),
        };
        if self.peak_blocks > room {
            warnings.push(format!(
                "sessions that are live at once need up to {:.0} GiB of KV, {tiers} hold {:.0}: whatever the policy, much will \
                 be recomputed, and {queue}; {fewer} or raise `memory.host_gib`",
                gib(self.peak_blocks),
                gib(room)
            ));
        }
        match self.load_together {
            Some(load) if load > 1.0 => warnings.push(format!(
                "the tokens alone need {load:.2} times the GPU time in which all sessions would be over if none waited: most of the \
                 time is spent in the queue; fewer sessions or longer gaps would show more of the policy"
            )),
            None if self.load > 1.0 => warnings.push(format!(
                "the tokens alone need {:.2} times the GPU time that there is between arrivals: the queue will grow \
                 without bound; lower `workload.rate`",
                self.load
            )),
            Some(_) | None => {}
        }
        warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use results::spec::{Layers, RunSpec};

    #[test]
    fn what_sessions_share_counts_once_while_one_of_them_lives() {
        // Two sessions, from 0 to 10 and from 5 to 20, of 3 and 4 blocks of their own and 100 that they share: at 5, 107.
        let mut held = Held::default();
        held.own.extend([(0, 3), (10, -3), (5, 4), (20, -4)]);
        let lives = vec![(0, 1), (10, -1), (5, 1), (20, -1)];
        held.shared.insert(7, (100, lives));
        assert_eq!(held.peak(), 107);
    }

    #[test]
    fn a_queue_grows_without_bound_where_sessions_keep_coming_and_not_where_all_are_there() {
        // Both ask for more than the GPU's time between arrivals.
        let forecast = |workload: &str| {
            let text = format!("[workload]\n{workload}");
            let spec = RunSpec::load(&Layers::of_text("test", &text)).unwrap();
            Setup::new(&spec).unwrap().forecast()
        };
        let all_there = |sessions: u32| {
            forecast(&format!(
                "gen = \"closed-loop-agents\"\nsessions = {sessions}\n[workload.params]\nramp_s = 1\nturns = 7\n\
                 first_prompt = 1024\nappend = 200\noutput = 50\ngap_s = {{ uniform = {{ min = 1, max = 3 }} }}\n"
            ))
        };
        let coming = forecast("gen = \"poisson-agents\"\nsessions = 4000\nrate = 2\n");
        let (few, many) = (all_there(30), all_there(600));
        assert!([&few, &many, &coming].iter().all(|f| f.load > 1.0));
        let said = |forecast: &Forecast, what: &str| {
            let warnings = forecast.warnings();
            warnings.iter().any(|text| text.contains(what))
        };
        assert!(said(&coming, "without bound; lower"), "{coming:?}");
        assert!(!said(&few, "the tokens alone need"), "{few:?}");
        assert!(said(&many, "if none waited"), "{many:?}");
        // What would help if they want more KV than there is: they have no rate.
        let crowd = all_there(2_000);
        assert!(said(&crowd, "lower `workload.sessions`"), "{crowd:?}");
        assert!(!said(&crowd, "workload.rate"), "{crowd:?}");
    }
}
