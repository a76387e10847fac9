//! Quantities that carry their unit. Inside the code a type says what a number means; a bare
//! integer with a suffix (`_ns`, `_bytes`) is for files and foreign interfaces.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub, SubAssign};

/// A point in (virtual or wall) time: nanoseconds since the start of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident($repr:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $repr);

        impl $name {
            /// Nothing of it.
            pub const ZERO: Self = Self(0);

            /// The difference, or zero where `other` is larger.
            #[must_use]
            pub fn saturating_sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }
        }

        impl Add for $name {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self(self.0 + other.0)
            }
        }

        impl AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                self.0 += other.0;
            }
        }

        impl Sub for $name {
            type Output = Self;
            fn sub(self, other: Self) -> Self {
                Self(self.0 - other.0)
            }
        }

        impl SubAssign for $name {
            fn sub_assign(&mut self, other: Self) {
                self.0 -= other.0;
            }
        }

        impl Sum for $name {
            fn sum<I: Iterator<Item = Self>>(items: I) -> Self {
                items.fold(Self::ZERO, |total, item| total + item)
            }
        }
    };
}

quantity!(
    /// A span of time in nanoseconds.
    Nanos(u64)
);
quantity!(
    /// A number of bytes.
    Bytes(u64)
);
quantity!(
    /// A number of KV blocks (16 tokens of all layers unless configured otherwise).
    Blocks(u32)
);
quantity!(
    /// A number of tokens.
    Tokens(u32)
);

impl Time {
    /// The start of the run.
    pub const ZERO: Self = Self(0);
    /// Later than anything that happens.
    pub const NEVER: Self = Self(u64::MAX);

    /// The span since `earlier`; zero if that lies ahead.
    pub fn since(self, earlier: Self) -> Nanos {
        Nanos(self.0.saturating_sub(earlier.0))
    }

    /// This point moved back by `span`, not before the start of the run.
    #[must_use]
    pub fn before(self, span: Nanos) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}

impl Add<Nanos> for Time {
    type Output = Self;
    fn add(self, span: Nanos) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl fmt::Display for Time {
    /// Seconds with nine decimals, e.g. `12.000000345`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{:09}",
            self.0 / 1_000_000_000,
            self.0 % 1_000_000_000
        )
    }
}

impl Nanos {
    /// Longer than any run.
    pub const MAX: Self = Self(u64::MAX);

    /// `ms` milliseconds.
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms * 1_000_000)
    }

    /// The one place where a floating-point number of seconds becomes a time span:
    /// rounded to the nearest nanosecond, ties away from zero; negative and NaN become zero.
    pub fn from_secs_f64(seconds: f64) -> Self {
        let nanos = (seconds * 1e9).round();
        if nanos > 0.0 {
            Self(nanos as u64)
        } else {
            Self(0)
        }
    }

    /// The span in seconds, for display and for scores.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }
}

impl Tokens {
    /// Blocks of `block` tokens that hold these tokens, the last one perhaps in part.
    pub fn blocks_ceil(self, block: u32) -> Blocks {
        Blocks(self.0.div_ceil(block))
    }

    /// Blocks of `block` tokens that these tokens fill.
    pub fn blocks_floor(self, block: u32) -> Blocks {
        Blocks(self.0 / block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_round_to_the_nearest_nanosecond() {
        assert_eq!(Nanos::from_secs_f64(1.000_000_000_4), Nanos(1_000_000_000));
        assert_eq!(Nanos::from_secs_f64(0.000_000_000_5), Nanos(1));
        assert_eq!(Nanos::from_secs_f64(-3.0), Nanos(0));
        assert_eq!(Nanos::from_secs_f64(f64::NAN), Nanos(0));
    }

    #[test]
    fn a_time_prints_as_seconds_with_all_its_digits() {
        assert_eq!(Time(12_000_000_345).to_string(), "12.000000345");
    }

    #[test]
    fn the_last_block_may_be_partial() {
        assert_eq!(Tokens(33).blocks_ceil(16), Blocks(3));
        assert_eq!(Tokens(33).blocks_floor(16), Blocks(2));
    }
}
