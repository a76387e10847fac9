//! What is run on each small geometry: sequences, and the passes that compute them.
//!
//! ```text
//!   prompt in one chunk ─► prompts in chunks beside decodes ─► decodes from graphs ─► a prompt that attends to blocks which another
//!   prompt fills in the same pass ─► a batch too large for the skinny products ─► a context long enough to be cut up
//! ```

/// Part of a sequence that a pass computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The token that it sampled last.
    Decode(usize),
    /// So many tokens of its prompt.
    Chunk(usize, u32),
}

/// Sequences of the scenario.
pub const SEQUENCES: usize = 15;
/// The sequence whose first [`SHARED`] tokens are those of the one before it, in the same blocks.
pub const SHARER: usize = 4;
/// Whole blocks of 16.
pub const SHARED: u32 = 32;

/// The passes, decode sequences first.
pub fn passes() -> Vec<Vec<Part>> {
    use Part::{Chunk, Decode};
    let mut passes = vec![
        vec![Chunk(0, 37)],
        vec![Decode(0), Chunk(1, 150)],
        vec![Decode(0), Chunk(1, 151), Chunk(2, 20)],
    ];
    // Three sequences, padded to four, over the end of a block.
    passes.extend(std::iter::repeat_n(
        vec![Decode(0), Decode(1), Decode(2)],
        14,
    ));
    passes.push(vec![Decode(2), Chunk(3, SHARED + 8), Chunk(SHARER, 5)]);
    passes.push(vec![Decode(SHARER), Decode(3)]);
    // Ten prompts at once, then everybody: 13 sequences, padded to 16.
    let prompts = (5..SEQUENCES).map(|sequence| Chunk(sequence, 3 + 7 * sequence as u32));
    passes.push(prompts.collect());
    let everybody: Vec<Part> = (0..SEQUENCES)
        .filter(|&s| s != 1 && s != 2)
        .map(Decode)
        .collect();
    passes.extend(std::iter::repeat_n(everybody, 3));
    // A chunk on a long past, and decodes over contexts of 700, which several CTAs share.
    passes.push(vec![Decode(0), Chunk(1, 420)]);
    passes.extend(std::iter::repeat_n(vec![Decode(1)], 3));
    passes.push(vec![Decode(1), Decode(0)]);
    passes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_decodes_only_what_has_a_prompt_and_every_one_is_run() {
        let mut prompted = [0_u32; SEQUENCES];
        for pass in passes() {
            for part in &pass {
                if let Part::Decode(sequence) = *part {
                    assert!(prompted[sequence] > 0, "{sequence}");
                }
            }
            for part in pass {
                if let Part::Chunk(sequence, tokens) = part {
                    prompted[sequence] += tokens;
                }
            }
        }
        assert!(prompted.iter().all(|&tokens| tokens > 0));
    }

    #[test]
    fn decodes_come_before_chunks() {
        for pass in passes() {
            let first_chunk = pass.iter().position(|part| matches!(part, Part::Chunk(..)));
            let last_decode = pass
                .iter()
                .rposition(|part| matches!(part, Part::Decode(_)));
            if let (Some(chunk), Some(decode)) = (first_chunk, last_decode) {
                assert!(decode < chunk);
            }
        }
    }
}
