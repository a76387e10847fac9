//! Recorded runs of GPUs, and what each is judged by: a list in TOML.
//!
//! ```text
//!   [cards]                                # calibrations of like cards
//!   llama-2-7b = ["refit/card-11.toml", "refit/card-6.toml"]
//!
//!   [[recording]]
//!   name = "overload-6"                    # its runs are in overload-6/gpu, beside the list
//!   kernels = "today's"                    # recordings of the same kernels share a table
//!   judge = "refit/card-11.toml"           # the calibration of the card that it ran on
//!   like = "llama-2-7b"                    # by the others of this list: how far one simulation carries
//! ```

use super::{Matched, by_key, simulating};
use crate::run::{Ran, RunOptions, simulate};
use crate::{LabError, Setup};
use rayon::prelude::*;
use results::folder::RunFolder;
use results::spec::RunSpec;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Name of the list in its folder.
pub const LIST: &str = "recordings.toml";
/// Draws of the jitter by which each spec is simulated; their median is judged. Odd, so that it is one of them.
const DRAWS: u32 = 25;
/// Folder of the measured runs in that of their recording.
const MEASURED: &str = "gpu";

/// Runs that were recorded together.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recording {
    /// Its folder, beside the list.
    pub name: String,
    /// Which kernels ran, for headings.
    pub kernels: String,
    /// Profile that is judged, beside the list.
    judge: PathBuf,
    /// The list of profiles of like machines.
    like: Option<String>,
}

/// A list of recordings.
#[derive(Clone, Debug)]
pub struct Recordings {
    folder: PathBuf,
    cards: BTreeMap<String, Vec<PathBuf>>,
    /// In the order of the list.
    pub all: Vec<Recording>,
}

impl Recordings {
    /// Reads the list in `folder`.
    ///
    /// # Errors
    /// If it is not there, or names something that is not.
    pub fn read(folder: &Path) -> Result<Self, LabError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct List {
            #[serde(default)]
            cards: BTreeMap<String, Vec<PathBuf>>,
            recording: Vec<Recording>,
        }
        let path = folder.join(LIST);
        let wrong = |what: String| LabError::Recordings {
            path: path.clone(),
            what,
        };
        let text = std::fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
        let list: List = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        for recording in &list.recording {
            let runs = PathBuf::from(&recording.name).join(MEASURED);
            let like = match &recording.like {
                None => &Vec::new(),
                Some(name) => list.cards.get(name).ok_or_else(|| {
                    wrong(format!(
                        "`{}` needs the list `{name}` of [cards], which is not there",
                        recording.name
                    ))
                })?,
            };
            for file in like.iter().chain([&recording.judge, &runs]) {
                if !folder.join(file).exists() {
                    let name = &recording.name;
                    return Err(wrong(format!(
                        "`{name}` needs {}, which is not there",
                        file.display()
                    )));
                }
            }
        }
        Ok(Self {
            folder: folder.to_owned(),
            cards: list.cards,
            all: list.recording,
        })
    }

    /// Keeps those that are `named`.
    ///
    /// # Errors
    /// If one is not in the list.
    pub fn only(&mut self, named: &[String]) -> Result<(), LabError> {
        let unknown = |name: &&String| self.all.iter().all(|recording| recording.name != **name);
        if let Some(name) = named.iter().find(unknown) {
            let all: Vec<&str> = self.all.iter().map(|one| one.name.as_str()).collect();
            return Err(LabError::Recordings {
                path: self.folder.join(LIST),
                what: format!("no recording `{name}`; there are {}", all.join(", ")),
            });
        }
        self.all.retain(|recording| named.contains(&recording.name));
        Ok(())
    }

    /// Folder of a recording.
    pub fn folder_of(&self, recording: &Recording) -> PathBuf {
        self.folder.join(&recording.name)
    }

    /// Profiles of like machines, without the one that is judged.
    fn like<'a>(&'a self, recording: &'a Recording) -> impl Iterator<Item = &'a PathBuf> {
        let list = recording
            .like
            .as_ref()
            .and_then(|name| self.cards.get(name));
        let judge = &recording.judge;
        list.into_iter()
            .flatten()
            .filter(move |card| *card != judge)
    }

    /// Simulates the specs of a recording in `out`, each by every profile and by draws of the jitter of the one that is judged; `progress` hears of
    /// each that is done, and how many there are.
    /// What is there already is taken up.
    ///
    /// # Errors
    /// If a run is damaged, a profile is wrong, or a simulation fails.
    pub fn simulate(
        &self,
        recording: &Recording,
        out: &Path,
        options: &RunOptions,
        progress: &(dyn Fn(usize) + Sync),
    ) -> Result<Vec<Matched>, LabError> {
        let measured = RunFolder::open_all(&self.folder_of(recording).join(MEASURED))?;
        if let Some(run) = measured.iter().find(|run| run.manifest().partial) {
            return Err(LabError::Recordings {
                path: run.path().to_owned(),
                what: "the run was stopped early; take its folder away, or record it again"
                    .to_owned(),
            });
        }
        let specs = by_key(measured);
        let mut tasks = Vec::new();
        let mut draws = Vec::with_capacity(specs.len());
        let judge = devices::hardware(&self.folder.join(&recording.judge).to_string_lossy())?;
        for (_, runs) in &specs {
            let spec = &runs[0].manifest().spec;
            // None if what its equal steps differ by was not measured.
            let steps = judge.step_cost(&devices::model(&spec.model)?);
            let drawn = if steps.jitter.is_on() { DRAWS } else { 0 };
            let profiles = std::iter::once(&recording.judge).chain(self.like(recording));
            tasks.extend(profiles.map(|profile| (spec, profile, 0)));
            tasks.extend((1..=drawn).map(|draw| (spec, &recording.judge, draw)));
            draws.push(drawn);
        }
        let simulated = tasks.par_iter().map(|(spec, profile, draw)| {
            let folder = self.one(spec, profile, *draw, out, options)?;
            progress(tasks.len());
            Ok(folder)
        });
        let mut simulated = simulated
            .collect::<Result<Vec<RunFolder>, LabError>>()?
            .into_iter();
        let matched = specs.into_iter().zip(draws);
        let matched = matched.filter_map(|((_, measured), drawn)| {
            Some(Matched {
                simulated: simulated.next()?,
                again: simulated
                    .by_ref()
                    .take(self.like(recording).count())
                    .collect(),
                drawn: simulated.by_ref().take(drawn as usize).collect(),
                measured,
            })
        });
        Ok(matched.collect())
    }

    fn one(
        &self,
        spec: &RunSpec,
        profile: &Path,
        draw: u32,
        out: &Path,
        options: &RunOptions,
    ) -> Result<RunFolder, LabError> {
        let hardware = self.folder.join(profile);
        let spec = simulating(spec, &hardware.to_string_lossy(), draw);
        let setup = Setup::new(&spec)?;
        let target = out.join(spec.run_id());
        match simulate(&setup, &target, options, |_| ())? {
            Ran::Now(finished) => Ok(finished.folder),
            Ran::Before(folder) => Ok(folder),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(text: &str) -> Result<Recordings, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("a/gpu")).unwrap();
        std::fs::write(folder.path().join("card.toml"), "").unwrap();
        std::fs::write(folder.path().join(LIST), text).unwrap();
        Recordings::read(folder.path()).map_err(|error| error.to_string())
    }

    const GOOD: &str =
        "[[recording]]\nname = \"a\"\nkernels = \"today's\"\njudge = \"card.toml\"\n";

    #[test]
    fn a_list_that_names_what_is_not_there_is_refused() {
        assert_eq!(listed(GOOD).unwrap().all.len(), 1);
        let error = listed(&GOOD.replace("name = \"a\"", "name = \"b\"")).unwrap_err();
        assert!(
            error.ends_with("`b` needs b/gpu, which is not there"),
            "{error}"
        );
        let like = |cards: &str| listed(&format!("[cards]\n{cards}\n{GOOD}like = \"two\"\n"));
        let error = like("two = [\"card.toml\", \"other.toml\"]").unwrap_err();
        assert!(error.contains("needs other.toml"), "{error}");
        let error = like("one = []").unwrap_err();
        assert!(error.contains("needs the list `two`"), "{error}");
        let good = like("two = [\"card.toml\"]").unwrap();
        assert_eq!(
            good.like(&good.all[0]).count(),
            0,
            "the judge is not among them"
        );
        let error = listed(&format!("{GOOD}jugde = 1\n")).unwrap_err();
        assert!(error.contains("unknown field `jugde`"), "{error}");
    }

    #[test]
    fn a_recording_that_is_not_listed_is_an_error_with_those_that_are() {
        let mut recordings = listed(GOOD).unwrap();
        let error = recordings.only(&["c".to_owned()]).unwrap_err().to_string();
        assert!(error.ends_with("no recording `c`; there are a"), "{error}");
        recordings.only(&["a".to_owned()]).unwrap();
        assert_eq!(recordings.all.len(), 1);
    }
}
