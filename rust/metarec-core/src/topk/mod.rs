//! Exact top-K by inner product: scoring and selection in one pass, with filters, biases and boosts.
//!
//! The score of query `q` and item `i` is the chain of fused multiply-adds over the dimensions, from 0 on, then
//! `+ bias[i]`, then `+ task_bias[task, i]`, then `+ boost`, each rounded to f32. Lists are by descending score
//! and then ascending item. Neither depends on instruction set, batch, filter path or thread count.

mod admitted;
mod kernel;
mod panels;
mod plan;
mod request;
mod scan;
mod select;
mod subset;
mod user;

use crate::isa::Isa;
use crate::{Error, Ragged, Result, finite, pool};
use admitted::Admitted;
use kernel::{CHAINS, Kernels};
use panels::{LANES, Lanes, Panels};
use plan::Plan;
pub use request::{Boosts, Request, TaskBias};
use scan::Scan;

/// Ragged result lists, best first.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Lists {
    /// Row `i` is at `offsets[i]..offsets[i + 1]`.
    pub offsets: Vec<i64>,
    /// Item indices.
    pub items: Vec<i64>,
    /// Their scores.
    pub scores: Vec<f32>,
}

/// An immutable, packed copy of an item matrix. Takes `4 * (d + 1)` bytes an item.
#[derive(Debug, Clone)]
pub struct ItemIndex {
    panels: Panels,
    bias: Vec<Lanes>,
    item_limit: f32,
    bias_limit: f32,
    isa: Isa,
}

impl ItemIndex {
    /// Pack f32[n_items, width] rows and their bias f32[n_items] (0 when absent), for this process's
    /// instruction set.
    pub fn new(matrix: &[f32], n_items: usize, width: usize, bias: Option<&[f32]>) -> Result<Self> {
        Self::with_isa(matrix, n_items, width, bias, Isa::current()?)
    }

    /// [`ItemIndex::new`] for a given instruction set.
    pub fn with_isa(
        matrix: &[f32],
        n_items: usize,
        width: usize,
        bias: Option<&[f32]>,
        isa: Isa,
    ) -> Result<Self> {
        let shape = |argument, got: usize, expected: String| {
            Err(Error::Shape { operation: "ItemIndex", argument, got: format!("{got} values"), expected })
        };
        if matrix.len() != n_items * width {
            return shape("matrix", matrix.len(), format!("{n_items} rows of {width} values"));
        }
        if n_items > i32::MAX as usize {
            return shape("matrix", n_items, format!("at most {} rows", i32::MAX));
        }
        if let Some(bias) = bias.filter(|bias| bias.len() != n_items) {
            return shape("bias", bias.len(), format!("{n_items} values, one a row of the matrix"));
        }
        let item_limit = finite::largest("ItemIndex", "matrix", matrix, width)?;
        let bias_limit = finite::largest("ItemIndex", "bias", bias.unwrap_or(&[]), 1)?;
        // Adding 0 turns -0 into +0, so that no score is ever -0 and equal scores are equal bits.
        let value = |item: usize| bias.map_or(0.0, |bias| bias[item] + 0.0);
        Ok(Self {
            panels: Panels::pack(n_items, width, |item| &matrix[item * width..][..width]),
            bias: panels::pack_values(n_items, f32::NEG_INFINITY, value),
            item_limit,
            bias_limit,
            isa,
        })
    }

    /// Items in the index.
    pub fn n_items(&self) -> usize {
        self.panels.n_items()
    }

    /// Dimensions of an item and of a query.
    pub fn width(&self) -> usize {
        self.panels.width()
    }

    /// The `k` best admitted items of each row. Lists are short where fewer are admitted.
    pub fn topk(&self, request: &Request<'_>) -> Result<Lists> {
        request.check(self.n_items(), self.width(), self.item_limit, self.bias_limit)?;
        let admits = |item: usize| {
            request.allow.is_none_or(|allow| allow[item]) && request.deny.is_none_or(|deny| !deny[item])
        };
        let filtered = request.allow.is_some() || request.deny.is_some();
        if !filtered {
            let runs = [(0, self.panels.count())];
            return Ok(lists(self.search(request, &self.bias, &runs)?));
        }
        if let Some(chosen) = subset::worthwhile(request, self.n_items(), admits) {
            return self.topk_of_subset(request, &chosen);
        }
        let Admitted { bias, runs } = Admitted::new(&self.bias, admits, self.n_items());
        Ok(lists(self.search(request, &bias, &runs)?))
    }

    /// The score of each given pair of a row and an item, without any boost or task bias; parallel to the
    /// items of `pairs`.
    pub fn scores_at(&self, queries: &[f32], pairs: Ragged<'_>) -> Result<Vec<f32>> {
        let (rows, width) = (pairs.len(), self.width());
        let query_limit = request::check_queries("scores_at", queries, rows, width)?;
        request::check_range("scores_at", width, query_limit, self.item_limit, self.bias_limit.into())?;
        if pairs.n_items() != self.n_items() {
            return Err(Error::Shape {
                operation: "scores_at",
                argument: "items",
                got: format!("{} items", pairs.n_items()),
                expected: format!("{} items", self.n_items()),
            });
        }
        let kernels = Kernels::of(self.isa);
        let mut scores = Vec::with_capacity(pairs.items().len());
        for row in 0..rows {
            let query = &queries[row * width..][..width];
            for items in pairs.row(row).chunks(CHAINS) {
                let chains = kernels.chains(&std::array::from_fn(|position| {
                    // A short chunk repeats its first item.
                    let item = *items.get(position).unwrap_or(&items[0]) as usize;
                    let (panel, lane) = self.panels.column(item);
                    (query, panel, lane)
                }));
                scores.extend(items.iter().zip(chains).map(|(&item, chain)| {
                    let item = item as usize;
                    chain + self.bias[item / LANES].0[item % LANES]
                }));
            }
        }
        Ok(scores)
    }

    /// The best keys of every row, over the given bias and runs of panels.
    fn search(
        &self,
        request: &Request<'_>,
        bias: &[Lanes],
        runs: &[(usize, usize)],
    ) -> Result<Vec<Vec<u64>>> {
        let kernels = Kernels::of(self.isa);
        let scan = Scan { panels: &self.panels, bias, runs, request, kernels };
        if Plan::is_small(request.rows, runs, self.width()) {
            // Waking other threads would take longer than the work.
            return Ok(scan.run(0, request.rows, 0, self.panels.count()));
        }
        let plan = Plan::new(request.rows, self.panels.count(), self.width(), pool::threads()?);
        pool::run(|| plan.run(&scan, request.k))
    }
}

fn lists(best: Vec<Vec<u64>>) -> Lists {
    let total = best.iter().map(Vec::len).sum();
    let mut lists = Lists {
        offsets: Vec::with_capacity(best.len() + 1),
        items: Vec::with_capacity(total),
        scores: Vec::with_capacity(total),
    };
    lists.offsets.push(0);
    for keys in best {
        for (score, item) in keys.into_iter().map(select::unkey) {
            lists.items.push(item.into());
            lists.scores.push(score);
        }
        lists.offsets.push(lists.items.len() as i64);
    }
    lists
}
