//! The ranking of all policies in the paper: from the tables of a run that is committed, for it takes half an hour.
//!
//! `djinn rank --out results/policies` makes them; `paper/ranking/README.md` says how they get here.

use crate::error::CliError;
use figures::format::three_digits;
use figures::{FigureError, Numbers, by_name};
use results::folder::read_table;
use results::ranking::{DifferenceRow, LoadRow, PlaceRow, TunedRow};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The committed tables, in a checkout.
const FOLDER: &str = "paper/ranking";
/// The metric that decides.
const METRIC: &str = "wakeup_mean";
/// This project's policy.
const OURS: &str = "djinn";
/// What moves KV when it must, and needs no hints.
const PLAIN: &str = "swap-on-demand";

/// The tables.
pub(super) struct Record {
    loads: Vec<LoadRow>,
    /// Defaults, by the metric that decides.
    differences: Vec<DifferenceRow>,
    /// The same.
    places: Vec<PlaceRow>,
    /// All loads, by the metric that decides.
    tuned: Vec<TunedRow>,
    manifest: serde_json::Value,
}

impl Record {
    /// The committed record; none outside of a checkout.
    pub(super) fn read() -> Result<Option<Self>, CliError> {
        let folder = Path::new(FOLDER);
        if !folder.is_dir() {
            return Ok(None);
        }
        let mut differences: Vec<DifferenceRow> = read_table(&folder.join("differences.csv"))?;
        differences.retain(|row| row.metric == METRIC && row.setting == "default");
        let mut places: Vec<PlaceRow> = read_table(&folder.join("ranking.csv"))?;
        places.retain(|row| row.metric == METRIC && row.setting == "default");
        let mut tuned: Vec<TunedRow> = read_table(&folder.join("tuned.csv"))?;
        tuned.retain(|row| row.metric == METRIC);
        let path = folder.join("manifest.json");
        let text = std::fs::read_to_string(&path);
        let text = text.map_err(|cause| CliError::file("read", &path, &cause))?;
        let manifest = serde_json::from_str(&text)
            .map_err(|cause| CliError::failed(format!("{}: {cause}", path.display())))?;
        Ok(Some(Self {
            loads: read_table(&folder.join("loads.csv"))?,
            differences,
            places,
            tuned,
            manifest,
        }))
    }

    /// Draws its figures into `target`.
    pub(super) fn draw(target: &Path) -> Result<Vec<PathBuf>, CliError> {
        let mut files = Vec::new();
        for name in ["policy_heat", "policy_places"] {
            let figure = by_name(name).expect("it is registered");
            files.extend(figure.make(Path::new(FOLDER), target)?);
        }
        Ok(files)
    }

    /// Its numbers. `Weka`, `TauTwo` and so on name the workload, `Light`, `Knee`, `Overload` the load.
    pub(super) fn numbers(&self, numbers: &mut Numbers) -> Result<(), FigureError> {
        let count = |of: &str| self.manifest["runs"][of].as_u64().unwrap_or_default();
        numbers.count("rankRuns", count("judged"))?;
        let cpu_s = self.manifest["cpu_seconds"].as_f64().unwrap_or_default();
        numbers.fixed("rankCpuMinutes", cpu_s / 60.0, 0)?;
        let policies = self.manifest["policies"].as_array().map_or(0, Vec::len);
        numbers.count("rankPolicies", policies as u64)?;
        let shards = self.differences.iter().map(|row| row.shards).max();
        numbers.count("rankShards", shards.unwrap_or_default())?;
        numbers.count("rankCells", self.loads.len() as u64)?;
        for load in &self.loads {
            self.cell(load, numbers)?;
        }
        self.front(numbers)?;
        self.tuning(numbers)
    }

    /// The rows of the table of loads: rate, the reference's mean wake-up, who is first and by how much, our place.
    pub(super) fn table(&self) -> String {
        let mut text = String::new();
        for load in &self.loads {
            let is_here =
                |workload: &str, name: &str| workload == load.workload && name == load.load;
            let mut places = self
                .places
                .iter()
                .filter(|row| is_here(&row.workload, &row.load));
            let mut here = self
                .differences
                .iter()
                .filter(|row| is_here(&row.workload, &row.load));
            let reference = here.find_map(|row| row.reference_ns).unwrap_or_default() / 1e9;
            let ours = places.clone().find(|row| row.policy == OURS);
            let place = ours
                .and_then(|row| row.place)
                .map_or_else(|| "--".to_owned(), |p| p.to_string());
            let Some(best) = places.next() else { continue };
            let _ = writeln!(
                text,
                "{} & {} & {} & {} & \\policy{{{}}} ({}) & {} & {} \\\\",
                load.workload,
                load.load,
                three_digits(load.rate),
                three_digits(reference),
                best.policy,
                best.tied,
                best.ratio.map_or_else(
                    || "--".to_owned(),
                    |ratio| format!("{}$\\times$", three_digits(1.0 / ratio))
                ),
                place
            );
        }
        text
    }

    fn cell(&self, load: &LoadRow, numbers: &mut Numbers) -> Result<(), FigureError> {
        let cell = format!("{}{}", tex_word(&load.workload), tex_word(&load.load));
        let is_here = |workload: &str, name: &str| workload == load.workload && name == load.load;
        let here: Vec<&DifferenceRow> = self
            .differences
            .iter()
            .filter(|row| is_here(&row.workload, &row.load))
            .collect();
        let places: Vec<&PlaceRow> = self
            .places
            .iter()
            .filter(|row| is_here(&row.workload, &row.load))
            .collect();
        numbers.real(&format!("rankRate{cell}"), load.rate)?;
        let reference = here.iter().find_map(|row| row.reference_ns);
        numbers.real(
            &format!("rankRef{cell}"),
            reference.unwrap_or_default() / 1e9,
        )?;
        let shown = |better: bool| {
            let side = |row: &&&DifferenceRow| {
                row.shown() && row.ratio.is_some_and(|ratio| (ratio < 1.0) == better)
            };
            here.iter().filter(side).count() as u64
        };
        numbers.count(&format!("rankBetter{cell}"), shown(true))?;
        numbers.count(&format!("rankWorse{cell}"), shown(false))?;
        let out = places.iter().filter(|row| row.place.is_none()).count();
        numbers.count(&format!("rankOut{cell}"), out as u64)?;
        if let Some(best) = places.first() {
            numbers.text(&format!("rankBest{cell}"), &best.policy)?;
            numbers.count(&format!("rankTied{cell}"), best.tied)?;
            let times = best.ratio.map_or(1.0, |ratio| 1.0 / ratio);
            numbers.real(&format!("rankBestTimes{cell}"), times)?;
        }
        for (policy, name) in [(OURS, "Djinn"), (PLAIN, "Swap")] {
            let Some(row) = places.iter().find(|row| row.policy == policy) else {
                continue;
            };
            let place = row
                .place
                .map_or_else(|| "--".to_owned(), |place| place.to_string());
            numbers.text(&format!("rankPlace{name}{cell}"), &place)?;
            numbers.real(&format!("rank{name}{cell}"), row.ratio.unwrap_or(1.0))?;
        }
        Ok(())
    }

    /// Who is in front how often.
    fn front(&self, numbers: &mut Numbers) -> Result<(), FigureError> {
        let mut fronts: Vec<(&str, u64)> = Vec::new();
        for row in &self.places {
            let is_front = u64::from(row.place == Some(1));
            match fronts.iter_mut().find(|(policy, _)| *policy == row.policy) {
                Some((_, count)) => *count += is_front,
                None => fronts.push((&row.policy, is_front)),
            }
        }
        let ours = fronts.iter().find(|(policy, _)| *policy == OURS);
        numbers.count("rankFrontDjinn", ours.map_or(0, |(_, count)| *count))?;
        let most = fronts
            .iter()
            .map(|(_, count)| *count)
            .max()
            .unwrap_or_default();
        let who: Vec<&str> = fronts
            .iter()
            .filter(|(_, count)| *count == most)
            .map(|(policy, _)| *policy)
            .collect();
        numbers.count("rankFrontMost", most)?;
        numbers.text("rankFrontPolicy", &who.join(", "))?;
        let never = fronts.iter().filter(|(_, count)| *count == 0).count();
        numbers.count("rankFrontNever", never as u64)
    }

    /// What tuning came to on other shards.
    fn tuning(&self, numbers: &mut Numbers) -> Result<(), FigureError> {
        let count =
            |of: &dyn Fn(&TunedRow) -> bool| self.tuned.iter().filter(|row| of(row)).count() as u64;
        let better = |row: &TunedRow| row.shown() && row.over_default.is_some_and(|x| x < 1.0);
        let worse = |row: &TunedRow| row.shown() && row.over_default.is_some_and(|x| x > 1.0);
        numbers.count("rankTuned", self.tuned.len() as u64)?;
        numbers.count("rankTunedBetter", count(&better))?;
        numbers.count("rankTunedWorse", count(&worse))?;
        numbers.count("rankTunedAlike", count(&|row| !better(row) && !worse(row)))
    }
}

/// A word as a part of a TeX command: a capital first, digits in words.
fn tex_word(word: &str) -> String {
    const DIGITS: [&str; 10] = [
        "Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine",
    ];
    let mut text = String::new();
    for c in word.chars() {
        match c.to_digit(10) {
            Some(digit) => text += DIGITS[digit as usize],
            None if text.is_empty() => text.extend(c.to_uppercase()),
            None if c.is_ascii_alphabetic() => text.push(c),
            None => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::tex_word;

    #[test]
    fn a_name_with_digits_becomes_a_tex_word() {
        assert_eq!(tex_word("tau2"), "TauTwo");
        assert_eq!(tex_word("weka-2"), "WekaTwo");
    }
}
