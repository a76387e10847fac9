//! Recorded runs of GPUs, and what each is judged by: a list in TOML.
//!
//! ```text
//!   [cards]                                # calibrations of like cards
//!   llama-2-7b = ["refit/card-17.toml", "refit/card-6.toml"]
//!
//!   [[recording]]
//!   name = "overload-6"                    # its runs are in overload-6/gpu, beside the list
//!   load = "36 agents"                     # recordings of one load are drawn alike
//!   kernels = "today's"                    # recordings of the same kernels share a table
//!   judge = "refit/card-17.toml"           # the calibration of the card that it ran on
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
#[derive(Clone, Debug)]
pub struct Recording {
    /// Its folder, beside the list.
    pub name: String,
    /// What ran, in a few words; recordings of one load are drawn alike.
    pub load: String,
    /// Which kernels ran, for headings. Those of the latest come first in the list.
    pub kernels: String,
    /// Profile that is judged, beside the list.
    judge: PathBuf,
    /// Profiles of like machines.
    like: Vec<PathBuf>,
}

/// A recording as it is listed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    name: String,
    load: String,
    kernels: String,
    judge: PathBuf,
    /// A list of cards, the judge among them or not.
    like: Option<String>,
}

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    #[serde(default)]
    cards: BTreeMap<String, Vec<PathBuf>>,
    recording: Vec<Listed>,
}

impl Listed {
    /// With the cards of its list, but for the judge.
    fn resolved(self, cards: &BTreeMap<String, Vec<PathBuf>>) -> Result<Recording, String> {
        let mut like = match &self.like {
            None => Vec::new(),
            Some(list) => cards.get(list).cloned().ok_or_else(|| {
                let name = &self.name;
                format!("`{name}` needs the list `{list}` of [cards], which is not there")
            })?,
        };
        like.retain(|card| *card != self.judge);
        Ok(Recording {
            name: self.name,
            load: self.load,
            kernels: self.kernels,
            judge: self.judge,
            like,
        })
    }
}

/// A list of recordings.
#[derive(Clone, Debug)]
pub struct Recordings {
    folder: PathBuf,
    /// In the order of the list.
    pub all: Vec<Recording>,
}

impl Recordings {
    /// Reads the list in `folder`.
    ///
    /// # Errors
    /// If it is not there, or names something that is not.
    pub fn read(folder: &Path) -> Result<Self, LabError> {
        let path = folder.join(LIST);
        let wrong = |what: String| LabError::Recordings {
            path: path.clone(),
            what,
        };
        let text = std::fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
        let list: List = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        let mut all = Vec::with_capacity(list.recording.len());
        for listed in list.recording {
            let recording = listed.resolved(&list.cards).map_err(wrong)?;
            let runs = PathBuf::from(&recording.name).join(MEASURED);
            for file in recording.like.iter().chain([&recording.judge, &runs]) {
                if !folder.join(file).exists() {
                    let name = &recording.name;
                    return Err(wrong(format!(
                        "`{name}` needs {}, which is not there",
                        file.display()
                    )));
                }
            }
            all.push(recording);
        }
        let mut groups: Vec<&str> = all
            .iter()
            .map(|one: &Recording| one.kernels.as_str())
            .collect();
        groups.dedup();
        if let Some(again) = (1..groups.len()).find(|&at| groups[..at].contains(&groups[at])) {
            let kernels = groups[again];
            return Err(wrong(format!(
                "recordings of the kernels `{kernels}` must stand together"
            )));
        }
        Ok(Self {
            folder: folder.to_owned(),
            all,
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

    /// Those of the latest kernels.
    pub fn latest(&self) -> impl Iterator<Item = &Recording> {
        let first = self.all.first().map(|one| one.kernels.as_str());
        let same = move |one: &&Recording| Some(one.kernels.as_str()) == first;
        self.all.iter().take_while(same)
    }

    /// Folder of a recording.
    pub fn folder_of(&self, recording: &Recording) -> PathBuf {
        self.folder.join(&recording.name)
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
            let profiles = [&recording.judge].into_iter().chain(&recording.like);
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
                again: simulated.by_ref().take(recording.like.len()).collect(),
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

    const GOOD: &str = "[[recording]]\nname = \"a\"\nload = \"few\"\nkernels = \"today's\"\njudge = \"card.toml\"\n";

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
        assert_eq!(good.all[0].like.len(), 0, "the judge is not among them");
        let apart = ["old", "new", "old"].map(|kernels| GOOD.replace("today's", kernels));
        let error = listed(&apart.concat()).unwrap_err();
        assert!(error.contains("`old` must stand together"), "{error}");
        let two = listed(&[&apart[0], &apart[1]].map(String::as_str).concat()).unwrap();
        assert_eq!((two.all.len(), two.latest().count()), (2, 1));
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
