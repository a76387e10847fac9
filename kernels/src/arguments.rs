//! Checks that launchers share: each names the kernel, the argument, its value and what would do.

use crate::gpu::{ArgumentError, View};

/// `name` holds at least `need` bytes and starts at a multiple of `alignment`.
pub(crate) fn holds(
    operation: &'static str,
    name: &'static str,
    view: View,
    need: u64,
    alignment: u64,
) -> Result<(), ArgumentError> {
    if view.bytes() < need {
        return Err(ArgumentError::TooShort {
            operation,
            name,
            have: view.bytes(),
            need,
        });
    }
    multiple(operation, name, view.address(), alignment)
}

/// `value` is a multiple of `of`.
pub(crate) fn multiple(
    operation: &'static str,
    name: &'static str,
    value: u64,
    of: u64,
) -> Result<(), ArgumentError> {
    if value.is_multiple_of(of) {
        return Ok(());
    }
    Err(ArgumentError::NotMultiple {
        operation,
        name,
        value,
        multiple: of,
    })
}

/// `value` lies from `least` to `most`.
pub(crate) fn within(
    operation: &'static str,
    name: &'static str,
    value: u64,
    least: u64,
    most: u64,
) -> Result<(), ArgumentError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(ArgumentError::OutOfRange {
        operation,
        name,
        value,
        least,
        most,
    })
}

/// Largest grid along x that CUDA launches.
pub(crate) const GRID_X_MAX: u64 = (1 << 31) - 1;
/// Largest grid along y or z.
pub(crate) const GRID_YZ_MAX: u64 = 65_535;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_one_byte_short_is_refused_with_both_lengths() {
        let error = holds("gather", "from", View::new(0, 39), 40, 4).unwrap_err();
        assert_eq!(
            error,
            ArgumentError::TooShort {
                operation: "gather",
                name: "from",
                have: 39,
                need: 40
            }
        );
        assert!(holds("gather", "from", View::new(0, 40), 40, 4).is_ok());
    }

    #[test]
    fn a_misaligned_address_is_refused() {
        assert!(holds("gather", "pool", View::new(8, 64), 64, 16).is_err());
        assert!(holds("gather", "pool", View::new(32, 64), 64, 16).is_ok());
    }

    #[test]
    fn the_ends_of_a_range_are_inside_it() {
        assert!(
            within("argmax", "rows", 1, 1, 9).is_ok() && within("argmax", "rows", 9, 1, 9).is_ok()
        );
        assert!(
            within("argmax", "rows", 0, 1, 9).is_err()
                && within("argmax", "rows", 10, 1, 9).is_err()
        );
    }
}
