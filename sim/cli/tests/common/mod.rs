//! Runs the program as a user does, in a folder of its own.

#![allow(dead_code, reason = "each test file uses a part")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// A folder that is gone after the test.
pub struct Place(TempDir);

/// What a command left behind.
pub struct Done {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// Three agents, each with up to 17,000 tokens (1,063 blocks), in room for one and a half: KV has to leave.
pub const TINY: &[&str] = &[
    "--set",
    "workload.sessions=3",
    "--set",
    "memory.hbm_blocks=1600",
];

impl Place {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).expect("the folder can be written");
        path
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect(name)
    }

    /// Names in the folder, sorted.
    pub fn names(&self) -> Vec<String> {
        names(self.0.path())
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_djinn"));
        command.args(args).current_dir(self.0.path());
        command
    }

    pub fn djinn(&self, args: &[&str]) -> Done {
        Done::of(&self.command(args).output().expect("the program starts"))
    }

    /// [`Place::djinn`], which must succeed.
    pub fn ok(&self, args: &[&str]) -> Done {
        let done = self.djinn(args);
        assert_eq!(done.code, Some(0), "djinn {args:?}: {}", done.err);
        done
    }

    /// [`Place::djinn`], which must fail with `code`, a message and no panic; returns the message.
    pub fn refuses(&self, code: i32, args: &[&str]) -> String {
        let done = self.djinn(args);
        assert_eq!(done.code, Some(code), "djinn {args:?}: {}", done.err);
        assert!(done.err.contains("error: "), "{}", done.err);
        assert!(
            !done.err.contains("panicked") && !done.err.contains('\x1b'),
            "{}",
            done.err
        );
        assert_eq!(done.out, "", "data of a command that failed");
        done.err
    }

    /// `djinn run` of [`TINY`] with more arguments.
    pub fn tiny(&self, more: &[&str]) -> Done {
        self.ok(&[&["run"], TINY, more].concat())
    }
}

impl Done {
    pub fn of(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> = entries
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}

/// Asserts that `text` has all of `parts`.
pub fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no `{part}` in:\n{text}");
    }
}
