//! How much of each prompt the previous call has already paid for.
//!
//! A session may branch (`after` names an earlier call), but a server sees its calls one after the other. `keep` here
//! is always relative to the call before in the session. Where a call branches off and has no blocks, what it shares
//! with the call before is at least the shortest stretch kept on the way from the branch point: that is taken.

use super::{BlockList, Call, Meta, Session};

/// Blocks and kept tokens of every call of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Prefix blocks by call; no entries where the session has none.
    pub blocks: Vec<BlockList>,
    /// Leading prompt tokens equal to the prompt and output of the call before, by call.
    pub keep: Vec<u32>,
    /// Calls that do not continue the call before.
    pub branches: u64,
}

impl History {
    /// Of `session`, which passed the checks of a reader or writer with this `meta`.
    pub fn of(meta: &Meta, session: &Session) -> Self {
        let mut history = Self::default();
        let has_blocks = session.calls.iter().any(|call| call.blocks.is_some());
        let block_size = meta.block_size.value().filter(|_| has_blocks);
        for call in &session.calls {
            let predecessor = call.predecessor();
            if has_blocks {
                let before = predecessor.map(|id| history.blocks[id as usize].clone());
                let mut list = before.unwrap_or_default();
                match &call.blocks {
                    Some(blocks) => list.apply(blocks),
                    None => list.truncate(0),
                }
                history.blocks.push(list);
            }
            let keep = match predecessor {
                None => 0,
                Some(id) if id + 1 == call.id => history.kept(session, call, id, block_size),
                Some(id) => {
                    history.branches += 1;
                    let own = history.kept(session, call, id, block_size);
                    let way = &history.keep[id as usize + 1..];
                    way.iter().copied().fold(own, u32::min)
                }
            };
            history.keep.push(keep);
        }
        history
    }

    /// Tokens that `call` shares with its predecessor. Blocks that agree as far as the predecessor had full ones
    /// mean that nothing was lost; whether its output was kept too, they cannot tell.
    fn kept(
        &self,
        session: &Session,
        call: &Call,
        predecessor: u32,
        block_size: Option<u32>,
    ) -> u32 {
        let before = &session.calls[predecessor as usize];
        let whole = before.input + before.output;
        // A prompt that is shorter than what it follows, after a call that reasoned, has lost the reasoning, which came before the answer:
        // no token of the output is where it was.
        let stripped = call.input < whole && before.reasoning.is_some_and(|tokens| tokens > 0);
        let all = call.input.min(if stripped { before.input } else { whole });
        let Some(block_size) = block_size.filter(|_| call.blocks.is_some()) else {
            return call.keep.unwrap_or(all);
        };
        let previous = &self.blocks[predecessor as usize];
        let common = self.blocks[call.id as usize].common_prefix(previous);
        let full = previous.len().min(u64::from(before.input / block_size));
        if common < full {
            all.min((common * u64::from(block_size)) as u32)
        } else {
            all
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Blocks, HashScope, Nullable};

    fn session(calls: Vec<Call>) -> Session {
        Session {
            calls,
            ..Session::default()
        }
    }

    fn call(id: u32, input: u32, output: u32) -> Call {
        Call {
            id,
            input,
            output,
            ..Call::default()
        }
    }

    fn blocks(keep: u32, add: &[(u64, u32)]) -> Blocks {
        Blocks {
            keep,
            add: add.to_vec(),
            ..Blocks::default()
        }
    }

    #[test]
    fn without_blocks_a_call_keeps_what_it_says_and_else_all_that_fits() {
        let stated = Call {
            keep: Some(90),
            ..call(1, 200, 10)
        };
        // 100 + 10 fit into 200; the third says nothing: min(150, 200 + 10) = 150.
        let calls = vec![call(0, 100, 10), stated, call(2, 150, 5)];
        assert_eq!(
            History::of(&Meta::default(), &session(calls)).keep,
            [0, 90, 150]
        );
    }

    #[test]
    fn stripped_reasoning_takes_the_whole_answer_with_it() {
        let reasoned = Call {
            reasoning: Some(150),
            ..call(0, 1_000, 200)
        };
        // 1,000 + 50 of answer + 60 new are less than 1,000 + 200: the reasoning is gone, and the answer has moved. With 200 new tokens
        // nobody can tell, and nothing is taken to be lost.
        for (input, keep) in [(1_110, 1_000), (1_250, 1_200), (900, 900)] {
            let calls = vec![reasoned.clone(), call(1, input, 5)];
            let history = History::of(&Meta::default(), &session(calls));
            assert_eq!(history.keep, [0, keep], "{input}");
        }
    }

    #[test]
    fn blocks_that_differ_end_the_kept_prefix_at_the_last_common_one() {
        let meta = Meta {
            block_size: Nullable::Value(64),
            hash_scope: Nullable::Value(HashScope::Session),
            ..Meta::default()
        };
        let calls = vec![
            Call {
                blocks: Some(blocks(0, &[(1, 4)])),
                ..call(0, 300, 40)
            },
            Call {
                blocks: Some(blocks(4, &[(5, 2)])),
                ..call(1, 420, 60)
            },
            Call {
                blocks: Some(blocks(3, &[(40, 4)])),
                ..call(2, 500, 20)
            },
        ];
        // Call 1 agrees with all 4 blocks: 300 + 40 kept. Call 2 agrees with 3 of 6: 3 * 64 = 192.
        assert_eq!(History::of(&meta, &session(calls)).keep, [0, 340, 192]);
    }

    #[test]
    fn a_branch_keeps_no_more_than_was_kept_since_the_branch_point() {
        let after = |id| Some(vec![crate::format::After::Own(id)]);
        let calls = vec![
            call(0, 100, 10),
            Call {
                keep: Some(60),
                ..call(1, 300, 10)
            },
            Call {
                after: after(0),
                ..call(2, 150, 10)
            },
        ];
        // Call 2 shares 110 tokens with call 0, but call 1 shares only 60 with call 0.
        let history = History::of(&Meta::default(), &session(calls));
        assert_eq!(history.keep, [0, 60, 60]);
        assert_eq!(history.branches, 1);
    }
}
