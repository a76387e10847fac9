//! Every device of this crate keeps the contract; devices that break it are noticed.

use devices::conformance::{POOL_BLOCKS, Subject, Violation, check};
use devices::{
    CopyFault, CopyMethod, FaultPlan, HostDevice, HostPools, IdleCost, LinkCost, SimDevice,
    StepCost,
};
use engine::device::{Completion, Device, Op};
use model::{ContentId, Direction, Nanos, OpId, Time};
use std::num::NonZeroU32;

/// An H200 that runs Llama-2-7B, its blocks gathered from 64 pieces. The contract is told in runs that start when they are submitted: what an
/// idle GPU adds is left out here.
fn costs() -> (StepCost, LinkCost) {
    let (h200, model) = (
        devices::hardware("h200").unwrap(),
        devices::model("llama-2-7b").unwrap(),
    );
    (
        StepCost {
            idle: IdleCost::default(),
            ..h200.step_cost(&model)
        },
        h200.link_cost(CopyMethod::Gather, model.pieces_per_block()),
    )
}

fn sim(ahead: u32) -> Box<dyn Device> {
    let (steps, link) = costs();
    Box::new(SimDevice::new(steps, &link, ahead))
}

fn pools() -> HostPools {
    HostPools {
        backing_bytes: 256,
        ..HostPools::new(POOL_BLOCKS, POOL_BLOCKS)
    }
}

fn host(ahead: u32) -> HostDevice {
    let (steps, link) = costs();
    HostDevice::with_virtual_clock(steps, &link, ahead, pools())
}

fn check_exact(ahead: u32, make: &dyn Fn() -> Box<dyn Device>) -> Result<(), Violation> {
    check(&Subject {
        make,
        ahead,
        lane_depth: 2,
        exact: true,
    })
}

#[test]
fn the_simulated_device_keeps_the_contract() {
    for ahead in [0, 1] {
        check_exact(ahead, &|| sim(ahead)).unwrap();
    }
}

#[test]
fn the_simulated_device_keeps_the_contract_with_lanes_of_any_depth() {
    let (steps, link) = costs();
    for depth in [1, 3, 100] {
        let link = link
            .clone()
            .with_lane_depth(NonZeroU32::new(depth).unwrap());
        let make = || -> Box<dyn Device> { Box::new(SimDevice::new(steps.clone(), &link, 0)) };
        check(&Subject {
            make: &make,
            ahead: 0,
            lane_depth: depth,
            exact: true,
        })
        .unwrap();
    }
}

#[test]
fn host_memory_under_a_virtual_clock_keeps_the_contract() {
    for ahead in [0, 1] {
        check_exact(ahead, &|| Box::new(host(ahead))).unwrap();
    }
}

#[test]
fn host_memory_under_a_wall_clock_keeps_order_and_accounts() {
    let (_, link) = costs();
    // Steps of 50 us, so that the suite sleeps little.
    let steps = StepCost::linear(50_000_000, 0, 0, 0);
    for ahead in [0, 1] {
        let make = || -> Box<dyn Device> {
            Box::new(HostDevice::with_wall_clock(
                steps.clone(),
                &link,
                ahead,
                pools(),
            ))
        };
        check(&Subject {
            make: &make,
            ahead,
            lane_depth: 2,
            exact: false,
        })
        .unwrap();
    }
}

/// A simulated device with a defect.
struct Defective {
    inner: Box<dyn Device>,
    defect: Defect,
    completed: u32,
    lost: Vec<OpId>,
    copies: Vec<OpId>,
}

#[derive(Clone, Copy, Debug)]
enum Defect {
    LosesACompletion,
    CompletesTwice,
    EndsCopiesEarly,
    CutsWithoutDoing,
    CommitsTheStepThatBeginsNow,
    GoesBackInTime,
}

impl Device for Defective {
    fn submit(&mut self, op: Op) {
        if let Op::Copy(run) = &op {
            self.copies.push(run.id);
        }
        self.inner.submit(op);
    }

    fn cut(&mut self, op: OpId) -> u32 {
        match self.defect {
            _ if self.lost.contains(&op) => 1,
            Defect::CutsWithoutDoing => self.inner.progress(op) + 1,
            Defect::CommitsTheStepThatBeginsNow => {
                self.inner.cut(op).max(self.inner.progress(op) + 1)
            }
            _ => self.inner.cut(op),
        }
    }

    fn progress(&self, op: OpId) -> u32 {
        if self.lost.contains(&op) {
            1
        } else {
            self.inner.progress(op)
        }
    }

    fn wait(&mut self, until: Option<Time>, done: &mut Vec<Completion>) -> Time {
        let first = done.len();
        let now = self.inner.wait(until, done);
        self.completed += (done.len() - first) as u32;
        let tenth = done.len() > first && self.completed.is_multiple_of(10);
        match self.defect {
            Defect::LosesACompletion if tenth => {
                self.lost.extend(done.pop().map(|completion| completion.op));
            }
            Defect::CompletesTwice if tenth => done.push(done[first].clone()),
            Defect::EndsCopiesEarly => {
                for completion in done[first..]
                    .iter_mut()
                    .filter(|completion| self.copies.contains(&completion.op))
                {
                    completion.end = completion.end.before(Nanos(1));
                }
            }
            Defect::GoesBackInTime if tenth => return now.before(Nanos(1_000_000_000)),
            _ => {}
        }
        now
    }

    fn places_blocks(&self) -> bool {
        self.inner.places_blocks()
    }

    fn wrote(&mut self, block: u32, content: ContentId) {
        self.inner.wrote(block, content);
    }

    fn lane_busy(&self, direction: Direction) -> Nanos {
        self.inner.lane_busy(direction)
    }
}

#[test]
fn defective_devices_are_rejected_for_their_defect() {
    for (defect, says) in [
        (Defect::LosesACompletion, "it is lost"),
        (Defect::CompletesTwice, "is not in flight"),
        (Defect::EndsCopiesEarly, "busy for"),
        (Defect::CutsWithoutDoing, "(a cut leaves what is committed)"),
        (Defect::CommitsTheStepThatBeginsNow, "a run cut is"),
        (Defect::GoesBackInTime, "time went back"),
    ] {
        for ahead in [0, 1] {
            // With a step ahead the one that begins now is committed anyway.
            if matches!((defect, ahead), (Defect::CommitsTheStepThatBeginsNow, 1)) {
                continue;
            }
            let make = || -> Box<dyn Device> {
                Box::new(Defective {
                    inner: sim(ahead),
                    defect,
                    completed: 0,
                    lost: Vec::new(),
                    copies: Vec::new(),
                })
            };
            let violation =
                check_exact(ahead, &make).expect_err("the suite rejects a defective device");
            assert!(
                violation.to_string().contains(says),
                "{defect:?}: {violation}"
            );
        }
    }
}

#[test]
fn faults_of_host_memory_are_rejected_for_what_they_are() {
    for (fault, says) in [
        (CopyFault::FlipByte, "but byte 128 differs"),
        (CopyFault::Fail, "failed on request"),
        (CopyFault::LoseCompletion, "it is lost"),
    ] {
        // The third copy is the first after both pools were filled.
        let make = || -> Box<dyn Device> {
            Box::new(host(0).with_faults(FaultPlan::none().with(2, fault)))
        };
        let violation = check_exact(0, &make).expect_err("the suite rejects a faulty device");
        assert!(violation.what.contains(says), "{fault:?}: {violation}");
    }
}
