//! Parameters of a policy, written `name[key=value,key=value]`.
//!
//! Parsing is strict: an unknown key, a key given twice or a value out of range is an error. What was not given has
//! its default, and the full set is printed back and stored with every result. A value is a number, or one of a few words.

use std::fmt;

/// One parameter: its name, default, unit and meaning.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Param {
    /// Name as written in `name[key=value]`, unit last.
    pub key: &'static str,
    /// Value where none is given.
    pub default: f64,
    /// Smallest value allowed.
    pub min: f64,
    /// Largest value allowed.
    pub max: f64,
    /// What it does, and where its default comes from.
    pub help: &'static str,
}

/// Parameters whose values are words; the value of a word is its place. A key means the same in every policy.
const WORDS: &[(&str, &[&str])] = &[
    ("eviction", &["lru", "arc"]),
    ("prompt_only", &["no", "yes"]),
    ("poll", &["launch", "end"]),
    ("session_order", &["no", "yes"]),
];

fn words(key: &str) -> &'static [&'static str] {
    let found = WORDS.iter().find(|(other, _)| *other == key);
    found.map_or(&[], |(_, words)| words)
}

/// A value of parameter `key` as it is written.
pub(crate) fn spell(key: &str, value: f64) -> String {
    match words(key).get(value as usize) {
        Some(word) => (*word).to_owned(),
        None => value.to_string(),
    }
}

impl Param {
    /// A key carries its unit last; `-` without one: a ratio, a count, or what the help says.
    pub fn unit(&self) -> &'static str {
        const UNITS: [(&str, &str); 9] = [
            ("_ms", "ms"),
            ("_us", "us"),
            ("_s", "s"),
            ("_gib", "GiB"),
            ("_gb_per_s", "GB/s"),
            ("_blocks", "blocks"),
            ("_tokens", "tokens"),
            ("_steps", "steps"),
            ("_turns", "turns"),
        ];
        // The longest suffix wins: `_gb_per_s` is no number of seconds.
        let suffixes = UNITS
            .iter()
            .filter(|(suffix, _)| self.key.ends_with(suffix));
        let longest = suffixes.max_by_key(|(suffix, _)| suffix.len());
        longest.map_or("-", |(_, unit)| unit)
    }

    /// The words that are its values, in order of their numbers; none if its values are numbers.
    pub fn words(&self) -> &'static [&'static str] {
        words(self.key)
    }

    /// `value` as it is written.
    pub fn spell(&self, value: f64) -> String {
        spell(self.key, value)
    }

    /// The values allowed, for lists.
    pub fn range(&self) -> String {
        if self.words().is_empty() {
            format!("{} to {}", self.min, self.max)
        } else {
            self.words().join(", ")
        }
    }
}

/// Parameters with all defaults filled in, in the order of their declaration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Params(Vec<(&'static str, f64)>);

/// What is wrong with a parameter list.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ParamError {
    /// Not `name` or `name[key=value,...]`.
    #[error("`{0}` is not of the form name or name[key=value,...]")]
    Form(String),
    /// No such parameter.
    #[error("`{policy}` has no parameter `{key}`; it has {known}")]
    Unknown {
        /// Of which policy.
        policy: String,
        /// What was given.
        key: String,
        /// What there is.
        known: String,
    },
    /// Given more than once.
    #[error("`{0}` is given twice")]
    Twice(String),
    /// Not one of its words.
    #[error("`{key}={value}`: expected {words}")]
    Word {
        /// Which.
        key: String,
        /// What was given.
        value: String,
        /// What there is.
        words: String,
    },
    /// Not a number, or out of range.
    #[error("`{key}={value}`: expected a number from {min} to {max}")]
    Value {
        /// Which.
        key: String,
        /// What was given.
        value: String,
        /// Smallest value allowed.
        min: f64,
        /// Largest value allowed.
        max: f64,
    },
}

impl Params {
    /// The value of a declared parameter.
    ///
    /// # Panics
    /// If the policy did not declare it.
    pub fn get(&self, key: &str) -> f64 {
        let found = self.0.iter().find(|(k, _)| *k == key);
        found
            .unwrap_or_else(|| panic!("parameter `{key}` is not declared"))
            .1
    }

    /// A parameter in milliseconds as a span.
    pub fn millis(&self, key: &str) -> model::Nanos {
        model::Nanos::from_secs_f64(self.get(key) / 1e3)
    }

    /// A parameter in seconds as a span.
    pub fn secs(&self, key: &str) -> model::Nanos {
        model::Nanos::from_secs_f64(self.get(key))
    }

    /// All of them, as they are written.
    pub fn spelled(&self) -> impl Iterator<Item = (&'static str, String)> {
        self.0.iter().map(|&(key, value)| (key, spell(key, value)))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, f64)> {
        self.0.iter().copied()
    }

    /// Splits `name[key=value,...]` into the name and the text between the brackets.
    pub(crate) fn split(text: &str) -> Result<(&str, &str), ParamError> {
        let form = || ParamError::Form(text.to_owned());
        match text.split_once('[') {
            None if text.is_empty() || text.contains(']') => Err(form()),
            None => Ok((text, "")),
            Some((name, rest)) => {
                let list = rest
                    .strip_suffix(']')
                    .filter(|list| !list.contains(['[', ']']));
                Ok((name, list.ok_or_else(form)?))
            }
        }
    }

    /// Reads `list` against the declaration.
    pub(crate) fn parse(policy: &str, declared: &[Param], list: &str) -> Result<Self, ParamError> {
        let mut params = Self(declared.iter().map(|p| (p.key, p.default)).collect());
        let mut given = Vec::new();
        for item in list
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
        {
            let (key, value) = item
                .split_once('=')
                .ok_or_else(|| ParamError::Form(format!("{policy}[{list}]")))?;
            let (key, value) = (key.trim(), value.trim());
            let Some(at) = declared.iter().position(|p| p.key == key) else {
                let names: Vec<_> = declared.iter().map(|p| format!("`{}`", p.key)).collect();
                let known = if names.is_empty() {
                    "none".to_owned()
                } else {
                    names.join(", ")
                };
                return Err(ParamError::Unknown {
                    policy: policy.to_owned(),
                    key: key.to_owned(),
                    known,
                });
            };
            if given.contains(&at) {
                return Err(ParamError::Twice(key.to_owned()));
            }
            given.push(at);
            let Param { min, max, .. } = declared[at];
            let words = declared[at].words();
            if !words.is_empty() {
                let word = words.iter().position(|&word| word == value);
                params.0[at].1 = word.ok_or_else(|| ParamError::Word {
                    key: key.to_owned(),
                    value: value.to_owned(),
                    words: words.join(" or "),
                })? as f64;
                continue;
            }
            params.0[at].1 = value
                .parse::<f64>()
                .ok()
                .filter(|v| (min..=max).contains(v))
                .ok_or_else(|| ParamError::Value {
                    key: key.to_owned(),
                    value: value.to_owned(),
                    min,
                    max,
                })?;
        }
        Ok(params)
    }
}

impl fmt::Display for Params {
    /// `[key=value,...]` with every value, or nothing where there are no parameters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        let items: Vec<_> = self
            .0
            .iter()
            .map(|&(key, value)| format!("{key}={}", spell(key, value)))
            .collect();
        write!(f, "[{}]", items.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_ends_with_its_unit() {
        let unit = |key| {
            let param = Param {
                key,
                default: 0.0,
                min: 0.0,
                max: 1.0,
                help: "",
            };
            param.unit()
        };
        assert_eq!(
            ["margin_ms", "link_gb_per_s", "slack"].map(unit),
            ["ms", "GB/s", "-"]
        );
    }
}
