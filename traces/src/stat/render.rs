//! A [`Stat`] as a plain-text table, readable without colour.

use std::fmt;

use super::{GapClass, LognormalFit, PERCENTILES, Quantiles, SURVIVAL_S, Stat};

/// Width of the first column and of the numbers.
const NAME_WIDTH: usize = 30;
const NUMBER_WIDTH: usize = 10;
const FIT_WIDTH: usize = 26;

impl fmt::Display for Stat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.sums(f)?;
        writeln!(f, "\n{}", heading("quantity"))?;
        for row in &self.quantiles {
            writeln!(f, "{}", line(&row.name, &row.quantiles, row.fit.as_ref()))?;
        }
        if !self.gaps.is_empty() {
            writeln!(f, "\n{}", heading("gap [s]"))?;
            for row in &self.gaps {
                writeln!(
                    f,
                    "{}",
                    line(name(row.kind), &row.quantiles, row.fit.as_ref())
                )?;
            }
            self.survival(f)?;
        }
        if !self.tools.is_empty() {
            writeln!(f, "\n{}", heading("tool [s]"))?;
            for row in &self.tools {
                writeln!(f, "{}", line(&row.class, &row.quantiles, row.fit.as_ref()))?;
            }
        }
        Ok(())
    }
}

impl Stat {
    fn sums(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |ratio: f64| format!("{:.1} %", ratio * 100.0);
        writeln!(f, "source                {}", self.source)?;
        writeln!(
            f,
            "sessions              {} ({} sub-agents)",
            self.sessions, self.subagents
        )?;
        writeln!(f, "calls                 {}", self.calls)?;
        writeln!(f, "input tokens          {}", self.input_tokens)?;
        writeln!(f, "output tokens         {}", self.output_tokens)?;
        writeln!(f, "prefix losses         {} calls", self.prefix_losses)?;
        if let Some(ratio) = self.prefix_hit_ratio {
            write!(
                f,
                "infinite-cache hits   {} of prompt tokens",
                percent(ratio)
            )?;
            match self.prefix_hit_ratio_after_first {
                Some(ratio) => writeln!(f, ", {} after the first call", percent(ratio))?,
                None => writeln!(f)?,
            }
        }
        if let Some(ratio) = self.cached_ratio_after_first {
            let text = "of prompt tokens after the first call, as the provider reported";
            writeln!(f, "cache reads           {} {text}", percent(ratio))?;
        }
        if self.calls_with_tools > 0 {
            let calls = self.calls_with_tools;
            let parallel = self.calls_with_parallel_tools as f64 / calls as f64;
            let text = format!("{calls} calls, {} of them more than one", percent(parallel));
            writeln!(f, "tools issued by       {text}")?;
        }
        if let [Some(human), Some(tool)] = self.turnover.probabilities() {
            let text = format!("{human:.3} after a person's, {tool:.3} after a tool's");
            writeln!(f, "P(input by a person)  {text}")?;
        }
        if let Some(ratio) = self.idle_ratio {
            let text = "of the wall time of calls and waits";
            writeln!(f, "waiting               {} {text}", percent(ratio))?;
        }
        if let Some(row) = self.arrivals {
            writeln!(
                f,
                "arrivals              {:.4}/s, intervals vary by {:.2} of their mean, busiest minute {:.1} times the mean",
                row.rate_per_s, row.cv, row.busiest_minute
            )?;
        }
        Ok(())
    }

    fn survival(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{:<NAME_WIDTH$}", "P(gap > t), t [s] =")?;
        for t in SURVIVAL_S {
            write!(f, "{t:>7}")?;
        }
        writeln!(f, "  idle time in gaps > 60 s")?;
        for row in &self.gaps {
            write!(f, "{:<NAME_WIDTH$}", name(row.kind))?;
            for part in row.survival {
                write!(f, "{part:>7.3}")?;
            }
            match row.long_share {
                Some(share) => writeln!(f, "  {:.1} % of {:.0} s", share * 100.0, row.total_s)?,
                None => writeln!(f, "  no idle time")?,
            }
        }
        Ok(())
    }
}

fn name(kind: GapClass) -> &'static str {
    match kind {
        GapClass::Mixed => "mixed (tool and human)",
        GapClass::ToolOrMixed => "tool or mixed",
        class => class.name(),
    }
}

fn heading(first: &str) -> String {
    let percentiles: String = PERCENTILES
        .map(|p| format!("{:>NUMBER_WIDTH$}", format!("p{p}")))
        .concat();
    format!(
        "{first:<NAME_WIDTH$}{:>NUMBER_WIDTH$}{percentiles}{:>NUMBER_WIDTH$}{:>FIT_WIDTH$}",
        "count", "max", "lognormal (KS), tail"
    )
}

fn line(name: &str, quantiles: &Quantiles, fit: Option<&LognormalFit>) -> String {
    let percentiles: String = quantiles.percentiles.map(number).concat();
    let fit = fit.map_or("-".to_owned(), |fit| {
        let tail = fit
            .tail_alpha
            .map_or("-".to_owned(), |alpha| format!("{alpha:.1}"));
        format!("{:.2}, {:.2} ({:.2}), {tail}", fit.mu, fit.sigma, fit.ks)
    });
    format!(
        "{name:<NAME_WIDTH$}{:>NUMBER_WIDTH$}{percentiles}{}{fit:>FIT_WIDTH$}",
        quantiles.count,
        number(quantiles.max)
    )
}

/// Three digits after the point for small values, none for large ones.
fn number(value: f64) -> String {
    let digits = match value.abs() {
        v if v < 10.0 && v.fract() != 0.0 => 3,
        v if v < 1_000.0 && v.fract() != 0.0 => 1,
        _ => 0,
    };
    format!("{value:>NUMBER_WIDTH$.digits$}")
}
