//! A hardware profile in the form of `configs/hardware/*.toml`, from what was measured.

use super::remarks::remarks;
use super::{LaneFit, Measured};
use crate::run::ComputeKind;
use devices::{Formula, HardwareProfile, StepCost, Sustained, Throttle};
use model::Direction;
use std::fmt::Write as _;

/// What a profile says of its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Name of the profile, as in run specs.
    pub name: String,
    /// The GPU, as its vendor calls it.
    pub gpu: String,
    /// CUDA version of the driver, such as `13.0`.
    pub driver: String,
    /// `YYYY-MM-DD`.
    pub date: String,
    /// The command that measures it again.
    pub command: String,
    /// Bytes of HBM.
    pub hbm_bytes: u64,
}

/// The profile's text. Models that were not timed keep the formula of `base`, and so does the disk, which is not timed.
///
/// # Errors
/// If `base` has no roofline.
pub fn toml(
    origin: &Origin,
    measured: &Measured,
    base: &HardwareProfile,
) -> Result<String, String> {
    let Formula::Roofline(roofline) = &base.compute.formula else {
        return Err(format!(
            "profile `{}` has no roofline to keep; take another with --base",
            base.name
        ));
    };
    let Origin {
        gpu,
        driver,
        date,
        command,
        ..
    } = origin;
    let (name, date) = (quoted(&origin.name), quoted(date));
    let source = quoted(&format!("{command} on {gpu}, CUDA {driver}"));
    let mut text = format!(
        "name = {name}\ntitle = {}\n\n# {gpu} under CUDA {driver}, by: {command}\n",
        quoted(gpu)
    );
    remarks(measured, &mut text);
    let _ = write!(
        text,
        "\n[memory]\nprovenance = \"measured\"\nsource = {}\ndate = {date}\nhbm_bytes = {}\n\
         \n[link]\nprovenance = \"measured\"\nsource = {source}\ndate = {date}\n",
        quoted(&format!("cuDeviceTotalMem, CUDA {driver}")),
        origin.hbm_bytes,
    );
    link_cost(&measured.fits, &mut text);
    if let Some(disk) = &base.disk {
        let _ = write!(
            text,
            "\n# Not timed here: as in the profile `{}`.\n[disk]\nprovenance = \"{}\"\nsource = {}\ndate = {}\n\
             copy_ns = {}\nwrite_bytes_per_s = {}\nread_bytes_per_s = {}\n",
            base.name,
            disk.provenance,
            quoted(&disk.source),
            quoted(&disk.date),
            disk.copy_ns,
            disk.write_bytes_per_s,
            disk.read_bytes_per_s,
        );
    }
    let what = computed(measured.plan.compute);
    let _ = write!(
        text,
        "\n# `measured` holds what was timed here: {what}. Other models keep the roofline of the profile `{}`.\n\
         [compute]\nprovenance = \"measured\"\nsource = {}\ndate = {date}\nmultiprocessors = {}\n\n[compute.measured.{}]\n",
        base.name,
        quoted(&format!("{command} on {gpu}, CUDA {driver}: {what}")),
        measured.multiprocessors,
        quoted(&measured.plan.model),
    );
    step_cost(&measured.cost, &mut text);
    let _ = write!(
        text,
        "\n[compute.roofline]\nhbm_bytes_per_s = {}\nhbm_efficiency_ppm = {}\npeak_flops = {}\n\
         gemm_efficiency_ppm = {}\nattention_efficiency_ppm = {}\nlayer_ns = {}\ndecode_seq_ns = {}\nlaunch_ns_per_layer = {}\n",
        roofline.hbm_bytes_per_s,
        roofline.hbm_efficiency_ppm,
        roofline.peak_flops,
        roofline.gemm_efficiency_ppm,
        roofline.attention_efficiency_ppm,
        roofline.layer_ns,
        roofline.decode_seq_ns,
        roofline.launch_ns_per_layer,
    );
    Ok(text)
}

/// What timed steps computed, in words.
fn computed(compute: ComputeKind) -> &'static str {
    match compute {
        ComputeKind::Touch => "steps that read weights and KV and compute nothing (`touch`)",
        ComputeKind::Spin => "steps that pass modelled time (`spin`)",
        ComputeKind::Model => "the forward pass of a transformer with random weights (`model`)",
    }
}

/// What the steps of a written profile computed, by the source that it gives.
pub(super) fn computed_by(source: &str) -> Option<ComputeKind> {
    [ComputeKind::Touch, ComputeKind::Spin, ComputeKind::Model]
        .into_iter()
        .find(|compute| source.ends_with(computed(*compute)))
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn ppm(share: f64) -> u32 {
    (share.max(0.0) * 1e6).round() as u32
}

/// What copies cost, behind the origin of the table.
pub(super) fn link_cost(fits: &[LaneFit; 2], text: &mut String) {
    // A chunk costs the same both ways.
    let _ = writeln!(text, "copy_ns = {}", fits[0].chunk_ns.round() as u64);
    for direction in Direction::LINK {
        let fit = &fits[direction.index()];
        let [memcpy, batch, gather, staged] = fit.piece_ns.map(|ns| ns.round() as u64);
        let alone = (fit.bytes_per_s.round() as u64).max(1);
        let _ = write!(
            text,
            "\n[link.{}]\nbytes_per_s = {alone}\nbytes_per_s_shared = {}\n\
             piece_ns = {{ memcpy = {memcpy}, batch = {batch}, gather = {gather}, staged = {staged} }}\n\
             slowdown_ppm = {}\nbeside_steps_ppm = {}\n",
            direction.to_string().to_lowercase(),
            (fit.bytes_per_s_shared.round() as u64).clamp(1, alone),
            ppm(fit.slowdown),
            ppm(fit.beside_steps),
        );
    }
}

fn throttle(throttle: &Throttle) -> String {
    let Sustained {
        half_life_ns,
        from_ppm,
        prompt_ppm,
    } = throttle.sustained;
    format!(
        "half_life_ns = {}, full_tokens = {}, full_seqs = {}, light_tokens = {}, from_ppm = {}, prompt_ppm = {}, decode_ppm = {}, \
         sustained = {{ half_life_ns = {half_life_ns}, from_ppm = {from_ppm}, prompt_ppm = {prompt_ppm} }}",
        throttle.half_life_ns,
        throttle.full_tokens,
        throttle.full_seqs,
        throttle.light_tokens,
        throttle.from_ppm,
        throttle.prompt_ppm,
        throttle.decode_ppm,
    )
}

/// The table of a timed model.
pub(super) fn step_cost(cost: &StepCost, text: &mut String) {
    let _ = writeln!(
        text,
        "context_from = {}\ncontext_long_from = {}\nmixed_ps = {}\n\
         idle = {{ dispatch_ns = {}, pause_ns = {}, longer_ns = {} }}\n\
         throttle = {{ {} }}\n\
         jitter = {{ prompt_ppm = {}, decode_ppm = {} }}",
        cost.context_from,
        cost.context_long_from,
        cost.mixed_ps,
        cost.idle.dispatch_ns,
        cost.idle.pause_ns,
        cost.idle.longer_ns,
        throttle(&cost.throttle),
        cost.jitter.prompt_ppm,
        cost.jitter.decode_ppm,
    );
    let tables = [
        ("gemm", &cost.gemm),
        ("gemm_decode", &cost.gemm_decode),
        ("prefill_attention", &cost.prefill_attention),
        ("prefill_rounds", &cost.prefill_rounds),
        ("context", &cost.context),
        ("context_long", &cost.context_long),
        ("decode_attention", &cost.decode_attention),
    ];
    for (name, table) in tables {
        let _ = writeln!(text, "{name} = [");
        for (tokens, ps) in table.points() {
            let _ = writeln!(text, "  [{tokens}, {ps}],");
        }
        text.push_str("]\n");
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::lanes::{BesideTimes, MethodTimes};
    use super::super::{BlockShape, IdlePoint, LaneFit, LaneTimes, Line, Plan, StepPoint};
    use super::*;
    use crate::calibrate::fit::Point;
    use crate::calibrate::{copies_csv, steps_csv};
    use devices::{IdleCost, Jitter, StepTable, StepTotals};
    use engine::device::StepShape;

    pub fn measured() -> Measured {
        let line = Line {
            fixed_ns: 4_100,
            bytes_per_s: 54_900_000_000,
            error_median: 0.01,
            error_max: 0.05,
        };
        let sweep = vec![Point {
            bytes: 4_096,
            nanos: 4_200,
        }];
        let method = MethodTimes::of([(1, 156_000), (64, 64 * 153_000), (8, 1_300_000)]).unwrap();
        let lane = LaneTimes {
            methods: std::array::from_fn(|_| method.clone()),
            beside: BesideTimes {
                alone_ns: 153_000.0,
                other_ns: 170_000.0,
                decode_ns: 155_000.0,
                prefill_ns: 154_000.0,
                ..BesideTimes::default()
            },
        };
        let fit = |shared| LaneFit {
            chunk_ns: 4_100.0,
            bytes_per_s: 54.9e9,
            bytes_per_s_shared: shared,
            piece_ns: [2_700.0, 450.0, 150.0, 40.0],
            beside_steps: 0.015,
            slowdown: 0.07,
        };
        Measured {
            multiprocessors: 108,
            plan: Plan {
                model: "llama-2-7b".to_owned(),
                compute: ComputeKind::Touch,
                base: "h200".to_owned(),
            },
            blocks: BlockShape {
                bytes: 8 << 20,
                chunk_blocks: 4,
                pieces: 64,
            },
            lanes: [lane.clone(), lane],
            // A noisy day: H2D came out faster beside the other direction than alone.
            fits: [fit(51e9), fit(55.5e9)],
            steps: vec![StepPoint {
                totals: StepTotals {
                    decode_seqs: 1,
                    ..StepTotals::default()
                },
                nanos: 4_000_000,
                held_out: true,
                load_ppm: 0,
            }],
            bursts: Vec::new(),
            idle: vec![IdlePoint {
                shape: StepShape::default(),
                pause_ns: 1_000_000,
                dispatch_ns: 70_000,
                nanos: 4_100_000,
            }],
            cost: StepCost {
                idle: IdleCost {
                    dispatch_ns: 70_000,
                    pause_ns: 1_000_000,
                    longer_ns: 130_000,
                },
                throttle: Throttle {
                    half_life_ns: 33_000_000,
                    full_tokens: 512,
                    full_seqs: 70,
                    light_tokens: 96,
                    from_ppm: 300_000,
                    prompt_ppm: 150_000,
                    decode_ppm: 60_000,
                    sustained: Sustained {
                        half_life_ns: 240_000_000,
                        from_ppm: 700_000,
                        prompt_ppm: 35_000,
                    },
                },
                jitter: Jitter {
                    prompt_ppm: 12_000,
                    decode_ppm: 5_000,
                },
                gemm: StepTable::new(vec![(1, 3_900_000_000), (512, 12_000_000_000)]).unwrap(),
                decode_attention: StepTable::new(vec![(1, 120_000), (8, 960_000)]).unwrap(),
                prefill_attention: StepTable::new(vec![(128, 230_000)]).unwrap(),
                prefill_rounds: StepTable::uneven(vec![(640, 70_000), (768, 0)]).unwrap(),
                context: StepTable::uneven(vec![(128, 90_000_000), (512, 0)]).unwrap(),
                context_long: StepTable::uneven(vec![(128, 90_000_000), (640, 7_000)]).unwrap(),
                context_long_from: 9_100,
                ..StepCost::default()
            },
            sweeps: [(sweep.clone(), line), (sweep, line)],
            head_of_line_ns: [9_900_000; 2],
            latency_ns: [[8_000, 12_000], [9_000, 14_000]],
            allocation_ns: vec![(1 << 30, [120_000, 600_000])],
            host_pool_s_per_gib: vec![(4, 0.045)],
        }
    }

    fn origin() -> Origin {
        Origin {
            name: "my \"gpu\"".to_owned(),
            gpu: "NVIDIA H200".to_owned(),
            driver: "13.0".to_owned(),
            date: "2026-11-22".to_owned(),
            command: "djinn-replay calibrate --out x.toml".to_owned(),
            hbm_bytes: 150_109_880_320,
        }
    }

    #[test]
    fn a_written_profile_is_read_back_by_the_simulator() {
        let base = devices::hardware("h200").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gpu.toml");
        std::fs::write(&path, toml(&origin(), &measured(), &base).unwrap()).unwrap();
        let profile = devices::hardware(path.to_str().unwrap()).unwrap();
        assert_eq!(profile.name, "my \"gpu\"");
        assert_eq!(profile.link.copy_ns, 4_100);
        assert_eq!(profile.link.d2h.bytes_per_s_shared.get(), 51_000_000_000);
        // No lane is faster beside the other than alone.
        assert_eq!(profile.link.h2d.bytes_per_s_shared.get(), 54_900_000_000);
        assert_eq!(profile.link.h2d.piece_ns.staged, 40);
        assert_eq!(profile.link.d2h.beside_steps_ppm, 15_000);
        assert_eq!(profile.compute.multiprocessors.unwrap().get(), 108);
        assert_eq!(profile.compute.formula, base.compute.formula);
        assert!(profile.disk.is_some() && profile.disk == base.disk);
        assert_eq!(profile.compute.measured["llama-2-7b"], measured().cost);
        let model = devices::model("llama-2-7b").unwrap();
        assert!(profile.is_measured_for(&model));
    }

    #[test]
    fn a_profile_says_what_its_steps_computed_and_how_far_off_the_fit_is() {
        let base = devices::hardware("h200").unwrap();
        let text = toml(&origin(), &measured(), &base).unwrap();
        for part in [
            "compute nothing (`touch`). Other models keep the roofline of the profile `h200`.",
            // 3,900 us predicted, 4,000 measured.
            "# decode steps of llama-2-7b, held out: 2.50 %, 2.50 % (1), bias -2.50 %",
            "# D2H, held-out copies of all methods: ",
        ] {
            assert!(text.contains(part), "no `{part}` in\n{text}");
        }
    }

    #[test]
    fn a_base_without_a_roofline_is_refused() {
        let base = devices::hardware("oracle").unwrap();
        assert!(
            toml(&origin(), &measured(), &base)
                .unwrap_err()
                .contains("`oracle`")
        );
    }

    #[test]
    fn every_timed_point_is_kept_with_its_prediction() {
        let text = copies_csv(&measured());
        // 4,100 + 4,096 / 54.9 = 4,174.6 ns.
        assert!(
            text.contains("d2h,memcpy-beneath,4096,,4200,4175,false\n"),
            "{text}"
        );
        assert!(text.contains("h2d,staged,67108864,8,1300000,"), "{text}");
        // A memcpy beneath the device, and three sizes of each method.
        assert_eq!(text.lines().count(), 1 + 2 * (1 + 5 * 3));
        let steps = steps_csv(&measured().steps, &measured().cost);
        assert!(
            steps.contains("decode,0,0,0,0,1,0,4000000,0,3900000,true\n"),
            "{steps}"
        );
    }
}
