//! A machine's constants, each group with its provenance: what `configs/hardware/*.toml` holds.
//!
//! A profile is data; what it costs to run a model on it is derived by [`HardwareProfile::step_cost`]
//! and [`HardwareProfile::link_cost`].

use crate::{DiskCost, LaneCost, LinkCost, ModelGeometry, Roofline, StepCost};
use model::{Bytes, Direction};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};

/// A machine.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HardwareProfile {
    /// Name, as in run specs; with a chosen link variant, `name:variant`.
    pub name: String,
    /// For people.
    pub title: String,
    /// GPU memory.
    pub memory: MemorySection,
    /// The host link.
    pub link: LinkSection,
    /// A disk behind host memory, if it has one.
    pub disk: Option<DiskSection>,
    /// What steps cost.
    pub compute: ComputeSection,
}

/// How a group of constants came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Provenance {
    /// Timed on such a machine.
    Measured,
    /// The vendor's figure.
    DataSheet,
    /// Inferred or chosen.
    Modelled,
}

impl fmt::Display for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Measured => "measured",
            Self::DataSheet => "data-sheet",
            Self::Modelled => "modelled",
        })
    }
}

/// GPU memory.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemorySection {
    /// How the size is known.
    pub provenance: Provenance,
    /// From where.
    pub source: String,
    /// When, `YYYY-MM-DD`.
    pub date: String,
    /// HBM.
    pub hbm_bytes: NonZeroU64,
}

/// The host link.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkSection {
    /// How the figures are known.
    pub provenance: Provenance,
    /// From where.
    pub source: String,
    /// When, `YYYY-MM-DD`.
    pub date: String,
    /// Fixed cost of one copy \[ns\].
    pub copy_ns: u64,
    /// HBM to host.
    pub d2h: LaneSection,
    /// Host to HBM.
    pub h2d: LaneSection,
    /// Other rates that the link may have had \[bytes/s\], by name; one replaces all four rates.
    #[serde(default)]
    pub variants: BTreeMap<String, NonZeroU64>,
}

/// The disk that a machine of this kind has, or is taken to have.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskSection {
    /// How the figures are known.
    pub provenance: Provenance,
    /// From where.
    pub source: String,
    /// When, `YYYY-MM-DD`.
    pub date: String,
    /// Fixed cost of one chunk, each way \[ns\].
    pub copy_ns: u64,
    /// Rate of sequential writes.
    pub write_bytes_per_s: NonZeroU64,
    /// Rate of sequential reads.
    pub read_bytes_per_s: NonZeroU64,
}

/// One direction of the link.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaneSection {
    /// Rate while the other direction is idle.
    pub bytes_per_s: NonZeroU64,
    /// Rate while the other direction is busy.
    pub bytes_per_s_shared: NonZeroU64,
    /// Cost of a contiguous piece beyond its bytes.
    pub piece_ns: PieceCost,
    /// How much longer a step takes while this direction is busy, in parts per million.
    pub slowdown_ppm: u32,
    /// How much longer bytes take while steps run, in parts per million.
    #[serde(default)]
    pub beside_steps_ppm: u32,
}

/// Cost of a piece \[ns\], per way of copying scattered pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PieceCost {
    /// One `cudaMemcpyAsync` per piece.
    pub memcpy: u64,
    /// One `cudaMemcpyBatchAsync` for all.
    pub batch: u64,
    /// An SM kernel that gathers from, or scatters to, mapped host memory.
    pub gather: u64,
    /// An SM kernel to or from a buffer in HBM, and a memcpy for each block.
    pub staged: u64,
}

/// How scattered pieces are copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CopyMethod {
    /// One memcpy per piece.
    Memcpy,
    /// One batched memcpy.
    Batch,
    /// A kernel.
    #[default]
    Gather,
    /// A kernel, and a memcpy for each block.
    Staged,
}

/// What steps cost: fits per model, and a formula for the others.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "ComputeTable")]
pub struct ComputeSection {
    /// How the figures are known.
    pub provenance: Provenance,
    /// From where.
    pub source: String,
    /// When, `YYYY-MM-DD`.
    pub date: String,
    /// Multiprocessors of the GPU on which steps were timed: kernels are planned for as many.
    pub multiprocessors: Option<NonZeroU32>,
    /// Fits to timed steps, by model name. They take precedence.
    pub measured: BTreeMap<String, StepCost>,
    /// For models without a fit.
    pub formula: Formula,
}

/// The same as the file spells it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ComputeTable {
    provenance: Provenance,
    source: String,
    date: String,
    multiprocessors: Option<NonZeroU32>,
    #[serde(default)]
    measured: BTreeMap<String, StepCost>,
    roofline: Option<Roofline>,
    linear: Option<Linear>,
}

impl TryFrom<ComputeTable> for ComputeSection {
    type Error = &'static str;

    fn try_from(table: ComputeTable) -> Result<Self, Self::Error> {
        let formula = match (table.roofline, table.linear) {
            (Some(roofline), None) => Formula::Roofline(roofline),
            (None, Some(linear)) => Formula::Linear(linear),
            _ => return Err("needs either a table `roofline` or a table `linear`"),
        };
        let ComputeTable {
            provenance,
            source,
            date,
            multiprocessors,
            measured,
            ..
        } = table;
        Ok(Self {
            provenance,
            source,
            date,
            multiprocessors,
            measured,
            formula,
        })
    }
}

/// A formula for step times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Formula {
    /// From the model's geometry and the machine's peaks.
    Roofline(Roofline),
    /// The same for every model.
    Linear(Linear),
}

/// t = a + b·prefill tokens + c·decoding sequences + d·KV tokens read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Linear {
    /// Per step \[ps\].
    pub a_ps: u64,
    /// Per prefill token \[ps\].
    pub b_ps: u64,
    /// Per decoding sequence \[ps\].
    pub c_ps: u64,
    /// Per KV token read, by prefill or decode \[ps\].
    pub d_ps: u64,
}

impl HardwareProfile {
    /// What steps of `model` cost here.
    pub fn step_cost(&self, model: &ModelGeometry) -> StepCost {
        match (
            self.compute.measured.get(&model.name),
            &self.compute.formula,
        ) {
            (Some(fit), _) => fit.clone(),
            (None, Formula::Roofline(roofline)) => roofline.step_cost(model),
            (
                None,
                Formula::Linear(Linear {
                    a_ps,
                    b_ps,
                    c_ps,
                    d_ps,
                }),
            ) => StepCost::linear(*a_ps, *b_ps, *c_ps, *d_ps),
        }
    }

    /// What copies cost here, if a KV block is `pieces_per_block` contiguous pieces
    /// (see [`ModelGeometry::pieces_per_block`]; 1 where a block of all layers is contiguous).
    pub fn link_cost(&self, method: CopyMethod, pieces_per_block: u32) -> LinkCost {
        let lane = |section: &LaneSection| LaneCost {
            copy_ns: self.link.copy_ns,
            block_ns: section.piece_ns.of(method) * u64::from(pieces_per_block),
            bytes_per_s: section.bytes_per_s,
            bytes_per_s_shared: section.bytes_per_s_shared,
            slowdown_ppm: section.slowdown_ppm,
            beside_steps_ppm: section.beside_steps_ppm,
        };
        LinkCost::new(lane(&self.link.d2h), lane(&self.link.h2d))
    }

    /// What copies to and from the disk cost, with `lane_depth` chunks in a lane; `None` if the machine has none.
    pub fn disk_cost(&self, lane_depth: NonZeroU32) -> Option<DiskCost> {
        self.disk.as_ref().map(|disk| DiskCost {
            copy_ns: disk.copy_ns,
            write_bytes_per_s: disk.write_bytes_per_s,
            read_bytes_per_s: disk.read_bytes_per_s,
            lane_depth,
        })
    }

    /// HBM.
    pub fn hbm(&self) -> Bytes {
        Bytes(self.memory.hbm_bytes.get())
    }

    /// The constants of one direction.
    pub fn lane(&self, direction: Direction) -> &LaneSection {
        match direction {
            Direction::D2h => &self.link.d2h,
            Direction::H2d => &self.link.h2d,
            Direction::DiskWrite | Direction::DiskRead => {
                unreachable!("the link has no lane to the disk")
            }
        }
    }

    /// Whether a step time for `model` rests on timed steps of that very model, and a copy time on timed copies.
    /// Results that used anything else say so.
    pub fn is_measured_for(&self, model: &ModelGeometry) -> bool {
        self.link.provenance == Provenance::Measured
            && self.compute.measured.contains_key(&model.name)
    }

    /// The same machine with all link rates replaced.
    #[must_use]
    pub fn with_link_rate(mut self, bytes_per_s: NonZeroU64) -> Self {
        for lane in [&mut self.link.d2h, &mut self.link.h2d] {
            lane.bytes_per_s = bytes_per_s;
            lane.bytes_per_s_shared = bytes_per_s;
        }
        self
    }

    /// What no single field can be checked for, as key and message.
    pub(crate) fn inconsistency(&self) -> Option<(&'static str, String)> {
        if let Formula::Roofline(roofline) = &self.compute.formula
            && let Some(problem) = roofline.inconsistency()
        {
            return Some(problem);
        }
        [
            ("link.d2h.bytes_per_s_shared", &self.link.d2h),
            ("link.h2d.bytes_per_s_shared", &self.link.h2d),
        ]
        .into_iter()
        .find(|(_, lane)| lane.bytes_per_s_shared > lane.bytes_per_s)
        .map(|(key, lane)| {
            let text = format!(
                "a lane is not faster beside the other one ({} B/s) than alone ({} B/s)",
                lane.bytes_per_s_shared, lane.bytes_per_s
            );
            (key, text)
        })
    }
}

impl PieceCost {
    /// For one way of copying \[ns\].
    pub fn of(self, method: CopyMethod) -> u64 {
        match method {
            CopyMethod::Memcpy => self.memcpy,
            CopyMethod::Batch => self.batch,
            CopyMethod::Gather => self.gather,
            CopyMethod::Staged => self.staged,
        }
    }
}
