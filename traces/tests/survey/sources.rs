//! Parts of the public traces, as statistics and as streams.

use std::path::{Path, PathBuf};

use crate::common::shared;
use tempfile::TempDir;
use trace::TraceError;
use trace::format::{Meta, Session};
use trace::import::{self, ImportOptions, MooncakeRows, Sink};
use trace::stat::{Collector, Stat};
use trace::tools::{Only, OnlyMatching, Pick, feed};

/// Collects statistics of what passes.
#[derive(Default)]
struct Stats(Option<Collector>);

impl Sink for Stats {
    fn meta(&mut self, meta: &Meta) -> Result<(), TraceError> {
        self.0 = Some(Collector::new(meta.clone()));
        Ok(())
    }

    fn session(&mut self, session: Session) -> Result<(), TraceError> {
        self.0.as_mut().unwrap().add(&session);
        Ok(())
    }
}

/// Statistics of the sessions of a trace that ran under one of these configurations (none: any), without sub-agents if
/// `main_agents`.
pub fn stat(path: &Path, configs: &[&str], main_agents: bool) -> Stat {
    let mut stats = Stats::default();
    let only = only(configs, main_agents);
    feed(path, &mut OnlyMatching::new(&only, "source", &mut stats)).unwrap();
    stats.0.unwrap().finish()
}

/// Statistics of the sessions that pass.
pub fn stat_of(path: &Path, wanted: fn(&Session) -> bool) -> Stat {
    struct Passing(Stats, fn(&Session) -> bool);
    impl Sink for Passing {
        fn meta(&mut self, meta: &Meta) -> Result<(), TraceError> {
            self.0.meta(meta)
        }
        fn session(&mut self, session: Session) -> Result<(), TraceError> {
            if (self.1)(&session) {
                self.0.session(session)?;
            }
            Ok(())
        }
    }
    let mut passing = Passing(Stats::default(), wanted);
    feed(path, &mut passing).unwrap();
    passing.0.0.unwrap().finish()
}

/// The same as a filter.
pub fn only(configs: &[&str], main_agents: bool) -> Only {
    Only {
        configs: configs.iter().map(|config| (*config).to_owned()).collect(),
        main_agents,
        ..Only::default()
    }
}

/// Traces made of public ones, in a folder that is gone in the end.
pub struct Made {
    _folder: TempDir,
    /// Weka: main agents of one session per cluster of copies.
    pub weka: PathBuf,
    /// Mooncake's conversations, requests chained by their prefix.
    pub chained: PathBuf,
}

/// Makes them; `None` where a public file is absent.
pub fn make() -> Option<Made> {
    let weka = shared("weka-claude-code/weka.jsonl.zst")?;
    let index = std::fs::read_to_string(shared("weka-claude-code/index.csv")?).unwrap();
    let mooncake = shared("mooncake-fast25/conversation_trace.first_half.jsonl.zst")?;
    let folder = tempfile::tempdir().unwrap();
    let made = Made {
        weka: folder.path().join("weka.jsonl"),
        chained: folder.path().join("chained.jsonl"),
        _folder: folder,
    };
    let mut sink = import::FileSink::new(&made.weka);
    let only = only(&[], true);
    let mut matching = OnlyMatching::new(&only, "weka", &mut sink);
    let options = ImportOptions::default();
    Pick::OnePerCluster
        .run(&weka, &options, 1, &mut matching)
        .unwrap();
    sink.finish(&[]).unwrap();
    let clusters = index
        .lines()
        .skip(1)
        .filter(|line| line.split(',').nth(2) == Some("1"));
    println!("weka: {} clusters by the survey's index", clusters.count());
    let options = ImportOptions {
        mooncake_rows: MooncakeRows::Chain,
        ..ImportOptions::default()
    };
    let format = import::find("mooncake").unwrap();
    import::import_files(&[(format, mooncake)], &made.chained, &options).unwrap();
    Some(made)
}
