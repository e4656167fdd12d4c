//! Refusing NaN and infinity in one fast pass.

use crate::{Error, Result};

const MAGNITUDE: u32 = 0x7fff_ffff;
const INFINITY: u32 = 0x7f80_0000;
const CHUNK: usize = 1024;

/// An error naming the first row (of `width` values) that holds NaN or infinity, if there is one.
pub fn check(operation: &'static str, argument: &'static str, values: &[f32], width: usize) -> Result<()> {
    largest(operation, argument, values, width).map(|_| ())
}

/// [`check`], and the largest magnitude among the values (0 where there is none).
pub fn largest(operation: &'static str, argument: &'static str, values: &[f32], width: usize) -> Result<f32> {
    let mut largest = 0;
    for (chunk, part) in values.chunks(CHUNK).enumerate() {
        // Magnitudes of floats order like their bits; a fold without an early exit becomes vector code, and
        // the position is looked for only on failure.
        let within = part.iter().fold(0, |most, value| most.max(value.to_bits() & MAGNITUDE));
        if within >= INFINITY {
            let first = part.iter().position(|value| !value.is_finite()).unwrap_or(0);
            return Err(Error::NotFinite {
                operation,
                argument,
                row: (chunk * CHUNK + first) / width.max(1),
                value: part[first],
            });
        }
        largest = largest.max(within);
    }
    Ok(f32::from_bits(largest))
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
    fn finds_the_largest_magnitude() {
        assert_eq!(largest("topk", "queries", &[1.0, -3.5, 0.0, 2.0], 2), Ok(3.5));
        assert_eq!(largest("topk", "queries", &[], 0), Ok(0.0));
    }
}
