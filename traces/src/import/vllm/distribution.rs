//! Lengths as vLLM's benchmark draws them.
//!
//! Parameters are those of `benchmarks/multi_turn/README.md`. A draw gives one value, by inversion or as a function of a
//! normal value; transcendental functions come from `libm`, so that every platform draws the same.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::generate::Draw;

/// Largest value of any distribution: above it a length is no length.
const VALUE_MAX: f64 = 4_294_967_295.0;
/// Ratio of median to mean of a lognormal that names none (vLLM `bench_dataset.py`, not in its README).
const MEDIAN_RATIO: f64 = 0.85;
/// Largest value of a Zipf distribution without a cap: enough for any length of a conversation.
const TERMS_MAX: u64 = 100_000;

/// A distribution of whole numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distribution {
    kind: Kind,
    max: Option<u64>,
    /// As it was written.
    source: Value,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Constant(u64),
    Uniform(u64, u64),
    Lognormal {
        mu: f64,
        sigma: f64,
    },
    /// By value from `first`: how often it is that or less.
    Table {
        first: u64,
        sums: Vec<f64>,
    },
}

impl Default for Kind {
    fn default() -> Self {
        Self::Constant(0)
    }
}

impl Distribution {
    /// The value at `draw`.
    pub fn sample(&self, draw: Draw) -> u64 {
        let most = self.max.unwrap_or(u64::MAX);
        let value = match self.kind {
            Kind::Constant(value) => value,
            Kind::Uniform(min, max) => {
                let width = (max - min) as f64 + 1.0;
                min + ((draw.uniform() * width) as u64).min(max - min)
            }
            Kind::Lognormal { mu, sigma } => {
                let value = libm::exp(mu + sigma * draw.normal());
                value.min(VALUE_MAX).round() as u64
            }
            Kind::Table { first, ref sums } => {
                let wanted = draw.uniform();
                let index = sums.partition_point(|&sum| sum <= wanted);
                first + index.min(sums.len() - 1) as u64
            }
        };
        value.min(most)
    }
}

/// The sums of k^-alpha up to each of 1 to `terms`, over their total.
fn zipf(alpha: f64, terms: u64) -> Kind {
    let sums = running((1..=terms).map(|k| libm::pow(k as f64, -alpha)));
    let total = sums.last().copied().unwrap_or(1.0);
    Kind::Table {
        first: 1,
        sums: sums.into_iter().map(|sum| sum / total).collect(),
    }
}

/// The sums of `mean`^k exp(-`mean`) / k! from 0 to as far as anything is added.
fn poisson(mean: f64) -> Kind {
    let terms = (mean + 40.0 * libm::sqrt(mean) + 40.0) as u64;
    let mut term = libm::exp(-mean);
    let sums = running((0..=terms).map(|k| {
        if k > 0 {
            term *= mean / k as f64;
        }
        term
    }));
    Kind::Table { first: 0, sums }
}

fn running(terms: impl Iterator<Item = f64>) -> Vec<f64> {
    let add = |sum: &mut f64, term: f64| {
        *sum += term;
        Some(*sum)
    };
    terms.scan(0.0, add).collect()
}

impl Serialize for Distribution {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.source.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Distribution {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let source = Value::deserialize(deserializer)?;
        let (kind, max) = parse(&source).map_err(D::Error::custom)?;
        Ok(Self { kind, max, source })
    }
}

fn parse(source: &Value) -> Result<(Kind, Option<u64>), String> {
    let name = source.get("distribution").and_then(Value::as_str);
    let name = name.ok_or("a distribution needs its name in `distribution`")?;
    let number = |key: &str| match source.get(key) {
        None => Ok(None),
        Some(value) => value
            .as_f64()
            .filter(|value| (-1e6..=VALUE_MAX).contains(value))
            .map(Some)
            .ok_or_else(|| format!("`{key}` of a {name} distribution is {value}")),
    };
    let needed =
        |key: &str| number(key)?.ok_or_else(|| format!("a {name} distribution needs `{key}`"));
    let whole = |key: &str| {
        let value = needed(key)?;
        if value < 0.0 {
            return Err(format!("`{key}` of a {name} distribution is {value}"));
        }
        Ok(value as u64)
    };
    let max = number("max")?.map(|max| max.max(0.0) as u64);
    let kind = match name {
        "constant" => return Ok((Kind::Constant(whole("value")?), None)),
        "uniform" => {
            let (min, max) = (whole("min")?, whole("max")?);
            if min > max {
                return Err(format!("a uniform distribution from {min} to {max}"));
            }
            return Ok((Kind::Uniform(min, max), None));
        }
        "lognormal" => match number("average")? {
            Some(average) => {
                let ratio = number("median_ratio")?.unwrap_or(MEDIAN_RATIO);
                if average <= 0.0 || ratio <= 0.0 || ratio >= 1.0 {
                    return Err(format!(
                        "a lognormal of average {average} and median_ratio {ratio}; they must be above 0 and within (0, 1)"
                    ));
                }
                // Median = exp(mu) and mean = exp(mu + sigma² / 2).
                let mu = libm::log(average * ratio);
                let sigma = libm::sqrt(-2.0 * libm::log(ratio));
                Kind::Lognormal { mu, sigma }
            }
            None => Kind::Lognormal {
                mu: needed("mean")?,
                sigma: needed("sigma")?,
            },
        },
        "zipf" => match needed("alpha")? {
            alpha if alpha > 1.0 => zipf(alpha, max.unwrap_or(u64::MAX).clamp(1, TERMS_MAX)),
            alpha => {
                return Err(format!(
                    "a zipf distribution of alpha {alpha}; it must be above 1"
                ));
            }
        },
        "poisson" => match needed("alpha")? {
            // exp(-700) is the last one above 0.
            mean if (0.0..=700.0).contains(&mean) => poisson(mean),
            mean => {
                return Err(format!(
                    "a poisson distribution of mean {mean}; from 0 to 700 are supported"
                ));
            }
        },
        _ => {
            return Err(format!(
                "no distribution is called \"{name}\"; known: constant, uniform, lognormal, zipf, poisson"
            ));
        }
    };
    Ok((kind, max))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::{Domain, Draws, Purpose};
    use serde_json::json;

    fn mean_of(source: &Value) -> f64 {
        let distribution: Distribution = serde_json::from_value(source.clone()).unwrap();
        let draws = Draws::new(5, Domain::Agents);
        let sample = |agent| distribution.sample(draws.at(agent, 0, Purpose::Append)) as f64;
        (0..2_000).map(sample).sum::<f64>() / 2_000.0
    }

    #[test]
    fn means_are_those_of_the_distributions() {
        // Five standard errors of 2,000 draws: 5 / sqrt(2,000) = 0.112 standard deviations.
        let near = |source: Value, mean: f64, deviation: f64| {
            let found = mean_of(&source);
            assert!(
                (found - mean).abs() < 0.112 * deviation,
                "{source}: {found}"
            );
        };
        near(
            json!({"distribution": "constant", "value": 500}),
            500.0,
            1e-9,
        );
        // 12..=18: variance (7² - 1) / 12 = 4.
        near(
            json!({"distribution": "uniform", "min": 12, "max": 18}),
            15.0,
            2.0,
        );
        // sigma² = -2 ln 0.85 = 0.325; deviation = mean * sqrt(exp(0.325) - 1) = 0.62 * mean.
        near(
            json!({"distribution": "lognormal", "average": 1000}),
            1_000.0,
            620.0,
        );
        near(json!({"distribution": "poisson", "alpha": 10}), 10.0, 3.2);
        // Weights 1, 1/4: mean (1 + 2/4) / (1 + 1/4) = 1.2, deviation 0.4.
        near(
            json!({"distribution": "zipf", "alpha": 2, "max": 2}),
            1.2,
            0.4,
        );
    }

    #[test]
    fn a_cap_holds_and_nonsense_is_refused_with_its_value() {
        let capped = json!({"distribution": "lognormal", "mean": 20, "sigma": 1, "max": 5_000});
        assert!(mean_of(&capped) <= 5_000.0);
        let error = |source: Value| {
            let parsed: Result<Distribution, _> = serde_json::from_value(source);
            parsed.unwrap_err().to_string()
        };
        assert!(error(json!({"distribution": "cauchy"})).contains("\"cauchy\"; known: constant"));
        assert!(
            error(json!({"distribution": "uniform", "min": 3, "max": 2})).contains("from 3 to 2")
        );
        assert!(error(json!({"distribution": "constant", "value": -1})).contains("is -1"));
        assert!(error(json!({"distribution": "zipf", "alpha": 1})).contains("above 1"));
        assert!(error(json!({"distribution": "poisson", "alpha": 1e5})).contains("to 700"));
        assert!(error(json!(7)).contains("needs its name"));
    }
}
