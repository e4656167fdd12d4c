//! The solver that implicit ALS and the ridge head share.

use rayon::prelude::*;

use super::conjugate::improve_row;
use super::eigen::symmetric_eigen;
use super::gram::gram;
use super::lanes::{multiply_rows, padded};
use super::row::{Row, Scratch, solve_row};
use crate::isa::Isa;
use crate::{Error, Ragged, Result, finite, pool};

/// Users solved by one task of the pool; small, because their lengths differ a lot.
const BLOCK: usize = 16;
const OPERATION: &str = "FactorSolver";

/// Weighted least squares with implicit negatives against a fixed table Φ, f32[n, m].
///
/// For user u with events S, weights ω ≥ 0, targets y and prior mean μ it minimises
/// `Σ_{j∈S} ω_j (y_j − w·φ_j)² + α₀ Σ_i (w·φ_i)² + t_u Σ_q Λ_q (w_q − μ_q)²` with
/// `t_u = (Σω + α₀ n)^ν`: Hu, Koren & Volinsky (2008) with the frequency-scaled regularisation of Rendle et al.
/// (2021) for Λ = λ, and the ridge head for a free Λ and ν = 0.
///
/// `α₀ Λ^{-1/2} ΦᵀΦ Λ^{-1/2} = V D Vᵀ` is decomposed once. In the coordinates V every user's shared part
/// `D + t_u I` is diagonal, so one user costs a gather, a product of the few rows and one Cholesky
/// factorisation of side min(k, m), whatever t_u is.
pub struct FactorSolver {
    items: usize,
    width: usize,
    unobserved_weight: f32,
    exponent: f32,
    /// f32[n, padded], Φ Λ^{-1/2} V.
    table: Vec<f32>,
    /// D, f32[m].
    eigenvalues: Vec<f64>,
    /// f32[padded, padded], Vᵀ Λ^{-1/2}: from the solver's coordinates back.
    back: Vec<f32>,
    /// f32[m, padded], Λ^{1/2} V: a prior mean into the solver's coordinates.
    mean_map: Vec<f32>,
}

/// The events of a batch of users.
#[derive(Clone, Copy)]
pub struct Events<'a> {
    /// Item rows.
    pub rows: Ragged<'a>,
    /// ω ≥ 0, one an event.
    pub weights: &'a [f32],
    /// y, one an event; 1 where absent.
    pub targets: Option<&'a [f32]>,
}

impl<'a> Events<'a> {
    /// Check lengths, finiteness and signs.
    pub fn new(
        operation: &'static str,
        rows: Ragged<'a>,
        weights: &'a [f32],
        targets: Option<&'a [f32]>,
    ) -> Result<Self> {
        for (argument, values) in [("weights", Some(weights)), ("targets", targets)] {
            let Some(values) = values else { continue };
            if values.len() != rows.items().len() {
                let (got, expected) =
                    (format!("{} values", values.len()), format!("{}, one an event", rows.items().len()));
                return Err(Error::Shape { operation, argument, got, expected });
            }
            finite::check(operation, argument, values, 1)?;
        }
        if let Some(position) = weights.iter().position(|&weight| weight < 0.0) {
            let got = format!("{} at position {position}", weights[position]);
            return Err(Error::Value {
                operation,
                argument: "weights",
                got,
                expected: "weights of at least 0".into(),
            });
        }
        Ok(Self { rows, weights, targets })
    }
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
        let mut forward = vec![0.0; width * wide];
        let mut mean_map = vec![0.0; width * wide];
        let mut back = vec![0.0; wide * wide];
        for i in 0..width {
            for q in 0..width {
                let entry = vectors[i * width + q];
                forward[i * wide + q] = (entry / root[i]) as f32;
                mean_map[i * wide + q] = (entry * root[i]) as f32;
                back[q * wide + i] = (entry / root[i]) as f32;
            }
        }
        let items = factors.len() / width;
        let mut table = vec![0.0; items * wide];
        let block = 256;
        table
            .par_chunks_mut(block * wide)
            .zip(factors.par_chunks(block * width))
            .for_each(|(out, rows)| multiply_rows(out, rows, width, &forward, wide));
        let eigenvalues = eigenvalues.into_iter().map(|value| value.max(0.0)).collect();
        Self { items, width, unobserved_weight, exponent, table, eigenvalues, back, mean_map }
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
        pool::run(|| {
            out.par_chunks_mut(BLOCK * width).enumerate().try_for_each_init(
                Workspace::default,
                |space, (block, out)| {
                    let first = block * BLOCK;
                    let given = given.map(|given| &given[first * width..first * width + out.len()]);
                    self.run_block(events, first, given, work, out, space)
                },
            )
        })?
    }

    fn run_block(
        &self,
        events: Events<'_>,
        first: usize,
        given: Option<&[f32]>,
        work: Work,
        out: &mut [f32],
        space: &mut Workspace,
    ) -> Result<()> {
        let (count, wide) = (out.len() / self.width, padded(self.width));
        space.solutions.clear();
        space.solutions.resize(count * wide, 0.0);
        if let Some(given) = given {
            multiply_rows(&mut space.solutions, given, self.width, &self.mean_map, wide);
        }
        space.inverse_root.resize(wide, 1.0);
        for (index, u) in space.solutions.chunks_exact_mut(wide).enumerate() {
            let range = events.rows.range(first + index);
            let weights = &events.weights[range.clone()];
            let scale = self.regularisation_scale(weights);
            for (q, &eigenvalue) in self.eigenvalues.iter().enumerate() {
                let inverse_root = (1.0 / (eigenvalue + scale).sqrt()) as f32;
                space.inverse_root[q] = inverse_root;
                u[q] *= match work {
                    Work::Solve => scale as f32 * inverse_root,
                    Work::Improve(_) => 1.0 / inverse_root,
                };
            }
            let row = Row {
                items: events.rows.row(first + index),
                weights,
                targets: events.targets.map(|targets| &targets[range]),
                inverse_root: &space.inverse_root,
            };
            let iterate = match work {
                Work::Improve(steps) if row.items.len() > 4 * (steps + 1) => Some(steps),
                Work::Improve(_) => {
                    u.fill(0.0);
                    None
                }
                Work::Solve => None,
            };
            if let Some(steps) = iterate {
                improve_row(&row, &self.table, steps, &mut space.scratch, u);
            } else if !row.items.is_empty()
                && !solve_row(&row, &self.table, self.width, &mut space.scratch, u)
            {
                return Err(Error::NotPositiveDefinite {
                    operation: OPERATION,
                    argument: "precision",
                    row: first + index,
                });
            }
            for (value, scale) in u.iter_mut().zip(&space.inverse_root) {
                *value *= scale;
            }
        }
        space.turned_back.resize(BLOCK * wide, 0.0);
        let turned_back = &mut space.turned_back[..count * wide];
        multiply_rows(turned_back, &space.solutions, wide, &self.back, wide);
        for (out, row) in out.chunks_exact_mut(self.width).zip(turned_back.chunks_exact(wide)) {
            out.copy_from_slice(&row[..self.width]);
        }
        Ok(())
    }

    /// `t_u = (Σω + α₀ n)^ν`.
    fn regularisation_scale(&self, weights: &[f32]) -> f64 {
        if self.exponent == 0.0 {
            return 1.0;
        }
        let observed: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
        let mass = observed + f64::from(self.unobserved_weight) * self.items as f64;
        // Nobody observed and nothing unobserved counts: any positive scale gives 0.
        if mass == 0.0 { 1.0 } else { mass.powf(f64::from(self.exponent)) }
    }
}

/// What to do with a user's system.
#[derive(Clone, Copy)]
enum Work {
    /// Factorise; what is given is the prior mean.
    Solve,
    /// So many conjugate-gradient steps; what is given is where they start.
    Improve(usize),
}

#[derive(Default)]
struct Workspace {
    solutions: Vec<f32>,
    turned_back: Vec<f32>,
    inverse_root: Vec<f32>,
    scratch: Scratch,
}

fn check_number(argument: &'static str, value: f32) -> Result<()> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    let (got, expected) = (value.to_string(), "a finite number of at least 0".into());
    Err(Error::Value { operation: OPERATION, argument, got, expected })
}
