//! A random trace and configuration, both functions of one seed.
//!
//! Small and dense: a few dozen sessions on a pool of one to four times the longest, so that most runs preempt, evict and wait.

use std::fmt;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// One run.
pub struct Sample {
    seed: u64,
    sessions: String,
    flags: Vec<String>,
}

/// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From `low` to `high`, both included.
    fn within(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }

    fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.within(0, values.len() as u64 - 1) as usize]
    }

    /// With a chance of `percent`.
    fn chance(&mut self, percent: u64) -> bool {
        self.within(0, 99) < percent
    }
}

impl Sample {
    pub fn new(seed: u64) -> Self {
        let mut draws = Draws(seed.wrapping_mul(0x2545_F491_4F6C_DD1D));
        let longest = draws.one_of(&[300, 700, 1500]);
        let sessions = sessions(&mut draws, longest);
        let flags = flags(&mut draws, longest);
        Self {
            seed,
            sessions,
            flags,
        }
    }

    /// The trace, a session a line.
    pub fn sessions(&self) -> &str {
        &self.sessions
    }

    /// Where the trace lies.
    pub fn trace(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.jsonl", self.seed))
    }

    /// Where the specification writes.
    pub fn out(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}", self.seed))
    }

    /// Arguments of the oracle.
    pub fn args(&self, folder: &Path) -> Vec<String> {
        let place = |path: PathBuf| path.to_string_lossy().into_owned();
        let mut args = vec![
            "--trace".to_owned(),
            place(self.trace(folder)),
            "--out".to_owned(),
            place(self.out(folder)),
            "--freeq-crc".to_owned(),
        ];
        args.extend(self.flags.iter().cloned());
        args
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}: {}", self.seed, self.flags.join(" "))
    }
}

/// Milliseconds as decimal seconds.
fn seconds(millis: u64) -> String {
    format!("{}.{:03}", millis / 1000, millis % 1000)
}

fn sessions(draws: &mut Draws, longest: u64) -> String {
    let spacing = draws.one_of(&[100, 500, 2000]);
    let shares = draws.chance(50);
    let mut text = String::new();
    let mut start = 0;
    for session in 0..draws.within(5, 40) {
        start += if draws.chance(50) {
            0
        } else {
            draws.within(1, spacing)
        };
        let (mut turns, mut context, mut first) = (Vec::new(), 0, 0);
        for turn in 0..draws.within(1, 7) {
            let prompt = if turn == 0 {
                draws.within(1, longest / 2)
            } else {
                draws.within(1, 100)
            };
            let (short, long) = (draws.within(1, 16), draws.within(1, 60));
            let output = draws.one_of(&[1, 2, short, long]);
            if context + prompt + output > longest {
                break;
            }
            context += prompt + output;
            first = if turn == 0 { prompt } else { first };
            let wait = draws.within(0, 2000) * draws.within(0, 1);
            turns.push(format!(
                r#"{{"prompt_tokens_appended": {prompt}, "output_tokens": {output}, "tool_wait_s": {}}}"#,
                seconds(wait)
            ));
        }
        let prefix = if shares && draws.chance(70) {
            let (id, tokens) = (draws.one_of(&["x", "y"]), draws.within(1, first));
            format!(r#", "shared_prefix": {{"id": "{id}", "tokens": {tokens}}}"#)
        } else {
            String::new()
        };
        let (turns, start) = (turns.join(", "), seconds(start));
        let _ = writeln!(
            text,
            r#"{{"session_id": "{session}", "arrival_s": {start}, "turns": [{turns}]{prefix}}}"#
        );
    }
    text
}

fn flags(draws: &mut Draws, longest: u64) -> Vec<String> {
    let mut flags = Vec::new();
    let mut set = |flag: &str, value: String| flags.extend([format!("--{flag}"), value]);
    set(
        "max-num-batched-tokens",
        draws.one_of(&["48", "64", "256", "2048"]).to_owned(),
    );
    set("max-num-seqs", draws.one_of(&["2", "8", "48"]).to_owned());
    let block = draws.one_of(&[16, 16, 16, 32]);
    let needed = longest.div_ceil(block) + 2;
    set("block-size", block.to_string());
    set("gpu-blocks", draws.within(needed, 4 * needed).to_string());
    set("layers", "4".to_owned());
    if draws.chance(20) {
        set("watermark", draws.one_of(&["0.01", "0.1"]).to_owned());
    }
    if draws.chance(30) {
        set(
            "long-prefill-token-threshold",
            draws.one_of(&["16", "40", "100"]).to_owned(),
        );
    }
    if draws.chance(20) {
        set("a", draws.one_of(&["0.001", "0.0301234567"]).to_owned());
        set("b", draws.one_of(&["0.0000003", "0.0003"]).to_owned());
    }
    let caching = !draws.chance(10);
    if caching && draws.chance(70) {
        let rates = ["0.05", "0.5", "20"];
        set(
            "cpu-blocks",
            draws.within(needed / 2, 6 * needed).to_string(),
        );
        set("offload-policy", draws.one_of(&["lru", "arc"]).to_owned());
        set("h2d-gbps", draws.one_of(&rates).to_owned());
        set("d2h-gbps", draws.one_of(&rates).to_owned());
        if draws.chance(30) {
            set("kv-poll", "end".to_owned());
        }
        if draws.chance(20) {
            set("idle-poll-s", draws.one_of(&["0.0003", "0.02"]).to_owned());
            set("dma-latency-s", draws.one_of(&["0", "0.003"]).to_owned());
        }
        if draws.chance(50) {
            flags.push("--offload-decode".to_owned());
        }
    }
    if !caching {
        flags.push("--no-prefix-caching".to_owned());
    }
    if draws.chance(30) {
        flags.push("--no-reserve-full-isl".to_owned());
    }
    if draws.chance(50) {
        flags.push("--async-scheduling".to_owned());
    }
    flags
}
