//! What a step costs that begins on an idle GPU: timed after pauses, as a driver that wakes for an arrival submits it.

use super::fit::median;
use super::timed::{Timed, TimedSteps};
use crate::backend::Backend;
use devices::IdleCost;
use engine::device::{PrefillChunk, StepShape};
use model::Nanos;
use std::fmt::Write as _;

/// Pauses \[us\]. The first is what passes between two operations of a calibration anyway.
pub const PAUSES_US: [u64; 7] = [0, 300, 1_000, 3_000, 10_000, 30_000, 100_000];
/// A pause beyond which card and host have gone to rest, as far as they do.
const REST_US: u64 = 30_000;
/// Timings of each shape behind each pause.
const REPEATS: usize = 7;

/// A step behind a pause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdlePoint {
    /// What it computed.
    pub shape: StepShape,
    /// For how long nothing had been computed \[ns\].
    pub pause_ns: u64,
    /// From its submission to its begin; median \[ns\].
    pub dispatch_ns: u64,
    /// Its time; median \[ns\].
    pub nanos: u64,
}

fn shapes() -> [StepShape; 4] {
    let prompt = |tokens, context| StepShape {
        prefill: vec![PrefillChunk { tokens, context }],
        ..StepShape::default()
    };
    let decode = StepShape {
        decode_seqs: 4,
        decode_kv_tokens: 4 * 1_024,
        ..StepShape::default()
    };
    [
        prompt(32, 1_024),
        prompt(256, 512),
        prompt(1_024, 0),
        decode,
    ]
}

/// Times steps behind pauses \[us\].
///
/// # Errors
/// What the device says.
pub fn time<B: Backend>(
    timed: &mut Timed<'_, B>,
    pauses_us: &[u64],
) -> Result<Vec<IdlePoint>, String> {
    let [.., decode] = shapes();
    let before = TimedSteps {
        shape: decode,
        count: 8,
    };
    let mut points = Vec::new();
    for shape in shapes() {
        let steps = TimedSteps {
            shape: shape.clone(),
            count: 1,
        };
        for pause_us in pauses_us {
            let pause_ns = pause_us * 1_000;
            let mut dispatch = Vec::with_capacity(REPEATS);
            let mut nanos = Vec::with_capacity(REPEATS);
            // The first one is not counted.
            for repeat in 0..=REPEATS {
                // What runs in service before a pause.
                timed.steps(&before)?;
                let (waited, span) = timed.steps_after(Nanos(pause_ns), &steps)?;
                if repeat > 0 {
                    dispatch.push(waited.0 as f64);
                    nanos.push(span.nanos() as f64);
                }
            }
            let middle = |times| median(times).unwrap_or(0.0) as u64;
            points.push(IdlePoint {
                shape: shape.clone(),
                pause_ns,
                dispatch_ns: middle(dispatch),
                nanos: middle(nanos),
            });
        }
    }
    Ok(points)
}

/// The medians over shapes and long pauses, as a lightly loaded server has them. `pause_ns` is the shortest pause behind which half of what a rested card takes longer is seen.
pub fn fit(points: &[IdlePoint]) -> IdleCost {
    let dispatch = points
        .iter()
        .filter(|point| point.pause_ns >= REST_US * 1_000)
        .map(|point| point.dispatch_ns as f64);
    // Against the same shape without a pause.
    let longer = |point: &IdlePoint| {
        let own = |other: &&IdlePoint| other.pause_ns == 0 && other.shape == point.shape;
        let busy = points.iter().find(own)?;
        Some(point.nanos as f64 - busy.nanos as f64)
    };
    let behind = |of: &dyn Fn(u64) -> bool| {
        let own = points.iter().filter(|point| of(point.pause_ns));
        median(own.filter_map(longer).collect())
            .unwrap_or(0.0)
            .max(0.0)
    };
    let rested = behind(&|pause_ns| pause_ns >= REST_US * 1_000);
    let half = PAUSES_US
        .map(|pause_us| pause_us * 1_000)
        .into_iter()
        .find(|&pause_ns| pause_ns > 0 && 2.0 * behind(&|own| own == pause_ns) >= rested);
    IdleCost {
        dispatch_ns: median(dispatch.collect()).unwrap_or(0.0) as u64,
        pause_ns: half.unwrap_or(REST_US * 1_000),
        longer_ns: rested as u64,
    }
}

/// The timed steps, for a file of their own.
pub fn csv(points: &[IdlePoint]) -> String {
    let mut text =
        "prefill_tokens,prefill_context,decode_seqs,decode_kv_tokens,pause_ns,dispatch_ns,nanos\n"
            .to_owned();
    for point in points {
        let context: u32 = point.shape.prefill.iter().map(|chunk| chunk.context).sum();
        let _ = writeln!(
            text,
            "{},{context},{},{},{},{},{}",
            point.shape.prefill_tokens(),
            point.shape.decode_seqs,
            point.shape.decode_kv_tokens,
            point.pause_ns,
            point.dispatch_ns,
            point.nanos
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{DeviceOptions, ReplayDevice};
    use crate::fake::FakeGpu;
    use model::Bytes;

    #[test]
    fn a_card_that_rests_is_found_out() {
        // Late by 60 us always; from 1 ms on longer by 120 us, whatever it computes.
        let points: Vec<IdlePoint> = shapes()
            .into_iter()
            .zip([5_000_000, 7_000_000, 20_000_000, 6_000_000])
            .flat_map(|(shape, busy)| {
                PAUSES_US.map(|pause_us| IdlePoint {
                    shape: shape.clone(),
                    pause_ns: pause_us * 1_000,
                    dispatch_ns: if pause_us == 0 { 20_000 } else { 60_000 },
                    nanos: busy + if pause_us >= 1_000 { 120_000 } else { 5_000 },
                })
            })
            .collect();
        // Without a pause 5 us longer as well: 115 more.
        let expected = IdleCost {
            dispatch_ns: 60_000,
            pause_ns: 1_000_000,
            longer_ns: 115_000,
        };
        assert_eq!(fit(&points), expected);
        assert_eq!(csv(&points).lines().count(), 1 + 4 * 7);
        assert!(csv(&points).contains("\n32,1024,0,0,3000000,60000,5120000\n"));
    }

    #[test]
    fn pauses_pass_on_any_backend() {
        let mut device = ReplayDevice::new(FakeGpu::new(64, 64), DeviceOptions::default()).unwrap();
        let mut timed = Timed::new(&mut device, 4, Bytes(8 << 20));
        let points = time(&mut timed, &[0, 500]).unwrap();
        assert_eq!(points.len(), 4 * 2);
        // Each step takes 50 us there, rested or not.
        assert!(points.iter().all(|point| point.nanos == 50_000));
        assert_eq!(fit(&points).longer_ns, 0);
    }
}
