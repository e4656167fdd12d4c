//! The solver that implicit ALS and the ridge head share.

use rayon::prelude::*;

use super::aligned::Aligned;
use super::eigen::symmetric_eigen;
use super::events::Events;
use super::gram::gram;
use super::lanes::{LANES, multiply_rows, padded};
use super::schedule::blocks;
use super::user_block::{Batch, Work, Workspace};
use crate::isa::Isa;
use crate::{Error, Result, finite, pool};

const OPERATION: &str = "FactorSolver";

/// Weighted least squares with implicit negatives against a fixed table Φ, f32[n, m].
///
/// For user u with events S, weights ω ≥ 0, targets y and prior mean μ it minimises
/// `Σ_{j∈S} ω_j (y_j − w·φ_j)² + α₀ Σ_i (w·φ_i)² + t_u Σ_q Λ_q (w_q − μ_q)²` with
/// `t_u = (Σω + α₀ n)^ν`: Hu, Koren & Volinsky (2008) with the frequency-scaled regularisation of Rendle et al.
/// (2021) for Λ = λ, and the ridge head for a free Λ and ν = 0.
///
/// `α₀ Λ^{-1/2} ΦᵀΦ Λ^{-1/2} = V D Vᵀ` is decomposed once. In the coordinates V every user's shared part
/// `δ = D + t_u I` is diagonal, so one user costs a gather, a product of the few rows and one Cholesky
/// factorisation of side min(k, m), whatever t_u is. Short histories of one length are factorised sixteen at
/// a time; a user's result is the same to the bit whoever else is in the batch.
pub struct FactorSolver {
    items: usize,
    width: usize,
    unobserved_weight: f32,
    exponent: f32,
    /// f32[n + 1, padded], Φ Λ^{-1/2} V, and δ^{-1/2} where everybody has the same; the last row is 0.
    pub(super) table: Aligned,
    /// D, f64[m].
    pub(super) eigenvalues: Vec<f64>,
    /// δ^{-1/2}, f32[padded], where ν = 0 makes it the same for everybody; `table` and `back` hold it then.
    pub(super) common_root: Option<Vec<f32>>,
    /// f32[padded, padded], Vᵀ Λ^{-1/2}: from the solver's coordinates back.
    pub(super) back: Aligned,
    /// f32[m, padded], Λ^{1/2} V: a prior mean into the solver's coordinates.
    pub(super) mean_map: Vec<f32>,
}

impl FactorSolver {
    /// Prepare for `factors` (f32[n, m], row-major) with `precision` Λ (f32[m], > 0).
    pub fn new(factors: &[f32], precision: &[f32], unobserved_weight: f32, exponent: f32) -> Result<Self> {
        // A wrong METAREC_ISA is refused here; the kernels take the portable path for it.
        Isa::current()?;
        let width = precision.len();
        check_number("unobserved_weight", unobserved_weight)?;
        check_number("exponent", exponent)?;
        finite::check(OPERATION, "precision", precision, 1)?;
        if width == 0 || precision.iter().any(|&value| value <= 0.0) {
            let got = precision.iter().copied().fold(f32::INFINITY, f32::min);
            let (got, expected) = (format!("{got} at its least"), "m ≥ 1 numbers above 0".into());
            return Err(Error::Value { operation: OPERATION, argument: "precision", got, expected });
        }
        finite::check(OPERATION, "factors", factors, width)?;
        if !factors.len().is_multiple_of(width) {
            let (got, expected) = (format!("{} values", factors.len()), format!("rows of {width}"));
            return Err(Error::Shape { operation: OPERATION, argument: "factors", got, expected });
        }
        pool::run(|| Self::prepare(factors, precision, unobserved_weight, exponent))
    }

    fn prepare(factors: &[f32], precision: &[f32], unobserved_weight: f32, exponent: f32) -> Self {
        let (width, wide) = (precision.len(), padded(precision.len()));
        let root: Vec<f64> = precision.iter().map(|&value| f64::from(value).sqrt()).collect();
        let mut shared = gram(factors, width);
        for i in 0..width {
            for j in 0..width {
                shared[i * width + j] *= f64::from(unobserved_weight) / (root[i] * root[j]);
            }
        }
        let (eigenvalues, vectors) = symmetric_eigen(&shared, width);
        let eigenvalues: Vec<f64> = eigenvalues.into_iter().map(|value| value.max(0.0)).collect();
        let inverse_root: Vec<f64> = eigenvalues.iter().map(|value| 1.0 / (value + 1.0).sqrt()).collect();
        let common = exponent == 0.0;
        let mut forward = vec![0.0; width * wide];
        let mut mean_map = vec![0.0; width * wide];
        let mut back = Aligned::zeros(wide * wide / LANES);
        let entries = back.as_flattened_mut();
        for i in 0..width {
            for q in 0..width {
                let entry = vectors[i * width + q];
                let inverse = entry / root[i] * if common { inverse_root[q] } else { 1.0 };
                forward[i * wide + q] = inverse as f32;
                entries[q * wide + i] = inverse as f32;
                mean_map[i * wide + q] = (entry * root[i]) as f32;
            }
        }
        let items = factors.len() / width;
        let mut table = Aligned::zeros((items + 1) * wide / LANES);
        let block = 256;
        table.as_flattened_mut()[..items * wide]
            .par_chunks_mut(block * wide)
            .zip(factors.par_chunks(block * width))
            .for_each(|(out, rows)| multiply_rows(out, rows, width, &forward, wide));
        let common_root = common.then(|| {
            let mut common_root: Vec<f32> = inverse_root.iter().map(|&value| value as f32).collect();
            common_root.resize(wide, 1.0);
            common_root
        });
        Self { items, width, unobserved_weight, exponent, table, eigenvalues, common_root, back, mean_map }
    }

    /// n.
    pub fn n_items(&self) -> usize {
        self.items
    }

    /// m.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Write each user's vector to `out`, f32[b, m]. `prior_mean` is μ, f32[b, m], 0 where absent.
    ///
    /// A user without events gets a prior mean that the implicit negatives have shrunk: exactly 0 for μ = 0.
    /// Where rounding destroys somebody's positive definiteness the first such row is named; all such rows are
    /// NaN then and the others right nevertheless.
    pub fn solve(&self, events: Events<'_>, prior_mean: Option<&[f32]>, out: &mut [f32]) -> Result<()> {
        self.run("prior_mean", events, prior_mean, Work::Solve, out)
    }

    /// Write each user's vector, improved from `start` (f32[b, m]) by `steps` conjugate-gradient steps, to `out`;
    /// μ is 0. Users with few events are solved exactly, which costs no more.
    pub fn improve(&self, events: Events<'_>, start: &[f32], steps: usize, out: &mut [f32]) -> Result<()> {
        self.run("start", events, Some(start), Work::Improve(steps), out)
    }

    fn run(
        &self,
        argument: &'static str,
        events: Events<'_>,
        given: Option<&[f32]>,
        work: Work,
        out: &mut [f32],
    ) -> Result<()> {
        let (users, width) = (events.rows.len(), self.width);
        for (argument, length) in [(argument, given.map(<[f32]>::len)), ("out", Some(out.len()))] {
            if let Some(length) = length.filter(|&length| length != users * width) {
                let (got, expected) = (format!("{length} values"), format!("{users} rows of {width}"));
                return Err(Error::Shape { operation: OPERATION, argument, got, expected });
            }
        }
        if let Some(given) = given {
            finite::check(OPERATION, argument, given, width)?;
        }
        let batch = Batch { solver: self, events, given, work };
        let threads = pool::threads()?;
        let (mut rest, mut parts) = (out, Vec::new());
        for block in blocks(events.rows, threads) {
            let (part, later) = rest.split_at_mut(block.len() * width);
            rest = later;
            parts.push((block, part));
        }
        let solve = |space: &mut Workspace, (block, part)| space.solve_block(batch, block, part);
        let failed = if threads == 1 || parts.len() == 1 {
            // Before another thread has woken up a few users are done.
            let mut space = Workspace::default();
            parts.into_iter().filter_map(|part| solve(&mut space, part)).min()
        } else {
            pool::run(|| parts.into_par_iter().map_init(Workspace::default, solve).flatten().min())?
        };
        match failed {
            None => Ok(()),
            Some(row) => Err(Error::NotPositiveDefinite { operation: OPERATION, argument: "precision", row }),
        }
    }

    /// `t_u = (Σω + α₀ n)^ν`.
    pub(super) fn regularisation_scale(&self, weights: &[f32]) -> f64 {
        if self.exponent == 0.0 {
            return 1.0;
        }
        let observed: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
        let mass = observed + f64::from(self.unobserved_weight) * self.items as f64;
        // Nobody observed and nothing unobserved counts: any positive scale gives 0.
        if mass == 0.0 { 1.0 } else { mass.powf(f64::from(self.exponent)) }
    }
}

fn check_number(argument: &'static str, value: f32) -> Result<()> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    let (got, expected) = (value.to_string(), "a finite number of at least 0".into());
    Err(Error::Value { operation: OPERATION, argument, got, expected })
}
