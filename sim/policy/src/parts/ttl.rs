//! How long to hold: three answers to one question.
//!
//! ```text
//!   Eq. 2 (Continuum)  tau = argmax  F(tau)·B - tau                       charges tau even if the tool returns earlier
//!   expected cost      tau = argmin  price·E[min(T, tau)] + B·(1 - F(tau))
//!   ski rental         tau = B / price                                    knows nothing of T; at most twice the optimum
//! ```
//!
//! T is the wait, F its distribution function, B the seconds lost if the KV is gone, and `price` what a second of holding costs in such
//! seconds. Between two observations neither sum can gain, so that 0 and the observed durations are all candidates.

use model::Nanos;

/// Continuum's Eq. 2 over the observed durations `waits` (sorted): the smallest maximiser.
pub(crate) fn eq2(waits: &[Nanos], benefit_s: f64) -> Nanos {
    let count = waits.len() as f64;
    let mut best = (0.0, Nanos::ZERO);
    for (i, &tau) in waits.iter().enumerate() {
        let returned = (i + 1) as f64 / count;
        let reward = returned * benefit_s - tau.as_secs_f64();
        if reward > best.0 {
            best = (reward, tau);
        }
    }
    best.1
}

/// The holding time of least expected cost over the observed durations `waits` (sorted): the smallest minimiser.
pub(crate) fn expected_cost(waits: &[Nanos], benefit_s: f64, price: f64) -> Nanos {
    let count = waits.len() as f64;
    let mut best = (benefit_s, Nanos::ZERO);
    let mut held_s = 0.0;
    for (i, &tau) in waits.iter().enumerate() {
        held_s += tau.as_secs_f64();
        let gone = (waits.len() - i - 1) as f64;
        let held = held_s + gone * tau.as_secs_f64();
        let cost = (price * held + benefit_s * gone) / count;
        if cost < best.0 {
            best = (cost, tau);
        }
    }
    best.1
}

/// The break-even time: holding has then cost what it was to save. A price of 0 holds for ever.
pub(crate) fn break_even(benefit_s: f64, price: f64) -> Nanos {
    if price > 0.0 {
        Nanos::from_secs_f64(benefit_s / price)
    } else {
        Nanos::MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 0.5, 0.5, 1, 2 and 8 s.
    fn waits() -> [Nanos; 5] {
        [500, 500, 1_000, 2_000, 8_000].map(Nanos::from_millis)
    }

    #[test]
    fn eq2_takes_the_largest_reward() {
        // B = 4 s. Rewards F·B - tau: 0 at 0; 2/5·4 - 0.5 = 1.1; 3/5·4 - 1 = 1.4; 4/5·4 - 2 = 1.2; 4 - 8 = -4.
        assert_eq!(eq2(&waits(), 4.0), Nanos::from_millis(1_000));
        // B = 0.5: 0.2 - 0.5 < 0 everywhere, so nothing is held.
        assert_eq!(eq2(&waits(), 0.5), Nanos::ZERO);
        assert_eq!(eq2(&[], 4.0), Nanos::ZERO);
    }

    #[test]
    fn the_expected_cost_counts_only_the_time_that_was_held() {
        // B = 4 s, price 1. Cost at 0: 4. At 0.5: 0.5 + 4·3/5 = 2.9. At 1: (0.5 + 0.5 + 3·1)/5 + 4·2/5 = 0.8 + 1.6 = 2.4.
        // At 2: (0.5 + 0.5 + 1 + 2·2)/5 + 4/5 = 1.2 + 0.8 = 2.0. At 8: 12/5 = 2.4.
        assert_eq!(expected_cost(&waits(), 4.0, 1.0), Nanos::from_millis(2_000));
        // At ten times the price holding half a second costs 5: more than the loss of 4.
        assert_eq!(expected_cost(&waits(), 4.0, 10.0), Nanos::ZERO);
        // Free memory is held as long as anybody was ever away.
        assert_eq!(expected_cost(&waits(), 4.0, 0.0), Nanos::from_millis(8_000));
        assert_eq!(expected_cost(&[], 4.0, 1.0), Nanos::ZERO);
    }

    #[test]
    fn ski_rental_breaks_even() {
        // Its cost on these waits: (0.5 + 0.5 + 1 + 2 + 4)/5 + 4/5 = 1.6 + 0.8 = 2.4; the clairvoyant's is (0.5 + 0.5 + 1 + 2 + 4)/5 = 1.6.
        assert_eq!(break_even(4.0, 1.0), Nanos::from_millis(4_000));
        assert_eq!(break_even(4.0, 2.0), Nanos::from_millis(2_000));
        assert_eq!(break_even(4.0, 0.0), Nanos::MAX);
    }
}
