//! Profiles and models by name or path.
//!
//! The files under `configs/` are compiled in, so that names resolve from any working directory.
//! What ends in `.toml` or contains a path separator is read from disk. `h100-hf-eager:50gbps` is a
//! profile with one of its link variants.

use crate::{HardwareProfile, ModelGeometry, ProfileError};
use serde::de::DeserializeOwned;
use std::borrow::Cow;
use std::path::MAIN_SEPARATOR;

struct Shipped {
    name: &'static str,
    file: &'static str,
    text: &'static str,
}

macro_rules! shipped {
    ($folder:literal: $($name:literal),+ $(,)?) => {
        &[$(Shipped {
            name: $name,
            file: concat!("configs/", $folder, "/", $name, ".toml"),
            text: include_str!(concat!("../../../../configs/", $folder, "/", $name, ".toml")),
        }),+]
    };
}

const HARDWARE: &[Shipped] = shipped!("hardware":
    "a100-40g-pcie4",
    "a100-80g-pcie4",
    "h100-80g-pcie5",
    "h100-djinn-eager",
    "h100-hf-eager",
    "h200",
    "oracle",
);

const MODELS: &[Shipped] = shipped!("models":
    "llama-2-13b",
    "llama-2-7b",
    "llama-3-70b",
    "llama-3.1-70b",
    "llama-3.1-8b",
    "qwen2.5-14b",
    "qwen2.5-7b",
    "qwen3-30b-a3b",
    "qwen3-32b",
);

/// Names of the shipped hardware profiles, sorted.
pub fn hardware_names() -> impl Iterator<Item = &'static str> {
    HARDWARE.iter().map(|entry| entry.name)
}

/// Names of the shipped models, sorted.
pub fn model_names() -> impl Iterator<Item = &'static str> {
    MODELS.iter().map(|entry| entry.name)
}

/// A hardware profile, by name (`h200`, `h100-hf-eager:50gbps`) or path.
///
/// # Errors
/// If there is no such profile, file or variant, or the file is malformed: then with file, line and key.
pub fn hardware(name: &str) -> Result<HardwareProfile, ProfileError> {
    parse_hardware(name, &hardware_text(name)?)
}

/// The text of the hardware profile `name`, as [`hardware`] takes it; a variant is a part of its profile's text.
///
/// # Errors
/// If there is no such profile or file.
pub fn hardware_text(name: &str) -> Result<Cow<'static, str>, ProfileError> {
    text("hardware profile", split_variant(name).0, HARDWARE)
}

/// The hardware profile `name` whose text has been read.
///
/// # Errors
/// As for [`hardware`].
pub fn parse_hardware(name: &str, text: &str) -> Result<HardwareProfile, ProfileError> {
    let (base, variant) = split_variant(name);
    let file = file(base, HARDWARE);
    let mut profile = parse(file, text, HardwareProfile::inconsistency)?;
    let Some(variant) = variant else {
        return Ok(profile);
    };
    let Some(rate) = profile.link.variants.get(variant).copied() else {
        let known: Vec<&str> = profile.link.variants.keys().map(String::as_str).collect();
        let known = if known.is_empty() {
            "none".to_owned()
        } else {
            known.join(", ")
        };
        return Err(ProfileError::UnknownVariant {
            profile: profile.name,
            variant: variant.to_owned(),
            known,
        });
    };
    profile.name = format!("{}:{variant}", profile.name);
    Ok(profile.with_link_rate(rate))
}

/// A model, by name or path.
///
/// # Errors
/// As for [`hardware`].
pub fn model(name: &str) -> Result<ModelGeometry, ProfileError> {
    parse_model(name, &model_text(name)?)
}

/// The text of the model `name`.
///
/// # Errors
/// As for [`hardware_text`].
pub fn model_text(name: &str) -> Result<Cow<'static, str>, ProfileError> {
    text("model", name, MODELS)
}

/// The model `name` whose text has been read.
///
/// # Errors
/// As for [`hardware`].
pub fn parse_model(name: &str, text: &str) -> Result<ModelGeometry, ProfileError> {
    parse(file(name, MODELS), text, ModelGeometry::inconsistency)
}

fn split_variant(name: &str) -> (&str, Option<&str>) {
    match name.rsplit_once(':') {
        Some((base, variant)) if !is_path(variant) => (base, Some(variant)),
        _ => (name, None),
    }
}

fn is_path(name: &str) -> bool {
    std::path::Path::new(name)
        .extension()
        .is_some_and(|ending| ending == "toml")
        || name.contains('/')
        || name.contains(MAIN_SEPARATOR)
}

type Check<T> = fn(&T) -> Option<(&'static str, String)>;

/// What messages call the file of `name`.
fn file<'a>(name: &'a str, shipped: &[Shipped]) -> &'a str {
    let entry = shipped.iter().find(|entry| entry.name == name);
    entry.map_or(name, |entry| entry.file)
}

fn text(
    kind: &'static str,
    name: &str,
    shipped: &[Shipped],
) -> Result<Cow<'static, str>, ProfileError> {
    if let Some(entry) = shipped.iter().find(|entry| entry.name == name) {
        return Ok(entry.text.into());
    }
    if !is_path(name) {
        let known = shipped
            .iter()
            .map(|entry| entry.name)
            .collect::<Vec<_>>()
            .join(", ");
        return Err(ProfileError::Unknown {
            kind,
            name: name.to_owned(),
            known,
        });
    }
    let read = std::fs::read_to_string(name);
    read.map(Cow::Owned)
        .map_err(|source| ProfileError::Unreadable {
            file: name.to_owned(),
            source,
        })
}

fn parse<T: DeserializeOwned>(file: &str, text: &str, check: Check<T>) -> Result<T, ProfileError> {
    let invalid = |line, key: &str, message: &str| ProfileError::Invalid {
        file: file.to_owned(),
        line,
        key: key.to_owned(),
        message: message.trim().to_owned(),
    };
    let line_at = |error: &toml::de::Error| {
        let start = error.span().map_or(0, |span| span.start.min(text.len()));
        1 + text[..start].matches('\n').count()
    };
    let document = toml::Deserializer::parse(text)
        .map_err(|error| invalid(line_at(&error), ".", error.message()))?;
    let value: T = serde_path_to_error::deserialize(document).map_err(|error| {
        let key = error.path().to_string();
        invalid(line_at(error.inner()), &key, error.inner().message())
    })?;
    match check(&value) {
        None => Ok(value),
        Some((key, message)) => Err(invalid(line_of(text, key), key, &message)),
    }
}

/// The line that sets `key`, a dotted path of tables and a name; 1 if the text spells it otherwise.
fn line_of(text: &str, key: &str) -> usize {
    let (table, name) = key.rsplit_once('.').unwrap_or(("", key));
    let mut current = "";
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(header) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            current = header;
        } else if current == table
            && line
                .split('=')
                .next()
                .is_some_and(|left| left.trim() == name)
        {
            return index + 1;
        }
    }
    1
}

#[cfg(test)]
mod tests;
