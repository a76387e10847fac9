//! Everything that a run needs, resolved from its spec: costs, memory, sessions, engine settings.

use crate::inputs::{self, PROGRAM_SHA256};
use crate::{Forecast, LabError};
use devices::{
    DiskCost, DiskSection, HardwareProfile, HbmBudget, LinkCost, ModelGeometry, Provenance,
    StepCost, activation_bytes,
};
use engine::{
    Batching, EndSignal, EngineConfig, Faults, HintConfig, HintKind, HintNoise, LedgerConfig,
};
use model::{Bytes, CopyEstimate, Direction, Nanos, Session, VecWorkload, Workload};
use results::inputs::Inputs;
use results::manifest::{Counts, HardwareInfo, ModelInfo, PolicyInfo, TraceInfo};
use results::sha256_hex;
use results::spec::{self, RunSpec};
use std::num::NonZeroU32;
use trace::TraceError;
use trace::generate::Generator;
use trace::workload::{Timing, TooLong, TraceWorkload, WorkloadOptions, WorkloadReport};

/// A run that is ready to start.
#[derive(Debug)]
pub struct Setup {
    /// What was asked.
    pub spec: RunSpec,
    /// The machine.
    pub hardware: HardwareProfile,
    /// The model.
    pub model: ModelGeometry,
    /// What a step costs.
    pub steps: StepCost,
    /// What a copy costs.
    pub link: LinkCost,
    /// What a copy of the disk costs, if there is one.
    pub disk: Option<DiskCost>,
    /// The engine's settings.
    pub engine: EngineConfig,
    /// Sessions in order of their start.
    pub sessions: Vec<Session>,
    /// Names of tool classes.
    pub tool_classes: Vec<String>,
    /// Where the sessions come from.
    pub trace: TraceInfo,
    /// What of this program and of the files that the spec names went into it.
    pub inputs: Inputs,
    /// What was cut, and how large the tiers are.
    pub counts: Counts,
    /// What the reader of a result should know.
    pub warnings: Vec<String>,
}

impl Setup {
    /// Resolves `spec`. Nothing has been written or simulated yet.
    ///
    /// # Errors
    /// If a profile, the trace, the policy or a value is wrong.
    pub fn new(spec: &RunSpec) -> Result<Self, LabError> {
        policy::find(&spec.policy)?;
        if !spec.measure.drain {
            return Err(LabError::Value {
                key: "measure.drain",
                what: "a run goes on until every session is over; leave it true".to_owned(),
            });
        }
        let hardware_text = devices::hardware_text(&spec.hardware)?;
        let hardware = devices::parse_hardware(&spec.hardware, &hardware_text)?;
        let model_text = devices::model_text(&spec.model)?;
        let model = devices::parse_model(&spec.model, &model_text)?;
        let pieces = match spec.memory.copy_method {
            spec::CopyMethod::Contiguous => 1,
            _ => model.pieces_per_block(),
        };
        let depth = NonZeroU32::new(spec.memory.lane_depth).ok_or_else(|| LabError::Value {
            key: "memory.lane_depth",
            what: "at least 1 chunk".to_owned(),
        })?;
        let link = hardware
            .link_cost(copy_method(spec), pieces)
            .with_lane_depth(depth);
        let disk = disk_cost(spec, &hardware, depth)?;
        let engine = engine_config(spec, &hardware, &model, disk.as_ref())?;
        let steps = hardware.step_cost(&model);
        if spec.engine.jitter > 0 && !steps.jitter.is_on() {
            return Err(LabError::Value {
                key: spec::DRAW,
                what: format!(
                    "what equal steps of `{}` differ by on `{}` was not measured; leave it 0, or take a profile that `djinn-replay calibrate` \
                     wrote, or `refit` again",
                    model.name, spec.hardware
                ),
            });
        }
        let mut setup = Self {
            spec: spec.clone(),
            steps,
            link,
            disk,
            counts: Counts {
                hbm_blocks: u64::from(engine.memory.hbm_blocks),
                host_blocks: u64::from(engine.memory.host_blocks),
                disk_blocks: u64::from(engine.memory.disk_blocks),
                ..Counts::default()
            },
            engine,
            hardware,
            model,
            sessions: Vec::new(),
            tool_classes: Vec::new(),
            trace: TraceInfo::default(),
            inputs: Inputs {
                program_sha256: PROGRAM_SHA256.to_owned(),
                hardware_sha256: sha256_hex(hardware_text.as_bytes()),
                model_sha256: sha256_hex(model_text.as_bytes()),
                workload_sha256: String::new(),
            },
            warnings: Vec::new(),
        };
        if !setup.hardware.is_measured_for(&setup.model) {
            setup.warnings.push(format!(
                "step or copy times of `{}` on `{}` are modelled, not measured",
                setup.model.name, setup.hardware.name
            ));
        }
        let assumed = |disk: &&DiskSection| disk.provenance != Provenance::Measured;
        let section = setup.hardware.disk.as_ref();
        if let Some(section) = section.filter(assumed).filter(|_| setup.disk.is_some()) {
            setup.warnings.push(format!(
                "times of the disk on `{}` are not measured; {}",
                setup.hardware.name, section.source
            ));
        }
        setup.load_sessions()?;
        setup.counts.demand_blocks = setup.forecast().peak_blocks;
        Ok(setup)
    }

    /// What the workload asks of the machine at least; warnings of it are not in [`Setup::warnings`] yet.
    pub fn forecast(&self) -> Forecast {
        Forecast::new(self)
    }

    /// The sessions as a workload.
    pub fn workload(&self) -> VecWorkload {
        VecWorkload::unsorted(self.sessions.clone())
    }

    /// The policy, with all parameters.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn policy_info(&self) -> Result<PolicyInfo, LabError> {
        let (entry, params) = policy::find(&self.spec.policy)?;
        Ok(PolicyInfo {
            name: entry.name.to_owned(),
            params: params
                .spelled()
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
            provenance: entry.provenance.name().to_owned(),
        })
    }

    /// The hardware profile's identity.
    pub fn hardware_info(&self) -> HardwareInfo {
        let measured = self.hardware.is_measured_for(&self.model);
        let disk = self
            .disk
            .map_or_else(String::new, |disk| format!("{disk:?}"));
        let text = format!("{:?}{:?}{disk}", self.steps, self.link);
        HardwareInfo {
            name: self.hardware.name.clone(),
            provenance: if measured { "measured" } else { "modelled" }.to_owned(),
            sha256: sha256_hex(text.as_bytes()),
        }
    }

    /// The model's identity.
    pub fn model_info(&self) -> ModelInfo {
        ModelInfo {
            name: self.model.name.clone(),
            layers: self.model.layers.get(),
            heads: self.model.q_heads.get(),
            kv_heads: self.model.kv_heads.get(),
            head_dim: self.model.head_dim.get(),
            kv_element_bytes: self.model.dtype_bytes.get(),
            kv_token_bytes: self.model.kv_bytes_per_token().0,
            weight_bytes: self.model.weight_bytes().0,
            tp: 1,
        }
    }

    fn load_sessions(&mut self) -> Result<(), LabError> {
        match (&self.spec.workload.trace, &self.spec.workload.generator) {
            (Some(path), _) => self.read_trace(&path.clone())?,
            (None, Some(name)) => self.generate(&name.clone())?,
            (None, None) => return Err(inputs::no_workload()),
        }
        let all = self.sessions.iter().flat_map(Session::with_subagents);
        for session in all {
            self.counts.sessions += 1;
            self.counts.turns += session.turns.len() as u64;
        }
        if self.sessions.is_empty() {
            return Err(LabError::Value {
                key: "workload",
                what: "holds no session that can run; see `too_long` and `max_context`".to_owned(),
            });
        }
        Ok(())
    }

    fn read_trace(&mut self, path: &str) -> Result<(), LabError> {
        let block = self.engine.memory.block_tokens;
        let options = self.workload_options();
        let mut source = TraceWorkload::open(path, &options, self.spec.seed, block)?;
        let sha256 = inputs::of_trace(path.as_ref())?;
        self.inputs.workload_sha256.clone_from(&sha256);
        self.trace = TraceInfo {
            source: path.to_owned(),
            sha256,
        };
        self.warnings.extend(source.meta().warnings());
        let report = source.report().clone();
        self.note(&report);
        self.collect(&mut source)
    }

    /// What the spec asks of sessions, whether recorded or generated.
    fn workload_options(&self) -> WorkloadOptions {
        let workload = &self.spec.workload;
        let block = self.engine.memory.block_tokens;
        let fits = u64::from(self.engine.memory.hbm_blocks) * u64::from(block);
        let largest = u64::from(self.model.max_context.get()).min(fits) as u32;
        WorkloadOptions {
            sessions: workload.sessions,
            timing: match workload.timing {
                spec::Timing::ThinkOnly => Timing::ThinkOnly,
                spec::Timing::Original => Timing::Original,
                spec::Timing::ApiScaled => Timing::ApiScaled,
            },
            max_context: Some(workload.max_context.map_or(largest, |max| max.min(largest))),
            too_long: match workload.too_long {
                spec::TooLong::Error => TooLong::Error,
                spec::TooLong::TruncateSession => TooLong::TruncateSession,
                spec::TooLong::SkipSession => TooLong::SkipSession,
            },
            gap_cap_s: workload.gap_cap_s,
            rate: workload.rate,
            api_scale: workload.api_scale,
        }
    }

    /// What was cut.
    fn note(&mut self, report: &WorkloadReport) {
        self.counts.sessions_skipped = report.sessions_skipped;
        self.counts.sessions_cut = report.sessions_truncated;
        self.counts.turns_cut = report.turns_cut;
        self.warnings.extend(report.warnings());
    }

    fn generate(&mut self, name: &str) -> Result<(), LabError> {
        let text = Generator::text(name)?;
        let generator = parse_generator(&self.spec, name, &text)?;
        self.inputs.workload_sha256 = inputs::of_generator(&text, &generator)?;
        let text = generator.parameters().to_string();
        self.trace = TraceInfo {
            source: format!("{name} (seed {})", self.spec.seed),
            sha256: sha256_hex(format!("{text}{}", self.spec.seed).as_bytes()),
        };
        let mut options = self.workload_options();
        if options.too_long == TooLong::Error && self.spec.workload.max_context.is_none() {
            // What HBM cannot hold is the engine's to refuse: it knows in what words.
            options.max_context = Some(self.model.max_context.get());
        }
        let mut source = generator.workload(self.spec.seed, options)?;
        self.collect(&mut source)?;
        self.note(source.report());
        Ok(())
    }

    fn collect(&mut self, source: &mut dyn Workload) -> Result<(), LabError> {
        while let Some(session) = source.next_session().map_err(engine::RunError::Workload)? {
            self.sessions.push(session);
        }
        self.tool_classes = source.tool_classes();
        Ok(())
    }
}

/// The generator that a spec names, with the spec's parameters in place of its own.
///
/// # Errors
/// If there is none of that name, or the parameters are unknown or make no sense together.
pub fn generator(spec: &RunSpec, name: &str) -> Result<Generator, LabError> {
    parse_generator(spec, name, &Generator::text(name)?)
}

/// The same of a generator whose text has been read.
pub(crate) fn parse_generator(
    spec: &RunSpec,
    name: &str,
    text: &str,
) -> Result<Generator, LabError> {
    let mut changes = spec.workload.params.clone();
    if let Some(sessions) = spec.workload.sessions {
        changes.insert("agents".to_owned(), i64::from(sessions).into());
    }
    if let Some(rate) = spec.workload.rate {
        changes.insert("rate".to_owned(), rate.into());
    }
    Generator::of_text(name, text, changes).map_err(|error| match error {
        TraceError::Parameters(what) => LabError::Value {
            key: "workload",
            what,
        },
        error => error.into(),
    })
}

fn copy_method(spec: &RunSpec) -> devices::CopyMethod {
    match spec.memory.copy_method {
        spec::CopyMethod::Memcpy => devices::CopyMethod::Memcpy,
        spec::CopyMethod::Batch | spec::CopyMethod::Contiguous => devices::CopyMethod::Batch,
        spec::CopyMethod::Gather => devices::CopyMethod::Gather,
        spec::CopyMethod::Staged => devices::CopyMethod::Staged,
    }
}

/// What the disk that a spec asks for costs; `None` if it asks for none.
fn disk_cost(
    spec: &RunSpec,
    hardware: &HardwareProfile,
    depth: NonZeroU32,
) -> Result<Option<DiskCost>, LabError> {
    if spec.memory.disk_gib.unwrap_or_default() <= 0.0 {
        return Ok(None);
    }
    let cost = hardware.disk_cost(depth).ok_or_else(|| LabError::Value {
        key: "memory.disk_gib",
        what: format!(
            "the profile `{}` has no table `disk` that says how fast one is; add it to a copy of the profile, \
             as in configs/hardware/h200.toml, or leave `disk_gib` out",
            hardware.name
        ),
    })?;
    Ok(Some(cost))
}

fn engine_config(
    spec: &RunSpec,
    hardware: &HardwareProfile,
    model: &ModelGeometry,
    disk: Option<&DiskCost>,
) -> Result<EngineConfig, LabError> {
    let memory = &spec.memory;
    let block_bytes = model.block_bytes(memory.block_tokens);
    let hbm_blocks = if let Some(blocks) = memory.hbm_blocks {
        blocks
    } else {
        let tokens = spec.engine.max_batched_tokens.min(model.max_context.get());
        let budget = HbmBudget {
            hbm: hardware.hbm(),
            cap: memory.hbm_gib.map(gib),
            utilisation_ppm: (memory.utilisation * 1e6).round() as u32,
            activation_reserve: activation_bytes(model, tokens, spec.engine.max_seqs),
        };
        budget.kv_blocks(model, memory.block_tokens)?.0
    };
    let host_blocks = memory.host_blocks.unwrap_or_else(|| {
        let bytes = gib(memory.host_gib.unwrap_or(spec::Memory::HOST_GIB));
        u32::try_from(bytes.0 / block_bytes.0).unwrap_or(u32::MAX)
    });
    let disk_blocks = disk.map_or(0, |_| {
        let bytes = gib(memory.disk_gib.unwrap_or_default());
        u32::try_from(bytes.0 / block_bytes.0).unwrap_or(u32::MAX)
    });
    let serial = spec.engine.batching == spec::Batching::Serial;
    let batching = if serial {
        Batching::serial()
    } else {
        Batching {
            serial: false,
            ahead: spec.engine.asynchronous,
            max_batched_tokens: spec.engine.max_batched_tokens,
            max_seqs: spec.engine.max_seqs,
            reserve_full: spec.engine.reserve_full,
            watermark_blocks: (spec.engine.watermark * f64::from(hbm_blocks)) as u32,
            long_prefill_tokens: spec.engine.long_prefill_token_threshold,
            ..Batching::vllm()
        }
    };
    let mut faults = Faults::default();
    for name in &spec.faults.inject {
        if !faults.add(name) {
            let what = format!(
                "no fault is called `{name}`; known: {}",
                Faults::NAMES.join(", ")
            );
            return Err(LabError::Value {
                key: "faults.inject",
                what,
            });
        }
    }
    let chunk = u64::from(memory.chunk_mib) << 20;
    Ok(EngineConfig {
        batching,
        memory: LedgerConfig {
            block_tokens: memory.block_tokens,
            hbm_blocks,
            host_blocks,
            disk_blocks,
            inclusive: memory.host == spec::HostMode::Inclusive,
            caching: true,
            leak_on_swap_out: false,
            first_place: None,
        },
        block_bytes,
        chunk_blocks: u32::try_from(chunk / block_bytes.0)
            .unwrap_or(u32::MAX)
            .max(1),
        link: Direction::LINK.map(|direction| CopyEstimate {
            queued: Bytes::ZERO,
            bytes_per_s: hardware.lane(direction).bytes_per_s.get(),
            fixed: Nanos(hardware.link.copy_ns),
        }),
        disk: disk.map(DiskCost::estimates).unwrap_or_default(),
        prefill: hardware
            .step_cost(model)
            .prefill_estimate(spec.engine.max_batched_tokens.clamp(1, 8192)),
        hints: hints(spec),
        end: match spec.hints.end {
            spec::EndSignal::Told => EndSignal::Told,
            spec::EndSignal::Never => EndSignal::Never,
            spec::EndSignal::Timeout => EndSignal::Timeout(Nanos::from_secs_f64(
                spec.hints.end_timeout_s.unwrap_or_default(),
            )),
        },
        stepwise: spec.engine.stepwise,
        check: spec.engine.check,
        preload: false,
        sample_every: None,
        faults,
    })
}

fn hints(spec: &RunSpec) -> HintConfig {
    let noise = &spec.hints.noise;
    HintConfig {
        kind: match spec.hints.kind {
            spec::HintKind::Oracle => HintKind::Oracle,
            spec::HintKind::None => HintKind::None,
            spec::HintKind::History => HintKind::History,
        },
        noise: HintNoise {
            bias: noise.bias,
            sigma: noise.sigma,
            drop: noise.drop,
            delay: Nanos::from_secs_f64(noise.delay_ms / 1e3),
        },
        seed: spec.seed,
    }
}

fn gib(value: f64) -> Bytes {
    Bytes((value * f64::from(1u32 << 30)) as u64)
}
