//! How far a trace is from itself: the distance that chance alone explains.
//!
//! Sessions are drawn from the trace with replacement, as many as it has, and the distance of the result from the trace is noted; the
//! band is what 95 % of such resamples stay within (a bootstrap by cluster: Davison and Hinkley 1997, section 3.8). Calls of one
//! session stay together, because they are alike; drawing call by call would make the band several times too narrow.

use std::collections::BTreeMap;

use crate::TraceError;
use crate::format::{Meta, Session};
use crate::generate::{Domain, Draws, Purpose};
use crate::import::Sink;
use crate::stat::{Collector, Quantity};

/// Values of a trace by session. Memory: a pair of numbers per different value of a session.
#[derive(Default)]
pub struct Band {
    meta: Meta,
    sessions: u32,
    values: BTreeMap<Quantity, Vec<Value>>,
}

struct Value {
    of: f64,
    count: u64,
    session: u32,
}

impl Sink for Band {
    fn meta(&mut self, meta: &Meta) -> Result<(), TraceError> {
        self.meta = meta.clone();
        Ok(())
    }

    fn session(&mut self, session: Session) -> Result<(), TraceError> {
        let mut own = Collector::new(self.meta.clone());
        own.add(&session);
        for (quantity, ecdf) in own.ecdfs() {
            let values = self.values.entry(quantity).or_default();
            values.extend(ecdf.counts().map(|(value, count)| Value {
                of: value,
                count,
                session: self.sessions,
            }));
        }
        self.sessions += 1;
        Ok(())
    }
}

impl Band {
    /// The distance that 95 % of `resamples` stay within, by quantity; waits below `floor_s` count as equal.
    pub fn distances(mut self, resamples: u32, seed: u64, floor_s: f64) -> BTreeMap<Quantity, f64> {
        let draws = Draws::new(seed, Domain::Resampling);
        // How often each session is drawn, by resample.
        let drawn: Vec<Vec<u64>> = (0..resamples)
            .map(|resample| {
                let mut times = vec![0; self.sessions as usize];
                for i in 0..self.sessions {
                    let draw = draws.at(resample, i, Purpose::Resample);
                    times[(draw.uniform() * f64::from(self.sessions)) as usize] += 1;
                }
                times
            })
            .collect();
        for values in self.values.values_mut() {
            // Equal values need no order: a distance is taken after the last of them.
            values.sort_by(|a, b| a.of.total_cmp(&b.of));
        }
        let band = |(&quantity, values): (&Quantity, &Vec<Value>)| {
            let floor = if quantity.is_wait() { floor_s } else { 0.0 };
            let mut distances: Vec<f64> = drawn
                .iter()
                .map(|times| distance(values, times, floor))
                .collect();
            distances.sort_by(f64::total_cmp);
            let rank = (distances.len() * 95).div_ceil(100).max(1);
            Some((quantity, *distances.get(rank - 1)?))
        };
        self.values.iter().filter_map(band).collect()
    }
}

/// Kolmogorov-Smirnov distance between all sessions once and each `times` times; 1 if none that is drawn has a value.
fn distance(values: &[Value], times: &[u64], floor: f64) -> f64 {
    let all: u64 = values.iter().map(|v| v.count).sum();
    let drawn: u64 = values
        .iter()
        .map(|v| v.count * times[v.session as usize])
        .sum();
    if drawn == 0 {
        return 1.0;
    }
    let (mut below_all, mut below_drawn, mut largest) = (0, 0, 0.0_f64);
    for (index, v) in values.iter().enumerate() {
        below_all += v.count;
        below_drawn += v.count * times[v.session as usize];
        let next = values.get(index + 1).map_or(f64::INFINITY, |next| next.of);
        if v.of < next && next > floor {
            let difference = below_all as f64 / all as f64 - below_drawn as f64 / drawn as f64;
            largest = largest.max(difference.abs());
        }
    }
    largest
}
