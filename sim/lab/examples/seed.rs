//! scratch
use lab::sweep::*;
fn main() {
    let out = std::path::PathBuf::from("/tmp/repro");
    let t = std::time::Instant::now();
    let s = lab::seed::sweep("as-run", lab::seed::AS_RUN, &[]).unwrap();
    let r = run(&s, &SweepOptions{out: out.join("as-run"), ..Default::default()}, &|_| ()).unwrap();
    println!("{:?} {:?}", r, t.elapsed());
    let l = lab::seed::sweep("loaded", lab::seed::LOADED, &[]).unwrap();
    let r2 = run(&l, &SweepOptions{out: out.join("loaded"), ..Default::default()}, &|_| ()).unwrap();
    println!("{:?} {:?}", r2, t.elapsed());
    let a = results::runs::read_runs(&r.runs_csv).unwrap();
    let b = results::runs::read_runs(&r2.runs_csv).unwrap();
    let v: Vec<_> = b.into_iter().filter(|r| r.id.policy=="vllm-recompute").collect();
    for row in lab::seed::table(&a, &v) { println!("{:22} {:14} {:?} | {:?} {:?} {:?} {} | {} | {}", row.quantity, row.scale, row.seed_value, row.sim_p5, row.sim_p50, row.sim_p95, row.runs, row.verdict, row.sentence); }
}
