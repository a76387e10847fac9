//! A number of the survey beside the measured one.

use crate::reasons::why;
use trace::stat::{GapClass, LognormalFit, Quantiles, Stat};

/// One number of the survey.
pub struct Row {
    pub trace: &'static str,
    pub quantity: String,
    /// As it is written there.
    pub published: &'static str,
    pub measured: f64,
    /// Why the two differ, where they do.
    pub why: &'static str,
}

impl Row {
    /// The published value and half a unit of its last digit: `3,526`, `18.2k`, `.93`, `97.3%`, `20h`.
    pub fn value(&self) -> (f64, f64) {
        let text = self.published.replace(',', "");
        let (number, scale) = match text.as_bytes()[text.len() - 1] {
            b'k' => (&text[..text.len() - 1], 1e3),
            b'%' => (&text[..text.len() - 1], 1e-2),
            b'h' => (&text[..text.len() - 1], 3_600.0),
            _ => (&text[..], 1.0),
        };
        let decimals = number.find('.').map_or(0, |point| number.len() - point - 1);
        let half = 0.5 * 0.1_f64.powi(decimals as i32);
        (number.parse::<f64>().unwrap() * scale, half * scale)
    }

    pub fn is_equal(&self) -> bool {
        let (value, half) = self.value();
        (self.measured - value).abs() <= half * (1.0 + 1e-9)
    }

    /// The measured value in the form of the published one, with a digit more where they differ.
    pub fn shown(&self) -> String {
        let (_, half) = self.value();
        let more = usize::from(!self.is_equal());
        let (scale, unit) = match self.published.as_bytes()[self.published.len() - 1] {
            b'k' => (1e3, "k"),
            b'%' => (1e-2, "%"),
            b'h' => (3_600.0, "h"),
            _ => (1.0, ""),
        };
        let decimals = (-(2.0 * half / scale).log10()).round().max(0.0) as usize;
        format!("{:.*}{unit}", decimals + more, self.measured / scale)
    }

    pub fn verdict(&self) -> String {
        if self.is_equal() {
            return "=".to_owned();
        }
        let (value, _) = self.value();
        let off = (self.measured / value - 1.0) * 100.0;
        format!("{off:+.1} %: {}", self.why)
    }
}

/// Collects rows of one trace.
pub struct Rows {
    pub trace: &'static str,
    pub rows: Vec<Row>,
}

impl Rows {
    pub fn add(&mut self, quantity: impl Into<String>, published: &'static str, measured: f64) {
        let (trace, quantity) = (self.trace, quantity.into());
        let why = why(trace, &quantity);
        self.rows.push(Row {
            trace,
            quantity,
            published,
            measured,
            why,
        });
    }

    /// The columns of a table of quantiles: `percentiles` that are published, then the largest, then mu, sigma, KS and tail index.
    pub fn quantiles(
        &mut self,
        name: &str,
        quantiles: &Quantiles,
        fit: Option<&LognormalFit>,
        percentiles: &[(f64, &'static str)],
        max: Option<&'static str>,
        fitted: &[&'static str],
    ) {
        for &(p, published) in percentiles {
            self.add(format!("{name}, p{p}"), published, quantiles.at(p));
        }
        if let Some(published) = max {
            self.add(format!("{name}, max"), published, quantiles.max);
        }
        let Some(fit) = fit else { return };
        let tail = fit.tail_alpha.unwrap_or(f64::NAN);
        let values = [
            ("mu", fit.mu),
            ("sigma", fit.sigma),
            ("KS", fit.ks),
            ("tail", tail),
        ];
        for (&published, (part, measured)) in fitted.iter().zip(values) {
            if !published.is_empty() {
                self.add(format!("{name}, {part}"), published, measured);
            }
        }
    }

    pub fn row(
        &mut self,
        stat: &Stat,
        quantity: &str,
        percentiles: &[(f64, &'static str)],
        max: Option<&'static str>,
        fitted: &[&'static str],
    ) {
        let row = stat
            .quantiles
            .iter()
            .find(|row| row.name == quantity)
            .expect(quantity);
        self.quantiles(
            quantity,
            &row.quantiles,
            row.fit.as_ref(),
            percentiles,
            max,
            fitted,
        );
    }

    pub fn survival(&mut self, stat: &Stat, class: GapClass, published: &[&'static str]) {
        let row = stat.gaps.iter().find(|row| row.kind == class).unwrap();
        let points = trace::stat::SURVIVAL_S.iter().zip(row.survival);
        for (&published, (t, share)) in published.iter().zip(points) {
            self.add(format!("P(tool gap > {t} s)"), published, share);
        }
    }
}

/// Percentiles 5 to 99 with these values.
pub fn all(values: [&'static str; 7]) -> [(f64, &'static str); 7] {
    let mut rows = trace::stat::PERCENTILES.map(|p| (p, ""));
    for (row, value) in rows.iter_mut().zip(values) {
        row.1 = value;
    }
    rows
}

/// Median, 90 and 99 %.
pub fn three(values: [&'static str; 3]) -> [(f64, &'static str); 3] {
    [(50.0, values[0]), (90.0, values[1]), (99.0, values[2])]
}

pub fn gap(stat: &Stat, class: GapClass) -> &trace::stat::GapRow {
    stat.gaps.iter().find(|row| row.kind == class).unwrap()
}
