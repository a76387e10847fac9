//! One run on a GPU, from its setup to its folder.
//!
//! The folder is the simulator's, written by the same code, with two files more: `device.csv`, what the GPU's own events and
//! the harness say of each operation, and `harness.csv`, what the harness cost.

use crate::CudaDevice;
use crate::backend::Backend;
use crate::cuda::model::{Geometry, ModelError};
use crate::cuda::{CHUNK_BLOCKS_MAX, Compute, CudaBackend, CudaOptions, order};
use crate::device::{DeviceOptions, ReplayDevice, Timing, csv};
use crate::harness::Harness;
use engine::device::DeviceError;
use kernels::gpu::{Error, Gpu, PoolPhase};
use kernels::kv::KvLayout;
use lab::run::{Finished, Ran, RunOptions};
use lab::{LabError, Progress, Setup};
use results::folder::RunFolder;
use results::manifest::DeviceInfo;
use results::rows::TurnRow;
use std::path::{Path, PathBuf};

/// The files that a replay adds to the run folder: what the device saw of each operation, and what the harness cost.
pub const DEVICE_CSV: &str = "device.csv";
/// See [`DEVICE_CSV`].
pub const HARNESS_CSV: &str = "harness.csv";

/// Why a replay did not happen, or did not end.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The GPU, its driver, or its memory.
    #[error(transparent)]
    Gpu(#[from] Error),
    /// Anything that a simulation can fail with as well.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// The device refuses to start.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The model that computes.
    #[error(transparent)]
    Model(ModelError),
    /// A value of the spec that no GPU can replay.
    #[error("`{key}`: {what}")]
    Value {
        /// Which key.
        key: &'static str,
        /// What is wrong, and what would do.
        what: String,
    },
    /// A file cannot be written.
    #[error("cannot write {path}: {cause}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
}

impl From<ModelError> for ReplayError {
    fn from(error: ModelError) -> Self {
        match error {
            ModelError::Gpu(error) => Self::Gpu(error),
            other => Self::Model(other),
        }
    }
}

pub use results::spec::Compute as ComputeKind;

/// Fingerprint of the source that a replay depends on: the simulator's, and that of device and kernels. It goes into [`Setup::inputs`].
pub const PROGRAM_SHA256: &str = env!("DJINN_PROGRAM_SHA256");

/// What came of a replay.
#[derive(Debug)]
pub enum Replayed {
    /// It ran now; what the device saw of each operation, and what the harness cost, is beside it.
    Now(Box<Finished>, Vec<Timing>, Harness),
    /// The folder held this very run already, made from the same inputs.
    Before(RunFolder),
}

/// What a reader of the results must know of a kind of compute; it goes into the manifest's warnings.
pub fn caution(compute: ComputeKind) -> &'static str {
    match compute {
        ComputeKind::Model => {
            "steps are computed by `model`: random weights, contexts of a decode batch at their mean, new KV beside the pool"
        }
        ComputeKind::Touch => {
            "steps are stood in for by `touch`: they read as many bytes as weights and KV have, and compute nothing"
        }
        ComputeKind::Spin => {
            "steps are stood in for by `spin`: they take the time that the cost model says"
        }
    }
}

/// What the pools and the kernels of a setup are.
///
/// # Errors
/// If the setup asks for what the replay does not do.
pub fn cuda_options(setup: &Setup) -> Result<CudaOptions, ReplayError> {
    let memory = &setup.spec.memory;
    let (engine, block_bytes) = (&setup.engine, setup.engine.block_bytes.0);
    if engine.memory.disk_blocks > 0 {
        return Err(ReplayError::Value {
            key: "memory.disk_gib",
            what: "a replay has no disk behind host memory, only simulations do; leave it out"
                .to_owned(),
        });
    }
    if engine.chunk_blocks > CHUNK_BLOCKS_MAX {
        return Err(ReplayError::Value {
            key: "memory.chunk_mib",
            what: format!(
                "a chunk has {} blocks of {block_bytes} B, and the checks take {CHUNK_BLOCKS_MAX}; lower it",
                engine.chunk_blocks
            ),
        });
    }
    let layout = KvLayout {
        order: order(memory.copy_method),
        block_count: engine.memory.hbm_blocks,
        layers: setup.model.layers.get(),
        kv_heads: setup.model.kv_heads.get(),
        block_tokens: memory.block_tokens,
        head_dim: setup.model.head_dim.get(),
    };
    if layout.block_bytes() != block_bytes || !layout.piece_bytes().is_multiple_of(16) {
        return Err(ReplayError::Value {
            key: "memory.block_tokens",
            what: format!(
                "a block has {block_bytes} B, and K or V of one layer in it {} B of bf16, which must be a multiple of 16 \
                 and {} of them a block; take a multiple of 16 tokens and a model in 16 bits",
                layout.piece_bytes(),
                layout.piece_count()
            ),
        });
    }
    Ok(CudaOptions {
        layout,
        host_blocks: engine.memory.host_blocks,
        method: memory.copy_method,
        chunk_blocks: engine.chunk_blocks,
        compute: match setup.spec.replay.compute.unwrap_or_default() {
            ComputeKind::Touch => Compute::Touch {
                weight_bytes: setup.model.weight_bytes().0,
                kv_token_bytes: setup.model.kv_bytes_per_token().0,
            },
            ComputeKind::Spin => Compute::Spin(Box::new(setup.steps.clone())),
            ComputeKind::Model => Compute::Model {
                geometry: Geometry::of(&setup.model)?,
                tokens: engine.batching.max_batched_tokens,
                sequences: engine.batching.max_seqs,
            },
        },
        integrity: setup.spec.replay.integrity,
        lane_depth: memory.lane_depth,
    })
}

/// How the device of a setup behaves.
pub fn device_options(setup: &Setup) -> DeviceOptions {
    DeviceOptions {
        ahead: u32::from(setup.engine.batching.ahead),
        lane_depth: setup.spec.memory.lane_depth,
        ..DeviceOptions::default()
    }
}

/// The device of a setup; `progress` hears of the host pool as it grows.
///
/// # Errors
/// As [`cuda_options`], or if the GPU or the host has too little memory.
pub fn cuda_device(
    setup: &Setup,
    gpu: &Gpu,
    progress: &mut dyn FnMut(PoolPhase),
) -> Result<CudaDevice, ReplayError> {
    let backend = CudaBackend::new(gpu, cuda_options(setup)?, progress)?;
    Ok(ReplayDevice::new(backend, device_options(setup))?)
}

/// The device of a setup: `before`, as good as new, if it has the pools and the kernels that the setup asks for, else another one.
///
/// # Errors
/// As [`cuda_device`].
pub fn cuda_device_after(
    before: Option<CudaDevice>,
    setup: &Setup,
    gpu: &Gpu,
    progress: &mut dyn FnMut(PoolPhase),
) -> Result<CudaDevice, ReplayError> {
    let wanted = cuda_options(setup)?;
    // Any other goes first, for there is no room for both.
    let before = before.filter(|device| *device.backend().options() == wanted);
    match before.map(|device| device.renewed(device_options(setup))) {
        Some(Ok(device)) => Ok(device),
        Some(Err(_)) | None => cuda_device(setup, gpu, progress),
    }
}

/// What the manifest says of a GPU, and of the way over its link.
pub fn device_info(gpu: &Gpu, device: &CudaDevice) -> DeviceInfo {
    let info = gpu.info();
    let (major, minor) = (info.driver / 1_000, info.driver % 1_000 / 10);
    let driver = format!(
        "CUDA {major}.{minor}; copies by {}",
        device.backend().method()
    );
    DeviceInfo {
        kind: "cuda".to_owned(),
        name: info.name.clone(),
        driver,
    }
}

/// Runs `setup` on `device` into the folder `target`.
///
/// # Errors
/// As `lab::run::record`, or if `device.csv` cannot be written.
pub fn record<B: Backend>(
    setup: &Setup,
    device: &mut ReplayDevice<B>,
    info: &DeviceInfo,
    target: &Path,
    options: &RunOptions,
    progress: impl FnMut(Progress<'_>),
) -> Result<Replayed, ReplayError> {
    if let Some(stop) = &options.stop {
        device.stop_when(stop);
    }
    device.start_clock();
    match lab::run::record(setup, device, info, target, options, progress)? {
        Ran::Before(folder) => Ok(Replayed::Before(folder)),
        Ran::Now(finished) => {
            let timings = device.timings().to_vec();
            let turns = finished.folder.turns().and_then(Iterator::collect);
            let turns: Vec<TurnRow> = turns.map_err(LabError::from)?;
            let harness = Harness::of(&timings, device.awake(), &turns);
            for (name, text) in [(DEVICE_CSV, csv(&timings)), (HARNESS_CSV, harness.csv())] {
                let path = finished.folder.path().join(name);
                std::fs::write(&path, text).map_err(|cause| ReplayError::File { path, cause })?;
            }
            Ok(Replayed::Now(finished, timings, harness))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeGpu;
    use kernels::kv::KvOrder;
    use lab::Wants;
    use results::spec::{Layers, RunSpec};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// Six agents whose KV does not fit: 40 blocks for 6 times 12 (160 + 2 * 16 tokens and more).
    const CONFIG: &str = "model = \"llama-2-7b\"\nhardware = \"h200\"\npolicy = \"swap-on-demand\"\n\
        [engine]\ncheck = true\n[memory]\nhbm_blocks = 40\nhost_blocks = 200\n\
        [workload]\ngen = \"closed-loop-agents\"\nsessions = 6\n[workload.params]\n\
        ramp_s = 0.01\nturns = 3\nfirst_prompt = 160\nappend = 16\noutput = 8\n\
        gap_s = { uniform = { min = 0.02, max = 0.04 } }\n";

    fn setup(set: &[&str]) -> Setup {
        let layers = Layers {
            set: set.iter().map(|&set| set.to_owned()).collect(),
            ..Layers::of_text("test", CONFIG)
        };
        Setup::new(&RunSpec::load(&layers).expect("a valid spec")).expect("a valid setup")
    }

    #[test]
    fn a_disk_is_refused_before_anything_starts() {
        let Err(error) = cuda_options(&setup(&["memory.disk_gib=4"])) else {
            panic!("a replay has no disk")
        };
        let text = error.to_string();
        assert!(
            text.contains("`memory.disk_gib`: a replay has no disk"),
            "{text}"
        );
    }

    #[test]
    fn a_run_with_real_swaps_writes_the_simulators_folder_and_the_devices_file() {
        let setup = setup(&[]);
        let folder = tempfile::tempdir().unwrap();
        let mut device = ReplayDevice::new(FakeGpu::new(40, 200), device_options(&setup)).unwrap();
        let options = RunOptions {
            wants: Wants {
                ops: true,
                samples: None,
                decisions: true,
            },
            ..RunOptions::default()
        };
        let info = DeviceInfo {
            kind: "cuda".to_owned(),
            ..DeviceInfo::default()
        };
        let target = folder.path().join("run");
        let ran = record(&setup, &mut device, &info, &target, &options, |_| ()).unwrap();
        let Replayed::Now(finished, timings, harness) = ran else {
            panic!("the folder is new")
        };
        // Six sessions of three turns.
        assert_eq!(finished.summary.turns, 18);
        assert!(
            timings.iter().any(|timing| timing.kind == "h2d"),
            "nothing came back"
        );
        let rows = std::fs::read_to_string(target.join("ops.csv"))
            .unwrap()
            .lines()
            .count();
        let seen = std::fs::read_to_string(target.join(DEVICE_CSV))
            .unwrap()
            .lines()
            .count();
        assert_eq!(rows, seen);
        assert_eq!(harness.told.count, timings.len());
        // Twelve wake-ups, which the harness did not stretch by more than they took.
        assert!((0.0..=1.0).contains(&harness.wakeup_share), "{harness:?}");
        assert!(target.join(HARNESS_CSV).exists());
        assert_eq!(finished.folder.manifest().device.kind, "cuda");
    }

    /// A live run of `setup` into `target`; `until` turns are enough.
    fn live(setup: &Setup, target: &Path, until: u64) -> Finished {
        let mut device = ReplayDevice::new(FakeGpu::new(40, 200), device_options(setup)).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let options = RunOptions {
            wants: Wants {
                ops: true,
                samples: Some(model::Nanos::from_millis(20)),
                decisions: true,
            },
            live: true,
            stop: Some(Arc::clone(&stop)),
            ..RunOptions::default()
        };
        let info = DeviceInfo::default();
        let watch = |progress: Progress<'_>| {
            if let Progress::Turns(turns) = progress {
                stop.store(turns >= until, Ordering::Relaxed);
            }
        };
        match record(setup, &mut device, &info, target, &options, watch).unwrap() {
            Replayed::Now(finished, ..) => *finished,
            Replayed::Before(_) => panic!("the folder is new"),
        }
    }

    #[test]
    fn a_simulation_in_the_same_place_is_not_taken_for_the_replay() {
        let mut setup = setup(&[]);
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("run");
        lab::run::simulate(&setup, &target, &RunOptions::default(), |_| ()).unwrap();
        PROGRAM_SHA256.clone_into(&mut setup.inputs.program_sha256);
        let mut device = ReplayDevice::new(FakeGpu::new(40, 200), device_options(&setup)).unwrap();
        let info = DeviceInfo::default();
        let options = RunOptions::default();
        let replayed = record(&setup, &mut device, &info, &target, &options, |_| ());
        let error = replayed.unwrap_err().to_string();
        assert!(error.contains("made with another program"), "{error}");
    }

    #[test]
    fn every_policy_runs_to_its_end_and_decides_the_same_without_its_device() {
        for entry in policy::REGISTRY {
            let name = entry.name;
            let folder = tempfile::tempdir().unwrap();
            let target = folder.path().join("run");
            live(&setup(&[&format!("policy={name}")]), &target, u64::MAX);
            let played = lab::playback::play_back(&target);
            let played = played.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(played.turns, 18, "{name}");
            // A turn is ready, is admitted and ends; then its session waits or ends, if the policy listens to that.
            let least = if entry.listens { 4 } else { 3 };
            assert!(played.decisions >= 18 * least, "{name}: {played:?}");
        }
    }

    #[test]
    fn a_recording_with_another_answer_is_not_played_back() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("run");
        live(&setup(&[]), &target, u64::MAX);
        let path = target.join(results::folder::WAKES);
        let text = std::fs::read_to_string(&path).unwrap();
        // Without the first wake that had a completion: its operation never ends.
        let line = text
            .lines()
            .find(|line| line.starts_with("w ") && line.contains(':'));
        let line = format!("{}\n", line.unwrap());
        std::fs::write(&path, text.replacen(&line, "", 1)).unwrap();
        assert!(lab::playback::play_back(&target).is_err());
    }

    #[test]
    fn a_run_that_is_stopped_leaves_a_folder_that_says_so_and_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("run");
        let finished = live(&setup(&[]), &target, 5);
        let manifest = finished.folder.manifest();
        assert!(manifest.partial);
        let warning = manifest.warnings.last().unwrap();
        assert!(
            warning.starts_with("partial: the run was stopped at "),
            "{warning}"
        );
        let metrics = finished.folder.metrics().unwrap();
        assert!((5..18).contains(&metrics.turns), "{}", metrics.turns);
        assert!(metrics.failed > 0, "sessions were left unfinished");
        assert!(lab::playback::play_back(&target).is_ok());
        // The same run is not taken for done.
        let device = ReplayDevice::new(FakeGpu::new(40, 200), DeviceOptions::default());
        let again = record(
            &setup(&[]),
            &mut device.unwrap(),
            &DeviceInfo::default(),
            &target,
            &RunOptions::default(),
            |_| (),
        );
        let error = again.unwrap_err().to_string();
        assert!(error.contains("holds this run only in part"), "{error}");
    }

    #[test]
    fn a_chunk_beyond_the_checks_is_refused_with_the_key() {
        // 40,000 MiB in blocks of 8 MiB: 5,000 blocks.
        let error = cuda_options(&setup(&["memory.chunk_mib=40000"])).unwrap_err();
        assert!(
            error.to_string().contains("a chunk has 5000 blocks"),
            "{error}"
        );
    }

    #[test]
    fn the_copy_method_decides_the_order_of_the_pool() {
        let layout = |method: &str| {
            let set = format!("memory.copy_method={method}");
            cuda_options(&setup(&[&set])).unwrap().layout
        };
        // Llama-2-7B: 32 heads * 16 tokens * 128 * 2 B = 128 KiB a piece, 64 of them in 8 MiB.
        let paged = layout("staged");
        assert_eq!((paged.piece_bytes(), paged.piece_count()), (128 << 10, 64));
        assert_eq!(paged.order, KvOrder::LayerMajor);
        assert_eq!(layout("contiguous").order, KvOrder::BlockMajor);
    }

    #[test]
    fn copy_method_and_compute_make_runs_of_their_own() {
        let ids: std::collections::BTreeSet<String> = [
            &[][..],
            &["replay.compute=touch"],
            &["replay.compute=spin"],
            &["memory.copy_method=gather"],
            &["replay.integrity=false"],
        ]
        .into_iter()
        .map(|set| setup(set).spec.run_id())
        .collect();
        assert_eq!(ids.len(), 5);
    }

    #[test]
    fn a_stand_in_for_compute_is_named_to_the_reader() {
        assert!(caution(ComputeKind::Touch).contains("compute nothing"));
        assert!(caution(ComputeKind::Spin).contains("cost model"));
    }

    #[test]
    fn touch_reads_the_weights_of_the_model() {
        let options = cuda_options(&setup(&[])).unwrap();
        let Compute::Touch {
            weight_bytes,
            kv_token_bytes,
        } = options.compute
        else {
            panic!("touch")
        };
        // Llama-2-7B: 6,738,415,616 parameters of 2 bytes; 2 * 32 layers * 4,096 * 2 bytes of KV.
        assert_eq!((weight_bytes, kv_token_bytes), (13_476_831_232, 524_288));
    }
}
