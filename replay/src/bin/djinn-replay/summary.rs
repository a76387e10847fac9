//! What a replay came to, in lines.

use replay::device::Timing;
use replay::harness::Harness;
use results::metrics::RunMetrics;

/// Wake-ups, sessions, copies, and what the harness cost.
pub fn summary(policy: &str, m: &RunMetrics, timings: &[Timing], harness: &Harness) -> String {
    let ms = |nanos: Option<u64>| {
        nanos.map_or("-".to_owned(), |nanos| format!("{:.2}", nanos as f64 / 1e6))
    };
    let of = |value: &dyn Fn(&Timing) -> Option<u64>| {
        let mut values: Vec<u64> = timings.iter().filter_map(value).collect();
        values.sort_unstable();
        let at = |share: f64| {
            values.get(((values.len() as f64 * share) as usize).min(values.len().saturating_sub(1)))
        };
        [
            at(0.5).copied().unwrap_or(0),
            at(0.99).copied().unwrap_or(0),
        ]
    };
    let rate = |kind: &str| {
        let nanos: u64 = timings
            .iter()
            .filter(|timing| timing.kind == kind)
            .map(|timing| timing.gpu_ns)
            .sum();
        let bytes = if kind == "d2h" {
            m.d2h_bytes
        } else {
            m.h2d_bytes
        };
        format!(
            "{:.2} GB at {:.1} GB/s",
            bytes as f64 / 1e9,
            bytes as f64 / nanos.max(1) as f64
        )
    };
    let us = |nanos: u64| nanos as f64 / 1e3;
    let (told, decision) = (harness.told, harness.decision);
    let [check, check_99] = of(&|timing| (timing.kind == "h2d").then_some(timing.check_ns));
    format!(
        "{policy}: {} turns, {} sessions finished\n\
         wake-up ms      mean {} p50 {} p99 {} of {}\n\
         session s       mean {}\n\
         swaps {} restores {}; D2H {}, H2D {} (GPU time)\n\
         harness us      p50 {:.1} p99 {:.1} from the end of an operation to the driver; p50 {:.1} p99 {:.1} to decide and hand over;\n\
         {:16}at most {:.2} % of the wake-ups' time\n\
         H2D checks us   p50 {:.1} p99 {:.1} over the chunks of a copy\n",
        m.turns,
        m.finished,
        ms(m.wakeup_ns_mean),
        ms(m.wakeup_ns_p50),
        ms(m.wakeup_ns_p99),
        m.wakeups,
        m.jct_ns_mean
            .map_or("-".to_owned(), |nanos| format!("{:.3}", nanos as f64 / 1e9)),
        m.swaps,
        m.restores,
        rate("d2h"),
        rate("h2d"),
        us(told.p50_ns),
        us(told.p99_ns),
        us(decision.p50_ns),
        us(decision.p99_ns),
        "",
        harness.wakeup_share * 100.0,
        us(check),
        us(check_99),
    )
}
