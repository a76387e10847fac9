//! Device time of submitted work, and the files that keep it.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use kernels::gpu::{Error, Event, Gpu, Stream};

/// Work before the first timed run: an idle GPU needs milliseconds of it to raise its clocks.
const WARM_UP: Duration = Duration::from_millis(50);

/// Device time of what `submit` puts into `stream` \[ns\]: the median of `repeats` runs after [`WARM_UP`].
pub fn median_nanos(
    gpu: &Gpu,
    stream: &Stream,
    repeats: usize,
    mut submit: impl FnMut() -> Result<(), Error>,
) -> Result<u64, Error> {
    let (start, end) = (Event::new(gpu)?, Event::new(gpu)?);
    let mut times = Vec::with_capacity(repeats);
    let begun = Instant::now();
    while begun.elapsed() < WARM_UP {
        submit()?;
        stream.synchronize()?;
    }
    for _ in 0..repeats {
        start.record(stream)?;
        submit()?;
        end.record(stream)?;
        end.synchronize()?;
        times.push(end.nanos_since(&start)?);
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

/// Rows of one subject; printed as they come, written with the machine and the command on top.
pub struct Table {
    name: &'static str,
    text: String,
}

impl Table {
    pub fn new(gpu: &Gpu, name: &'static str, columns: &str) -> Self {
        let info = gpu.info();
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "# device: {}; driver: CUDA {}",
            info.name, info.driver
        );
        let _ = writeln!(
            text,
            "# command: kernels-check measure FOLDER; medians of device time"
        );
        let _ = writeln!(text, "{columns}");
        println!("{name}: {columns}");
        Self { name, text }
    }

    pub fn row(&mut self, row: &str) {
        println!("{}: {row}", self.name);
        self.text.push_str(row);
        self.text.push('\n');
    }

    pub fn save(&self, folder: &Path) -> std::io::Result<()> {
        std::fs::write(folder.join(format!("{}.csv", self.name)), &self.text)
    }
}

/// Bytes over nanoseconds: GB/s.
pub fn gigabytes_per_second(bytes: u64, nanos: u64) -> f64 {
    bytes as f64 / nanos as f64
}
