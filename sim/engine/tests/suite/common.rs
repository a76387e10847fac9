//! The rig: a configuration with few blocks, a linear cost model, and a recorder that keeps everything.
//!
//! Numbers are chosen for mental arithmetic: a block is 16 tokens and takes 1 ms over the link; a step takes 10 ms, and 1 ms more per
//! prefill token.

use devices::{DiskCost, HostDevice, HostPools, LaneCost, LinkCost, SimDevice, StepCost};
use engine::device::Device;
use engine::record::{Decision, OpRecord, Recorder, Sample, SessionRecord, StepRecord, TurnRecord};
use engine::{
    Batching, Driver, EndSignal, EngineConfig, Faults, HintConfig, HintKind, HintNoise,
    LedgerConfig, RunError, RunSummary, Truth,
};
use model::{
    Bytes, Direction, GapKind, Nanos, Oracle, PrefillEstimate, Session, Time, Tokens, ToolClass,
    Turn, VecWorkload,
};
use policy::Policy;
use std::fmt::{self, Write};
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;

/// Tokens of a block.
pub const BLOCK: u32 = 16;
/// A millisecond.
pub const MS: u64 = 1_000_000;

/// A run to be made.
#[derive(Clone)]
pub struct Rig {
    pub config: EngineConfig,
    pub steps: StepCost,
    pub link: LinkCost,
    pub disk: DiskCost,
    pub sessions: Vec<Session>,
}

impl fmt::Debug for Rig {
    /// A line per session: a failing random test prints the rig.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            config,
            steps,
            link,
            disk,
            ..
        } = self;
        writeln!(f, "{config:?}\n{steps:?}\n{link:?}\n{disk:?}")?;
        for session in &self.sessions {
            let Session { name, start, .. } = session;
            write!(f, "{name} at {start} {:?}:", session.shared_prefixes)?;
            for turn in &session.turns {
                let (gap, input, keep, output) =
                    (turn.gap.0, turn.input.0, turn.keep.0, turn.output.0);
                write!(f, " ({gap} ns, {input} of which {keep} kept, {output})")?;
                if turn.at.is_some() || !turn.spawns.is_empty() {
                    write!(f, " at {:?}, starts {:?}", turn.at, turn.spawns)?;
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// What a run left behind.
#[derive(Debug, Default, PartialEq)]
pub struct Log {
    pub turns: Vec<TurnRecord>,
    pub sessions: Vec<SessionRecord>,
    pub ops: Vec<OpRecord>,
    pub samples: Vec<Sample>,
    /// The decision log.
    pub text: String,
    pub summary: RunSummary,
}

/// A run that did not end as it should.
#[derive(Debug)]
pub struct Failure {
    pub error: RunError,
    /// What there was until then.
    pub log: Box<Log>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.log.text.lines().collect();
        let last = lines[lines.len().saturating_sub(25)..].join("\n  ");
        write!(f, "{}; the decision log ends with\n  {last}", self.error)
    }
}

impl Recorder for Log {
    fn turn(&mut self, turn: &TurnRecord) {
        self.turns.push(turn.clone());
    }
    fn session(&mut self, session: &SessionRecord) {
        self.sessions.push(session.clone());
    }
    fn op(&mut self, op: &OpRecord) {
        self.ops.push(op.clone());
    }
    fn step(&mut self, step: &StepRecord) {
        assert!(step.end >= step.start, "{step:?}");
    }
    fn sample(&mut self, sample: &Sample) {
        self.samples.push(sample.clone());
    }
    fn decision(&mut self, decision: &Decision) {
        writeln!(self.text, "{decision}").expect("a string takes everything");
        let tail = || &self.text[self.text.len() - 2_000..];
        assert!(
            self.text.len() < 20_000_000,
            "the run does not end: {}",
            tail()
        );
    }
    fn wants_decisions(&self) -> bool {
        true
    }
}

impl Log {
    /// The record of a turn.
    pub fn turn(&self, session: u32, turn: u32) -> &TurnRecord {
        let found = self
            .turns
            .iter()
            .find(|t| (t.session.0, t.turn.0) == (session, turn));
        found.unwrap_or_else(|| panic!("turn {turn} of session {session} is not recorded"))
    }

    /// The record of a session.
    pub fn session(&self, session: u32) -> &SessionRecord {
        let found = self.sessions.iter().find(|s| s.session.0 == session);
        found.unwrap_or_else(|| panic!("session {session} is not recorded"))
    }

    /// First token and end of a turn in milliseconds.
    pub fn times_ms(&self, session: u32, turn: u32) -> (u64, u64) {
        let turn = self.turn(session, turn);
        assert_eq!(turn.first_token.0 % MS + turn.end.0 % MS, 0, "{turn:?}");
        (turn.first_token.0 / MS, turn.end.0 / MS)
    }

    /// Copies as (direction, session, class, blocks, start in ms, end in ms), in order of their end.
    pub fn copies(&self, block_bytes: Bytes) -> Vec<(Direction, u32, &'static str, u64, u64, u64)> {
        let copies = self.ops.iter().filter_map(|op| match &op.kind {
            engine::record::OpKind::Copy {
                direction,
                session,
                class,
                bytes,
                ..
            } => Some((
                *direction,
                session.0,
                class.name(),
                bytes.0 / block_bytes.0,
                op.start.0 / MS,
                op.end.0 / MS,
            )),
            engine::record::OpKind::Steps { .. } => None,
        });
        copies.collect()
    }

    /// Lines of the decision log that contain `word`.
    pub fn lines(&self, word: &str) -> Vec<&str> {
        self.text
            .lines()
            .filter(|line| line.contains(word))
            .collect()
    }

    /// Turns, sessions and decisions: what must not depend on how the run was carried out.
    pub fn essence(&self) -> (&[TurnRecord], &[SessionRecord], &str) {
        (&self.turns, &self.sessions, &self.text)
    }
}

impl Rig {
    /// `hbm` and `host` blocks; synchronous scheduling, exact hints, ends told, all checks on.
    pub fn new(hbm: u32, host: u32, sessions: Vec<Session>) -> Self {
        let lane = |direction| {
            let lane = link().lane(direction).to_owned();
            model::CopyEstimate {
                queued: Bytes::ZERO,
                bytes_per_s: lane.bytes_per_s.get(),
                fixed: Nanos(lane.copy_ns),
            }
        };
        let config = EngineConfig {
            batching: Batching {
                ahead: false,
                max_batched_tokens: 2048,
                max_seqs: 16,
                ..Batching::vllm()
            },
            memory: LedgerConfig {
                block_tokens: BLOCK,
                hbm_blocks: hbm,
                host_blocks: host,
                disk_blocks: 0,
                inclusive: false,
                caching: true,
                leak_on_swap_out: false,
                first_place: None,
            },
            block_bytes: Bytes(MS),
            chunk_blocks: 1,
            link: Direction::LINK.map(lane),
            disk: disk().estimates(),
            prefill: PrefillEstimate {
                token_ps: 1_000_000_000,
                pair_ps: 0,
            },
            hints: HintConfig {
                kind: HintKind::Oracle,
                noise: HintNoise::default(),
                seed: 1,
            },
            end: EndSignal::Told,
            stepwise: false,
            check: true,
            preload: false,
            sample_every: None,
            faults: Faults::default(),
        };
        Self {
            config,
            steps: StepCost::linear(10_000_000_000, 1_000_000_000, 0, 0),
            link: link(),
            disk: disk(),
            sessions,
        }
    }

    /// The same with so many blocks of disk.
    #[must_use]
    pub fn with_disk(self, blocks: u32) -> Self {
        self.with(|c| c.memory.disk_blocks = blocks)
    }

    /// The same with a change of its configuration.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut EngineConfig)) -> Self {
        change(&mut self.config);
        self
    }

    fn ahead(&self) -> u32 {
        u32::from(self.config.batching.ahead)
    }

    /// A simulated device with the costs of this rig.
    pub fn device(&self) -> SimDevice {
        let device = SimDevice::new(self.steps.clone(), &self.link, self.ahead());
        device.with_disk((self.config.memory.disk_blocks > 0).then_some(self.disk))
    }

    /// Runs `policy` (a name of the registry) on `device`.
    pub fn on<D: Device>(&self, device: &mut D, policy: &str) -> Result<Log, Failure> {
        let truth = Arc::new(Truth::default());
        let (entry, _) = policy::find(policy).expect("a policy of the registry");
        let policy = policy::build(policy, Some(Arc::clone(&truth) as Arc<dyn Oracle>));
        self.drive(
            device,
            policy.expect("just found"),
            entry.listens,
            Some(truth),
        )
    }

    /// Runs a policy that is not in the registry.
    pub fn run_own(&self, policy: impl Policy + 'static) -> Result<Log, Failure> {
        self.drive(&mut self.device(), Box::new(policy), true, None)
    }

    fn drive<D: Device>(
        &self,
        device: &mut D,
        policy: Box<dyn Policy>,
        listens: bool,
        truth: Option<Arc<Truth>>,
    ) -> Result<Log, Failure> {
        let mut log = Log::default();
        let mut workload = VecWorkload::new(self.sessions.clone());
        let driver = Driver::new(
            self.config.clone(),
            device,
            policy,
            listens,
            &mut workload,
            &mut log,
            truth,
        );
        match driver.run() {
            Ok(summary) => {
                log.summary = summary;
                Ok(log)
            }
            Err(error) => Err(Failure {
                error,
                log: Box::new(log),
            }),
        }
    }

    /// Runs `policy` on the simulated device.
    pub fn run(&self, policy: &str) -> Log {
        self.on(&mut self.device(), policy)
            .unwrap_or_else(|error| panic!("{policy}: {error}"))
    }

    /// Host memory under a virtual clock, with the costs of this rig.
    fn host_memory(&self) -> HostDevice {
        let memory = self.config.memory;
        let pools = HostPools {
            backing_bytes: 64,
            disk_blocks: memory.disk_blocks,
            ..HostPools::new(memory.hbm_blocks, memory.host_blocks)
        };
        HostDevice::with_virtual_clock(self.steps.clone(), &self.link, self.ahead(), pools)
            .with_disk(Some(self.disk))
    }

    /// Runs `policy` on host memory.
    pub fn run_on_host_memory(&self, policy: &str) -> Log {
        self.on(&mut self.host_memory(), policy)
            .unwrap_or_else(|error| panic!("{policy}: {error}"))
    }

    /// Runs a policy that is not in the registry on host memory.
    pub fn run_own_on_host_memory(&self, policy: impl Policy + 'static) -> Result<Log, Failure> {
        self.drive(&mut self.host_memory(), Box::new(policy), true, None)
    }
}

/// 1 GB/s each way, alone or not: a block of 1 MB takes 1 ms. Steps are not slowed down.
pub fn link() -> LinkCost {
    let rate = NonZeroU64::new(1_000_000_000).expect("not zero");
    let lane = LaneCost {
        copy_ns: 0,
        block_ns: 0,
        bytes_per_s: rate,
        bytes_per_s_shared: rate,
        slowdown_ppm: 0,
        beside_steps_ppm: 0,
    };
    LinkCost::new(lane, lane)
}

/// A block of 1 MB takes 4 ms to be written and 2 ms to be read; a lane holds two chunks.
pub fn disk() -> DiskCost {
    let rate = |bytes_per_s| NonZeroU64::new(bytes_per_s).expect("not zero");
    DiskCost {
        copy_ns: 0,
        write_bytes_per_s: rate(250_000_000),
        read_bytes_per_s: rate(500_000_000),
        lane_depth: NonZeroU32::new(2).expect("not zero"),
    }
}

/// A session that starts at `start` ms; per turn the wait before it in ms, prompt tokens appended, and tokens generated.
pub fn session(name: &str, start: u64, turns: &[(u64, u32, u32)]) -> Session {
    let mut context = 0;
    let turns = turns.iter().enumerate().map(|(i, &(gap, new, output))| {
        let turn = Turn {
            gap: Nanos(gap * MS),
            gap_kind: if i == 0 { GapKind::None } else { GapKind::Tool },
            tool: ToolClass(0),
            input: Tokens(context + new),
            keep: Tokens(context),
            output: Tokens(output),
            content: None,
            at: None,
            expected: None,
            spawns: Vec::new(),
        };
        context += new + output;
        turn
    });
    Session {
        name: name.to_owned(),
        start: Time(start * MS),
        shared_prefixes: Vec::new(),
        turns: turns.collect(),
    }
}
