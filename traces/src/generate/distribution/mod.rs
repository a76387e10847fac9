//! A distribution of tokens, turns or seconds, as it is written in a run specification.
//!
//! ```toml
//! output = 200
//! gap_s = { uniform = { min = 10, max = 20 } }
//! append = { lognormal = { mu = 5.87, sigma = 1.84, min = 8, max = 100000 } }
//! tool_s = { lognormal = { mu = 0.67, sigma = 1.07, tail = { above_p = 0.95, alpha = 1.0 }, max = 600 } }
//! wait_s = { quantiles = { p = [0.25, 0.5, 0.9], x = [17.9, 84, 1236], tail_alpha = 1.6 } }
//! first = { mixture = [{ weight = 0.58, of = 4000 }, { weight = 0.42, of = { uniform = { min = 1, max = 9 } } }] }
//! ```

mod lognormal;
mod quantiles;

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub use lognormal::{Lognormal, Tail};
pub use quantiles::Quantiles;

use super::Draw;
use crate::TraceError;

/// A distribution over numbers that are not negative.
#[derive(Clone, Debug, PartialEq)]
pub enum Distribution {
    /// Always this value; written as a plain number.
    Constant(f64),
    /// Anything else; written as a table.
    Shaped(Shape),
}

/// A distribution with a spread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// Uniform between two ends.
    Uniform(Uniform),
    /// Lognormal, with a Pareto tail where asked.
    Lognormal(Lognormal),
    /// Exponential.
    Exponential(Exponential),
    /// Points of the inverse distribution function.
    Quantiles(Quantiles),
    /// One of several, by weight.
    Mixture(Vec<Component>),
}

/// Parameters of a uniform distribution.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Uniform {
    /// Lower end.
    pub min: f64,
    /// Upper end.
    pub max: f64,
}

/// Parameters of an exponential distribution, clipped (not truncated) to `min..=max`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exponential {
    /// Mean before clipping.
    pub mean: f64,
    /// Smaller values become this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Larger values become this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
}

/// A part of a mixture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Component {
    /// How often, relative to the sum of all weights.
    pub weight: f64,
    /// What is drawn then.
    pub of: Distribution,
}

impl Distribution {
    /// Uniform in `min..max`.
    pub const fn uniform(min: f64, max: f64) -> Self {
        Self::Shaped(Shape::Uniform(Uniform { min, max }))
    }

    /// The value at `draw`.
    pub fn sample(&self, draw: Draw) -> f64 {
        match self {
            Self::Constant(value) => *value,
            Self::Shaped(Shape::Uniform(d)) => d.min + (d.max - d.min) * draw.uniform(),
            Self::Shaped(Shape::Lognormal(d)) => d.sample(draw),
            Self::Shaped(Shape::Exponential(d)) => clip(d.mean * draw.exponential(), d.min, d.max),
            Self::Shaped(Shape::Quantiles(d)) => d.sample(draw),
            Self::Shaped(Shape::Mixture(parts)) => {
                let chosen = draw.choose(parts.iter().map(|part| part.weight));
                parts[chosen].of.sample(draw.derived())
            }
        }
    }

    /// Whether the parameters describe a distribution over `0..`; `name` is the key in messages.
    ///
    /// # Errors
    /// [`TraceError::Parameters`] with the key and the offending values.
    pub fn validate(&self, name: &str) -> Result<(), TraceError> {
        if self.is_valid() {
            return Ok(());
        }
        Err(TraceError::Parameters(format!(
            "`{name}` = {self:?} is no distribution: values and weights must be finite and at least 0, min at most max, \
             quantiles ascending, and a tail between 0 and 1 with an index above 0"
        )))
    }

    fn is_valid(&self) -> bool {
        match self {
            Self::Constant(value) => value.is_finite() && *value >= 0.0,
            Self::Shaped(Shape::Uniform(d)) => ordered(Some(d.min), Some(d.max)),
            Self::Shaped(Shape::Lognormal(d)) => d.is_valid(),
            Self::Shaped(Shape::Exponential(d)) => {
                d.mean.is_finite() && d.mean >= 0.0 && ordered(d.min, d.max)
            }
            Self::Shaped(Shape::Quantiles(d)) => d.is_valid(),
            Self::Shaped(Shape::Mixture(parts)) => {
                are_weights(parts.iter().map(|part| part.weight))
                    && parts.iter().all(|part| part.of.is_valid())
            }
        }
    }
}

/// Whether a choice can be made by these weights.
pub(super) fn are_weights(weights: impl Iterator<Item = f64> + Clone) -> bool {
    weights.clone().all(|w| w.is_finite() && w >= 0.0) && weights.sum::<f64>() > 0.0
}

fn clip(value: f64, min: Option<f64>, max: Option<f64>) -> f64 {
    value
        .max(min.unwrap_or(0.0))
        .min(max.unwrap_or(f64::INFINITY))
}

fn ordered(min: Option<f64>, max: Option<f64>) -> bool {
    let (low, high) = (min.unwrap_or(0.0), max.unwrap_or(f64::MAX));
    low.is_finite() && high.is_finite() && 0.0 <= low && low <= high
}

impl Serialize for Distribution {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Constant(value) => serializer.serialize_f64(*value),
            Self::Shaped(shape) => shape.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Distribution {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DistributionVisitor;
        impl<'de> de::Visitor<'de> for DistributionVisitor {
            type Value = Distribution;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, or a table such as { uniform = { min = 10, max = 20 } }")
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Distribution, E> {
                Ok(Distribution::Constant(value))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Distribution, E> {
                self.visit_f64(value as f64)
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Distribution, E> {
                self.visit_f64(value as f64)
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Distribution, A::Error> {
                Shape::deserialize(MapAccessDeserializer::new(map)).map(Distribution::Shaped)
            }
        }
        deserializer.deserialize_any(DistributionVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::{Domain, Draws, Purpose};

    fn parse(text: &str) -> Distribution {
        let table: std::collections::BTreeMap<String, Distribution> = toml::from_str(text).unwrap();
        table.into_values().next().unwrap()
    }

    /// Sorted values at many draws.
    fn values(distribution: &Distribution) -> Vec<f64> {
        let draws = Draws::new(5, Domain::Agents);
        let mut values: Vec<f64> = (0..20_000)
            .map(|i| distribution.sample(draws.at(i, 0, Purpose::Gap)))
            .collect();
        values.sort_by(f64::total_cmp);
        values
    }

    #[test]
    fn quantiles_are_met_and_interpolated_in_the_logarithm() {
        let values = values(&parse(
            "x = { quantiles = { p = [0.25, 0.5, 0.9], x = [1, 4, 400] } }",
        ));
        // Below 0.25 and above 0.9 the outermost values; half-way from 0.5 to 0.9 sqrt(4 * 400) = 40.
        assert!((values[0] - 1.0).abs() < 1e-12 && (values[19_999] - 400.0).abs() < 1e-9);
        for (p, x) in [(0.5, 4.0), (0.7, 40.0), (0.375, 2.0)] {
            let value = values[(p * 20_000.0) as usize];
            // Standard error of a quantile here: at most 0.5 / sqrt(20,000) = 0.0035 in p, so 4 % in x.
            assert!((value / x - 1.0).abs() < 0.2, "{p}: {value}");
        }
    }

    #[test]
    fn a_pareto_tail_begins_at_its_quantile_and_falls_with_its_index() {
        let text =
            "x = { lognormal = { mu = 0, sigma = 1, tail = { above_p = 0.9, alpha = 1.0 } } }";
        let values = values(&parse(text));
        // The 90 % quantile of LN(0, 1) is exp(1.2816) = 3.602; ten times as much at 99 %, as alpha = 1.
        assert!(
            (values[18_000] / 3.602 - 1.0).abs() < 0.1,
            "{}",
            values[18_000]
        );
        assert!(
            (values[19_800] / 36.02 - 1.0).abs() < 0.3,
            "{}",
            values[19_800]
        );
        // Without the tail, 99 % would be exp(2.326) = 10.2.
    }

    #[test]
    fn a_cap_moves_what_lies_above_it_and_nothing_else() {
        let open = parse("x = { lognormal = { mu = 0, sigma = 2, shift = 0.25 } }");
        let capped = parse("x = { lognormal = { mu = 0, sigma = 2, shift = 0.25, max = 5 } }");
        for (a, b) in values(&open).iter().zip(values(&capped)) {
            assert!((a.min(5.0) - b).abs() < 1e-12);
            assert!(*a >= 0.25);
        }
    }

    #[test]
    fn a_mixture_takes_each_part_by_its_weight() {
        let values = values(&parse(
            "x = { mixture = [{ weight = 3, of = 1 }, { weight = 1, of = { uniform = { min = 5, max = 7 } } }] }",
        ));
        let ones = values.iter().filter(|&&value| value < 2.0).count();
        // 15,000 expected, standard deviation 61.
        assert!(ones.abs_diff(15_000) < 310, "{ones}");
        // The part itself is not distorted by the choice: its mean is 6.
        let rest: f64 = values[ones..].iter().sum::<f64>() / (20_000 - ones) as f64;
        assert!((rest - 6.0).abs() < 0.05, "{rest}");
    }

    #[test]
    fn what_is_no_distribution_is_refused() {
        for text in [
            "x = { quantiles = { p = [0.5, 0.25], x = [1, 2] } }",
            "x = { quantiles = { p = [0.25, 0.5], x = [2, 1] } }",
            "x = { quantiles = { p = [0.25], x = [2, 1] } }",
            "x = { quantiles = { p = [], x = [] } }",
            "x = { quantiles = { p = [0.5, 1.0], x = [1, 2], tail_alpha = 1 } }",
            "x = { lognormal = { mu = 0, sigma = -1 } }",
            "x = { lognormal = { mu = 0, sigma = 1, tail = { above_p = 1, alpha = 1 } } }",
            "x = { lognormal = { mu = 0, sigma = 1, tail = { above_p = 0.9, alpha = 0 } } }",
            "x = { lognormal = { mu = 0, sigma = 1, min = 3, max = 2 } }",
            "x = { mixture = [] }",
            "x = { mixture = [{ weight = 0, of = 1 }] }",
            "x = { mixture = [{ weight = 1, of = -1 }] }",
        ] {
            let error = parse(text).validate("append").unwrap_err().to_string();
            assert!(error.contains("`append` = "), "{text}: {error}");
        }
    }
}
