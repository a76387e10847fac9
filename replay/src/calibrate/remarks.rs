//! What a profile says in comments: what it has no key for, and how far off its fits are.

use super::fit::Line;
use super::{METHODS, Measured, StepPoint, lane_fit};
use devices::StepCost;
use model::Direction;
use results::validation::ErrorSummary;
use std::fmt::Write as _;

/// What the profile has no key for, and how far off the fits are, as comments.
pub(super) fn remarks(measured: &Measured, text: &mut String) {
    let gb = |rate: f64| rate / 1e9;
    let us = |nanos: u64| nanos as f64 / 1e3;
    let mut line = |what: String| {
        let _ = writeln!(text, "# {what}");
    };
    line(
        "Times are medians, of operations as a run times them; fits are medians of slopes. Held-out errors: median, largest."
            .to_owned(),
    );
    for direction in Direction::LINK {
        let side = direction.index();
        let rates: Vec<String> = METHODS
            .iter()
            .zip(&measured.lanes[side].methods)
            .map(|(method, times)| {
                let rate = measured.blocks.bytes as f64 / times.block_ns;
                format!("{method:?} {rate:.1}").to_lowercase()
            })
            .collect();
        line(format!(
            "{direction}, GB/s of large copies: {}",
            rates.join(", ")
        ));
        let beside = &measured.lanes[side].beside;
        let rate = |ns: f64| measured.blocks.bytes as f64 / ns;
        line(format!(
            "{direction}, contiguous: alone {:.1}, beside the other direction {:.1}, beside decode {:.1}, beside prefill {:.1}; \
             a decode step takes {:+.1} % beside it, a prefill step {:+.1} %",
            rate(beside.alone_ns),
            rate(beside.other_ns),
            rate(beside.decode_ns),
            rate(beside.prefill_ns),
            beside.decode_slowdown * 100.0,
            beside.prefill_slowdown * 100.0,
        ));
        if let Some(errors) = measured.copy_errors(side) {
            line(copies_held_out(direction, &errors));
        }
        let (
            _,
            Line {
                fixed_ns,
                bytes_per_s,
                ..
            },
        ) = &measured.sweeps[side];
        line(format!(
            "{direction}, a memcpy beneath the device: {fixed_ns} ns + bytes at {:.2} GB/s; 8 MiB behind 512 MiB wait {:.2} ms",
            gb(*bytes_per_s as f64),
            us(measured.head_of_line_ns[side]) / 1e3
        ));
    }
    for what in disturbed(measured) {
        line(format!("Disturbed: {what}"));
    }
    for what in step_errors(&measured.steps, &measured.cost, &measured.plan.model) {
        line(what);
    }
    let [[kernel, kernel_99], [copy, copy_99]] = measured.latency_ns;
    line(format!(
        "submission to completion seen by polling: empty kernel P50 {:.1} us, P99 {:.1}; copy of 4 KiB {:.1}, {:.1}",
        us(kernel),
        us(kernel_99),
        us(copy),
        us(copy_99)
    ));
    for (bytes, [taken, freed]) in &measured.allocation_ns {
        line(format!(
            "HBM, {} MiB in one allocation: {:.0} us, freed in {:.0} us",
            bytes >> 20,
            us(*taken),
            us(*freed)
        ));
    }
    for (gibs, seconds) in &measured.host_pool_s_per_gib {
        line(format!(
            "pinned host pool of {gibs} GiB: {seconds:.3} s for each GiB"
        ));
    }
}

/// What is to be said of a link that something else used: its copies differ among themselves, or they are slower through the device than beneath
/// it, by more than those that nothing disturbs. Of 22 calibrations of H200s the copies held out are 0.2 to 3.5 % off, but for 4.4 and 6.9 % of two that
/// ran beside another one of the host; and contiguous copies had at least 97.5 % of the rate beneath the device, but for 87, 95 and 96 % of three
/// that ran faster a moment later. It is not seen if the copies beneath were slow as well.
pub fn disturbed(measured: &Measured) -> Vec<String> {
    const HELD_OUT: f64 = 0.04;
    const OF_BENEATH: f64 = 0.965;
    let advice = "something else used the link; calibrate again, one GPU of a host at a time";
    let found = Direction::LINK.into_iter().flat_map(|direction| {
        let side = direction.index();
        let differ = measured
            .copy_errors(side)
            .filter(|errors| errors.p50 > HELD_OUT)
            .map(|errors| {
                let off = errors.p50 * 100.0;
                format!("{direction} copies that were held out are {off:.1} % off: {advice}")
            });
        let through = measured.blocks.bytes as f64 / measured.lanes[side].methods[0].block_ns;
        let beneath = measured.sweeps[side].1.bytes_per_s as f64 / 1e9;
        let slow = (through < OF_BENEATH * beneath).then(|| {
            format!("{direction} runs at {through:.1} GB/s, and a memcpy beneath the device ran at {beneath:.1}: {advice}")
        });
        differ.into_iter().chain(slow)
    });
    found.collect()
}

/// How far off the steps are that were held out, a line for each kind.
pub(super) fn step_errors(points: &[StepPoint], cost: &StepCost, model: &str) -> Vec<String> {
    let line = |kind: &&str| {
        let held = points.iter().filter(|p| p.held_out && p.kind() == *kind);
        let errors = ErrorSummary::of(held.map(|p| p.error(cost)))?;
        Some(format!(
            "{kind} steps of {model}, held out: {:.2} %, {:.2} % ({}), bias {:+.2} %",
            errors.p50 * 100.0,
            errors.p99 * 100.0,
            errors.count,
            errors.bias * 100.0
        ))
    };
    ["prefill", "decode", "mixed"]
        .iter()
        .filter_map(line)
        .collect()
}

/// How far off the copies are that were held out.
pub(super) fn copies_held_out(direction: Direction, errors: &ErrorSummary) -> String {
    format!(
        "{direction}, held-out copies of all methods: {:.2} %, {:.2} % ({})",
        errors.p50 * 100.0,
        errors.p99 * 100.0,
        errors.count
    )
}

impl Measured {
    /// Errors of the copies of a direction that were held out, all methods.
    fn copy_errors(&self, side: usize) -> Option<ErrorSummary> {
        lane_fit::errors(&self.lanes[side].methods, &self.fits[side], self.blocks)
    }
}

#[cfg(test)]
mod tests {
    use super::super::profile::tests::measured;
    use super::*;

    #[test]
    fn copies_that_differ_among_themselves_are_called_disturbed_by_direction() {
        let mut measured = measured();
        let mut take = |direction: Direction, longer: f64| {
            let side = direction.index();
            for method in 0..METHODS.len() {
                let fitted = measured.copy_ns(side, method, 8);
                measured.lanes[side].methods[method].points[2].nanos = (fitted * longer) as u64;
            }
            disturbed(&measured)
        };
        take(Direction::D2h, 1.01);
        assert_eq!(take(Direction::H2d, 1.01), Vec::<String>::new());
        let [only] = take(Direction::H2d, 1.1).try_into().expect("one direction");
        assert!(
            only.starts_with("H2D copies") && only.contains("calibrate again"),
            "{only}"
        );
    }

    #[test]
    fn a_link_that_is_slower_through_the_device_than_beneath_it_is_called_disturbed() {
        let mut measured = measured();
        let mut beneath = |share: f64| {
            let side = Direction::H2d.index();
            let through = measured.blocks.bytes as f64 / measured.lanes[side].methods[0].block_ns;
            measured.sweeps[side].1.bytes_per_s = (through / share * 1e9) as u64;
            let said = disturbed(&measured).into_iter();
            said.filter(|what| what.contains("beneath"))
                .collect::<Vec<_>>()
        };
        assert_eq!(beneath(0.975), Vec::<String>::new());
        let [only] = beneath(0.95).try_into().expect("one direction");
        assert!(only.starts_with("H2D runs at"), "{only}");
    }
}
