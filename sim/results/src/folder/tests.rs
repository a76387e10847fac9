use super::*;
use crate::inputs::Inputs;
use crate::manifest::{
    Counts, DeviceInfo, HardwareInfo, Manifest, ModelInfo, PolicyInfo, SCHEMA, TraceInfo, Wall,
};
use crate::rows::{OpRow, SessionRow, TurnRow};
use crate::spec::RunSpec;
use std::fs;
use std::path::Path;

fn manifest(spec: RunSpec) -> Manifest {
    Manifest {
        schema: SCHEMA,
        run_id: spec.run_id(),
        partial: false,
        trace: TraceInfo {
            source: "poisson-agents".into(),
            sha256: "ab".repeat(32),
        },
        policy: PolicyInfo::default(),
        device: DeviceInfo {
            kind: "sim".into(),
            ..DeviceInfo::default()
        },
        hardware: HardwareInfo::default(),
        model: ModelInfo::default(),
        seed: spec.seed,
        counts: Counts::default(),
        warnings: vec!["peak demand 14 of 61 GB".into()],
        version: "0.1.0".into(),
        commit: None,
        inputs: Some(Inputs::default()),
        command: "djinn run x.toml".into(),
        wall: Wall {
            seconds: 0.1,
            ..Wall::default()
        },
        spec,
    }
}

fn made_by(program: &str) -> Inputs {
    Inputs {
        program_sha256: program.to_owned(),
        ..Inputs::default()
    }
}

fn begin(path: &Path, manifest: &Manifest) -> RunWriter {
    let inputs = manifest.inputs.as_ref().unwrap();
    match RunWriter::create(path, &manifest.run_id, inputs).unwrap() {
        Opened::New(writer) => *writer,
        Opened::AlreadyThere(folder) => panic!("{} is already there", folder.path().display()),
    }
}

/// One session of two turns; ready to first token takes 4 and 6 ns.
fn write(path: &Path, manifest: &Manifest) -> RunFolder {
    let mut writer = begin(path, manifest);
    for (turn, ready_ns) in [(0, 10), (1, 30)] {
        let latency = 4 + 2 * u64::from(turn);
        writer
            .turn(&TurnRow {
                turn,
                wait_ns: (turn > 0).then_some(5),
                ready_ns,
                scheduled_ns: ready_ns,
                first_token_ns: ready_ns + latency,
                end_ns: ready_ns + 15,
                wake_prefill_ns: latency,
                ..TurnRow::default()
            })
            .unwrap();
    }
    let name = "agent, \"first\"".into();
    writer
        .session(&SessionRow {
            name,
            start_ns: 10,
            end_ns: Some(45),
            turns: 2,
            ..SessionRow::default()
        })
        .unwrap();
    writer.decisions(b"wake 0\n").unwrap();
    writer.decisions(b"wake 1\n").unwrap();
    writer.finish(manifest).unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_run_is_read_back_as_it_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/er/run");
    let manifest = manifest(RunSpec::default());
    let folder = write(&path, &manifest);
    assert_eq!(
        names(&path),
        [
            "decisions.log",
            "manifest.json",
            "sessions.csv",
            "turns.csv"
        ]
    );
    assert_eq!(folder.manifest(), &manifest);
    let turns: Vec<TurnRow> = folder.turns().unwrap().map(Result::unwrap).collect();
    assert_eq!((turns[0].wait_ns, turns[1].wait_ns), (None, Some(5)));
    assert_eq!(
        folder.sessions().unwrap().next().unwrap().unwrap().name,
        "agent, \"first\""
    );
    let log = std::io::read_to_string(folder.decisions().unwrap()).unwrap();
    assert_eq!(log, "wake 0\nwake 1\n");
    assert_eq!(folder.metrics().unwrap().wakeup_ns_max, Some(6));
    folder.check_parts().unwrap();
}

#[test]
fn a_table_of_no_rows_still_has_its_header() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = manifest(RunSpec::default());
    let folder = begin(&dir.path().join("run"), &manifest)
        .finish(&manifest)
        .unwrap();
    assert_eq!(folder.turns().unwrap().count(), 0);
    let text = fs::read_to_string(folder.path().join(TURNS)).unwrap();
    assert!(text.starts_with("session,turn,wait_ns,ready_ns,"));
}

#[test]
fn a_table_that_was_not_asked_for_is_absent_and_the_error_says_what_writes_it() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = manifest(RunSpec::default());
    let mut writer = begin(&dir.path().join("run"), &manifest);
    writer
        .op(&OpRow {
            kind: "d2h".into(),
            session: Some(3),
            ..OpRow::default()
        })
        .unwrap();
    let folder = writer.finish(&manifest).unwrap();
    assert_eq!(
        folder.ops().unwrap().next().unwrap().unwrap().session,
        Some(3)
    );
    let error = folder.samples().err().unwrap().to_string();
    assert!(
        error.contains("has no samples.csv; repeat the run with `--samples`"),
        "{error}"
    );
}

#[test]
fn a_run_that_was_given_up_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = manifest(RunSpec::default());
    let path = dir.path().join("run");
    let mut writer = begin(&path, &manifest);
    writer.turn(&TurnRow::default()).unwrap();
    assert!(!path.exists(), "rows are written under another name");
    assert_eq!(names(dir.path()).len(), 1);
    drop(writer);
    assert_eq!(names(dir.path()), [""; 0]);
}

#[test]
fn a_folder_that_a_crash_left_behind_is_not_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let folder = write(&dir.path().join("run"), &manifest(RunSpec::default()));
    // Even one that has every file: the crash came just before the rename.
    let left = dir.path().join("run.tmp-77-0");
    fs::rename(folder.path(), &left).unwrap();
    let error = RunFolder::open(&left).unwrap_err().to_string();
    assert!(
        error.contains("left unfinished by a run that was interrupted"),
        "{error}"
    );
    let said = left_behind(dir.path()).unwrap();
    assert!(
        said.contains("is 1 folder of runs that were killed"),
        "{said}"
    );
    // And it is in nobody's way.
    write(&dir.path().join("run"), &manifest(RunSpec::default()));
    fs::remove_dir_all(&left).unwrap();
    assert_eq!(left_behind(dir.path()), None);
    // What the folder is in may have any name.
    let run = write(
        &dir.path().join("a.tmp-1").join("run"),
        &manifest(RunSpec::default()),
    );
    assert!(RunFolder::open_all(run.path().parent().unwrap()).is_ok());
}

#[test]
fn the_same_run_is_already_there_and_another_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run");
    let first = manifest(RunSpec::default());
    write(&path, &first);
    assert!(matches!(
        RunWriter::create(&path, &first.run_id, &Inputs::default()),
        Ok(Opened::AlreadyThere(_))
    ));
    let other = RunSpec {
        seed: 2,
        ..RunSpec::default()
    }
    .run_id();
    let error = RunWriter::create(&path, &other, &Inputs::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("holds another run"), "{error}");
    assert!(
        error.contains("remove it or choose another folder"),
        "{error}"
    );
    assert_eq!(names(dir.path()), ["run"]);
}

#[test]
fn the_same_run_from_other_inputs_is_refused_with_what_differs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run");
    let first = manifest(RunSpec::default());
    let digest = write(&path, &first).digest().unwrap();
    let refusal = |inputs: &Inputs| {
        let refused = RunWriter::create(&path, &first.run_id, inputs);
        refused.unwrap_err().to_string()
    };
    let now = Inputs {
        hardware_sha256: "edited".to_owned(),
        ..made_by("another")
    };
    let error = refusal(&now);
    let what = "exists and holds this run made with another program, another hardware profile `h200`; \
                remove it or choose another folder";
    assert!(error.ends_with(what), "{error}");
    // As versions before this one wrote it: still a run to read, but none to take up.
    let manifest = path.join(MANIFEST);
    let text = fs::read_to_string(&manifest).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
    json.as_object_mut().unwrap().remove("inputs").unwrap();
    fs::write(&manifest, json.to_string()).unwrap();
    let folder = RunFolder::open(&path).unwrap();
    assert_eq!(folder.digest().unwrap(), digest);
    let error = refusal(&Inputs::default());
    assert!(error.contains("not what it was made from"), "{error}");
    assert_eq!(names(dir.path()), ["run"]);
}

#[test]
fn a_run_from_other_inputs_stays_until_its_successor_is_finished() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run");
    let old = manifest(RunSpec::default());
    write(&path, &old);
    let new = Manifest {
        inputs: Some(made_by("another")),
        ..old.clone()
    };
    let replace = |manifest: &Manifest| {
        let inputs = manifest.inputs.as_ref().unwrap();
        RunWriter::replace(&path, &manifest.run_id, inputs).unwrap()
    };
    let Opened::New(given_up) = replace(&new) else {
        panic!("it was made from other inputs")
    };
    drop(given_up);
    assert_eq!(*RunFolder::open(&path).unwrap().manifest(), old);
    let Opened::New(writer) = replace(&new) else {
        panic!("it was made from other inputs")
    };
    writer.finish(&new).unwrap();
    assert_eq!(*RunFolder::open(&path).unwrap().manifest(), new);
    assert!(matches!(replace(&new), Opened::AlreadyThere(_)));
    assert_eq!(names(dir.path()), ["run"]);
    // Another run is in the way as ever.
    assert!(RunWriter::replace(&path, "x", &made_by("another")).is_err());
}

#[test]
fn a_partial_run_is_not_taken_for_the_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run");
    let partial = Manifest {
        partial: true,
        ..manifest(RunSpec::default())
    };
    write(&path, &partial);
    let error = RunWriter::create(&path, &partial.run_id, &Inputs::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("holds this run only in part"), "{error}");
}

#[test]
fn folders_and_files_that_are_no_run_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("thesis");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("chapter1.txt"), "precious").unwrap();
    let error = RunWriter::create(&path, "x", &Inputs::default())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("exists and does not hold this run"),
        "{error}"
    );
    assert!(error.contains("has no manifest.json"), "{error}");
    assert!(RunWriter::create(&path.join("chapter1.txt"), "x", &Inputs::default()).is_err());
    assert_eq!(
        fs::read_to_string(path.join("chapter1.txt")).unwrap(),
        "precious"
    );
}

#[test]
fn a_run_that_lost_the_race_gives_way_to_the_same_run() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run");
    let manifest = manifest(RunSpec::default());
    let slow = begin(&path, &manifest);
    let winner = write(&path, &manifest).digest().unwrap();
    let folder = slow.finish(&manifest).unwrap();
    assert_eq!(folder.digest().unwrap(), winner);
    assert_eq!(names(dir.path()), ["run"]);
}

#[test]
fn a_place_that_cannot_be_written_to_is_found_out_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = RunWriter::create(&file.join("run"), "x", &Inputs::default())
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("cannot create "), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error_with_a_remedy_and_not_a_short_table() {
    use super::table::{TableWriter, columns};
    let path = Path::new("/dev/full");
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    let mut table = TableWriter::new(file, path, &columns(&TurnRow::default())).unwrap();
    table.push(TurnRow::default()).unwrap(); // buffered
    let error = table.finish().unwrap_err().to_string();
    assert!(error.contains("cannot write /dev/full"), "{error}");
    assert!(
        error.contains("free some space or write elsewhere"),
        "{error}"
    );
}

#[test]
fn a_damaged_row_is_named_with_file_line_and_column() {
    let dir = tempfile::tempdir().unwrap();
    let folder = write(&dir.path().join("run"), &manifest(RunSpec::default()));
    let path = folder.path().join(TURNS);
    let text = fs::read_to_string(&path).unwrap();
    let damage = |from: &str, to: &str| {
        fs::write(&path, text.replacen(from, to, 1)).unwrap();
        folder.metrics().unwrap_err().to_string()
    };
    let error = damage("\n0,1,5,30", "\n0,1,5,-30");
    assert!(
        error.contains("turns.csv, line 3: column `ready_ns`: invalid digit"),
        "{error}"
    );
    let error = damage("\n0,1,5,30", "\n0,1,5,");
    assert!(error.contains("turns.csv, line 3"), "{error}");
    let error = damage("ready_ns", "ready");
    assert!(
        error.contains("turns.csv, line 1: the header has no column `ready_ns`"),
        "{error}"
    );
    let error = damage(",36,45,", ",36,5,");
    assert!(
        error.contains("turns.csv: turn 1 of session 0: `end_ns` (5 ns) lies before"),
        "{error}"
    );
    // Cut off in the middle of the last row.
    fs::write(&path, &text[..text.len() - 20]).unwrap();
    let error = folder.metrics().unwrap_err().to_string();
    assert!(
        error.contains("line 3: ") && error.contains("is the file cut off?"),
        "{error}"
    );
}

#[test]
fn parts_that_do_not_sum_are_found_in_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = manifest(RunSpec::default());
    let mut writer = begin(&dir.path().join("run"), &manifest);
    let row = TurnRow {
        first_token_ns: 2,
        end_ns: 2,
        wake_queue_ns: 1,
        ..TurnRow::default()
    };
    writer.turn(&row).unwrap();
    let error = writer
        .finish(&manifest)
        .unwrap()
        .check_parts()
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("sum to 1 ns, but `first_token_ns - ready_ns` is 2 ns"),
        "{error}"
    );
}

#[test]
fn a_damaged_manifest_is_named_with_line_and_key() {
    let dir = tempfile::tempdir().unwrap();
    let folder = write(&dir.path().join("run"), &manifest(RunSpec::default()));
    let path = folder.path().join(MANIFEST);
    let text = fs::read_to_string(&path).unwrap();
    let damage = |from: &str, to: &str| {
        fs::write(&path, text.replacen(from, to, 1)).unwrap();
        RunFolder::open(folder.path()).unwrap_err().to_string()
    };
    let error = damage("\"partial\": false", "\"partial\": 3");
    assert!(
        error.contains("manifest.json, line 4: `partial`: invalid type"),
        "{error}"
    );
    let error = damage("\"run_id\"", "\"run\"");
    assert!(
        error.contains("manifest.json, line 3") && error.contains("unknown field `run`"),
        "{error}"
    );
    let error = damage("\"schema\": 1", "\"schema\": 99");
    assert!(
        error.contains("schema 99, but this program reads schema 1"),
        "{error}"
    );
    fs::write(&path, &text[..100]).unwrap();
    let error = RunFolder::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("manifest.json, line "), "{error}");
}

#[test]
fn a_digest_depends_on_results_and_not_on_when_or_where_they_were_made() {
    let dir = tempfile::tempdir().unwrap();
    let one = manifest(RunSpec::default());
    let mut two = one.clone();
    two.wall = Wall {
        started: "2030-01-01T00:00:00Z".into(),
        seconds: 99.0,
        ..Wall::default()
    };
    two.commit = Some("abc".into());
    two.inputs = Some(made_by("another"));
    let first = write(&dir.path().join("one"), &one).digest().unwrap();
    let second = write(&dir.path().join("two"), &two);
    assert_eq!(first.len(), 64);
    assert_eq!(first, second.digest().unwrap());

    let mut other = one.clone();
    other.warnings.clear();
    assert_ne!(
        first,
        write(&dir.path().join("three"), &other).digest().unwrap()
    );
    let log = second.path().join(DECISIONS);
    fs::write(&log, "wake 0\nwake 2\n").unwrap();
    assert_ne!(first, second.digest().unwrap());
    fs::remove_file(&log).unwrap();
    assert_ne!(first, second.digest().unwrap());
}

fn compress(folder: &RunFolder, name: &str) -> std::path::PathBuf {
    let plain = folder.path().join(name);
    let packed = folder.path().join(format!("{name}.gz"));
    let file = fs::File::create(&packed).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(file, flate2::Compression::default());
    std::io::copy(&mut fs::File::open(&plain).unwrap(), &mut gzip).unwrap();
    gzip.finish().unwrap();
    fs::remove_file(&plain).unwrap();
    packed
}

#[test]
fn compressed_files_are_read_as_before() {
    let dir = tempfile::tempdir().unwrap();
    let folder = write(&dir.path().join("run"), &manifest(RunSpec::default()));
    let digest = folder.digest().unwrap();
    let rows = |folder: &RunFolder| {
        let turns: Result<Vec<TurnRow>, _> = folder.turns().unwrap().collect();
        let log = std::io::read_to_string(folder.decisions().unwrap()).unwrap();
        (turns.unwrap(), log)
    };
    let before = rows(&folder);
    let names = [TURNS, SESSIONS, DECISIONS];
    let packed = names.map(|name| compress(&folder, name));

    let folder = RunFolder::open(folder.path()).unwrap();
    assert_eq!(rows(&folder), before);
    assert_eq!(folder.digest().unwrap(), digest);
    assert!(names.iter().all(|name| folder.has(name)));
    assert_eq!(folder.file(TURNS), packed[0]);

    // Cut off in the rows, and in the header of the file: no line is known, so none is named.
    let bytes = fs::read(&packed[0]).unwrap();
    for left in [bytes.len() / 2, 5] {
        fs::write(&packed[0], &bytes[..left]).unwrap();
        for error in [
            folder.metrics().unwrap_err().to_string(),
            folder.digest().unwrap_err().to_string(),
        ] {
            assert!(
                error.contains("turns.csv.gz: ") && error.contains("cut off"),
                "{error}"
            );
        }
    }
    // The manifest stays as it is.
    compress(&folder, MANIFEST);
    let error = RunFolder::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("it has no manifest.json"), "{error}");
}
