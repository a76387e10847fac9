//! A [`Stat`] as a plain-text table, readable without colour.

use std::fmt;

use super::{GapClass, PERCENTILES, Quantiles, SURVIVAL_S, Stat};

/// Width of the first column and of the numbers.
const NAME_WIDTH: usize = 30;
const NUMBER_WIDTH: usize = 10;

impl fmt::Display for Stat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
                "infinite-cache hits   {:.1} % of prompt tokens",
                ratio * 100.0
            )?;
            match self.prefix_hit_ratio_after_first {
                Some(ratio) => writeln!(f, ", {:.1} % after the first call", ratio * 100.0)?,
                None => writeln!(f)?,
            }
        }
        writeln!(f, "\n{}", heading("quantity"))?;
        for row in &self.quantiles {
            writeln!(f, "{}", line(row.name, &row.quantiles))?;
        }
        if self.gaps.is_empty() {
            return Ok(());
        }
        writeln!(f, "\n{}", heading("gap [s]"))?;
        for row in &self.gaps {
            writeln!(f, "{}", line(name(row.kind), &row.quantiles))?;
        }
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
        GapClass::Tool => "tool",
        GapClass::Mixed => "mixed (tool and human)",
        GapClass::ToolOrMixed => "tool or mixed",
        GapClass::Human => "human",
        GapClass::Unknown => "unknown",
    }
}

fn heading(first: &str) -> String {
    let percentiles: String = PERCENTILES
        .map(|p| format!("{:>NUMBER_WIDTH$}", format!("p{p}")))
        .concat();
    format!(
        "{first:<NAME_WIDTH$}{:>NUMBER_WIDTH$}{percentiles}{:>NUMBER_WIDTH$}",
        "count", "max"
    )
}

fn line(name: &str, quantiles: &Quantiles) -> String {
    let percentiles: String = quantiles.percentiles.map(number).concat();
    format!(
        "{name:<NAME_WIDTH$}{:>NUMBER_WIDTH$}{percentiles}{}",
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
