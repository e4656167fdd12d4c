//! A quantised copy of the items of a segment, in the order in which the kernels read it.

use rayon::prelude::*;

use super::bound::{LEAST_SCALE, rounded_up};
use super::kernel::pages::prefer_huge;
use super::kernel::{BLOCK, LANES, Line, PANELS};
use super::path::Precision;
use super::store::Store;
use crate::isa::vectorised;

/// Largest magnitude of an int4 item.
const NIBBLES: i32 = 7;
/// Blocks that one task of the pool quantises.
const CHUNK: usize = 16;

/// All blocks of one precision. Item i of panel p of a block is lane i of the panel's lines; each line holds
/// [`Precision::per_word`] dimensions.
#[derive(Debug)]
pub struct Plane {
    /// Its precision.
    pub precision: Precision,
    /// Magnitude of the quantised items; int8 only.
    pub levels: i32,
    /// Lines of a panel.
    pub width: usize,
    /// `blocks * PANELS * width` lines.
    pub lines: Store<Line>,
    /// s_b of each block.
    pub scales: Store<f32>,
    /// e of each block: the largest norm of what quantisation lost.
    pub errors: Store<f32>,
}

impl Plane {
    /// Lines of a panel for `width` dimensions.
    pub fn lines_for(precision: Precision, width: usize) -> usize {
        width.div_ceil(precision.per_word())
    }

    /// Quantise the rows `row(order[0]), row(order[1]), …`, each of `width` values whose largest magnitude is
    /// `peaks[order[i]]`.
    pub fn build<'a>(
        precision: Precision,
        levels: i32,
        width: usize,
        order: &[u32],
        peaks: &[f32],
        row: impl Fn(u32) -> &'a [f32] + Sync,
    ) -> Self {
        let per_panel = Self::lines_for(precision, width);
        let per_block = PANELS * per_panel;
        let blocks = order.len().div_ceil(BLOCK);
        let mut lines: Vec<Line> = bytemuck::zeroed_vec(blocks * per_block);
        prefer_huge(&mut lines);
        let (mut scales, mut errors) = (vec![1.0; blocks], vec![0.0; blocks]);
        lines
            .par_chunks_mut((per_block * CHUNK).max(1))
            .zip(scales.par_chunks_mut(CHUNK))
            .zip(errors.par_chunks_mut(CHUNK))
            .zip(order.par_chunks(BLOCK * CHUNK))
            .for_each(|(((lines, scales), errors), order)| {
                let mut words = vec![[0; 4]; per_panel];
                let mut scratch = vec![0; 8 * per_panel];
                for (index, items) in order.chunks(BLOCK).enumerate() {
                    let lines = &mut lines[index * per_block..][..per_block];
                    let peak = items.iter().fold(0.0_f32, |peak, &item| peak.max(peaks[item as usize]));
                    let magnitude = match precision {
                        Precision::Bf16 => None,
                        Precision::Int8 => Some(levels),
                        Precision::Int4 => Some(NIBBLES),
                    };
                    let mut scale = magnitude.map_or(1.0, |magnitude| scale(peak, magnitude));
                    if precision == Precision::Int4 {
                        scale = tightest(scale, items, &row, &mut scratch);
                    }
                    let mut worst = 0.0_f64;
                    for (position, &item) in items.iter().enumerate() {
                        let lost = match precision {
                            Precision::Bf16 => halves(row(item), &mut words),
                            Precision::Int8 => bytes(row(item), scale, levels, &mut words),
                            Precision::Int4 => nibbles(row(item), scale, &mut scratch, &mut words),
                        };
                        worst = worst.max(lost);
                        let panel = &mut lines[position / LANES * per_panel..][..per_panel];
                        for (line, word) in panel.iter_mut().zip(&words) {
                            line.0[position % LANES] = *word;
                        }
                    }
                    scales[index] = scale;
                    errors[index] = rounded_up(worst);
                }
            });
        Self {
            precision,
            levels,
            width: per_panel,
            lines: lines.into(),
            scales: scales.into(),
            errors: errors.into(),
        }
    }

    /// What has to be taken off a sum of unsigned items times query bytes, by the sum of those bytes.
    pub fn offset(&self) -> i32 {
        match self.precision {
            Precision::Bf16 => 0,
            Precision::Int8 => self.levels,
            Precision::Int4 => NIBBLES + 1,
        }
    }

    /// The lines of block `block`.
    pub fn block(&self, block: usize) -> &[Line] {
        &self.lines[block * PANELS * self.width..][..PANELS * self.width]
    }
}

/// The scale with which values of magnitude up to `peak` become integers up to `levels`.
pub fn scale(peak: f32, levels: i32) -> f32 {
    if peak > 0.0 { (peak / levels as f32).max(LEAST_SCALE) } else { 1.0 }
}

/// The scale, of a few below the one that fits everything, with which the worst of some rows loses least: with
/// fifteen values, cutting the longest off can cost less than coarser steps for the rest.
fn tightest<'a>(scale: f32, items: &[u32], row: impl Fn(u32) -> &'a [f32], scratch: &mut [u8]) -> f32 {
    let most = NIBBLES as f32;
    let mut worst = |share: f32| {
        let scale = (scale * share).max(LEAST_SCALE);
        let lost = items.iter().map(|&item| unsigned(row(item), 1.0 / scale, most, most + 1.0, scratch));
        (f64::from(scale) * lost.fold(0.0, f64::max), scale)
    };
    [1.0, 0.85, 0.7]
        .map(&mut worst)
        .into_iter()
        .min_by(|a, b| a.0.total_cmp(&b.0))
        .map_or(scale, |best| best.1)
}

/// The nearest bf16, ties to even, as the upper half of an f32; values below the normal range become 0.
pub fn half(value: f32) -> u32 {
    let bits = value.to_bits();
    if value.abs() < f32::MIN_POSITIVE {
        return 0;
    }
    // Magnitudes are far below the largest f32, so that nothing carries into the sign.
    bits.wrapping_add(0x7fff + (bits >> 16 & 1)) & 0xffff_0000
}

/// Integers of magnitude up to `levels`, moved up to be unsigned; the norm of what is lost.
fn bytes(row: &[f32], scale: f32, levels: i32, words: &mut [[u8; 4]]) -> f64 {
    let bytes = words.as_flattened_mut();
    bytes[row.len()..].fill(levels as u8);
    f64::from(scale) * unsigned(row, 1.0 / scale, levels as f32, levels as f32, bytes)
}

/// Integers of magnitude up to 7, moved up by 8, two a byte: dimension b of a word's eight in the low half of byte b,
/// dimension 4 + b in its high half; the norm of what is lost. `scratch` has a byte for each dimension.
fn nibbles(row: &[f32], scale: f32, scratch: &mut [u8], words: &mut [[u8; 4]]) -> f64 {
    let most = NIBBLES as f32;
    scratch[row.len()..].fill(8);
    let lost = unsigned(row, 1.0 / scale, most, most + 1.0, scratch);
    for (word, nibbles) in words.iter_mut().zip(scratch.as_chunks::<8>().0) {
        let (low, high) = nibbles.split_at(4);
        for (byte, (low, high)) in word.iter_mut().zip(low.iter().zip(high)) {
            *byte = low | high << 4;
        }
    }
    f64::from(scale) * lost
}

vectorised! {
    /// The nearest integers of magnitude up to `most` to the values times `inverse`, moved up by `offset`; the norm
    /// of what they miss, in units of the scale and rounded up.
    ///
    /// In f32: a scaled value is within `most` · 2⁻²³ of the truth, so that each miss is within 2·10⁻⁵, and the sum
    /// of d squares in lanes within 10⁻⁵ of itself for d up to the widest.
    fn unsigned(row: &[f32], inverse: f32, most: f32, offset: f32, bytes: &mut [u8]) -> f64 {
        let mut sums = [0.0_f32; 16];
        let quantise = |value: f32, byte: &mut u8, sum: &mut f32| {
            let scaled = value * inverse;
            let integer = scaled.round_ties_even().clamp(-most, most);
            let missed = scaled - integer;
            *sum += missed * missed;
            // Within 0 ..= 254 whatever the value, so that the cast is exact.
            *byte = (integer + offset) as i32 as u8;
        };
        let (chunks, rest) = row.as_chunks::<16>();
        for (values, bytes) in chunks.iter().zip(bytes.as_chunks_mut::<16>().0) {
            for lane in 0..16 {
                quantise(values[lane], &mut bytes[lane], &mut sums[lane]);
            }
        }
        for (value, byte) in rest.iter().zip(&mut bytes[chunks.len() * 16..]) {
            quantise(*value, byte, &mut sums[0]);
        }
        let total: f64 = sums.into_iter().map(f64::from).sum();
        total.sqrt() * (1.0 + 2e-5 + 1e-7 * row.len() as f64) + 2e-5 * (row.len() as f64).sqrt()
    }
}

vectorised! {
    /// bf16 values; the norm of what is lost.
    fn halves(row: &[f32], words: &mut [[u8; 4]]) -> f64 {
        for (word, values) in words.iter_mut().zip(row.chunks(2)) {
            let low = half(values[0]) >> 16;
            let high = values.get(1).map_or(0, |&value| half(value));
            *word = (high | low).to_le_bytes();
        }
        let lost = |&value: &f32| f64::from(value) - f64::from(f32::from_bits(half(value)));
        row.iter().map(lost).map(|lost| lost * lost).sum::<f64>().sqrt()
    }
}
