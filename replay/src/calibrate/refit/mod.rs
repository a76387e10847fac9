//! A profile fitted again, without a GPU: to what its calibration timed, by the model of today.
//!
//! ```text
//!   FILE.steps.csv ───► step_fit ─┐
//!   FILE.bursts.csv ──► throttle ─┼─► FILE with other tables of steps and copies, all else as it was
//!   FILE.copies.csv ──► lane_fit ─┘   (without the last the link stays as it was; with `--link` it is another profile's)
//! ```

mod link;

use super::bursts::RanStep;
use super::profile::{computed_by, step_cost};
use super::remarks::step_errors;
use super::{BlockShape, COPY_BLOCKS, Plan, StepPoint, cost, setup_for, timed_kernels};
use crate::run::{ComputeKind, ReplayError};
use devices::{StepCost, StepTotals};
use engine::device::{PrefillChunk, StepShape};
use lab::Setup;
use link::{CopyRow, with_lanes, with_link};
use model::Time;
use results::folder::{FolderError, read_table};
use results::spec::CopyMethod;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What was fitted again.
#[derive(Clone, Debug, PartialEq)]
pub struct Refit {
    /// The profile's text.
    pub text: String,
    /// The steps that it rests on.
    pub points: Vec<StepPoint>,
    /// What they cost.
    pub cost: StepCost,
}

/// Why a profile could not be fitted again.
#[derive(Debug, thiserror::Error)]
pub enum RefitError {
    /// The profile cannot be read.
    #[error(transparent)]
    Profile(#[from] devices::ProfileError),
    /// A table cannot be read.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The profile is of another shape than `calibrate` writes.
    #[error("{}: {what}", path.display())]
    Shape {
        /// The profile.
        path: PathBuf,
        /// What is amiss.
        what: String,
    },
    /// The timed steps or copies do not tell the constants.
    #[error("{}: {what}", path.display())]
    Fit {
        /// Their table.
        path: PathBuf,
        /// What is amiss.
        what: String,
    },
}

/// A row of `FILE.steps.csv`, as far as it is needed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct TimedRow {
    prefill_tokens: u32,
    prefill_kv_tokens: u64,
    prefill_pairs: u64,
    /// None in calibrations from before tiles were counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prefill_tile_kv_tokens: Option<u64>,
    decode_seqs: u32,
    decode_kv_tokens: u64,
    nanos: u64,
    held_out: bool,
}

/// A row of `FILE.bursts.csv`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct BurstRow {
    start_ns: u64,
    end_ns: u64,
    prefill_tokens: u32,
    decode_seqs: u32,
    decode_kv_tokens: u64,
}

/// What is taken from another calibration of such a card.
#[derive(Clone, Copy, Debug, Default)]
pub struct Others<'a> {
    /// Timed bursts, for a calibration that timed none.
    pub bursts: Option<&'a Path>,
    /// A profile whose link is taken, for a calibration whose copies something else disturbed.
    pub link: Option<&'a Path>,
}

/// Fits steps and copies of the profile at `path` again. The throttle is fitted to the bursts that the calibration timed, or to those of `others`.
/// `command` is kept as the origin.
///
/// # Errors
/// If a file is missing or damaged, or its steps do not suffice.
pub fn refit(path: &Path, others: Others<'_>, command: &str) -> Result<Refit, RefitError> {
    let bursts = others.bursts;
    let profile = devices::hardware(&path.to_string_lossy())?;
    let shape = |what: &str| RefitError::Shape {
        path: path.to_owned(),
        what: what.to_owned(),
    };
    let mut measured = profile.compute.measured.iter();
    let (Some((model, before)), None) = (measured.next(), measured.next()) else {
        return Err(shape("it has not the steps of one measured model"));
    };
    let compute = computed_by(&profile.compute.source)
        .ok_or_else(|| shape("its source does not say what its steps computed"))?;
    let steps = path.with_extension("steps.csv");
    let mut points: Vec<StepPoint> = read_table(&steps)?.iter().map(TimedRow::point).collect();
    let own = path.with_extension("bursts.csv");
    if bursts.is_none() && !own.exists() {
        let own = own.display();
        return Err(shape(&format!(
            "its calibration timed no bursts, for {own} is not there; name those of another calibration of such a card with --bursts"
        )));
    }
    let rows: Vec<BurstRow> = read_table(bursts.unwrap_or(&own))?;
    let ran: Vec<RanStep> = rows.iter().map(BurstRow::step).collect();
    let setup = setup_of(model).map_err(|error| shape(&error.to_string()))?;
    let kernels = timed_kernels(compute, &setup, profile.compute.multiprocessors);
    let fitted = cost(&mut points, &ran, kernels);
    let cost = StepCost {
        idle: before.idle,
        ..fitted.map_err(|what| RefitError::Fit { path: steps, what })?
    };
    let read = |path: &Path| {
        std::fs::read_to_string(path).map_err(|cause| FolderError::Io {
            doing: "read",
            path: path.to_owned(),
            cause,
        })
    };
    let mut text = read(path)?;
    let mut errors = step_errors(&points, &cost, model);
    let copies = path.with_extension("copies.csv");
    if let Some(link) = others.link {
        text = with_link(&text, &read(link)?).ok_or_else(|| {
            let link = link.display();
            shape(&format!(
                "it or {link} has no table [link] as `calibrate` writes it"
            ))
        })?;
    } else if copies.exists() {
        let rows: Vec<CopyRow> = read_table(&copies)?;
        let blocks = BlockShape::of(&setup);
        let before = [&profile.link.d2h, &profile.link.h2d];
        let (fits, held_out) = link::lanes(&rows, before, blocks)
            .map_err(|what| RefitError::Fit { path: copies, what })?;
        text = with_lanes(&text, &fits)
            .ok_or_else(|| shape("it has no table [link] as `calibrate` writes it"))?;
        errors.extend(held_out);
    }
    let text = with_steps(&text, model, &cost, &errors, command).ok_or_else(|| {
        shape("it has no table [compute.measured.MODEL] as `calibrate` writes it")
    })?;
    Ok(Refit { text, points, cost })
}

impl TimedRow {
    fn point(&self) -> StepPoint {
        let totals = StepTotals {
            prefill_tokens: self.prefill_tokens,
            prefill_kv_tokens: self.prefill_kv_tokens,
            prefill_pairs: self.prefill_pairs,
            decode_seqs: self.decode_seqs,
            decode_kv_tokens: self.decode_kv_tokens,
            ..StepTotals::default()
        };
        StepPoint {
            totals: totals.with_tiles(self.prefill_tile_kv_tokens),
            nanos: self.nanos,
            held_out: self.held_out,
            load_ppm: 0,
        }
    }
}

impl BurstRow {
    fn step(&self) -> RanStep {
        let shape = StepShape {
            prefill: vec![PrefillChunk {
                tokens: self.prefill_tokens,
                context: 0,
            }],
            decode_seqs: self.decode_seqs,
            decode_kv_tokens: self.decode_kv_tokens,
        };
        RanStep {
            totals: StepTotals::of(&shape),
            start: Time(self.start_ns),
            end: Time(self.end_ns),
        }
    }
}

/// The profile's text with other steps, and with these comments on errors in place of its own. `None` if it has no table of them.
fn with_steps(
    text: &str,
    model: &str,
    cost: &StepCost,
    errors: &[String],
    command: &str,
) -> Option<String> {
    let is_header = |line: &str| line.starts_with('[');
    let header = [
        format!("[compute.measured.{model}]"),
        format!("[compute.measured.\"{model}\"]"),
    ];
    let mut lines = text.lines().peekable();
    let mut out = String::with_capacity(text.len());
    let mut found = false;
    while let Some(line) = lines.next() {
        let about = |error: &&String| {
            let kind = error.split_once(':').map_or("", |(kind, _)| kind);
            line.strip_prefix("# ")
                .is_some_and(|own| own.starts_with(kind))
        };
        match errors.iter().find(about) {
            Some(error) => {
                out.push_str("# ");
                out.push_str(error);
            }
            None => out.push_str(line),
        }
        out.push('\n');
        if header.iter().any(|header| header == line) {
            found = true;
            out.push_str("# Fitted again, by: ");
            out.push_str(command);
            out.push('\n');
            step_cost(cost, &mut out);
            while lines.next_if(|line| !is_header(line)).is_some() {}
            out.push('\n');
        }
    }
    found.then_some(out)
}

/// As a calibration sets up a model.
fn setup_of(model: &str) -> Result<Setup, ReplayError> {
    let plan = Plan {
        model: model.to_owned(),
        compute: ComputeKind::Spin,
        base: "h200".to_owned(),
    };
    setup_for(&plan, CopyMethod::Contiguous, COPY_BLOCKS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::{LaneFit, steps_csv};

    const MEASURED: &str = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/measurements/validation/card-15.toml"
    );

    /// The profile of today's model.
    fn refitted(name: &str) -> String {
        let path = Path::new(MEASURED).with_file_name("refit").join(name);
        path.to_string_lossy().into_owned()
    }

    #[test]
    fn the_profile_of_the_h200_is_what_its_steps_and_bursts_give() {
        let h200 = devices::hardware("h200").unwrap();
        for (model, card) in [("llama-2-7b", "card-17"), ("llama-3.1-8b", "card-17-long")] {
            let measured = Path::new(MEASURED).with_file_name(format!("{card}.toml"));
            let refit = refit(&measured, Others::default(), "djinn-replay refit").unwrap();
            assert_eq!(h200.compute.measured[model], refit.cost, "{model}");
            // Prompts behind long contexts, by lines of their own, whatever passes are padded to.
            let long = refit.points.iter().filter(|point| {
                point.kind() == "prefill" && point.totals.context() >= 9_000 && !point.held_out
            });
            for point in long {
                let error = point.error(&refit.cost);
                assert!(error.abs() < 0.015, "{point:?}: {error}");
            }
        }
    }

    #[test]
    fn prompts_for_seconds_show_what_load_that_lasts_does() {
        // Bursts of three seconds, on the H200 of the calibration and on another one.
        let lasting = Path::new(MEASURED).with_file_name("lasting.bursts.csv");
        let others = Others {
            bursts: Some(&lasting),
            link: None,
        };
        let steps = |others| refit(Path::new(MEASURED), others, "x").unwrap().cost;
        let [own, lasting] = [Others::default(), others].map(|others| steps(others).throttle);
        // What it is without load that lasts, they agree on.
        assert_eq!(own.half_life_ns, lasting.half_life_ns);
        assert_eq!(own.from_ppm, lasting.from_ppm);
        for throttle in [own, lasting] {
            let ppm = throttle.sustained.prompt_ppm;
            assert!((25_000..60_000).contains(&ppm), "{throttle:?}");
        }
    }

    #[test]
    fn all_but_the_steps_stays_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("card.toml");
        std::fs::copy(MEASURED, &path).unwrap();
        let measured = |ending| Path::new(MEASURED).with_extension(ending);
        std::fs::copy(measured("steps.csv"), path.with_extension("steps.csv")).unwrap();
        // Without bursts nothing tells the throttle.
        let missing = refit(&path, Others::default(), "x")
            .unwrap_err()
            .to_string();
        assert!(
            missing.contains("card.bursts.csv is not there; name those of another"),
            "{missing}"
        );

        let before = devices::hardware(MEASURED).unwrap();
        // Nor are copies there that tell another link.
        let bursts = measured("bursts.csv");
        let others = Others {
            bursts: Some(&bursts),
            link: None,
        };
        let again = refit(&path, others, "djinn-replay refit card.toml").unwrap();
        std::fs::write(&path, &again.text).unwrap();
        let after = devices::hardware(path.to_str().unwrap()).unwrap();
        assert_eq!(after.link, before.link);
        assert_eq!(after.compute.formula, before.compute.formula);
        assert_eq!(after.compute.measured["llama-2-7b"], again.cost);
        assert!(
            again
                .text
                .contains("# Fitted again, by: djinn-replay refit card.toml\n")
        );
        // What it has written is fitted again to the same.
        let csv = steps_csv(&again.points, &again.cost);
        std::fs::write(path.with_extension("steps.csv"), csv).unwrap();
        let twice = refit(&path, others, "djinn-replay refit card.toml").unwrap();
        assert_eq!(twice.cost, again.cost);
    }

    #[test]
    fn the_link_is_what_its_copies_give() {
        let disturbed = Path::new(MEASURED).with_file_name("card-14.toml");
        let [before, after] = [
            disturbed.to_string_lossy().into_owned(),
            refitted("card-14.toml"),
        ]
        .map(|path| devices::hardware(&path).unwrap().link);
        // One disturbed copy of a single block had told what a chunk costs, and so the rate: more than the link has.
        assert!(before.copy_ns > 20_000 && before.d2h.bytes_per_s.get() > 57_000_000_000);
        assert!(after.copy_ns < 5_000 && after.d2h.bytes_per_s.get() < 55_000_000_000);
        let again = refit(&disturbed, Others::default(), "x").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("card.toml");
        std::fs::write(&path, &again.text).unwrap();
        let again = devices::hardware(path.to_str().unwrap()).unwrap().link;
        assert_eq!(again, after);
        // What copies take beside others stays.
        let more = |lane: &devices::LaneSection| {
            let ns = |rate: std::num::NonZeroU64| 8_388_608e9 / rate.get() as f64;
            ns(lane.bytes_per_s_shared) - ns(lane.bytes_per_s)
        };
        assert!((more(&before.d2h) - more(&after.d2h)).abs() < 1.0);
        assert_eq!(before.d2h.slowdown_ppm, after.d2h.slowdown_ppm);
    }

    #[test]
    fn the_link_of_another_profile_is_taken_whole_and_nothing_else_of_it() {
        let [path, other] =
            ["card-7.toml", "card-4.toml"].map(|name| Path::new(MEASURED).with_file_name(name));
        let others = Others {
            bursts: None,
            link: Some(&other),
        };
        let text = refit(&path, others, "x").unwrap().text;
        let own = refit(&path, Others::default(), "x").unwrap().text;
        let folder = tempfile::tempdir().unwrap();
        let parsed = |text: &str| {
            let file = folder.path().join("card.toml");
            std::fs::write(&file, text).unwrap();
            devices::hardware(file.to_str().unwrap()).unwrap()
        };
        let (taken, own) = (parsed(&text), parsed(&own));
        let other = devices::hardware(other.to_str().unwrap()).unwrap();
        assert_eq!(taken.link, other.link);
        assert_ne!(own.link, other.link);
        assert_eq!(taken.compute, own.compute);
        assert_eq!(taken.memory, own.memory);
        assert_eq!(with_link("[disk]\n", &text), None);
    }

    #[test]
    fn a_profile_without_timed_steps_is_refused() {
        let text = "name = \"x\"\n[compute]\n";
        let cost = StepCost::default();
        assert_eq!(with_steps(text, "llama-2-7b", &cost, &[], "x"), None);
        assert_eq!(with_lanes(text, &[LaneFit::default(); 2]), None);
    }
}
