//! The decision log: one line per event or action, in the order in which they happened.
//!
//! ```text
//!   12.000000345 s17 t3 io-wait expected=27.100000000 early=… late=…
//!   12.000000345 s17 t3 keep done 132
//!   20.500000000 s17 t3 swap-out done 132
//!   20.500000000 s17 t3 prefetch-at 26.900000000
//! ```
//!
//! Times are virtual seconds; `s` is the session, `t` the turn it is in or waits after. Blocks are counts. The log of a run is
//! a function of its inputs, so two runs are compared byte for byte.

use crate::record::{Decision, What};
use model::{Outcome, Time};
use std::fmt;

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s{} t{} ", self.at, self.session, self.turn)?;
        match self.what {
            What::Start => f.write_str("start"),
            What::IoWait(None) => f.write_str("io-wait"),
            What::IoWait(Some(hint)) if hint.early == hint.late => {
                write!(f, "io-wait expected={}", hint.returns_at)
            }
            What::IoWait(Some(hint)) => {
                let (at, early, late) = (hint.returns_at, hint.early, hint.late);
                write!(f, "io-wait expected={at} early={early} late={late}")
            }
            What::SignalLost => f.write_str("signal-lost"),
            What::Ready => f.write_str("ready"),
            What::Admit { hit, compute } => write!(f, "admit hit={} compute={}", hit.0, compute.0),
            What::Done => f.write_str("done"),
            What::End => f.write_str("end"),
            What::Acted(action, outcome) => {
                f.write_str(action.name())?;
                match outcome {
                    Outcome::Done(blocks) => write!(f, " done {}", blocks.0),
                    Outcome::Clipped(blocks) => write!(f, " clipped {}", blocks.0),
                    Outcome::Deferred => f.write_str(" deferred"),
                    Outcome::Void => f.write_str(" void"),
                }
            }
            What::CopyStart(direction, class, blocks) => {
                write!(f, "copy-start {direction} {} {blocks}", class.name())
            }
            What::CopyEnd(direction, blocks) => write!(f, "copy-end {direction} {blocks}"),
            What::PrefetchAt(at) => write!(f, "prefetch-at {at}"),
            What::Price(blocks, price, until) => {
                write!(f, "price {blocks} at {}", price.0)?;
                match until {
                    Time::NEVER => Ok(()),
                    until => write!(f, " until {until}"),
                }
            }
        }
    }
}
