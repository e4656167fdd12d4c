//! An index together with the matrix that it was built over, ready to be asked.

use std::sync::atomic::Ordering;

use super::certified;
use super::exact::{self, Chosen, select};
use super::kernel::{CHAINS, Kernels};
use super::path::{Path, Precision};
use super::request::{self, Request};
use super::segment::Body;
use super::{ItemIndex, Lists};
use crate::{Error, Ragged, Result};

/// Longest list for which the certified scan pays; beyond, most scores are needed anyway.
const LONGEST: usize = 1000;
/// Gather where at most one item in this many is admitted.
const SPARSITY: usize = 16;
/// Mean boosts a row beyond one in so many items: each is scored by itself.
const BOOSTED: usize = 64;
/// Most rows for which half the bytes are worth the wider bounds, and the bytes from which they are.
const FEW_ROWS: usize = 2;
const BEYOND_CACHE: usize = 48 << 20;

/// An index and the caller's matrix.
#[derive(Clone, Copy)]
pub struct View<'a> {
    index: &'a ItemIndex,
    lent: &'a [f32],
}

/// One item where it is stored.
#[derive(Clone, Copy)]
pub struct Item<'a> {
    /// Its vector, f32[d].
    pub values: &'a [f32],
    body: &'a Body,
    row: u32,
}

impl Item<'_> {
    /// Its own bias.
    pub fn item_bias(&self) -> f32 {
        self.body.item_bias(self.row)
    }

    /// Its bias for a task.
    pub fn task_bias(&self, task: usize) -> f32 {
        self.body.task_bias(task, self.row)
    }
}

impl<'a> View<'a> {
    pub(super) fn new(index: &'a ItemIndex, lent: &'a [f32]) -> Self {
        Self { index, lent }
    }

    /// The index.
    pub fn index(&self) -> &'a ItemIndex {
        self.index
    }

    /// Dimensions.
    pub fn width(&self) -> usize {
        self.index.width()
    }

    /// The kernels of the index.
    pub(super) fn kernels(&self) -> Kernels {
        Kernels::of(self.index.isa)
    }

    /// Where an item is: the newest segment that has it.
    pub(super) fn item(&self, id: u32) -> Item<'a> {
        self.index
            .segments
            .iter()
            .rev()
            .find_map(|segment| segment.body.row_of(id).map(|row| self.item_at(&segment.body, row)))
            .expect("every item below n is in a segment")
    }

    /// All rows of a segment.
    pub(super) fn rows_of(&self, body: &'a Body) -> &'a [f32] {
        body.values(self.lent)
    }

    /// The item in a row of a segment.
    pub(super) fn item_at(&self, body: &'a Body, row: u32) -> Item<'a> {
        let values = &body.values(self.lent)[row as usize * body.width..][..body.width];
        Item { values, body, row }
    }

    /// The `k` best admitted items of each row. Lists are short where fewer are admitted.
    pub fn topk(&self, request: &Request<'_>) -> Result<Lists> {
        request.check(&self.index.limits())?;
        let n_items = self.index.n_items();
        let filtered = request.allow.is_some() || request.deny.is_some();
        let admitted = request.admitted(n_items);
        let path = self.path(request, admitted)?;
        if let Path::Certified(precision) = path {
            return certified::search(self, request, precision).map(lists);
        }
        let ids: Vec<u32>;
        let chosen = if filtered {
            ids = (0..n_items as u32).filter(|&item| request.admits(item as usize)).collect();
            Chosen::These(&ids)
        } else {
            Chosen::All(n_items)
        };
        exact::search(self, request, &chosen, 0, request.rows).map(lists)
    }

    /// What was asked for, or what is cheapest.
    fn path(&self, request: &Request<'_>, admitted: usize) -> Result<Path> {
        let asked = match request.path {
            Some(path) => Some(path),
            // The variable asks for what there is; an argument insists.
            None => Path::forced()?.filter(|path| self.has(*path)),
        };
        if let Some(path) = asked {
            return if self.has(path) { Ok(path) } else { Err(self.no_plane(path)) };
        }
        let n_items = self.index.n_items();
        let boosts = request.boosts.map_or(0, |boosts| boosts.items.items().len());
        if admitted < self.kernels().fewest()
            || admitted < n_items / SPARSITY
            || request.k > LONGEST
            || request.k > admitted / self.kernels().share()
            || boosts > request.rows * (n_items / BOOSTED)
        {
            return Ok(Path::Fp32);
        }
        let bytes = n_items * self.width();
        let has = |precision| self.has(Path::Certified(precision));
        Ok(match request.rows {
            ..=FEW_ROWS
                if has(Precision::Int4)
                    && bytes > BEYOND_CACHE
                    && !self.index.int4_gave_up.load(Ordering::Relaxed) =>
            {
                Path::Certified(Precision::Int4)
            }
            _ if has(Precision::Int8) => Path::Certified(Precision::Int8),
            _ if has(Precision::Bf16) => Path::Certified(Precision::Bf16),
            _ => Path::Fp32,
        })
    }

    fn has(&self, path: Path) -> bool {
        match path {
            Path::Fp32 => true,
            Path::Certified(precision) => self.index.planes().contains(&precision),
        }
    }

    fn no_plane(&self, path: Path) -> Error {
        Error::Value {
            operation: "topk",
            argument: "path",
            got: path.name().to_owned(),
            expected: "fp32, or a precision that the index was built with (planes=)".into(),
        }
    }

    /// The score of each given pair of a row and an item, without any boost or task bias; parallel to the
    /// items of `pairs`.
    pub fn scores_at(&self, queries: &[f32], pairs: Ragged<'_>) -> Result<Vec<f32>> {
        let (rows, width) = (pairs.len(), self.width());
        let query_limit = request::check_queries("scores_at", queries, rows, width)?;
        let limits = self.index.limits();
        request::check_range("scores_at", width, query_limit, limits.item, limits.bias.into())?;
        if pairs.n_items() != self.index.n_items() {
            return Err(Error::Shape {
                operation: "scores_at",
                argument: "items",
                got: format!("{} items", pairs.n_items()),
                expected: format!("{} items", self.index.n_items()),
            });
        }
        let mut scores = Vec::with_capacity(pairs.items().len());
        for row in 0..rows {
            let query = &queries[row * width..][..width];
            for ids in pairs.row(row).chunks(CHAINS) {
                // A short chunk repeats its first item.
                let items: [_; CHAINS] =
                    std::array::from_fn(|place| self.item(*ids.get(place).unwrap_or(&ids[0]) as u32));
                let chains = self.kernels().chains(query, &items.map(|item| item.values));
                scores.extend(
                    chains.iter().zip(&items).take(ids.len()).map(|(chain, item)| chain + item.item_bias()),
                );
            }
        }
        Ok(scores)
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
