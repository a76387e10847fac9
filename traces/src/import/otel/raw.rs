//! Spans as OTLP writes them in JSON, and as plain values.

use serde_json::Value;

use crate::format::Extra;
use crate::format::record::record;
use crate::import::clock::Instant;

record! {
    /// One export: a line of a file exporter, or a whole file.
    pub struct Export {
        /// By resource.
        required resources: Vec<ResourceSpans> = "resourceSpans",
    }
}

record! {
    /// Spans of one process.
    pub struct ResourceSpans {
        /// What the process says of itself.
        nullable resource: Resource = "resource",
        /// By instrumentation.
        nullable scopes: Vec<ScopeSpans> = "scopeSpans",
    }
}

record! {
    /// Who exports.
    pub struct Resource {
        /// `service.name` and the like.
        nullable attributes: Vec<Attribute> = "attributes",
    }
}

record! {
    /// Spans of one instrumentation library.
    pub struct ScopeSpans {
        /// The spans.
        nullable spans: Vec<RawSpan> = "spans",
    }
}

record! {
    /// A span.
    pub struct RawSpan {
        /// 16 bytes, in hexadecimal.
        required trace: String = "traceId",
        /// 8 bytes, in hexadecimal.
        required id: String = "spanId",
        /// Empty or absent for a root.
        nullable parent: String = "parentSpanId",
        /// Nanoseconds, as text or number.
        required start: Value = "startTimeUnixNano",
        /// Nanoseconds, as text or number.
        required end: Value = "endTimeUnixNano",
        /// What happened.
        nullable attributes: Vec<Attribute> = "attributes",
        /// `code` 2 is an error.
        nullable status: Value = "status",
    }
}

record! {
    /// A key and a value of one of several types.
    pub struct Attribute {
        /// Name.
        required name: String = "key",
        /// One of `stringValue`, `intValue`, …
        required value: Value = "value",
    }
}

/// A span, understood.
#[derive(Clone, Debug)]
pub struct Span {
    pub trace: String,
    pub id: String,
    pub parent: Option<String>,
    pub start: Instant,
    pub end: Instant,
    pub attributes: Extra,
    pub resource: Extra,
    pub is_error: bool,
}

impl Span {
    /// Takes an attribute out.
    pub fn take(&mut self, key: &str) -> Option<Value> {
        self.attributes.shift_remove(key)
    }

    /// Takes a text attribute out.
    pub fn take_text(&mut self, key: &str) -> Option<String> {
        match self.take(key)? {
            Value::String(text) => Some(text),
            other => Some(other.to_string()),
        }
    }

    /// Takes a count out, under the first of its names that is there. An unusable one stays.
    pub fn take_count(&mut self, keys: &[&str]) -> Result<Option<u32>, String> {
        let Some(key) = keys.iter().find(|key| self.attributes.contains_key(**key)) else {
            return Ok(None);
        };
        let value = self.take(key).expect("it is there");
        let count = value.as_u64().and_then(|count| u32::try_from(count).ok());
        let wrong = || format!("span {}: `{key}` is {value}, not a count", self.id);
        count.map(Some).ok_or_else(wrong)
    }

    /// What it did.
    pub fn operation(&self) -> Option<&str> {
        self.attributes.get("gen_ai.operation.name")?.as_str()
    }
}

/// All spans of an export.
pub fn spans(export: Export) -> Result<Vec<Span>, String> {
    let mut spans = Vec::new();
    for resource in export.resources {
        let about = resource.resource.value().unwrap_or_default();
        let about = attributes(about.attributes.value().unwrap_or_default());
        let scopes = resource.scopes.value().unwrap_or_default();
        let all = scopes.into_iter().filter_map(|scope| scope.spans.value());
        for raw in all.flatten() {
            spans.push(span(raw, &about)?);
        }
    }
    Ok(spans)
}

fn span(raw: RawSpan, resource: &Extra) -> Result<Span, String> {
    let time = |key: &str, value: &Value| {
        let nanos = match value {
            Value::String(text) => text.parse().ok(),
            other => other.as_u64(),
        };
        let time = nanos.and_then(Instant::from_nanos);
        time.ok_or_else(|| format!("span {}: `{key}` is {value}, not a Unix time", raw.id))
    };
    let (start, end) = (
        time("startTimeUnixNano", &raw.start)?,
        time("endTimeUnixNano", &raw.end)?,
    );
    if end < start {
        return Err(format!("span {} ends before it starts", raw.id));
    }
    let status = raw.status.as_ref().and_then(|status| status.get("code"));
    let is_error = status.is_some_and(|code| *code == 2 || code == "STATUS_CODE_ERROR");
    Ok(Span {
        trace: raw.trace,
        parent: raw.parent.value().filter(|parent| !parent.is_empty()),
        start,
        end,
        attributes: attributes(raw.attributes.value().unwrap_or_default()),
        resource: resource.clone(),
        is_error,
        id: raw.id,
    })
}

fn attributes(list: Vec<Attribute>) -> Extra {
    let plain = |attribute: Attribute| (attribute.name, plain(attribute.value));
    list.into_iter().map(plain).collect()
}

/// `{"intValue": "5"}` as 5. What is of no known type stays as it is.
fn plain(value: Value) -> Value {
    let Value::Object(fields) = &value else {
        return value;
    };
    let Some((kind, inner)) = fields.iter().next() else {
        return Value::Null;
    };
    let items = || {
        inner
            .get("values")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    match kind.as_str() {
        "stringValue" | "doubleValue" | "boolValue" | "bytesValue" => inner.clone(),
        "intValue" => {
            let number = inner.as_str().and_then(|text| text.parse::<i64>().ok());
            number.map_or_else(|| inner.clone(), Value::from)
        }
        "arrayValue" => items().into_iter().map(plain).collect(),
        "kvlistValue" => {
            let entry = |item: Value| {
                let key = item.get("key")?.as_str()?.to_owned();
                Some((key, plain(item.get("value").cloned().unwrap_or_default())))
            };
            Value::Object(items().into_iter().filter_map(entry).collect())
        }
        _ => value,
    }
}
