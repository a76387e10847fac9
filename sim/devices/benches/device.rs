//! What a wake of the simulated device costs. `cargo bench -p devices`

use devices::{CopyMethod, Ramp, SimDevice, SlowDown};
use divan::{Bencher, black_box};
use engine::device::{CopyClass, CopyRun, Device, Op, StepPhase, StepRun, StepShape};
use model::{Bytes, Direction, Nanos, OpId, SessionId};

fn main() {
    divan::main();
}

const WAKES: u32 = 100_000;

fn device(ahead: u32) -> SimDevice {
    let (h200, model) = (
        devices::hardware("h200").unwrap(),
        devices::model("llama-3.1-8b").unwrap(),
    );
    let link = h200.link_cost(CopyMethod::Gather, model.pieces_per_block());
    SimDevice::new(h200.step_cost(&model), &link, ahead)
}

fn decode(id: u64, steps: u32) -> Op {
    let shape = StepShape {
        decode_seqs: 64,
        decode_kv_tokens: 64 * 2_000,
        ..StepShape::default()
    };
    Op::Steps(StepRun {
        id: OpId(id),
        phases: vec![StepPhase { shape, steps }],
        cuttable: true,
    })
}

fn copy(id: u64, direction: Direction) -> Op {
    Op::Copy(CopyRun {
        id: OpId(id),
        session: SessionId(0),
        direction,
        class: CopyClass::Prefetch,
        block_count: 500,
        chunk_blocks: 8,
        block_bytes: Bytes(2 << 20),
        blocks: Vec::new(),
    })
}

/// Something happens every 10 ms or so: a decode run is cut, ends, and the next one follows.
#[divan::bench(args = [0, 1])]
fn a_hundred_thousand_cuts(bencher: Bencher<'_, '_>, ahead: u32) {
    bencher.counter(WAKES).bench(|| {
        let mut device = device(ahead);
        let mut done = Vec::new();
        device.submit(decode(0, 400));
        let mut run = 0;
        for wake in 0..WAKES / 2 {
            let until = device.now() + Nanos(9_000_000 + u64::from(wake % 1_000));
            device.wait(Some(until), &mut done);
            device.cut(OpId(run));
            while done.is_empty() {
                device.wait(None, &mut done);
            }
            done.clear();
            run += 1;
            device.submit(decode(run, 400));
        }
        device.now()
    });
}

/// The same with both lanes always busy, so that every end of a copy changes the pace of steps and of the other lane.
#[divan::bench]
fn a_hundred_thousand_wakes_with_copies(bencher: Bencher<'_, '_>) {
    bencher.counter(WAKES).bench(|| {
        let mut device = device(0);
        let mut done = Vec::new();
        // The server is the number modulo 3.
        device.submit(decode(0, 400));
        device.submit(copy(1, Direction::D2h));
        device.submit(copy(2, Direction::H2d));
        for _ in 0..WAKES {
            device.wait(None, &mut done);
            for completion in done.drain(..) {
                let next = completion.op.0 + 3;
                device.submit(match next % 3 {
                    0 => decode(next, 400),
                    1 => copy(next, Direction::D2h),
                    _ => copy(next, Direction::H2d),
                });
            }
        }
        device.now()
    });
}

#[divan::bench(args = [10, 1_000, 100_000])]
fn the_sum_of_a_run(steps: u32) -> u64 {
    let ramp = Ramp::new(
        black_box(5_000_000_123),
        black_box(7_472_937),
        SlowDown::ppm(70_000),
    );
    ramp.sum(black_box(steps))
}

#[divan::bench(args = [10, 1_000, 100_000])]
fn the_steps_over_by_a_time(steps: u32) -> u32 {
    let ramp = Ramp::new(
        black_box(5_000_000_123),
        black_box(7_472_937),
        SlowDown::ppm(70_000),
    );
    ramp.over(200_000, black_box(u64::from(steps) * 5_350_000))
}
