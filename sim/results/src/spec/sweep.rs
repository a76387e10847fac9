//! The runs that a spec stands for: the product of its axes.
//!
//! ```text
//!   [sweep]                                    point  policy  rate  seed
//!   policy = ["vllm", "djinn"]                     0  vllm    0.1   1
//!   "workload.rate" = [0.1, 0.2]        ──►        1  vllm    0.1   2
//!   seed = "1..2"                                  2  vllm    0.2   1
//!                                                  .  ...
//! ```
//!
//! The first axis of the file varies slowest; the seed varies fastest wherever it stands, so that runs to
//! be averaged follow each other. The order is that of the rows of `runs.csv`.
//!
//! Every point is checked when the sweep is loaded, before the hours of work.

use super::error::{Fault, SpecError};
use super::layers::Layered;
use super::{Layers, RunSpec, check, document, range};
use toml_edit::{DocumentMut, Value};

/// More runs than this in one sweep are taken for a slip.
pub const SWEEP_POINTS_MAX: usize = 100_000;

/// The key of the draw of the jitter: as a seed, it repeats a run.
pub const DRAW: &str = "engine.jitter";

/// Keys whose values repeat a setting: they may be given as a range, and vary fastest, so that the repeats of a setting are neighbours.
const REPEATS: [&str; 2] = [DRAW, "seed"];

/// One run of a sweep.
#[derive(Clone, Debug, PartialEq)]
pub struct SweepPoint {
    /// Number in the sweep, from 0.
    pub index: usize,
    /// The run.
    pub spec: RunSpec,
    /// What varies, other than policy and seed: dotted keys and values as a JSON object, in the order of
    /// the file; `{}` where nothing does. The `params` column of `runs.csv`.
    pub params: String,
}

/// The runs that a spec stands for, in a fixed order.
#[derive(Clone, Debug, PartialEq)]
pub struct SweepSpec {
    points: Vec<SweepPoint>,
}

/// A key and the values that it takes.
struct Axis {
    path: Vec<String>,
    values: Vec<Value>,
}

impl Axis {
    fn key(&self) -> String {
        self.path.join(".")
    }
}

impl SweepSpec {
    /// Reads what a file and a command line stand for. Without `[sweep]` that is one run.
    ///
    /// # Errors
    /// If a key is unknown, a value has the wrong type or makes no sense, in any of the runs; with file, line,
    /// column and key.
    pub fn load(layers: &Layers) -> Result<Self, SpecError> {
        let layered = layers.apply()?;
        let axes = read_axes(&layered)?;
        let mut base = layered.doc.clone();
        base.remove("sweep");
        // Each value alone first, so that one of the wrong type is reported as what it is.
        for axis in &axes {
            for value in &axis.values {
                point(&base, &[(axis, value)], &layered)?;
            }
        }
        let count = axes.iter().map(|axis| axis.values.len() as u128).product();
        if count > SWEEP_POINTS_MAX as u128 {
            return Err(SpecError::TooMany {
                count,
                max: SWEEP_POINTS_MAX,
            });
        }
        let points = (0..count as usize).map(|index| {
            let chosen = choose(&axes, index);
            let spec = point(&base, &chosen, &layered)?;
            check::check(&spec).map_err(|fault| layered.locate(fault))?;
            Ok(SweepPoint {
                index,
                spec,
                params: params(&chosen),
            })
        });
        Ok(Self {
            points: points.collect::<Result<_, SpecError>>()?,
        })
    }

    /// Number of runs, at least one.
    pub fn len(&self) -> usize {
        self.points.len()
    }

    /// Never: a sweep has at least one run.
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// The runs in order.
    pub fn points(&self) -> &[SweepPoint] {
        &self.points
    }

    /// The runs in order, handed over.
    pub fn into_points(self) -> impl Iterator<Item = SweepPoint> {
        self.points.into_iter()
    }
}

/// Reads the axes; those that repeat a setting go last.
fn read_axes(layered: &Layered<'_>) -> Result<Vec<Axis>, SpecError> {
    let mut axes: Vec<Axis> = Vec::new();
    for (path, value) in document::axes(&layered.doc) {
        let key = path.join(".");
        let refuse = |message: String| {
            let help = Some(
                "an axis is `key = [value, ...]`; `seed` and `engine.jitter` may be `\"1..20\"`"
                    .to_owned(),
            );
            layered.locate(Fault {
                key: key.clone(),
                message,
                help,
            })
        };
        let values: Vec<Value> = match &value {
            // Without the line breaks and comments of a list over several lines.
            Value::Array(values) => values.iter().map(|v| v.clone().decorated("", "")).collect(),
            Value::String(text) if REPEATS.contains(&key.as_str()) => {
                let numbers = range::parse_range(text.value()).map_err(refuse)?;
                numbers
                    .into_iter()
                    .map(|number| Value::from(number as i64))
                    .collect()
            }
            other => {
                return Err(refuse(format!(
                    "must be a list, but is a {}",
                    other.type_name()
                )));
            }
        };
        let plain: Vec<String> = values.iter().map(plain_text).collect();
        if values.is_empty() {
            return Err(refuse(
                "the list is empty, and so would be the sweep".to_owned(),
            ));
        }
        if let Some(twice) = (1..plain.len()).find(|&i| plain[..i].contains(&plain[i])) {
            return Err(refuse(format!("{} is listed twice", plain[twice])));
        }
        if axes.iter().any(|axis| axis.path == path) {
            return Err(refuse("is varied twice".to_owned()));
        }
        axes.push(Axis { path, values });
    }
    axes.sort_by_key(|axis| REPEATS.iter().position(|key| *key == axis.key()));
    Ok(axes)
}

/// The values of point `index`: the last axis varies fastest.
fn choose(axes: &[Axis], mut index: usize) -> Vec<(&Axis, &Value)> {
    let mut chosen: Vec<_> = axes
        .iter()
        .rev()
        .map(|axis| {
            let value = &axis.values[index % axis.values.len()];
            index /= axis.values.len();
            (axis, value)
        })
        .collect();
    chosen.reverse();
    chosen
}

/// The spec with some axes at some values.
fn point(
    base: &DocumentMut,
    chosen: &[(&Axis, &Value)],
    layered: &Layered<'_>,
) -> Result<RunSpec, SpecError> {
    let mut doc = base.clone();
    let at = |axis: &Axis, message: String| {
        layered.locate(Fault {
            key: axis.key(),
            message,
            help: None,
        })
    };
    for (axis, value) in chosen {
        document::set(&mut doc, &axis.path, (*value).clone())
            .map_err(|part| at(axis, format!("`{part}` holds a value and no further keys")))?;
    }
    document::parse(&doc.to_string()).map_err(|(fault, _)| match chosen {
        [(axis, _)] => at(axis, fault.message),
        _ => layered.locate(fault),
    })
}

/// What varies besides policy and seed, as a JSON object.
fn params(chosen: &[(&Axis, &Value)]) -> String {
    let varied = chosen
        .iter()
        .filter(|(axis, _)| !["policy", "seed"].contains(&axis.key().as_str()));
    let fields = varied.map(|(axis, value)| (axis.key(), json(value)));
    serde_json::Value::Object(fields.collect()).to_string()
}

fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::Integer(number) => (*number.value()).into(),
        Value::Float(number) => (*number.value()).into(),
        Value::Boolean(flag) => (*flag.value()).into(),
        Value::String(text) => text.value().as_str().into(),
        other => plain_text(other).into(),
    }
}

/// The value as TOML, without the white space and comments around it.
fn plain_text(value: &Value) -> String {
    value.clone().decorated("", "").to_string()
}
