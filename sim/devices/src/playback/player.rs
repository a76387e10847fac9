//! A device that says what another one said.

use super::{Answer, WakeLog};
use engine::device::{Completion, Device, DeviceError, Op};
use model::{ContentId, Direction, Nanos, OpId, Time};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;

/// Answers from a [`WakeLog`], and executes nothing.
pub struct Playback {
    state: RefCell<State>,
    /// Operations that have been submitted and not completed.
    in_flight: Vec<OpId>,
    now: Time,
}

struct State {
    answers: VecDeque<Answer>,
    asked: u64,
    /// The first question that the recording does not have an answer to.
    diverged: Option<String>,
}

impl Playback {
    /// A device that gives the answers of `log`.
    pub fn new(log: WakeLog) -> Self {
        Self {
            state: RefCell::new(State {
                answers: log.answers.into(),
                asked: 0,
                diverged: None,
            }),
            in_flight: Vec::new(),
            now: Time::ZERO,
        }
    }

    /// Answers that nobody asked for.
    pub fn left(&self) -> usize {
        self.state.borrow().answers.len()
    }

    /// What was asked that the recording did not expect, if anything was.
    pub fn diverged(&self) -> Option<String> {
        self.state.borrow().diverged.clone()
    }
}

impl State {
    /// The next answer, if it is one to `question`.
    fn next<T>(
        &mut self,
        question: impl fmt::Display,
        take: impl FnOnce(&Answer) -> Option<T>,
    ) -> Option<T> {
        if self.diverged.is_some() {
            return None;
        }
        self.asked += 1;
        let answer = self.answers.pop_front();
        let taken = answer.as_ref().and_then(take);
        if taken.is_none() {
            let instead = answer.map_or("has ended".to_owned(), |answer| {
                format!("answers another question: {answer:?}")
            });
            self.diverged = Some(format!(
                "question {} of the driver was {question}, where the recording {instead}",
                self.asked
            ));
        }
        taken
    }
}

impl Device for Playback {
    fn submit(&mut self, op: Op) {
        self.in_flight.push(op.id());
    }

    fn cut(&mut self, op: OpId) -> u32 {
        let answer =
            self.state
                .get_mut()
                .next(format_args!("a cut of {op}"), |answer| match answer {
                    Answer::Cut(known, units) if *known == op => Some(*units),
                    _ => None,
                });
        answer.unwrap_or(1)
    }

    fn progress(&self, op: OpId) -> u32 {
        let mut state = self.state.borrow_mut();
        let answer = state.next(
            format_args!("the progress of {op}"),
            |answer| match answer {
                Answer::Progress(known, units) if *known == op => Some(*units),
                _ => None,
            },
        );
        answer.unwrap_or(0)
    }

    fn wait(&mut self, until: Option<Time>, done: &mut Vec<Completion>) -> Time {
        let answer = self.state.get_mut().next("a wait", |answer| match answer {
            Answer::Woke(at, completions) => Some((*at, completions.clone())),
            _ => None,
        });
        if let Some((at, completions)) = answer {
            self.in_flight
                .retain(|op| completions.iter().all(|completion| completion.op != *op));
            done.extend(completions);
            self.now = at;
            return at;
        }
        // The run ends with the first operation that fails.
        let what = self.diverged().unwrap_or_default();
        self.now = self.now.max(until.unwrap_or_default());
        done.extend(self.in_flight.drain(..).map(|op| Completion {
            op,
            start: self.now,
            end: self.now,
            units: 1,
            status: Err(DeviceError(what.clone())),
        }));
        self.now
    }

    /// Blocks are placed as on the device that was recorded; nothing is moved.
    fn places_blocks(&self) -> bool {
        true
    }

    fn wrote(&mut self, _: u32, _: ContentId) {}

    fn lane_busy(&self, direction: Direction) -> Nanos {
        let mut state = self.state.borrow_mut();
        let question = format_args!("how long {direction} was busy").to_string();
        let answer = state.next(question, |answer| match answer {
            Answer::Busy(known, span) if *known == direction => Some(*span),
            _ => None,
        });
        answer.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn player(answers: Vec<Answer>) -> Playback {
        Playback::new(WakeLog { answers })
    }

    #[test]
    fn answers_come_in_the_order_of_the_recording() {
        let mut player = player(vec![
            Answer::Progress(OpId(1), 4),
            Answer::Cut(OpId(1), 6),
            Answer::Woke(Time(70), Vec::new()),
        ]);
        assert_eq!(player.progress(OpId(1)), 4);
        assert_eq!(player.cut(OpId(1)), 6);
        assert_eq!(player.wait(None, &mut Vec::new()), Time(70));
        assert_eq!((player.left(), player.diverged()), (0, None));
    }

    #[test]
    fn a_question_out_of_order_is_named_and_the_first_one_counts() {
        let mut player = player(vec![Answer::Cut(OpId(1), 6), Answer::Cut(OpId(2), 6)]);
        assert_eq!(player.progress(OpId(1)), 0);
        assert_eq!(player.cut(OpId(2)), 1);
        let what = player.diverged().expect("it has");
        assert!(
            what.contains("question 1 of the driver was the progress of 1"),
            "{what}"
        );
    }
}
