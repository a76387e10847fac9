//! Does a session make sense, alone and beside the others?
//!
//! References between sessions may point forward (a parent waits for a sub-agent that comes on a later
//! line), so they are settled at the end of the file. Memory: a name and a call count per session.

use std::collections::HashMap;

use super::{After, BLOCK_ID_END, Call, HashScope, Meta, ParentLink, Session};
use crate::{Defect, Place};

/// Prompt and output of one call; above it, 32-bit token arithmetic of the engine could overflow.
pub(crate) const TOKENS_MAX: u64 = 1 << 31;

/// Checks sessions in file order.
pub struct Checker {
    blocks: Option<(u32, HashScope)>,
    /// Number of calls by session. Looked up only.
    calls: HashMap<String, u32>,
    pending: Vec<Pending>,
}

/// A reference to another session, settled by [`Checker::finish`].
struct Pending {
    line: u64,
    sid: String,
    call: u32,
    defect: Defect,
}

impl Checker {
    pub fn new(meta: &Meta) -> Result<Self, Defect> {
        if meta.block_size.as_ref() == Some(&0) {
            return Err(Defect::BlockSize);
        }
        let blocks = meta.block_size.value().zip(meta.hash_scope.value());
        Ok(Self {
            blocks,
            calls: HashMap::new(),
            pending: Vec::new(),
        })
    }

    /// Checks one session, found on `line`.
    pub fn session(&mut self, session: &Session, line: u64) -> Result<(), Defect> {
        let sid = || session.sid.clone();
        if session.calls.is_empty() {
            return Err(Defect::NoCalls { sid: sid() });
        }
        let mut lists: Vec<u64> = Vec::new();
        let has_blocks = session.calls.iter().any(|c| c.blocks.is_some());
        for (index, call) in session.calls.iter().enumerate() {
            let expected = index as u32;
            if call.id != expected {
                return Err(Defect::CallId {
                    sid: sid(),
                    found: call.id,
                    expected,
                });
            }
            self.after(session, call, line)?;
            counts(session, call)?;
            if has_blocks {
                let previous = call.predecessor().map_or(0, |id| lists[id as usize]);
                lists.push(self.blocks(session, call, previous)?);
            }
        }
        if let Some(parent) = &session.parent {
            let last = match parent {
                ParentLink::Session(_) => 0,
                ParentLink::Call(parent) => parent.join.unwrap_or(parent.call).max(parent.call),
            };
            let written = format!("{}#{last}", parent.sid());
            let defect = Defect::UnknownParent {
                sid: sid(),
                parent: written,
            };
            self.pending.push(Pending {
                line,
                sid: parent.sid().to_owned(),
                call: last,
                defect,
            });
        }
        let count = session.calls.len() as u32;
        if self.calls.insert(sid(), count).is_some() {
            return Err(Defect::DuplicateSession { sid: sid() });
        }
        Ok(())
    }

    /// Settles references between sessions, after the last one.
    pub fn finish(&mut self, file: &str) -> Result<(), (Place, Defect)> {
        for open in self.pending.drain(..) {
            let known = self
                .calls
                .get(&open.sid)
                .is_some_and(|&count| open.call < count);
            if !known {
                let at = Place {
                    file: file.to_owned(),
                    line: open.line,
                    column: None,
                };
                return Err((at, open.defect));
            }
        }
        Ok(())
    }

    fn after(&mut self, session: &Session, call: &Call, line: u64) -> Result<(), Defect> {
        for after in call.after.iter().flatten() {
            let (sid, id) = match after {
                After::Own(id) => (&session.sid, *id),
                After::Other { sid, call } => (sid, *call),
            };
            let after = after.to_string();
            let defect = Defect::UnknownAfter {
                sid: session.sid.clone(),
                call: call.id,
                after,
            };
            if *sid != session.sid {
                self.pending.push(Pending {
                    line,
                    sid: sid.clone(),
                    call: id,
                    defect,
                });
            } else if id >= call.id {
                return Err(defect);
            }
        }
        if let Some(from) = call.gap_from
            && from >= call.id
        {
            let (sid, after) = (session.sid.clone(), format!("gap_from {from}"));
            return Err(Defect::UnknownAfter {
                sid,
                call: call.id,
                after,
            });
        }
        Ok(())
    }

    /// Number of blocks of the call, whose predecessor has `previous`.
    fn blocks(&self, session: &Session, call: &Call, previous: u64) -> Result<u64, Defect> {
        let (sid, id) = (|| session.sid.clone(), call.id);
        let Some(blocks) = &call.blocks else {
            return Ok(0);
        };
        let Some((block_size, _)) = self.blocks else {
            return Err(Defect::BlocksWithoutSize {
                sid: sid(),
                call: id,
            });
        };
        if u64::from(blocks.keep) > previous {
            let (keep, available) = (blocks.keep, previous);
            return Err(Defect::BlocksBeyondHistory {
                sid: sid(),
                call: id,
                keep,
                available,
            });
        }
        if let Some(&(first, _)) = blocks.add.iter().find(|(first, _)| *first >= BLOCK_ID_END) {
            return Err(Defect::BlockId {
                sid: sid(),
                call: id,
                first,
            });
        }
        let added: u64 = blocks.add.iter().map(|&(_, len)| u64::from(len)).sum();
        let count = u64::from(blocks.keep) + added;
        // The last block may be partial.
        if count > u64::from(call.input.div_ceil(block_size)) {
            let input = call.input;
            return Err(Defect::BlocksBeyondInput {
                sid: sid(),
                call: id,
                blocks: count,
                input,
            });
        }
        Ok(count)
    }
}

/// Token counts of one call, against itself and its predecessor.
fn counts(session: &Session, call: &Call) -> Result<(), Defect> {
    let (sid, id) = (|| session.sid.clone(), call.id);
    if call.output == 0 {
        return Err(Defect::NoOutput {
            sid: sid(),
            call: id,
        });
    }
    if call.input == 0 {
        return Err(Defect::NoInput {
            sid: sid(),
            call: id,
        });
    }
    let tokens = u64::from(call.input) + u64::from(call.output);
    if tokens > TOKENS_MAX {
        return Err(Defect::TooManyTokens {
            sid: sid(),
            call: id,
            tokens,
        });
    }
    if let Some(keep) = call.keep {
        let available = call.predecessor().map_or(0, |previous| {
            let previous = &session.calls[previous as usize];
            u64::from(previous.input) + u64::from(previous.output)
        });
        if u64::from(keep) > available {
            return Err(Defect::KeepBeyondHistory {
                sid: sid(),
                call: id,
                keep,
                available,
            });
        }
        if keep > call.input {
            let input = call.input;
            return Err(Defect::KeepBeyondInput {
                sid: sid(),
                call: id,
                keep,
                input,
            });
        }
    }
    Ok(())
}
