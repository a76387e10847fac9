//! Which CTAs of decode attention read what.
//!
//! The host shares a batch out once a pass, for all of its layers and heads. Strands, the KV of one head of one sequence, lie one behind the other
//! in steps of 64 tokens. There are two ways to cut them up:
//!
//! ```text
//!   even    as many CTAs as the GPU holds, or one a multiprocessor, each with a run of as many steps (as stream-K, PPoPP 2023, cuts up products)
//!   parts   each strand in k equal parts, each a CTA
//! ```
//!
//! Even shares read contexts of any lengths at one speed, but most begin and end within a strand: they have sums to leave and to combine. Parts
//! are better for batches that are soon read, and where their number happens to fit the GPU. The plan is the one whose estimated time is
//! least.
//!
//! All heads are cut up alike, so that the CTAs of one share read the same blocks at the same time and find them in the same entries of the TLB:
//! in a model of 32 heads steps of 16 to 32 sequences take 1 to 2 % less than with shares that run on from head to head. The price are CTAs that
//! do not divide by the heads (8 of 264 for 32 heads: batches of 128 sequences take up to 0.9 % longer).
//!
//! The constants are read off measurements like `measurements/decode_shares.csv` (H200, 132 multiprocessors, 92 batches): with the cuts
//! chosen attention takes 0.3 % longer than with the best ones on average, and 9 % at worst (two sequences of 500 tokens).

use crate::decode_attention::{TILE, WARPS};

/// Tokens of a step: a tile for each of a CTA's warps.
pub const STEP: u32 = WARPS * TILE;
/// CTAs that one multiprocessor holds: limited by 96 KiB of shared memory each. Where it holds one (A100), there are two rounds.
const CTAS_PER_MULTIPROCESSOR: u32 = 2;
/// Fewest steps worth a CTA of their own.
const LEAST: u32 = 2;
/// What a CTA takes for a step when HBM serves one CTA on each multiprocessor.
const STEP_PS: u64 = 990_000;
/// How much longer it takes, in that unit and over CTAs for each multiprocessor: few CTAs read as fast as they can; where some multiprocessors
/// have two, the others are ready first.
const LOADS: [(f64, f64); 8] = [
    (0.0, 0.65),
    (0.48, 0.65),
    (0.73, 0.96),
    (1.0, 1.07),
    (1.09, 1.36),
    (1.45, 1.70),
    (1.94, 1.955),
    (2.0, 2.0),
];
/// What it takes to leave sums and to combine them, and more for each Q head of a KV head: for parts, and for even shares, which may end in one
/// strand and begin in another.
const PARTS_PS: [u64; 2] = [1_500_000, 100_000];
const EVEN_PS: [u64; 2] = [1_500_000, 500_000];

/// Words of a share.
const WORDS: usize = 8;

/// What a CTA of each head reads; `Share` of `decode_attention.cu`, word by word.
#[derive(Debug, Clone, Copy)]
struct Share {
    /// Where it begins: sequence, and step of its strand.
    sequence: u32,
    step: u32,
    /// How many it reads; none of a share that only fills the list.
    steps: u32,
    /// Shares that have a part of the strand in which it begins.
    first: u32,
    last: u32,
    /// The last of those that read the strand in which it ends.
    last_behind: u32,
    /// KV tokens of the sequence.
    context: u32,
}

impl Share {
    fn words(self) -> [u32; WORDS] {
        [
            self.sequence,
            self.step,
            self.steps,
            self.first,
            self.last,
            self.last_behind,
            self.context,
            0,
        ]
    }
}

/// The work of a pass: the shares of each head.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DecodePlan {
    words: Vec<u32>,
}

/// How the strands of a head are cut up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// All together into so many shares of as many steps.
    Even(u32),
    /// Each into so many parts.
    Parts(u32),
}

/// A decode batch: the KV tokens of its sequences, and the GPU that it is for.
#[derive(Debug, Clone)]
pub struct Strands {
    sequences: Vec<Sequence>,
    q_heads: u32,
    kv_heads: u32,
    multiprocessors: u32,
    /// Steps of the strands of a head.
    total: u64,
}

/// A sequence that has KV.
#[derive(Debug, Clone, Copy)]
struct Sequence {
    number: u32,
    context: u32,
    steps: u32,
    /// Steps of those before it.
    before: u64,
}

/// Shares of a head that a launch has CTAs for.
#[must_use]
pub(crate) fn shares_most(multiprocessors: u32, kv_heads: u32) -> u32 {
    (CTAS_PER_MULTIPROCESSOR * multiprocessors / kv_heads.max(1)).max(1)
}

impl DecodePlan {
    /// Words of any plan for such a GPU and so many KV heads: those of all its shares, with or without steps.
    #[must_use]
    pub fn word_count(multiprocessors: u32, kv_heads: u32) -> u32 {
        Self::words_of(shares_most(multiprocessors, kv_heads))
    }

    pub(crate) fn words_of(shares: u32) -> u32 {
        WORDS as u32 * shares
    }

    /// The list, as the kernel reads it.
    #[must_use]
    pub fn words(&self) -> &[u32] {
        &self.words
    }
}

impl Strands {
    /// Those of sequences with `contexts` KV tokens, and with so many heads of Q and of KV.
    #[must_use]
    pub fn new(
        multiprocessors: u32,
        [q_heads, kv_heads]: [u32; 2],
        contexts: impl IntoIterator<Item = u32>,
    ) -> Self {
        let mut total = 0;
        let mut sequences = Vec::new();
        for (number, context) in contexts.into_iter().enumerate() {
            let steps = context.div_ceil(STEP);
            if steps > 0 {
                sequences.push(Sequence {
                    number: number as u32,
                    context,
                    steps,
                    before: total,
                });
                total += u64::from(steps);
            }
        }
        Self {
            sequences,
            q_heads,
            kv_heads,
            multiprocessors,
            total,
        }
    }

    /// The plan that is estimated to take least.
    #[must_use]
    pub fn plan(&self) -> DecodePlan {
        self.best()
            .map_or_else(|| self.list(&[]), |cut| self.cut(cut))
    }

    /// Its cut; none without KV.
    fn best(&self) -> Option<Cut> {
        let cuts = self.cuts().into_iter();
        cuts.min_by_key(|&cut| self.picoseconds(cut))
    }

    /// Cuts that [`Strands::plan`] chooses from; none without KV.
    #[must_use]
    pub fn cuts(&self) -> Vec<Cut> {
        let mut cuts = Vec::new();
        let shortest = self.sequences.iter().map(|own| own.steps).min();
        let Some(shortest) = shortest else {
            return cuts;
        };
        let parts = self.parts_most().min((shortest / LEAST).max(1));
        cuts.extend((1..=parts).map(Cut::Parts));
        let shares = (self.total / u64::from(LEAST)).max(1);
        let even = |most: u32| Cut::Even(shares.min(most.into()) as u32);
        let single = (self.multiprocessors / self.kv_heads.max(1)).max(1);
        cuts.extend([single, self.shares_most()].map(even));
        cuts.dedup();
        cuts
    }

    /// The plan of a cut, as far as there are CTAs for it.
    #[must_use]
    pub fn cut(&self, cut: Cut) -> DecodePlan {
        match cut {
            Cut::Parts(parts) if self.parts_most() > 0 => self.parts(parts.min(self.parts_most())),
            Cut::Parts(_) => self.even(u32::MAX),
            Cut::Even(shares) => self.even(shares),
        }
    }

    fn shares_most(&self) -> u32 {
        shares_most(self.multiprocessors, self.kv_heads)
    }

    /// Parts of each strand that there are CTAs for; none if there are more strands.
    fn parts_most(&self) -> u32 {
        self.shares_most() / (self.sequences.len() as u32).max(1)
    }

    fn even(&self, shares: u32) -> DecodePlan {
        // A share without steps among others would never arrive.
        let most = self.total.clamp(1, self.shares_most().into());
        let count = u64::from(shares).clamp(1, most);
        let begin = |share: u64| share * self.total / count;
        // The share that reads a step: the last that begins at it or before it.
        let owner = |step: u64| (((step + 1) * count - 1) / self.total) as u32;
        let mut left = &self.sequences[..];
        let mut list = Vec::with_capacity(count as usize);
        for share in (0..count).take_while(|_| self.total > 0) {
            let (from, to) = (begin(share), begin(share + 1));
            let step = place(&mut left, from);
            let (own, strand) = (left[0], from - u64::from(step));
            let (first, last) = (owner(strand), owner(strand + u64::from(own.steps) - 1));
            let mut behind = left;
            let step_behind = place(&mut behind, to - 1);
            let end = to - 1 - u64::from(step_behind) + u64::from(behind[0].steps);
            list.push(Share {
                sequence: own.number,
                step,
                steps: (to - from) as u32,
                first,
                last,
                last_behind: owner(end - 1),
                context: own.context,
            });
        }
        self.list(&list)
    }

    fn parts(&self, parts: u32) -> DecodePlan {
        let mut list = Vec::new();
        for own in &self.sequences {
            // Likewise.
            let count = parts.clamp(1, own.steps);
            let begin =
                |part: u32| (u64::from(part) * u64::from(own.steps) / u64::from(count)) as u32;
            let first = list.len() as u32;
            let last = first + count - 1;
            for part in 0..count {
                list.push(Share {
                    sequence: own.number,
                    step: begin(part),
                    steps: begin(part + 1) - begin(part),
                    first,
                    last,
                    last_behind: last,
                    context: own.context,
                });
            }
        }
        self.list(&list)
    }

    fn list(&self, shares: &[Share]) -> DecodePlan {
        let mut words: Vec<u32> = shares.iter().flat_map(|share| share.words()).collect();
        let count = DecodePlan::word_count(self.multiprocessors, self.kv_heads);
        words.resize(count as usize, 0);
        DecodePlan { words }
    }

    /// Estimated time beside what all cuts take.
    fn picoseconds(&self, cut: Cut) -> u64 {
        let group = u64::from(self.q_heads / self.kv_heads.max(1));
        let ends = |[fixed, each]: [u64; 2]| fixed + each * group;
        // HBM makes up for a step that some have more than others.
        match cut {
            Cut::Even(shares) => {
                self.total * self.step_ps(shares) / u64::from(shares) + ends(EVEN_PS)
            }
            Cut::Parts(parts) => {
                let longest = self.sequences.iter().map(|own| own.steps).max();
                let steps = u64::from(longest.unwrap_or(0));
                let ends = if parts == 1 { 0 } else { ends(PARTS_PS) };
                let shares = self.sequences.len() as u32 * parts;
                steps * self.step_ps(shares) / u64::from(parts) + ends
            }
        }
    }

    /// How long CTAs that are there together take for a step: so many for each head.
    fn step_ps(&self, shares: u32) -> u64 {
        let load = f64::from(shares * self.kv_heads) / f64::from(self.multiprocessors.max(1));
        let between = LOADS.windows(2).find(|ends| load <= ends[1].0);
        let takes = between.map_or(load, |ends| {
            let [(low, least), (high, most)] = [ends[0], ends[1]];
            least + (most - least) * (load - low) / (high - low)
        });
        (takes * STEP_PS as f64) as u64
    }
}

/// Step in its strand of `step` of all; `left` loses the sequences before it.
fn place(left: &mut &[Sequence], step: u64) -> u32 {
    while let [own, behind @ ..] = *left
        && step - own.before >= u64::from(own.steps)
    {
        *left = behind;
    }
    (step - left[0].before) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measured::longer_than_best;
    use std::collections::BTreeMap;

    /// Segments of each sequence, as the kernel walks them: first step, steps, share, and the shares that it believes to have parts of the strand.
    type Walked = BTreeMap<u32, Vec<(u32, u32, u32, [u32; 2])>>;

    fn walk(plan: &DecodePlan, contexts: &[u32]) -> Walked {
        let mut walked = Walked::new();
        for (own, share) in plan.words().as_chunks().0.iter().enumerate() {
            let own = own as u32;
            let [
                mut sequence,
                mut step,
                mut left,
                first,
                last,
                behind,
                context,
                _,
            ]: [u32; 8] = *share;
            assert!(left == 0 || context == contexts[sequence as usize]);
            let mut between = if step > 0 {
                [first, last]
            } else {
                [own, behind]
            };
            while left > 0 {
                let strand = contexts[sequence as usize].div_ceil(STEP);
                let steps = left.min(strand - step);
                let segments = walked.entry(sequence).or_default();
                segments.push((step, steps, own, between));
                (left, step, between) = (left - steps, 0, [own, behind]);
                sequence += 1;
                while contexts.get(sequence as usize) == Some(&0) {
                    sequence += 1;
                }
            }
        }
        walked
    }

    #[test]
    fn every_step_is_read_once_and_those_that_share_a_strand_know_each_other() {
        let batches: [&[u32]; 9] = [
            &[1],
            &[64],
            &[100_000],
            &[0, 5, 0, 0, 70, 0],
            &[1_024; 33],
            &[20_300; 3],
            &[30, 9_000, 1, 64, 65, 700, 128_000],
            &[500; 256],
            &[63; 1_000],
        ];
        for kv_heads in [1, 3, 8, 32] {
            for contexts in batches {
                let strands = strands(kv_heads, contexts);
                let most = shares_most(132, kv_heads);
                // Also more than there are CTAs for.
                let cuts = [Cut::Even(u32::MAX), Cut::Even(1), Cut::Parts(100)];
                for cut in strands.cuts().into_iter().chain(cuts) {
                    let plan = strands.cut(cut);
                    assert!(plan.words().len() as u32 == 8 * most, "{cut:?}");
                    let walked = walk(&plan, contexts);
                    for (sequence, context) in contexts.iter().enumerate() {
                        let Some(segments) = walked.get(&(sequence as u32)) else {
                            assert_eq!(*context, 0);
                            continue;
                        };
                        let mut read = 0;
                        for &(step, steps, ..) in segments {
                            assert_eq!(step, read);
                            read += steps;
                        }
                        assert_eq!(read, context.div_ceil(STEP));
                        let shares: Vec<u32> = segments.iter().map(|segment| segment.2).collect();
                        let ends = [shares[0], shares[shares.len() - 1]];
                        assert!(shares.windows(2).all(|pair| pair[1] == pair[0] + 1));
                        if shares.len() > 1 {
                            assert!(segments.iter().all(|segment| segment.3 == ends));
                        }
                    }
                }
            }
        }
    }

    fn strands(kv_heads: u32, contexts: &[u32]) -> Strands {
        Strands::new(132, [32, kv_heads], contexts.iter().copied())
    }

    #[test]
    fn even_shares_are_alike_whatever_the_contexts() {
        for contexts in [&[20_300; 3][..], &[1_024; 9], &[100, 90_000, 3_000, 17]] {
            let plan = strands(8, contexts).cut(Cut::Even(33));
            let shares: &[[u32; 8]] = plan.words().as_chunks().0;
            let steps: Vec<u32> = shares.iter().map(|share| share[2]).collect();
            let (least, most) = (steps.iter().min(), steps.iter().max());
            assert!(
                most.zip(least)
                    .is_some_and(|(most, least)| most - least <= 1)
            );
        }
    }

    #[test]
    fn a_batch_without_kv_has_nothing_to_read() {
        for contexts in [&[][..], &[0, 0]] {
            let plan = strands(8, contexts).plan();
            assert_eq!(plan.words(), vec![0; 8 * 33]);
        }
    }

    #[test]
    fn short_contexts_are_read_in_parts_and_those_that_do_not_fit_evenly() {
        let best = |kv_heads, contexts: &[u32]| strands(kv_heads, contexts).best();
        assert_eq!(best(32, &[500; 4]), Some(Cut::Parts(1)));
        assert_eq!(best(32, &[2_600]), Some(Cut::Parts(8)));
        // Eleven parts of 24 strands are 264; six of 40 would leave 24 places empty.
        assert_eq!(best(8, &[20_300; 3]), Some(Cut::Parts(11)));
        assert_eq!(best(8, &[61_700; 5]), Some(Cut::Even(33)));
        assert_eq!(best(32, &[1_024; 9]), Some(Cut::Even(8)));
        assert_eq!(best(8, &[40_000, 300, 300]), Some(Cut::Even(33)));
        // Three strands of one step each.
        assert_eq!(best(3, &[10]), Some(Cut::Parts(1)));
    }

    /// `3 x 1024 500` are four contexts.
    fn contexts(names: &str) -> Vec<u32> {
        let number = |word: &str| word.parse().expect("a number");
        let mut contexts = Vec::new();
        let mut words = names.split(' ').peekable();
        while let Some(word) = words.next() {
            if words.next_if_eq(&"x").is_some() {
                let each = number(words.next().expect("a context"));
                contexts.resize(contexts.len() + number(word) as usize, each);
            } else {
                contexts.push(number(word));
            }
        }
        contexts
    }

    #[test]
    fn the_cuts_chosen_are_near_the_best_that_were_measured() {
        let measured = include_str!("../measurements/decode_shares.csv");
        let longer = longer_than_best(measured, |kv_heads, names| {
            let cut = strands(kv_heads, &contexts(names)).best();
            let name = format!("{:?}", cut.expect("there is KV")).to_lowercase();
            Box::new(move |cut| cut == name)
        });
        assert_eq!(longer.len(), 92);
        let mean = longer.iter().sum::<f64>() / longer.len() as f64;
        assert!(mean < 0.005, "{mean}");
        assert!(longer.iter().all(|longer| *longer < 0.1), "{longer:?}");
    }
}
