//! Points in time as logs write them.

use jiff::Timestamp;
use jiff::civil::DateTime;
use model::Nanos;

use crate::format::Millis;

/// Nanoseconds since 1970 (UTC).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(pub u64);

impl Instant {
    /// From text: RFC 3339, also with a blank in place of `T` or without an offset, which then is UTC. `None` if it is
    /// neither or lies before 1970 or after [`Millis::MAX`].
    pub fn parse(text: &str) -> Option<Self> {
        let timestamp: Option<Timestamp> = text.parse().ok();
        let timestamp = timestamp.or_else(|| {
            let local: DateTime = text.parse().ok()?;
            local
                .to_zoned(jiff::tz::TimeZone::UTC)
                .ok()
                .map(|zoned| zoned.timestamp())
        })?;
        Self::from_nanos(u64::try_from(timestamp.as_nanosecond()).ok()?)
    }

    /// From seconds of Unix time, to the microsecond: a float holds no more of today's. `None` if it is not after 1970.
    pub fn from_unix_secs(seconds: f64) -> Option<Self> {
        let micros = (seconds * 1e6).round();
        let valid = micros >= 0.0 && micros <= (Millis::MAX * 1_000) as f64;
        valid.then(|| Self::from_nanos((micros as u64).saturating_mul(1_000)))?
    }

    /// From a count of nanoseconds; `None` after [`Millis::MAX`].
    pub fn from_nanos(nanos: u64) -> Option<Self> {
        Millis::checked(Nanos(nanos)).map(|_| Self(nanos))
    }

    /// As the start of a session.
    pub fn millis(self) -> Millis {
        Millis::from_nanos(Nanos(self.0))
    }

    /// How long after `earlier`; 0 if not after it.
    pub fn since(self, earlier: Self) -> Millis {
        Millis::from_nanos(Nanos(self.0.saturating_sub(earlier.0)))
    }

    /// How long after `earlier` in milliseconds; negative if before.
    pub fn offset_ms(self, earlier: Self) -> serde_json::Number {
        // Nanoseconds of both directions need 65 bits, milliseconds do not.
        let nanos = self.0.abs_diff(earlier.0);
        let sign = if self < earlier { -1 } else { 1 };
        if nanos.is_multiple_of(1_000_000) {
            return ((nanos / 1_000_000) as i64 * sign).into();
        }
        let ms = nanos as f64 / 1e6 * sign as f64;
        serde_json::Number::from_f64(ms).expect("a quotient of finite numbers")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_ways_to_write_a_time_mean_the_same() {
        // 2023-11-16 18:15:46 UTC is 1,700,158,546 s after 1970.
        let expected = Instant(1_700_158_546_680_590_000);
        for text in [
            "2023-11-16 18:15:46.6805900",
            "2023-11-16T18:15:46.68059Z",
            "2023-11-16 18:15:46.680590+00:00",
            "2023-11-16T20:15:46.680590+02:00",
        ] {
            assert_eq!(Instant::parse(text), Some(expected), "{text}");
        }
        for text in [
            "",
            "yesterday",
            "1969-12-31T23:59:59Z",
            "9999-01-01T00:00:00Z",
            "12",
        ] {
            assert_eq!(Instant::parse(text), None, "{text}");
        }
    }

    #[test]
    fn seconds_of_unix_time_are_taken_to_the_microsecond() {
        // As a float, this is 1700000003.75 exactly; times 1e9 it would not be.
        let time = Instant::from_unix_secs(1_700_000_003.75);
        assert_eq!(time, Some(Instant(1_700_000_003_750_000_000)));
        for seconds in [-1.0, f64::NAN, f64::INFINITY, 1e300] {
            assert_eq!(Instant::from_unix_secs(seconds), None);
        }
    }

    #[test]
    fn differences_are_exact_and_only_offsets_are_negative() {
        let (early, late) = (Instant(1_000_000_000), Instant(3_500_000_000));
        assert_eq!(late.since(early), Millis::from_millis(2_500));
        assert_eq!(early.since(late), Millis::from_millis(0));
        assert_eq!(early.offset_ms(late), serde_json::Number::from(-2_500));
        assert_eq!(Instant(1_500_000).offset_ms(Instant(0)).as_f64(), Some(1.5));
        // The year 2286 in nanoseconds is beyond 63 bits.
        let last = Instant(9_999_999_999_999_000_000);
        assert_eq!(
            Instant(0).offset_ms(last),
            serde_json::Number::from(-9_999_999_999_999_i64)
        );
    }
}
