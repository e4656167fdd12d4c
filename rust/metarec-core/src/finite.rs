//! Refusing NaN and infinity in one fast pass.

use crate::{Error, Result};

const EXPONENT: u32 = 0x7f80_0000;
const CHUNK: usize = 1024;

/// An error naming the first row (of `width` values) that holds NaN or infinity, if there is one.
pub fn check(operation: &'static str, argument: &'static str, values: &[f32], width: usize) -> Result<()> {
    for (chunk, part) in values.chunks(CHUNK).enumerate() {
        // A fold without an early exit becomes vector code; the position is looked for only on failure.
        let bad = part.iter().fold(false, |bad, value| bad | (value.to_bits() & EXPONENT == EXPONENT));
        if bad {
            let within = part.iter().position(|value| !value.is_finite()).unwrap_or(0);
            let position = chunk * CHUNK + within;
            return Err(Error::NotFinite {
                operation,
                argument,
                row: position / width.max(1),
                value: part[within],
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_first_row_that_is_not_finite() {
        let mut values = vec![f32::MAX; 3000];
        assert_eq!(check("topk", "queries", &values, 10), Ok(()));
        values[2047] = f32::NEG_INFINITY;
        values[2901] = f32::NAN;
        let error = check("topk", "queries", &values, 10).unwrap_err();
        assert_eq!(error.to_string(), "topk: queries holds -inf at row 204; every value must be finite");
    }

    #[test]
    fn accepts_no_values_and_no_width() {
        assert_eq!(check("topk", "queries", &[], 0), Ok(()));
    }
}
