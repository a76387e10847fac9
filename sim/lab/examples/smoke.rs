use results::spec::{Layers, RunSpec};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let layers = Layers {
        name: "x".into(),
        text: String::new(),
        set: args[2..].to_vec(),
        policies: vec![args[1].clone()],
    };
    let spec = RunSpec::load(&layers).unwrap();
    let t = std::time::Instant::now();
    let setup = lab::Setup::new(&spec).unwrap();
    let t1 = t.elapsed();
    eprintln!("{:?}", setup.counts);
    for w in setup.warnings.iter().chain(&setup.forecast().warnings()) {
        eprintln!("warning: {w}");
    }
    let t = std::time::Instant::now();
    let (m, s) = match lab::run::measure(&setup) {
        Ok(x) => x,
        Err(e) => {
            eprintln!("ERR {e}");
            std::process::exit(1)
        }
    };
    let ms = |x: Option<u64>| x.unwrap_or(0) as f64 / 1e6;
    println!(
        "{:16} setup {:.2?} run {:.3?} rss {} MB | wakes {} steps {} | turns {} wake p50 {:.1} p99 {:.1} mean {:.1} | q {:.1} copy {:.1} rec {:.1} pre {:.1} stall {:.1} | swaps {} rest {} late {} waste {} intime {} preempt {} pins {} | jct {:.0}s dur {:.0}s h2d {:.1}GB d2h {:.1}GB hit {:.3} stable {:?}",
        spec.policy,
        t1,
        t.elapsed(),
        lab::run::peak_rss_bytes() >> 20,
        s.wakes,
        s.steps,
        s.turns,
        ms(m.wakeup_ns_p50),
        ms(m.wakeup_ns_p99),
        ms(m.wakeup_ns_mean),
        ms(m.wake_queue_ns_mean),
        ms(m.wake_copy_ns_mean),
        ms(m.wake_recompute_ns_mean),
        ms(m.wake_prefill_ns_mean),
        ms(m.wake_stall_ns_mean),
        m.swaps,
        m.restores,
        m.prefetch_late,
        m.prefetch_wasted,
        m.prefetch_in_time,
        m.preemptions,
        s.pins_broken,
        ms(m.jct_ns_mean) / 1e3,
        m.duration_ns as f64 / 1e9,
        m.h2d_bytes as f64 / 1e9,
        m.d2h_bytes as f64 / 1e9,
        m.hit_ratio.unwrap_or(0.),
        m.stable
    );
}
