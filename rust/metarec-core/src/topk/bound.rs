//! Why the certified scan returns exactly what the fp32 scan returns.
//!
//! # Setting
//! The score of user u and item x is `S = fl(… fl(fl(c) + b₁) … + b_m)`: the chain c of d fused multiply-adds
//! in f32, then each bias in order, each sum rounded to nearest. ε = 2⁻²⁴. A block of 64 items shares a scale
//! `s_b`; an item is stored as integers ŵ and a query as integers û with scale `s_u`:
//!
//! `x = s_b ŵ + r_x`, `u = s_u û + r_u`, so that
//! `u·x = s_u s_b û·ŵ + (s_u û)·r_x + r_u·x`.
//!
//! By Cauchy–Schwarz, with `A = ‖s_u û‖`, `R = ‖r_u‖`, and over the block `e = max ‖r_x‖`, `X = max ‖x‖`:
//!
//! `|u·x − s_u s_b I| ≤ A e + R X`, where `I = û·ŵ` is an integer, summed without rounding: `|I| ≤ 127² d < 2³⁰`
//! for d ≤ [`MAX_WIDTH`].
//!
//! # Rounding of the chain
//! A chain of d fused multiply-adds from 0 satisfies `|fl(c) − u·x| ≤ γ_d Σ|u_k x_k| ≤ γ_d ‖u‖ X` with
//! `γ_d = dε / (1 − dε)` (Higham, Accuracy and Stability of Numerical Algorithms, 2002, §3.1; one rounding a
//! step as the product isn't rounded), plus `d 2⁻¹⁴⁹` where results are subnormal. Nothing overflows: calls
//! whose scores could leave half the range of f32 are refused. Together
//!
//! `|fl(c) − s_u s_b I| ≤ E := A e + (R + γ_d ‖u‖) X + d 2⁻¹⁴⁹`.
//!
//! For bf16, `s_u s_b I` is a sum a of products in f32, rounded at most twice a step and flushed to zero below
//! 2⁻¹²⁶ at worst, with stored values below 2⁻¹²⁶ replaced by 0 beforehand (which r_x and r_u count). Its own
//! error is at most `γ_2d ‖û‖ ‖x̂‖ + d 2⁻¹²⁵`, and `‖û‖ ‖x̂‖ ≤ 1.01 ‖u‖ X`, so that `4 γ_d` in place of
//! `γ_d`, and `d 2⁻¹²⁴` in place of `d 2⁻¹⁴⁹`, cover both.
//!
//! # Biases, without any analysis
//! Rounding to nearest is monotone: `a ≤ b` implies `fl(a + t) ≤ fl(b + t)`. So if `l ≤ fl(c) ≤ h` in f32, then
//! adding the same biases in the same order with the same roundings to l and h gives f32 numbers that enclose
//! S, however large a bias is and however much of the chain it absorbs. [`Interval`] does exactly this.
//!
//! # The threshold
//! Let τ be a user's running floor: the k-th largest lower end so far, so that k admitted items score at least
//! τ. An item may be dropped if S < τ. (At S = τ it must be kept: ties go to the lower item.) With `B` the
//! block's largest bias and `T` the largest bias of the user's task in it, monotonicity again bounds S by the
//! value for `b = B`, `t = T`, and `fl(fl(c + B) + T) ≤ c + B + T + ε(|c + B| + |fl(c + B) + T|)`. For
//! `c + B + T = τ − δ` the right side is below τ as soon as `δ ≥ 4ε(|τ| + |T|)`, and S is monotone in c, so
//! every item with `fl(c) < τ − B − T − δ` is dropped rightly, hence every item with
//!
//! `I < (τ − B − T − δ − E) / (s_u s_b)`.
//!
//! [`thresholds`] evaluates this in f32 and takes off `10⁻⁶(|τ| + |B| + |T| + E)`, which exceeds δ (2.4·10⁻⁷) and
//! the at most eight roundings of the evaluation (5·10⁻⁷), then `10⁻⁶` of the quotient for the scales' rounded
//! inverses, and rounds down. It is compared as an integer, so that the inner test is one maximum and one
//! compare.
//!
//! # Rounding of the quantities themselves
//! A, R, e, X are computed in f64 and rounded up by a factor `1 + 10⁻⁶` and to the next f32, which is what counts
//! for subnormal ones (e of integers in f32 in units of the scale, with a term for each of its roundings: see
//! `plane`). A difference of f64s is rounded relative to itself, and squares of f32 values neither under- nor
//! overflow in f64. Scales are kept within
//! `2⁻⁶⁰ ≤ s`, where values below it become 0 and their whole norm residual, so that no product of scales is
//! subnormal; blocks and queries with magnitudes above [`LARGEST`] aren't quantised at all.

use crate::isa::vectorised;

/// Most dimensions of a certified scan.
pub const MAX_WIDTH: usize = 1 << 15;
/// Largest magnitude of a value that is quantised.
pub const LARGEST: f32 = 1e15;
/// Smallest scale.
pub const LEAST_SCALE: f32 = 1.0 / (1_u64 << 60) as f32;

/// Factor that rounds an f64 norm up.
const UP: f64 = 1.0 + 1e-6;
/// Taken off, or added, relative to everything that was rounded on the way.
const SLACK: f32 = 1e-6;
/// Above d 2⁻¹²⁴ for every width.
const TINY: f32 = 1e-31;
/// Beyond every integer sum, and far from the ends of i32.
const UNREACHABLE: f32 = (1 << 30) as f32;

/// A norm rounded up to f32. The conversion rounds a subnormal by much more than [`UP`] covers.
pub fn rounded_up(norm: f64) -> f32 {
    if norm == 0.0 { 0.0 } else { ((norm * UP) as f32).next_up() }
}

/// γ_d.
pub fn chain_error(width: usize) -> f64 {
    let d = width as f64 * f64::from(f32::EPSILON) / 2.0;
    d / (1.0 - d)
}

/// What the bound needs to know of a block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BlockBound {
    /// s_b; 1 for floats.
    pub scale: f32,
    /// 1 / s_b, rounded.
    pub inverse: f32,
    /// e.
    pub error: f32,
    /// X.
    pub norm: f32,
    /// B.
    pub bias: f32,
}

/// What the bound needs to know of a query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QueryBound {
    /// s_u; 1 for floats.
    pub scale: f32,
    /// 1 / s_u, rounded.
    pub inverse: f32,
    /// A.
    pub quantised: f32,
    /// R + γ‖u‖.
    pub residual: f32,
    /// ‖u‖ (1 + γ).
    pub norm: f32,
}

impl QueryBound {
    /// E, rounded.
    fn error(&self, block: &BlockBound) -> f32 {
        self.quantised * block.error + self.residual * block.norm + TINY
    }

    /// Bounds of the chain of an item whose sum, times both scales, is about `centre`.
    pub fn interval(&self, block: &BlockBound, centre: f32) -> Interval {
        let error = self.error(block) * (1.0 + SLACK) + centre.abs() * SLACK;
        Interval { lower: centre - error, upper: centre + error }
    }

    /// An upper bound of every score in blocks whose norms are at most `norm` and whose biases are at most
    /// `bias` and, for the task, `task`. Those may cancel, but not what the score was rounded by beside either.
    pub fn most(&self, norm: f32, bias: f32, task: f32) -> f32 {
        let product = self.norm * norm;
        product + bias + task + 2e-5 * (product + bias.abs() + task.abs()) + TINY
    }
}

/// The [`QueryBound`]s and floors of many users, by quantity.
#[derive(Debug, Default)]
pub struct Terms {
    /// τ.
    pub floors: Vec<f32>,
    /// T.
    pub tasks: Vec<f32>,
    quantised: Vec<f32>,
    residuals: Vec<f32>,
    inverses: Vec<f32>,
}

impl Terms {
    /// Add a user.
    pub fn push(&mut self, query: &QueryBound, floor: f32) {
        self.floors.push(floor);
        self.tasks.push(0.0);
        self.quantised.push(query.quantised);
        self.residuals.push(query.residual);
        self.inverses.push(query.inverse);
    }
}

vectorised! {
    /// The threshold of every user in a block: sums below it belong to items below the user's floor. Integers,
    /// or the bits of f32 values.
    pub fn thresholds(out: &mut [i32], users: &Terms, block: &BlockBound, floats: bool) {
        let count = out.len();
        let (floors, tasks) = (&users.floors[..count], &users.tasks[..count]);
        let (quantised, residuals) = (&users.quantised[..count], &users.residuals[..count]);
        let inverses = &users.inverses[..count];
        let least = |user: usize| {
            let error = quantised[user] * block.error + residuals[user] * block.norm + TINY;
            let rounded = floors[user].abs() + block.bias.abs() + tasks[user].abs() + error;
            floors[user] - block.bias - tasks[user] - error - SLACK * rounded
        };
        if floats {
            for (user, threshold) in out.iter_mut().enumerate() {
                *threshold = least(user).max(f32::MIN).to_bits() as i32;
            }
        } else {
            for (user, threshold) in out.iter_mut().enumerate() {
                let quotient = least(user) * inverses[user] * block.inverse;
                let quotient = quotient.clamp(-UNREACHABLE, UNREACHABLE);
                *threshold = (quotient - SLACK * quotient.abs() - 1.0) as i32;
            }
        }
    }
}

/// An enclosure of an f32 score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Not above the score.
    pub lower: f32,
    /// Not below the score.
    pub upper: f32,
}

impl Interval {
    /// Of the score with one more bias, added as the score adds it.
    pub fn plus(self, bias: f32) -> Self {
        Self { lower: self.lower + bias, upper: self.upper + bias }
    }
}

#[cfg(test)]
mod tests;
