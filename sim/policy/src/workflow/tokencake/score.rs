//! TokenCake's decision whether one waiting session's blocks go to the host: hard gates in a fixed order, then a score.
//!
//! Far above its threshold wherever the gates let pass: the stall term alone saturates as soon as the wait exceeds the transfers by six times
//! their time (or by 1.5 s). Whether the score ever decides is a question for an ablation.

/// What the decision is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Offer {
    /// D: predicted wait from now \[s\].
    pub wait_s: f64,
    /// Tx: transfer there and back \[s\].
    pub transfer_s: f64,
    /// u: share of HBM in use.
    pub used: f64,
    /// b: blocks that would become free.
    pub blocks: f64,
    /// W: blocks that all queued turns need.
    pub wanted: f64,
    /// F: blocks that those queued turns need that could then run.
    pub fits: f64,
    /// Free blocks of HBM.
    pub free: f64,
    /// The host has room.
    pub host_fits: bool,
    /// 0 to 10.
    pub importance: f64,
    /// Little is left of the session.
    pub near_completion: bool,
    /// Penalty for sessions that moved lately.
    pub churn: f64,
}

/// Why an offer is refused, in the order in which it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is nothing to free.
    Nothing,
    /// No queued turn could use it.
    Useless,
    /// The host is full.
    HostFull,
    /// The wait is too short for two transfers.
    TooShort,
    /// Memory is not short.
    LowPressure,
    /// The session matters, and is back soon.
    Important,
    /// The score is below its threshold.
    Score,
}

/// Score from which a session is offloaded.
const THRESHOLD: f64 = 1.0;

impl Offer {
    fn margin_s(&self) -> f64 {
        self.wait_s - self.transfer_s
    }

    fn waits(&self) -> bool {
        self.wanted > 0.0
    }

    /// Memory is very short and the wait very long: most gates open.
    fn emergency(&self) -> bool {
        self.used >= 0.85 && self.margin_s() >= (4.0 * self.transfer_s).max(5.0) && self.waits()
    }

    /// The score, without the gates.
    pub fn score(&self) -> f64 {
        let pressure =
            (6.0 * (self.used - 0.60)).max(0.0) + (self.wanted / (self.blocks + 1.0)).min(2.0);
        let fit = (self.fits / self.blocks).min(2.0);
        let stall = (self.margin_s() / self.transfer_s.max(0.25)).min(6.0);
        let safety = if self.wait_s >= 2.0 * self.transfer_s {
            1.0
        } else {
            -1.0
        };
        let host = if self.host_fits { 1.0 } else { -4.0 };
        let near = if self.near_completion { 2.0 } else { 0.0 };
        pressure + fit + stall + safety + host - 0.35 * self.importance - near - self.churn
    }

    /// The score of an offer that passes.
    pub fn decide(&self) -> Result<f64, Refusal> {
        let margin = self.margin_s();
        let emergency = self.emergency();
        let pressed = self.wanted > self.free;
        let soon = self.near_completion
            || margin < (8.0 * self.transfer_s).max(0.5)
            || self.wait_s < 2.0 * self.transfer_s;
        let score = self.score();
        if self.blocks <= 0.0 {
            Err(Refusal::Nothing)
        } else if self.fits <= 0.0 {
            Err(Refusal::Useless)
        } else if !self.host_fits {
            Err(Refusal::HostFull)
        } else if margin <= 0.0 || (margin < (2.0 * self.transfer_s).max(0.05) && !emergency) {
            Err(Refusal::TooShort)
        } else if self.used < 0.60 && (!pressed || self.fits < self.blocks || !self.waits()) {
            Err(Refusal::LowPressure)
        } else if self.importance >= 8.0 && !emergency && soon {
            Err(Refusal::Important)
        } else if score < THRESHOLD && !emergency {
            Err(Refusal::Score)
        } else {
            Ok(score)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: Offer = Offer {
        wait_s: 3.0,
        transfer_s: 0.2,
        used: 0.80,
        blocks: 256.0,
        wanted: 400.0,
        fits: 200.0,
        free: 100.0,
        host_fits: true,
        importance: 3.0,
        near_completion: false,
        churn: 0.0,
    };

    #[test]
    fn a_long_wait_under_pressure_is_offloaded() {
        // Pressure 6·0.2 + 400/257 = 1.2 + 1.556; fit 200/256 = 0.781; stall min(6, 2.8/0.25) = 6; safety + 1; host + 1; importance - 1.05.
        let score = OFFER.decide().expect("it passes");
        assert!((score - 10.49).abs() < 0.005, "{score}");
    }

    #[test]
    fn without_pressure_nothing_moves() {
        let calm = Offer {
            used: 0.50,
            wanted: 100.0,
            free: 500.0,
            ..OFFER
        };
        assert_eq!(calm.decide(), Err(Refusal::LowPressure));
    }

    #[test]
    fn gates_are_asked_in_their_order() {
        assert_eq!(
            Offer {
                blocks: 0.0,
                fits: 0.0,
                ..OFFER
            }
            .decide(),
            Err(Refusal::Nothing)
        );
        assert_eq!(
            Offer {
                fits: 0.0,
                host_fits: false,
                ..OFFER
            }
            .decide(),
            Err(Refusal::Useless)
        );
        assert_eq!(
            Offer {
                host_fits: false,
                wait_s: 0.1,
                ..OFFER
            }
            .decide(),
            Err(Refusal::HostFull)
        );
        // 0.5 - 0.2 = 0.3 s of margin are less than 2·0.2.
        assert_eq!(
            Offer {
                wait_s: 0.5,
                importance: 9.0,
                ..OFFER
            }
            .decide(),
            Err(Refusal::TooShort)
        );
        // 1.7 - 0.2 = 1.5 s are less than 8·0.2: too soon for an important session.
        assert_eq!(
            Offer {
                wait_s: 1.7,
                importance: 9.0,
                ..OFFER
            }
            .decide(),
            Err(Refusal::Important)
        );
        assert_eq!(
            Offer {
                churn: 9.5,
                ..OFFER
            }
            .decide(),
            Err(Refusal::Score)
        );
    }

    #[test]
    fn an_emergency_opens_the_later_gates() {
        // 6 - 0.2 = 5.8 s of margin, more than 5 and than 4·0.2; 90 % in use.
        let emergency = Offer {
            wait_s: 6.0,
            used: 0.90,
            importance: 9.0,
            near_completion: true,
            churn: 50.0,
            ..OFFER
        };
        assert!(emergency.decide().is_ok());
        assert_eq!(
            Offer {
                wanted: 0.0,
                ..emergency
            }
            .decide(),
            Err(Refusal::Important)
        );
    }
}
