//! Queries as the scans want them.

use super::super::bound::{LARGEST, QueryBound, chain_error, rounded_up};
use super::super::kernel::Query;
use super::super::plane::{half, scale};
use crate::isa::vectorised;

/// A quantised query: its words, what it lost, and where its sums start.
pub struct Quantised {
    /// Words in the order of the dimensions, little-endian.
    pub words: Vec<[u8; 4]>,
    /// What the bound needs to know.
    pub bound: QueryBound,
    /// The start of every sum, which takes the items' offset off.
    pub start: i32,
}

/// Quantise a query into `words` words for items that are stored with `offset` added; `None` where its
/// magnitude is beyond what the bound covers.
pub fn quantise(query: &[f32], kind: Query, words: usize, offset: i32) -> Option<Quantised> {
    let peak = query.iter().fold(0.0_f32, |peak, value| peak.max(value.abs()));
    if peak > LARGEST {
        return None;
    }
    let gamma = chain_error(query.len());
    let norm = query.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>().sqrt();
    let mut filled = vec![[0; 4]; words];
    let (scale, kept, gammas, start) = match kind {
        Query::Bytes(levels) => {
            let scale = scale(peak, levels);
            let mut kept = vec![0.0; query.len()];
            let total = bytes(query, scale, levels, &mut filled, &mut kept);
            (scale, kept, gamma, -offset * total)
        }
        Query::Floats => {
            for (word, value) in filled.iter_mut().zip(query) {
                *word = value.to_le_bytes();
            }
            (1.0, query.iter().map(|&value| f64::from(value)).collect(), 4.0 * gamma, 0)
        }
        Query::Halves => {
            for (word, values) in filled.iter_mut().zip(query.chunks(2)) {
                let high = values.get(1).map_or(0, |&value| half(value));
                *word = (high | half(values[0]) >> 16).to_le_bytes();
            }
            let kept = query.iter().map(|&value| f64::from(f32::from_bits(half(value)))).collect();
            (1.0, kept, 4.0 * gamma, 0)
        }
    };
    let norm_of =
        |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    let quantised = norm_of(&mut kept.iter().copied());
    let lost = norm_of(&mut query.iter().zip(&kept).map(|(&value, kept)| f64::from(value) - kept));
    let bound = QueryBound {
        scale,
        inverse: 1.0 / scale,
        quantised: rounded_up(quantised),
        residual: rounded_up(lost + gammas * norm),
        norm: rounded_up(norm * (1.0 + gamma)),
    };
    Some(Quantised { words: filled, bound, start })
}

vectorised! {
    /// Signed bytes of magnitude up to `levels`, and the values that they stand for; the sum of the bytes.
    fn bytes(query: &[f32], scale: f32, levels: i32, words: &mut [[u8; 4]], kept: &mut [f64]) -> i32 {
        let (inverse, most) = (1.0 / scale, levels as f32);
        let mut total = 0;
        for ((byte, kept), &value) in words.as_flattened_mut().iter_mut().zip(kept).zip(query) {
            // Within ±127 whatever the value, so that the cast is exact.
            let integer = (value * inverse).round_ties_even().clamp(-most, most) as i32;
            *byte = integer as i8 as u8;
            *kept = f64::from(integer) * f64::from(scale);
            total += integer;
        }
        total
    }
}
