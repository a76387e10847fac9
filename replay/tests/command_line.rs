//! The binary as a shell sees it. What needs a GPU is `djinn-replay check`'s business.

use kernels::gpu::{Error, Gpu};
use std::process::{Command, Output};

fn replay(words: &[&str]) -> Output {
    let command = Command::new(env!("CARGO_BIN_EXE_djinn-replay"))
        .args(words)
        .output();
    command.expect("the binary was built for this test")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn without_a_driver_every_verb_says_so_in_one_sentence_and_exits_3() {
    if !matches!(Gpu::count(), Err(Error::NoDriver)) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let profile = folder.path().join("gpu.toml");
    let [run, profile] = [&run, &profile].map(|path| path.to_str().unwrap());
    let verbs: [&[&str]; 3] = [
        &["check"],
        &["calibrate", "--out", profile],
        &[
            "run",
            "--out",
            run,
            "--set",
            "workload.gen=closed-loop-agents",
        ],
    ];
    for words in verbs {
        let output = replay(words);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(3), "{words:?}: {text}");
        assert!(
            text.starts_with("error: no CUDA driver here: libcuda.so.1 was not found"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 1, "{text}");
    }
    // Nothing is left that could be taken for a result.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_wrong_config_is_found_before_the_gpu_is_looked_for() {
    let drawn = "sweep.engine.jitter=\"0..2\"";
    let agents = "workload.gen=closed-loop-agents";
    let cases: [(&[&str], &str); 5] = [
        (
            &["sweep", "--set", drawn, "--set", agents, "--out", "x"],
            "engine.jitter is for simulations",
        ),
        (&["run", "--policy", "lru"], "no policy is called `lru`"),
        (&["run", "no-such.toml"], "no-such.toml"),
        (&["run", "--set", "memory.host_gb=1"], "host_gb"),
        (&["calibrate", "--out", "profile.txt"], "ends with .toml"),
    ];
    for (words, part) in cases {
        let output = replay(words);
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        assert!(stderr(&output).contains(part), "{}", stderr(&output));
    }
}

#[test]
fn a_command_that_makes_no_sense_exits_2() {
    for words in [
        &["replay"][..],
        &["run", "--compute", "magic"],
        &["calibrate"],
    ] {
        assert_eq!(replay(words).status.code(), Some(2), "{words:?}");
    }
}
