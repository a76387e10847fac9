//! A duration or an instant as a trace writes it: milliseconds, whole or not.

use std::fmt;

use model::Nanos;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Milliseconds, finite, at least 0 and at most [`Millis::MAX`]. Whether the file wrote `4` or `4.0` is remembered, so that it
/// is written back equally.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Millis(Written);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Written {
    Whole(u64),
    Fractional(f64),
}

impl Default for Millis {
    fn default() -> Self {
        Self::from_millis(0)
    }
}

impl Millis {
    /// About 317 years: a Unix time in milliseconds fits, and nanoseconds fit 64 bits.
    pub const MAX: u64 = 10_000_000_000_000;

    /// `ms` whole milliseconds.
    ///
    /// # Panics
    /// Above [`Millis::MAX`].
    pub const fn from_millis(ms: u64) -> Self {
        assert!(ms <= Self::MAX, "a trace spans at most some centuries");
        Self(Written::Whole(ms))
    }

    /// A span, exactly where it is whole milliseconds, else to the precision of an `f64`.
    pub fn from_nanos(span: Nanos) -> Self {
        if span.0.is_multiple_of(1_000_000) {
            Self::from_millis(span.0 / 1_000_000)
        } else {
            Self(Written::Fractional(span.0 as f64 / 1e6))
        }
    }

    /// The same for a span that a foreign trace gives; `None` above [`Millis::MAX`].
    pub fn checked(span: Nanos) -> Option<Self> {
        (span.0 / 1_000_000 < Self::MAX).then(|| Self::from_nanos(span))
    }

    /// Seconds as a foreign trace gives them, rounded to the nearest nanosecond; `None` if negative,
    /// not finite, or too large.
    pub fn from_secs(seconds: f64) -> Option<Self> {
        let valid = seconds >= 0.0 && seconds <= Self::MAX as f64 / 1e3;
        valid.then(|| Self::from_nanos(Nanos::from_secs_f64(seconds)))
    }

    /// The span in nanoseconds.
    pub fn nanos(self) -> Nanos {
        match self.0 {
            Written::Whole(ms) => Nanos::from_millis(ms),
            Written::Fractional(ms) => Nanos::from_secs_f64(ms / 1e3),
        }
    }
}

impl Serialize for Millis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Written::Whole(ms) => serializer.serialize_u64(ms),
            Written::Fractional(ms) => serializer.serialize_f64(ms),
        }
    }
}

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MillisVisitor)
    }
}

struct MillisVisitor;

impl de::Visitor<'_> for MillisVisitor {
    type Value = Millis;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "milliseconds (a finite number from 0 to {})",
            Millis::MAX
        )
    }

    fn visit_u64<E: de::Error>(self, ms: u64) -> Result<Millis, E> {
        if ms > Millis::MAX {
            return Err(E::invalid_value(de::Unexpected::Unsigned(ms), &self));
        }
        Ok(Millis::from_millis(ms))
    }

    fn visit_i64<E: de::Error>(self, ms: i64) -> Result<Millis, E> {
        u64::try_from(ms)
            .map_err(|_| E::invalid_value(de::Unexpected::Signed(ms), &self))
            .and_then(|ms| self.visit_u64(ms))
    }

    fn visit_f64<E: de::Error>(self, ms: f64) -> Result<Millis, E> {
        if ms >= 0.0 && ms <= Millis::MAX as f64 {
            Ok(Millis(Written::Fractional(ms)))
        } else {
            Err(E::invalid_value(de::Unexpected::Float(ms), &self))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_and_fractional_milliseconds_are_written_as_they_were_read() {
        for text in ["4", "4.0", "481.807", "0"] {
            let ms: Millis = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&ms).unwrap(), text);
        }
    }

    #[test]
    fn a_negative_or_endless_duration_is_refused_with_its_value() {
        let error = |text| {
            serde_json::from_str::<Millis>(text)
                .unwrap_err()
                .to_string()
        };
        assert!(error("-5").contains("integer `-5`, expected milliseconds"));
        assert!(error("-0.5").contains("floating point `-0.5`"));
        assert!(error("1e999").contains("number out of range"));
        assert!(error("10000000000001").contains("10000000000001"));
        assert!(error("null").contains("null"));
    }

    #[test]
    fn nanoseconds_survive_the_way_through_milliseconds() {
        // 12.345678901 s is no whole number of milliseconds; 12345.678901 as f64 still rounds to it.
        for ns in [0, 1, 999_999, 1_000_000, 12_345_678_901, 86_400_000_000_001] {
            assert_eq!(Millis::from_nanos(Nanos(ns)).nanos(), Nanos(ns));
        }
    }

    #[test]
    fn seconds_of_a_foreign_trace_must_be_a_duration() {
        assert_eq!(Millis::from_secs(1.1), Some(Millis::from_millis(1_100)));
        assert_eq!(Millis::from_secs(-0.1), None);
        assert_eq!(Millis::from_secs(f64::NAN), None);
        assert_eq!(Millis::from_secs(f64::INFINITY), None);
    }
}
