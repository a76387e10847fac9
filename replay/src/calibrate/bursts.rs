//! Bursts of prompts and what follows them, step by step in the order in which they ran: what the throttle is fitted to ([`super::throttle`]).
//!
//! ```text
//!   short     rest ─ BURSTS x BURST_TOKENS ─ decode and short prompts in turn     ROUNDS times
//!   lasting   rest ─ prompts for seconds ─ decode and short prompts in turn       LASTING
//!   in part   rest ─ prompt, decode, prompt, decode .. for seconds                LASTING, with decode steps of BATCHES in turn
//!   mixed     the same, and what is decoded between prompts is decoded beside them as well
//! ```

use super::steps::{Limits, MIXED_LENGTH};
use super::timed::{Span, Timed, TimedSteps};
use crate::backend::Backend;
use devices::StepTotals;
use engine::device::{PrefillChunk, StepShape};
use model::{Nanos, Time};
use std::fmt::Write as _;

/// Prompts of a burst.
pub(super) const BURSTS: [u32; 6] = [1, 2, 3, 5, 8, 12];
/// Tokens of each.
pub(super) const BURST_TOKENS: [u32; 2] = [512, 2_048];
const ROUNDS: u32 = 2;
/// What lasts for seconds.
const LASTING: [Lasting; 5] = [
    Lasting::of(2_048, 0),
    Lasting::of(512, 0),
    Lasting::of(2_048, 4),
    Lasting::of(2_048, 11),
    Lasting {
        mixed: true,
        ..Lasting::of(2_048, 4)
    },
];
/// Sequences that are decoded between lasting prompts, in turn: decode of more may draw more. A turn is short beside whatever else changes.
const BATCHES: [u32; 4] = [1, 4, 16, 32];
/// Prompts of a turn.
const IN_TURN: usize = 5;
/// Steps behind a burst: decode, a short prompt, and so on.
pub(super) const BEHIND: u32 = 18;
/// Some wait for memory, some compute.
pub(super) const SHORT_PROMPTS: [u32; 4] = [192, 48, 384, 96];
/// Sequences of the decode steps behind a burst.
const BATCH: u32 = 4;

/// How long is waited, and how long lasts what lasts.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Rest before a burst.
    pub rest: Nanos,
    /// Rest before what lasts.
    pub long_rest: Nanos,
    /// What lasts takes so long.
    pub lasting: Nanos,
    /// Prompts in part of the time take so long.
    pub in_part: Nanos,
}

impl Pace {
    /// Of a GPU.
    pub const GPU: Self = Self {
        rest: Nanos(150_000_000),
        long_rest: Nanos(800_000_000),
        lasting: Nanos(3_000_000_000),
        in_part: Nanos(4_500_000_000),
    };
}

/// Prompts that follow each other for seconds.
struct Lasting {
    tokens: u32,
    /// Decode steps between two of them.
    decodes: u32,
    /// Whether what is decoded between them is decoded beside them as well.
    mixed: bool,
}

impl Lasting {
    const fn of(tokens: u32, decodes: u32) -> Self {
        Self {
            tokens,
            decodes,
            mixed: false,
        }
    }
}

/// A step as it ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RanStep {
    /// What it computed.
    pub totals: StepTotals,
    /// When it began.
    pub start: Time,
    /// When it ended.
    pub end: Time,
}

/// Times bursts of prompts, each after a rest, and what follows them.
///
/// # Errors
/// What the device says.
pub fn time<B: Backend>(
    timed: &mut Timed<'_, B>,
    limits: Limits,
    pace: Pace,
) -> Result<Vec<RanStep>, String> {
    let mut bursts = Bursts {
        timed,
        limits,
        turn: 0,
        ran: Vec::new(),
    };
    for _ in 0..ROUNDS {
        for (burst, tokens) in BURSTS.iter().flat_map(|b| BURST_TOKENS.map(|t| (*b, t))) {
            for place in 0..burst {
                bursts.prompt(tokens, if place == 0 { pace.rest } else { Nanos(0) })?;
            }
            bursts.behind()?;
        }
    }
    for lasting in LASTING {
        bursts.lasting(&lasting, pace)?;
    }
    Ok(bursts.ran)
}

/// Steps that are being timed.
struct Bursts<'a, 'd, B: Backend> {
    timed: &'a mut Timed<'d, B>,
    limits: Limits,
    /// Which short prompt comes first behind the next burst.
    turn: usize,
    ran: Vec<RanStep>,
}

impl<B: Backend> Bursts<'_, '_, B> {
    /// When the last step ended.
    fn ended(&self) -> Time {
        self.ran.last().map_or(Time(0), |ran| ran.end)
    }

    fn lasting(&mut self, lasting: &Lasting, pace: Pace) -> Result<(), String> {
        let Lasting {
            tokens,
            decodes,
            mixed,
        } = *lasting;
        let begins = self.prompt(tokens, pace.long_rest)?;
        if decodes == 0 {
            while self.ended().since(begins) < pace.lasting {
                self.prompt(tokens, Nanos(0))?;
            }
            return self.behind();
        }
        for batch in BATCHES.iter().flat_map(|b| [*b; IN_TURN]).cycle() {
            if self.ended().since(begins) >= pace.in_part {
                break;
            }
            for _ in 0..decodes {
                self.decode(batch)?;
            }
            let beside = if mixed { batch } else { 0 };
            self.step(tokens, beside, Nanos(0))?;
        }
        Ok(())
    }

    /// A step with a prompt after `rest`; when it began.
    fn prompt(&mut self, tokens: u32, rest: Nanos) -> Result<Time, String> {
        self.step(tokens, 0, rest)
    }

    fn decode(&mut self, batch: u32) -> Result<Time, String> {
        self.step(0, batch, Nanos(0))
    }

    /// Decode steps and short prompts in turn, which begin with another one from burst to burst.
    fn behind(&mut self) -> Result<(), String> {
        let shorts = SHORT_PROMPTS.iter().cycle().skip(self.turn);
        for short in shorts.take(BEHIND as usize / 2) {
            self.decode(BATCH)?;
            self.prompt(*short, Nanos(0))?;
        }
        self.turn += 1;
        Ok(())
    }

    fn step(&mut self, prompt: u32, batch: u32, rest: Nanos) -> Result<Time, String> {
        let Limits {
            kv_tokens,
            context,
            step_tokens,
        } = self.limits;
        let length = MIXED_LENGTH.min(context);
        let fit = (kv_tokens / u64::from(length)).min(step_tokens.into()) as u32;
        let batch = batch.min((fit / 2).max(1));
        let chunk = PrefillChunk {
            tokens: prompt.min(context).min(step_tokens - batch),
            context: 0,
        };
        let shape = StepShape {
            prefill: if prompt > 0 { vec![chunk] } else { Vec::new() },
            decode_seqs: batch,
            decode_kv_tokens: u64::from(batch * length),
        };
        let totals = StepTotals::of(&shape);
        let run = TimedSteps { shape, count: 1 };
        let Span { start, end } = match rest {
            Nanos(0) => self.timed.steps(&run)?,
            rest => self.timed.steps_after(rest, &run)?.1,
        };
        self.ran.push(RanStep { totals, start, end });
        Ok(start)
    }
}

/// The timed steps, for a file of their own.
pub fn csv(ran: &[RanStep]) -> String {
    let mut text = "start_ns,end_ns,prefill_tokens,decode_seqs,decode_kv_tokens\n".to_owned();
    for RanStep { totals, start, end } in ran {
        let _ = writeln!(
            text,
            "{},{},{},{},{}",
            start.0, end.0, totals.prefill_tokens, totals.decode_seqs, totals.decode_kv_tokens
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{DeviceOptions, ReplayDevice};
    use crate::fake::FakeGpu;
    use model::Bytes;
    use std::collections::BTreeSet;

    #[test]
    fn bursts_are_timed_on_any_backend() {
        let mut device = ReplayDevice::new(FakeGpu::new(64, 64), DeviceOptions::default()).unwrap();
        let mut timed = Timed::new(&mut device, 4, Bytes(8 << 20));
        let few = Limits {
            kv_tokens: 8_000,
            context: 600,
            step_tokens: 64,
        };
        let pace = Pace {
            rest: Nanos(1_000),
            long_rest: Nanos(1_000),
            // Each step takes 50 us there.
            lasting: Nanos(1_000_000),
            in_part: Nanos(2_000_000),
        };
        let ran = time(&mut timed, few, pace).unwrap();
        let short = 2 * (2 * 31 + 12 * BEHIND as usize);
        assert!(
            ran.len() > short + 2 * 10 + 2 * BEHIND as usize,
            "{}",
            ran.len()
        );
        assert!(ran.windows(2).all(|pair| pair[0].end <= pair[1].start));
        assert!(ran.iter().all(|ran| ran.totals.prefill_tokens <= 64));
        let decode = |run: &[RanStep]| run.iter().all(|ran| ran.totals.prefill_tokens == 0);
        assert!(
            ran[short..].windows(11).any(decode),
            "no prompts in part of the time"
        );
        // At least the first turn of each, as far as the pool holds it; beside prompts as well.
        let batches = |prompts: bool| -> BTreeSet<u32> {
            let own = ran[short..].iter().map(|ran| ran.totals);
            let own = own.filter(|totals| (totals.prefill_tokens > 0) == prompts);
            own.map(|totals| totals.decode_seqs).collect()
        };
        let [between, beside] = [false, true].map(batches);
        assert!(between.is_superset(&[1, BATCH].into()), "{between:?}");
        assert!(beside.is_superset(&[0, 1].into()), "{beside:?}");
        assert!(between.union(&beside).all(|batch| *batch <= 6));
        assert_eq!(csv(&ran).lines().count(), 1 + ran.len());
    }
}
