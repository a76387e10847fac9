//! Many clients, a few of which send most of the load, each as bursty as it is: ServeGen's finding (Xiang et al., arXiv 2505.09999).
//!
//! A client's share of the arrivals is lognormal: with `weight_sigma` = s, the top tenth of many clients sends
//! Phi(s - 1.28) of all, so 1.9 gives 73 % (ServeGen's language models: 60 to 79 %). Intervals of a client are gamma,
//! or Weibull for `weibull_share` of the clients, with a coefficient of variation drawn from `cv`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use model::Nanos;
use serde::{Deserialize, Serialize};

use super::renewal::interval_at;
use super::{ArrivalTimes, IntervalLaw};
use crate::TraceError;
use crate::generate::{Distribution, Domain, Draws, Purpose};

/// Clients and how they differ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientMixture {
    /// Number of clients.
    pub count: u32,
    /// Standard deviation of the logarithm of a client's rate. 0: all alike.
    pub weight_sigma: f64,
    /// Coefficient of variation of a client's intervals.
    pub cv: Distribution,
    /// Share of the clients with Weibull intervals; the others have gamma ones.
    #[serde(default)]
    pub weibull_share: f64,
}

impl ClientMixture {
    pub(super) fn validate(&self) -> Result<(), TraceError> {
        let wrong = |text: String| {
            Err(TraceError::Parameters(format!(
                "`arrivals.clients`: {text}"
            )))
        };
        if self.count == 0 || self.count > 1_000_000 {
            return wrong(format!(
                "count = {}; from 1 to 1,000,000 clients",
                self.count
            ));
        }
        if !(0.0..=5.0).contains(&self.weight_sigma) {
            return wrong(format!("weight_sigma = {}; from 0 to 5", self.weight_sigma));
        }
        if !(0.0..=1.0).contains(&self.weibull_share) {
            return wrong(format!(
                "weibull_share = {}; from 0 to 1",
                self.weibull_share
            ));
        }
        self.cv.validate("arrivals.clients.cv")
    }

    pub(super) fn start(&self, rate: f64, seed: u64) -> Clients {
        let draws = Draws::new(seed, Domain::Clients);
        let weight = |client| {
            let draw = draws.at(client, 0, Purpose::ClientWeight);
            libm::exp(self.weight_sigma * draw.normal())
        };
        let total: f64 = (0..self.count).map(weight).sum();
        let client = |id| {
            let cv = self.cv.sample(draws.at(id, 0, Purpose::ClientCv));
            let weibull = draws.at(id, 0, Purpose::ClientLaw).uniform() < self.weibull_share;
            Client {
                law: if weibull {
                    IntervalLaw::weibull(cv)
                } else {
                    IntervalLaw::gamma(cv)
                },
                rate: rate * weight(id) / total,
                sent: 0,
                clock: Nanos::ZERO,
            }
        };
        let mut clients = Clients {
            draws,
            all: (0..self.count).map(client).collect(),
            next: BinaryHeap::new(),
        };
        for id in 0..self.count {
            clients.plan(id);
        }
        clients
    }
}

/// All clients at work; the earliest arrival is taken, ties by client.
pub(super) struct Clients {
    draws: Draws,
    all: Vec<Client>,
    next: BinaryHeap<Reverse<(Nanos, u32)>>,
}

struct Client {
    law: IntervalLaw,
    rate: f64,
    sent: u32,
    clock: Nanos,
}

impl Clients {
    fn plan(&mut self, id: u32) {
        let client = &mut self.all[id as usize];
        let address = (id, client.sent);
        let interval = interval_at(client.law, self.draws, address, client.sent == 0);
        let wait = Nanos::from_secs_f64(interval / client.rate);
        client.sent += 1;
        client.clock = Nanos(client.clock.0.saturating_add(wait.0));
        self.next.push(Reverse((client.clock, id)));
    }
}

impl ArrivalTimes for Clients {
    fn next(&mut self, _: u32) -> Nanos {
        let Reverse((time, id)) = self.next.pop().expect("every client has a next arrival");
        self.plan(id);
        time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mixture(count: u32, weight_sigma: f64, cv: f64) -> ClientMixture {
        ClientMixture {
            count,
            weight_sigma,
            cv: Distribution::Constant(cv),
            weibull_share: 0.5,
        }
    }

    #[test]
    fn together_the_clients_send_at_the_rate_asked_for() {
        let mut clients = mixture(50, 1.0, 1.5).start(2.0, 9);
        let times: Vec<Nanos> = (0..20_000).map(|agent| clients.next(agent)).collect();
        assert!(times.is_sorted());
        // 20,000 arrivals at 2 per second last 10,000 s; the largest client has about a tenth of them.
        let last = times[19_999].as_secs_f64();
        assert!((last / 10_000.0 - 1.0).abs() < 0.1, "{last}");
    }

    #[test]
    fn a_tenth_of_the_clients_sends_most_of_the_load() {
        let clients = mixture(4_000, 1.9, 1.0).start(1.0, 1);
        let mut rates: Vec<f64> = clients.all.iter().map(|client| client.rate).collect();
        rates.sort_by(f64::total_cmp);
        let top: f64 = rates[3_600..].iter().sum();
        // Phi(1.9 - 1.2816) = 0.732; the sum is 1.
        assert!((top - 0.732).abs() < 0.05, "{top}");
    }

    #[test]
    fn clients_have_no_common_beginning() {
        // Very bursty clients that all began with a burst would send most of a day's arrivals in its first minutes.
        let mut clients = mixture(200, 0.0, 6.0).start(1.0, 4);
        let early = (0..5_000)
            .take_while(|&agent| clients.next(agent).as_secs_f64() < 1_000.0)
            .count();
        // 1,000 expected; the superposition of 200 clients of cv 6 varies by some 6 * sqrt(1,000) = 190.
        assert!((300..1_900).contains(&early), "{early}");
    }
}
