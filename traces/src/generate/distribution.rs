//! A distribution of tokens, turns or seconds, as it is written in a run specification.
//!
//! ```toml
//! output = 200
//! gap_s = { uniform = { min = 10, max = 20 } }
//! append = { lognormal = { mu = 5.87, sigma = 1.84, min = 8, max = 100000 } }
//! ```

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::Draw;
use crate::TraceError;

/// A distribution over numbers that are not negative.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Distribution {
    /// Always this value; written as a plain number.
    Constant(f64),
    /// Anything else; written as a table.
    Shaped(Shape),
}

/// A distribution with a spread.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// Uniform between two ends.
    Uniform(Uniform),
    /// Lognormal.
    Lognormal(Lognormal),
    /// Exponential.
    Exponential(Exponential),
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

/// Parameters of a lognormal distribution, clipped (not truncated) to `min..=max`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lognormal {
    /// Mean of the natural logarithm.
    pub mu: f64,
    /// Standard deviation of the natural logarithm.
    pub sigma: f64,
    /// Smaller values become this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Larger values become this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
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

impl Distribution {
    /// Uniform in `min..max`.
    pub const fn uniform(min: f64, max: f64) -> Self {
        Self::Shaped(Shape::Uniform(Uniform { min, max }))
    }

    /// The value at `draw`.
    pub fn sample(&self, draw: Draw) -> f64 {
        match *self {
            Self::Constant(value) => value,
            Self::Shaped(Shape::Uniform(d)) => d.min + (d.max - d.min) * draw.uniform(),
            Self::Shaped(Shape::Lognormal(d)) => {
                clip(libm::exp(d.mu + d.sigma * draw.normal()), d.min, d.max)
            }
            Self::Shaped(Shape::Exponential(d)) => clip(d.mean * draw.exponential(), d.min, d.max),
        }
    }

    /// Whether the parameters describe a distribution over `0..`; `name` is the key in messages.
    ///
    /// # Errors
    /// [`TraceError::Parameters`] with the key and the offending values.
    pub fn validate(&self, name: &str) -> Result<(), TraceError> {
        let valid = match *self {
            Self::Constant(value) => value.is_finite() && value >= 0.0,
            Self::Shaped(Shape::Uniform(d)) => ordered(Some(d.min), Some(d.max)),
            Self::Shaped(Shape::Lognormal(d)) => {
                d.mu.is_finite() && d.sigma.is_finite() && d.sigma >= 0.0 && ordered(d.min, d.max)
            }
            Self::Shaped(Shape::Exponential(d)) => {
                d.mean.is_finite() && d.mean >= 0.0 && ordered(d.min, d.max)
            }
        };
        if valid {
            return Ok(());
        }
        Err(TraceError::Parameters(format!(
            "`{name}` = {self:?} is no distribution: values must be finite and at least 0, and min at most max"
        )))
    }
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
