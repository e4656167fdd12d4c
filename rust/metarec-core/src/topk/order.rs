//! The order of the items inside a segment: long vectors first, so that good candidates come early and whole
//! blocks of short ones can be skipped; within a thousand by largest value, so that a block's scale fits all.

use rayon::prelude::*;

use super::bound::rounded_up;
use crate::isa::vectorised;
use crate::{Result, finite};

/// Items of similar norm that are sorted by largest value.
const GROUP: usize = 1024;
/// Rows that one task of the pool measures.
const CHUNK: usize = 4096;

/// What the order and the bounds need to know of every row.
pub struct Measures {
    /// ‖x‖, rounded up.
    pub norms: Vec<f32>,
    /// max |x_k|.
    pub peaks: Vec<f32>,
}

impl Measures {
    /// Measure f32[n, width] rows and refuse NaN and infinity.
    pub fn of(rows: &[f32], width: usize, n: usize) -> Result<Self> {
        let (mut norms, mut peaks) = (vec![0.0; n], vec![0.0; n]);
        if width > 0 {
            norms
                .par_chunks_mut(CHUNK)
                .zip(peaks.par_chunks_mut(CHUNK))
                .zip(rows.par_chunks(CHUNK * width))
                .for_each(|((norms, peaks), rows)| {
                    for ((norm, peak), row) in norms.iter_mut().zip(peaks).zip(rows.chunks(width)) {
                        let (squares, largest) = measure(row);
                        (*norm, *peak) = (rounded_up(squares.sqrt()), f32::from_bits(largest));
                    }
                });
        }
        // The sum of squares of finite f32 values is finite in f64, so that only its norm tells nothing.
        if peaks.iter().any(|peak: &f32| !peak.is_finite()) {
            finite::check("ItemIndex", "matrix", rows, width)?;
        }
        Ok(Self { norms, peaks })
    }

    /// The largest of the peaks.
    pub fn largest(&self) -> f32 {
        self.peaks.iter().copied().fold(0.0, f32::max)
    }

    /// Rows by descending norm, then, within groups, by descending peak, then ascending.
    pub fn order(&self) -> Vec<u32> {
        // Non-negative floats order like their bits.
        let key = |value: f32, row: u32| u64::from(!value.to_bits()) << 32 | u64::from(row);
        let mut keys: Vec<u64> =
            self.norms.par_iter().enumerate().map(|(row, &norm)| key(norm, row as u32)).collect();
        keys.par_sort_unstable();
        keys.par_chunks_mut(GROUP).for_each(|group| {
            for entry in group.iter_mut() {
                *entry = key(self.peaks[*entry as u32 as usize], *entry as u32);
            }
            group.sort_unstable();
        });
        keys.par_iter().map(|&key| key as u32).collect()
    }
}

vectorised! {
    /// The sum of squares and the bits of the largest magnitude, in lanes.
    fn measure(row: &[f32]) -> (f64, u32) {
        let (mut squares, mut largest) = ([0.0_f64; 8], [0_u32; 8]);
        let (chunks, rest) = row.as_chunks::<8>();
        for chunk in chunks {
            for lane in 0..8 {
                let value = f64::from(chunk[lane]);
                squares[lane] += value * value;
                largest[lane] = largest[lane].max(chunk[lane].to_bits() & 0x7fff_ffff);
            }
        }
        for &value in rest {
            squares[0] += f64::from(value) * f64::from(value);
            largest[0] = largest[0].max(value.to_bits() & 0x7fff_ffff);
        }
        (squares.iter().sum(), largest.into_iter().max().unwrap_or(0))
    }
}
