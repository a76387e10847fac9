//! A hardware profile in the form of `configs/hardware/*.toml`, from what was measured.

use super::Measured;
use super::fit::{Line, Point};
use devices::{Formula, HardwareProfile};
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

/// The profile's text. Its compute section is that of `base`, which no calibration of the link replaces.
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
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let mut text = String::new();
    let mut line = |what: String| {
        text.push_str(&what);
        text.push('\n');
    };
    line(format!("name = {}", quoted(&origin.name)));
    line(format!("title = {}", quoted(&origin.gpu)));
    line(format!(
        "\n# {} under CUDA {}, by: {}",
        origin.gpu, origin.driver, origin.command
    ));
    line("# Device times are medians of 7 after warm-up; every other size of a sweep was held out from the fit.".to_owned());
    remarks(measured, &mut line);
    line("\n[memory]\nprovenance = \"measured\"".to_owned());
    line(format!(
        "source = {}",
        quoted(&format!("cuDeviceTotalMem, CUDA {}", origin.driver))
    ));
    line(format!(
        "date = {}\nhbm_bytes = {}",
        quoted(&origin.date),
        origin.hbm_bytes
    ));
    line("\n[link]\nprovenance = \"measured\"".to_owned());
    line(format!(
        "source = {}",
        quoted(&format!(
            "{} on {}, CUDA {}",
            origin.command, origin.gpu, origin.driver
        ))
    ));
    line(format!(
        "date = {}\ncopy_ns = {}",
        quoted(&origin.date),
        measured.copy_ns()
    ));
    for direction in Direction::ALL {
        let side = direction.index();
        let lane = &measured.lanes[side];
        let alone = lane.line.bytes_per_s;
        line(format!(
            "\n[link.{}]\nbytes_per_s = {alone}",
            direction.to_string().to_lowercase()
        ));
        line(format!(
            "bytes_per_s_shared = {}",
            lane.bytes_per_s_shared.clamp(1, alone.max(1))
        ));
        let [memcpy, batch, gather, _] = lane.piece_ns;
        line(format!(
            "piece_ns = {{ memcpy = {memcpy}, batch = {batch}, gather = {gather} }}"
        ));
        line(format!("slowdown_ppm = {}", lane.slowdown_ppm));
    }
    line(format!(
        "\n# Not measured by this command: taken as it is from the profile `{}`.",
        base.name
    ));
    line(format!(
        "[compute]\nprovenance = \"{}\"",
        base.compute.provenance
    ));
    line(format!(
        "source = {}\ndate = {}",
        quoted(&base.compute.source),
        quoted(&base.compute.date)
    ));
    line(format!(
        "\n[compute.roofline]\nhbm_bytes_per_s = {}\nhbm_efficiency_ppm = {}\npeak_flops = {}\n\
         gemm_efficiency_ppm = {}\nattention_efficiency_ppm = {}\nlayer_ns = {}\ndecode_seq_ns = {}\nlaunch_ns_per_layer = {}",
        roofline.hbm_bytes_per_s,
        roofline.hbm_efficiency_ppm,
        roofline.peak_flops,
        roofline.gemm_efficiency_ppm,
        roofline.attention_efficiency_ppm,
        roofline.layer_ns,
        roofline.decode_seq_ns,
        roofline.launch_ns_per_layer,
    ));
    Ok(text)
}

/// What the profile has no key for, as comments.
fn remarks(measured: &Measured, line: &mut impl FnMut(String)) {
    let gb = |rate: u64| rate as f64 / 1e9;
    let us = |nanos: u64| nanos as f64 / 1e3;
    for direction in Direction::ALL {
        let lane = &measured.lanes[direction.index()];
        let Line {
            fixed_ns,
            bytes_per_s,
            error_median,
            error_max,
        } = lane.line;
        line(format!(
            "# {direction}: {fixed_ns} ns + bytes at {:.2} GB/s; held-out error median {:.2} %, largest {:.2} %; {:.2} GB/s beside the other",
            gb(bytes_per_s),
            error_median * 100.0,
            error_max * 100.0,
            gb(lane.bytes_per_s_shared),
        ));
        let [memcpy, batch, gather, staged] = lane.scattered_bytes_per_s.map(gb);
        line(format!(
            "# {direction}, 4,096 scattered pieces of 128 KiB: memcpy {memcpy:.1}, batch {batch:.1}, gather {gather:.1}, staged {staged:.1} GB/s"
        ));
        line(format!(
            "# {direction}: 8 MiB behind 512 MiB wait {:.2} ms",
            us(lane.head_of_line_ns) / 1e3
        ));
    }
    let [alone, d2h, h2d] = measured.touch_ns;
    line(format!(
        "# a kernel that reads 2 GiB of HBM: {:.1} us alone, {:.1} beside D2H, {:.1} beside H2D",
        us(alone),
        us(d2h),
        us(h2d)
    ));
    let [[kernel, kernel_99], [copy, copy_99]] = measured.latency_ns;
    line(format!(
        "# submission to completion seen by polling: empty kernel P50 {:.1} us, P99 {:.1}; copy of 4 KiB {:.1}, {:.1}",
        us(kernel),
        us(kernel_99),
        us(copy),
        us(copy_99)
    ));
    for (bytes, [taken, freed]) in &measured.allocation_ns {
        line(format!(
            "# HBM, {} MiB in one allocation: {:.0} us, freed in {:.0} us",
            bytes >> 20,
            us(*taken),
            us(*freed)
        ));
    }
    line(format!(
        "# pinned host pool: {:.3} s for each GiB",
        measured.host_pool_s_per_gib
    ));
}

/// The points of the sweeps, for a file of their own.
pub fn csv(measured: &Measured) -> String {
    let mut text = "direction,bytes,nanos,predicted_nanos,held_out\n".to_owned();
    for direction in Direction::ALL {
        let lane = &measured.lanes[direction.index()];
        for (place, Point { bytes, nanos }) in lane.sweep.iter().enumerate() {
            let predicted =
                lane.line.fixed_ns as f64 + *bytes as f64 * 1e9 / lane.line.bytes_per_s as f64;
            let name = direction.to_string().to_lowercase();
            let _ = writeln!(
                text,
                "{name},{bytes},{nanos},{predicted:.0},{}",
                place % 2 == 1
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::LaneMeasured;
    use super::*;

    fn measured() -> Measured {
        let line = Line {
            fixed_ns: 4_100,
            bytes_per_s: 54_900_000_000,
            error_median: 0.01,
            error_max: 0.05,
        };
        let lane = |shared| LaneMeasured {
            sweep: vec![
                Point {
                    bytes: 4_096,
                    nanos: 4_200,
                },
                Point {
                    bytes: 1 << 20,
                    nanos: 23_000,
                },
            ],
            line,
            bytes_per_s_shared: shared,
            piece_ns: [2_700, 450, 150, 40],
            scattered_bytes_per_s: [
                25_000_000_000,
                46_000_000_000,
                52_000_000_000,
                54_000_000_000,
            ],
            slowdown_ppm: 70_000,
            head_of_line_ns: 9_900_000,
        };
        Measured {
            // A noisy day: H2D came out faster beside the other direction than alone.
            lanes: [lane(51_000_000_000), lane(55_500_000_000)],
            touch_ns: [480_000, 485_000, 510_000],
            latency_ns: [[8_000, 12_000], [9_000, 14_000]],
            allocation_ns: vec![(1 << 30, [120_000, 600_000])],
            host_pool_s_per_gib: 0.045,
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
        assert_eq!(profile.link.h2d.piece_ns.batch, 450);
        assert_eq!(profile.compute, base.compute);
    }

    #[test]
    fn a_profile_says_what_was_not_measured() {
        let base = devices::hardware("h200").unwrap();
        let text = toml(&origin(), &measured(), &base).unwrap();
        assert!(
            text.contains(
                "# Not measured by this command: taken as it is from the profile `h200`."
            ),
            "{text}"
        );
        assert!(
            text.contains("held-out error median 1.00 %, largest 5.00 %"),
            "{text}"
        );
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
    fn every_point_of_a_sweep_is_kept_with_its_prediction() {
        let text = csv(&measured());
        // 4,100 + 4,096 / 54.9 = 4,174.6 ns.
        assert!(text.contains("d2h,4096,4200,4175,false\n"), "{text}");
        assert_eq!(text.lines().count(), 5);
    }
}
