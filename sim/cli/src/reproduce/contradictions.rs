//! The three contradictions of the literature: their sweeps, their figures, their numbers.
//!
//! ```text
//!   configs/experiments/contradiction-<panel>.toml ──► contradictions/<panel>/runs.csv ──► figures, tables, numbers
//! ```

use super::Args;
use crate::error::CliError;
use figures::contradiction::{Curve, Spec, curves, specs};
use figures::{FigureError, Numbers};
use results::compare::Bootstrap;
use results::runs::{RunRow, read_runs};
use std::path::{Path, PathBuf};

/// The sweeps by the folder of their results.
pub(super) const SWEEPS: [(&str, &str); 5] = [
    (
        "pausing-waits",
        include_str!("../../../../configs/experiments/contradiction-pausing-waits.toml"),
    ),
    (
        "pausing-programs",
        include_str!("../../../../configs/experiments/contradiction-pausing-programs.toml"),
    ),
    (
        "offload-host",
        include_str!("../../../../configs/experiments/contradiction-offload-host.toml"),
    ),
    (
        "offload-programs",
        include_str!("../../../../configs/experiments/contradiction-offload-programs.toml"),
    ),
    (
        "ttl-programs",
        include_str!("../../../../configs/experiments/contradiction-ttl-programs.toml"),
    ),
];

/// Where their results are.
pub(super) fn folder(out: &Path) -> PathBuf {
    out.join("contradictions")
}

/// Runs what is missing of all five sweeps.
pub(super) fn simulate(args: &Args) -> Result<(), CliError> {
    for (panel, text) in SWEEPS {
        let config = format!("contradiction-{panel}.toml");
        let spec = super::load(&config, text, &[])?;
        let what = format!("contradiction, {panel}");
        super::sweep(args, &what, &spec, &folder(&args.out).join(panel), None)?;
    }
    Ok(())
}

/// What the paper says of them.
pub(super) fn numbers(numbers: &mut Numbers, out: &Path) -> Result<(), FigureError> {
    let folder = folder(out);
    let runs = |panel: &str| read_runs(&folder.join(panel).join("runs.csv"));
    let mut count = 0;
    for (panel, _) in SWEEPS {
        count += runs(panel)?.len() as u64;
    }
    numbers.count("contraRuns", count)?;
    numbers.count("contraFits", fits(&runs("ttl-programs")?))?;

    let pausing = Shown::new(&specs::PAUSING, &folder)?;
    let release = "continuum-release";
    pausing.ratio(numbers, "pauseShort", 0, release, 2.0)?;
    pausing.ratio(numbers, "pauseLong", 0, release, 600.0)?;
    pausing.crossing(numbers, "pauseWaits", 0, release)?;
    pausing.ratio(numbers, "pauseMany", 1, release, 320.0)?;
    pausing.ratio(numbers, "pauseManyPaper", 1, "continuum-paper", 320.0)?;
    pausing.crossing(numbers, "pausePrograms", 1, release)?;
    pausing.crossing(numbers, "pauseProgramsPaper", 1, "continuum-paper")?;
    let unforced = "thunderagent-release[forced_s=1000000]";
    pausing.ratio(numbers, "pauseUnforced", 1, unforced, 320.0)?;

    let offload = Shown::new(&specs::OFFLOAD, &folder)?;
    let native = "vllm-offload";
    offload.ratio(numbers, "offloadSmall", 0, native, 10.0)?;
    offload.ratio(numbers, "offloadEqual", 0, native, 100.0)?;
    offload.ratio(numbers, "offloadLarge", 0, native, 400.0)?;
    offload.ratio(
        numbers,
        "offloadPausing",
        0,
        specs::PAUSING.reference,
        400.0,
    )?;
    offload.against(numbers, "offloadHost", 0, native, specs::PAUSING.reference)?;
    offload.ratio(numbers, "offloadFew", 1, native, 30.0)?;
    offload.ratio(numbers, "offloadMany", 1, native, 160.0)?;
    let hicache = "hicache-wt";
    offload.ratio(numbers, "hicacheFew", 1, hicache, 30.0)?;
    offload.ratio(numbers, "hicacheMany", 1, hicache, 160.0)?;
    offload.crossing(numbers, "hicachePrograms", 1, hicache)?;

    let ttl = Shown::new(&specs::TTL, &folder)?;
    let [until_turn, until_session, two_turn] = [
        "continuum-release[pin_s=600,mean_max_s=600,session_order=no]",
        "continuum-release[pin_s=600,mean_max_s=600]",
        "continuum-release[session_order=no]",
    ];
    ttl.ratio(numbers, "ttlUntilTurnFew", 0, until_turn, 30.0)?;
    ttl.ratio(numbers, "ttlUntilTurn", 0, until_turn, 160.0)?;
    ttl.ratio(numbers, "ttlUntilSession", 0, until_session, 160.0)?;
    ttl.ratio(numbers, "ttlTwoSession", 0, release, 160.0)?;
    ttl.ratio(numbers, "ttlTwoTurn", 0, two_turn, 160.0)?;
    ttl.ratio(numbers, "ttlOrder", 0, "continuum-release[pin_s=0]", 160.0)?;
    ttl.crossing(numbers, "ttlUntil", 0, until_turn)?;
    ttl.ratio(numbers, "ttlTail", 1, until_turn, 160.0)
}

/// The curves of one figure, to take numbers from.
struct Shown {
    spec: &'static Spec,
    curves: Vec<Curve>,
}

impl Shown {
    fn new(spec: &'static Spec, folder: &Path) -> Result<Self, FigureError> {
        let curves = curves(spec, folder)?;
        Ok(Self { spec, curves })
    }

    fn curve(&self, panel: usize, policy: &str) -> &Curve {
        let own = |curve: &&Curve| curve.panel == panel && curve.series.policy == policy;
        let found = self.curves.iter().find(own);
        found.unwrap_or_else(|| panic!("{} shows no {policy}", self.spec.name))
    }

    /// `\<name>`, `\<name>Low`, `\<name>High`: the ratio at a value of the variable, and its interval.
    fn ratio(
        &self,
        numbers: &mut Numbers,
        name: &str,
        panel: usize,
        policy: &str,
        x: f64,
    ) -> Result<(), FigureError> {
        let curve = self.curve(panel, policy);
        let point = curve.points.iter().find(|p| p.x.total_cmp(&x).is_eq());
        let point = point.unwrap_or_else(|| panic!("{} has no value {x}", self.spec.name));
        let Some(ratio) = Bootstrap::default().ratio(&point.pairs) else {
            return Ok(());
        };
        numbers.fixed(name, ratio.mean, 2)?;
        if let Some(interval) = ratio.interval {
            numbers.fixed(&format!("{name}Low"), interval.low, 2)?;
            numbers.fixed(&format!("{name}High"), interval.high, 2)?;
        }
        Ok(())
    }

    /// `\<name>At`, `\<name>AtLow`, `\<name>AtHigh`: where the ratio crosses 1 for the last time.
    fn crossing(
        &self,
        numbers: &mut Numbers,
        name: &str,
        panel: usize,
        policy: &str,
    ) -> Result<(), FigureError> {
        Self::place(numbers, name, self.curve(panel, policy))
    }

    /// The same of one policy over another that is not the reference.
    fn against(
        &self,
        numbers: &mut Numbers,
        name: &str,
        panel: usize,
        policy: &str,
        other: &str,
    ) -> Result<(), FigureError> {
        let mut curve = self.curve(panel, policy).clone();
        for (point, other) in curve
            .points
            .iter_mut()
            .zip(&self.curve(panel, other).points)
        {
            for (pair, other) in point.pairs.iter_mut().zip(&other.pairs) {
                pair.0 = other.1;
            }
        }
        Self::place(numbers, name, &curve)
    }

    fn place(numbers: &mut Numbers, name: &str, curve: &Curve) -> Result<(), FigureError> {
        let Some(last) = curve.crossings().pop() else {
            return numbers.text(&format!("{name}At"), "nowhere");
        };
        numbers.real(&format!("{name}At"), last.at)?;
        numbers.real(&format!("{name}AtLow"), last.interval.low)?;
        numbers.real(&format!("{name}AtHigh"), last.interval.high)
    }
}

/// Programs whose KV fits into HBM at once: what it holds over what one of the most asks for at the peak, on average.
fn fits(runs: &[RunRow]) -> u64 {
    let most = runs.iter().map(|run| run.id.agents).max().unwrap_or(1);
    let of_most = runs.iter().filter(|run| run.id.agents == most);
    let (mut hbm, mut demand) = (0, 0);
    for run in of_most {
        hbm += run.id.hbm_blocks * most;
        demand += run.id.demand_blocks;
    }
    hbm / demand.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_sweep_runs_the_policies_and_varies_the_key_of_its_panel() {
        for spec in specs::ALL {
            for panel in spec.panels {
                let (_, text) = SWEEPS
                    .iter()
                    .find(|(name, _)| *name == panel.folder)
                    .expect("a sweep for the panel");
                let sweep = super::super::load(panel.folder, text, &[]).expect("it is valid");
                let policies: BTreeSet<&str> = sweep
                    .points()
                    .iter()
                    .map(|point| point.spec.policy.as_str())
                    .collect();
                let mut shown: BTreeSet<&str> = spec.series.iter().map(|s| s.policy).collect();
                shown.insert(spec.reference);
                assert_eq!(policies, shown, "{}", panel.folder);
                let key = format!("\"{}\":", panel.key);
                assert!(
                    sweep
                        .points()
                        .iter()
                        .all(|point| point.params.contains(&key)),
                    "{}",
                    panel.folder
                );
            }
        }
    }
}
