//! One task of the pool: some users, from their events to their vectors.

use std::ops::Range;

use super::aligned::Aligned;
use super::conjugate::improve_row;
use super::events::Events;
use super::factor_solver::FactorSolver;
use super::lanes::{LANES, multiply_rows, padded, vectorised};
use super::row::{Row, Scratch, most_dual_events, solve_row};
use super::side_by_side::{Group, Space, solve_side_by_side, worthwhile};

/// What to do with a user's system.
#[derive(Clone, Copy)]
pub(super) enum Work {
    /// Factorise; what is given is the prior mean.
    Solve,
    /// So many conjugate-gradient steps; what is given is where they start.
    Improve(usize),
}

/// How a user is solved: a matter of the number of events alone, so that it doesn't depend on the batch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Iterate(usize),
    Primal,
    Dual,
}

impl Work {
    /// Steps of conjugate gradients pay beyond about 4 events a step, or 7 where the dual goes so far.
    fn way(self, events: usize, size: usize) -> Way {
        let dual = most_dual_events(size);
        match self {
            Work::Improve(steps) if events > (7 * (steps + 1)).min(dual).max(4 * (steps + 1)) => {
                Way::Iterate(steps)
            }
            _ if events > dual => Way::Primal,
            _ => Way::Dual,
        }
    }
}

/// A batch to work on.
#[derive(Clone, Copy)]
pub(super) struct Batch<'a> {
    pub solver: &'a FactorSolver,
    pub events: Events<'a>,
    /// f32[b, m].
    pub given: Option<&'a [f32]>,
    pub work: Work,
}

/// Working memory of one thread.
#[derive(Default)]
pub(super) struct Workspace {
    order: Vec<usize>,
    given: Vec<f32>,
    /// f32[16, padded]: the users of a group in the solver's coordinates, their vectors, and 1/√δ of each.
    solutions: Aligned,
    vectors: Aligned,
    inverse_roots: Aligned,
    scratch: Scratch,
    space: Space,
}

impl Workspace {
    /// Solve the users of `block` and write their vectors to `out`, f32[block, m]. Returns the first row that
    /// isn't positive definite.
    pub(super) fn solve_block(
        &mut self,
        batch: Batch<'_>,
        block: Range<usize>,
        out: &mut [f32],
    ) -> Option<usize> {
        let (size, mut failed) = (batch.solver.width(), None);
        let length = |row: usize| batch.events.rows.range(row).len();
        let mut order = std::mem::take(&mut self.order);
        order.clear();
        order.extend(block.clone());
        order.sort_unstable_by_key(|&row| (std::cmp::Reverse(length(row)), row));
        let mut rest = &order[..];
        while let Some(&longest) = rest.first() {
            let way = batch.work.way(length(longest), size);
            let count =
                rest.iter().take(LANES).take_while(|&&row| batch.work.way(length(row), size) == way).count();
            let (users, later) = rest.split_at(count);
            rest = later;
            failed = failed.into_iter().chain(self.solve_group(batch, users, way)).min();
            let vectors = self.vectors.as_flattened().chunks_exact(padded(size));
            for (row, vector) in users.iter().zip(vectors) {
                let start = (row - block.start) * size;
                out[start..start + size].copy_from_slice(&vector[..size]);
            }
        }
        self.order = order;
        failed
    }

    /// Leave the vectors of up to 16 users, the longest first, in `vectors`.
    fn solve_group(&mut self, batch: Batch<'_>, users: &[usize], way: Way) -> Option<usize> {
        let Batch { solver, events, .. } = batch;
        let (size, wide) = (solver.width(), padded(solver.width()));
        for memory in [&mut self.solutions, &mut self.vectors, &mut self.inverse_roots] {
            memory.reserve(wide);
        }
        let scales: Vec<f64> = users
            .iter()
            .map(|&row| solver.regularisation_scale(&events.weights[events.rows.range(row)]))
            .collect();
        self.take_inverse_roots(solver, &scales);
        let given = self.take_given(batch, users, &scales, way);
        let used = users.len() * wide;
        let solutions = &mut self.solutions.as_flattened_mut()[..used];
        let vectors = &mut self.vectors.as_flattened_mut()[..used];
        let inverse_roots =
            solver.common_root.is_none().then_some(&self.inverse_roots.as_flattened()[..used]);
        let rows: Vec<Row<'_>> = users
            .iter()
            .enumerate()
            .map(|(index, &row)| {
                let range = events.rows.range(row);
                Row {
                    items: events.rows.row(row),
                    weights: &events.weights[range.clone()],
                    targets: events.targets.map(|targets| &targets[range]),
                    inverse_root: inverse_roots.map(|roots| &roots[index * wide..(index + 1) * wide]),
                }
            })
            .collect();
        let table = solver.table.as_flattened();
        // The first so many alone, the others side by side.
        let alone = match way {
            Way::Dual => (0..rows.len()).find(|&first| worthwhile(&rows[first..])).unwrap_or(rows.len()),
            Way::Primal | Way::Iterate(_) => rows.len(),
        };
        let mut failed = [false; LANES];
        for (index, u) in solutions.chunks_exact_mut(wide).enumerate().take(alone) {
            match way {
                Way::Iterate(steps) => improve_row(&rows[index], table, steps, &mut self.scratch, u),
                _ => failed[index] = !solve_row(&rows[index], table, size, &mut self.scratch, u),
            }
        }
        if alone < rows.len() {
            let group = Group {
                users: &rows[alone..],
                inverse_roots: inverse_roots.map(|roots| &roots[alone * wide..]),
                with_mean: given,
            };
            let found = solve_side_by_side(&group, table, &mut self.space, &mut solutions[alone * wide..]);
            failed[alone..].copy_from_slice(&found[..LANES - alone]);
        }
        for (row, u) in rows.iter().zip(solutions.chunks_exact_mut(wide)) {
            row.scale(u);
        }
        multiply_rows(vectors, solutions, wide, solver.back.as_flattened(), wide);
        for (vector, _) in vectors.chunks_exact_mut(wide).zip(failed).filter(|(_, failed)| *failed) {
            vector.fill(f32::NAN);
        }
        users.iter().zip(failed).filter_map(|(&row, failed)| failed.then_some(row)).min()
    }

    /// 1/√δ of each user, where they differ; neighbours in length often have the same.
    fn take_inverse_roots(&mut self, solver: &FactorSolver, scales: &[f64]) {
        if solver.common_root.is_some() {
            return;
        }
        let wide = padded(solver.width());
        let inverse_roots = self.inverse_roots.as_flattened_mut();
        for (index, &scale) in scales.iter().enumerate() {
            if index > 0 && scale == scales[index - 1] {
                inverse_roots.copy_within((index - 1) * wide..index * wide, index * wide);
            } else {
                let own = &mut inverse_roots[index * wide..(index + 1) * wide];
                write_inverse_roots(own, &solver.eigenvalues, scale);
            }
        }
    }

    /// Bring what is given for the users into the solver's coordinates, 0 where nothing is; returns whether
    /// something is. A start means nothing to users that are solved exactly.
    fn take_given(&mut self, batch: Batch<'_>, users: &[usize], scales: &[f64], way: Way) -> bool {
        let Batch { solver, given, work, .. } = batch;
        let (size, wide) = (solver.width(), padded(solver.width()));
        let solutions = &mut self.solutions.as_flattened_mut()[..users.len() * wide];
        let iterate = matches!(way, Way::Iterate(_));
        let Some(given) = given.filter(|_| iterate || matches!(work, Work::Solve)) else {
            solutions.fill(0.0);
            return false;
        };
        self.given.clear();
        for row in users {
            self.given.extend_from_slice(&given[row * size..(row + 1) * size]);
        }
        multiply_rows(solutions, &self.given, size, &solver.mean_map, wide);
        let own = self.inverse_roots.as_flattened().chunks_exact(wide);
        for ((u, own), &scale) in solutions.chunks_exact_mut(wide).zip(own).zip(scales) {
            for (u, root) in u.iter_mut().zip(solver.common_root.as_deref().unwrap_or(own)) {
                *u *= if iterate { 1.0 / root } else { scale as f32 * root };
            }
        }
        true
    }
}

vectorised! {
    /// 1/√(D + t), 1 in the padding.
    fn write_inverse_roots(out: &mut [f32], eigenvalues: &[f64], scale: f64) {
        for (out, eigenvalue) in out.iter_mut().zip(eigenvalues) {
            *out = (1.0 / (eigenvalue + scale).sqrt()) as f32;
        }
        out[eigenvalues.len()..].fill(1.0);
    }
}
