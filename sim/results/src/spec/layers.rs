//! Where the values of a spec come from: a file, then `--set`, then `--policy`. The later wins.

use super::document;
use super::error::{Fault, SpecError, Text};
use std::ops::Range;
use std::path::Path;
use toml_edit::{DocumentMut, Key};

/// What was given, in the order in which it applies.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// Name of the file, for messages.
    pub name: String,
    /// Its text; empty for none.
    pub text: String,
    /// `key=value`, as given to `--set`. The value is TOML, or a string without quotes. Setting a key that
    /// `[sweep]` varies ends that; setting `memory.hbm_blocks` replaces `memory.hbm_gib`, and so on.
    pub set: Vec<String>,
    /// Policies, as given to `--policy` and split by [`split_policies`]. Several make a sweep.
    pub policies: Vec<String>,
}

impl Layers {
    /// Nothing but the text of a file.
    pub fn of_text(name: &str, text: &str) -> Self {
        Self {
            name: name.to_owned(),
            text: text.to_owned(),
            ..Self::default()
        }
    }

    /// Nothing but a file.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn of_file(path: &Path) -> Result<Self, SpecError> {
        let text = std::fs::read_to_string(path).map_err(|cause| SpecError::Unreadable {
            path: path.to_owned(),
            cause,
        })?;
        Ok(Self::of_text(&path.display().to_string(), &text))
    }

    /// Applies the layers.
    ///
    /// # Errors
    /// If a key is unknown or a value has the wrong type; the place is in the layer that says so.
    pub(super) fn apply(&self) -> Result<Layered<'_>, SpecError> {
        let file = Text {
            name: &self.name,
            text: &self.text,
        };
        document::parse_named(file)?;
        let mut doc: DocumentMut = self.text.parse().map_err(|error: toml_edit::TomlError| {
            let fault = Fault {
                key: String::new(),
                message: error.message().into(),
                help: None,
            };
            fault.at(file, error.span().unwrap_or(0..0))
        })?;
        let mut set = Vec::new();
        for argument in &self.set {
            let text = Text {
                name: "--set",
                text: argument,
            };
            let (path, span) = apply_set(&mut doc, text)?;
            set.push((path, text, span));
        }
        if let Some(first) = self.policies.first() {
            let policy = ["policy".to_owned()];
            document::remove_axis(&mut doc, &policy);
            let (path, value) = if self.policies.len() == 1 {
                (policy.to_vec(), first.as_str().into())
            } else {
                let axis = vec!["sweep".to_owned(), "policy".to_owned()];
                (axis, document::strings(&self.policies))
            };
            document::set(&mut doc, &path, value).expect("`sweep`, if there, is a table");
        }
        Ok(Layered { file, set, doc })
    }
}

/// Applies one `--set`; returns its key and the bytes of its value.
fn apply_set(
    doc: &mut DocumentMut,
    text: Text<'_>,
) -> Result<(Vec<String>, Range<usize>), SpecError> {
    let refuse = |message: &str, span: Range<usize>| {
        let help = Some("for example `--set memory.host_gib=0`".to_owned());
        Fault {
            key: String::new(),
            message: message.to_owned(),
            help,
        }
        .at(text, span)
    };
    let whole = 0..text.text.len();
    let Some((key, value)) = text.text.split_once('=') else {
        return Err(refuse("expected `key=value`", whole));
    };
    let path: Vec<String> = match Key::parse(key) {
        Ok(parts) => parts.iter().map(|part| part.get().to_owned()).collect(),
        Err(_) => return Err(refuse(&format!("`{key}` is no key"), 0..key.len())),
    };
    let span = key.len() + 1..text.text.len();
    if path[0] != "sweep" {
        document::remove_axis(doc, &path);
    }
    document::set(doc, &path, document::value(value)).map_err(|part| {
        refuse(
            &format!("`{part}` holds a value and no further keys"),
            0..key.len(),
        )
    })?;
    document::parse(&doc.to_string()).map_err(|(fault, _)| fault.at(text, span.clone()))?;
    Ok((path, span))
}

/// The layers, applied: a document that parses, and where its values came from.
pub(super) struct Layered<'a> {
    pub file: Text<'a>,
    /// Key, argument and bytes of the value of every `--set`.
    set: Vec<(Vec<String>, Text<'a>, Range<usize>)>,
    pub doc: DocumentMut,
}

impl Layered<'_> {
    /// A fault at the place that its key has its value from: an axis of the sweep, a `--set`, the file.
    pub(super) fn locate(&self, fault: Fault) -> SpecError {
        let path: Vec<String> = fault.key.split('.').map(str::to_owned).collect();
        let quoted = vec!["sweep".to_owned(), path.join(".")];
        let bare = [vec!["sweep".to_owned()], path.clone()].concat();
        for wanted in [&quoted, &bare, &path] {
            if let Some((_, text, span)) = self.set.iter().rev().find(|(key, ..)| key == wanted) {
                return fault.at(*text, span.clone());
            }
            if let Some((true, span)) = document::place(self.file.text, wanted) {
                return fault.at(self.file, span);
            }
        }
        let table = document::place(self.file.text, &path).map_or(0..0, |(_, span)| span);
        fault.at(self.file, table)
    }
}

/// Splits `a,b[x=1,y=2],c` at the commas outside brackets; empty parts are dropped.
pub fn split_policies(list: &str) -> Vec<String> {
    let mut depth = 0_usize;
    let parts = list.split(|c: char| {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    });
    parts
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}
