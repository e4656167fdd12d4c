//! A run of items that was added at once: their rows, in a scanning order, with quantised copies beside them.

use std::sync::Arc;

use super::bound::{BlockBound, LARGEST, MAX_WIDTH};
use super::kernel::{BLOCK, Line};
use super::order::Measures;
use super::path::Precision;
use super::plane::Plane;
use super::store::Store;

/// Where a segment's rows are.
#[derive(Debug)]
pub enum Rows {
    /// In the caller's matrix, which every call borrows again.
    Lent,
    /// In the index.
    Kept(Store<f32>),
}

/// Which items the rows of a segment are.
#[derive(Debug, Clone)]
pub enum Ids {
    /// Consecutive ones from here on.
    From(u32),
    /// These, ascending.
    Listed(Vec<u32>),
}

/// Biases of the rows of a segment, in row order.
#[derive(Debug, Clone, Copy, Default)]
pub struct Biases<'a> {
    /// f32[n].
    pub item: Option<&'a [f32]>,
    /// f32[C, n] and C.
    pub task: Option<(&'a [f32], usize)>,
}

/// What never changes of a segment.
#[derive(Debug)]
pub struct Body {
    /// The rows.
    pub rows: Rows,
    /// Number of rows.
    pub n: usize,
    /// Values of a row.
    pub width: usize,
    /// Which items they are.
    pub ids: Ids,
    /// The row at each place of the scanning order.
    pub order: Store<u32>,
    /// X of each block.
    pub norms: Store<f32>,
    /// The planes there are.
    pub planes: Vec<Plane>,
    /// f32[n] by row.
    pub item_bias: Option<Store<f32>>,
    /// f32[C, n] by row.
    pub task_bias: Option<Store<f32>>,
    /// B of each block.
    pub item_bias_tops: Vec<f32>,
    /// T of each task and block, f32[C, blocks].
    pub task_bias_tops: Vec<f32>,
    /// From each block on, the most of X and of B.
    pub rest: Vec<(f32, f32)>,
}

/// A segment of an index: a body, and which of its rows are still in use.
#[derive(Debug, Clone)]
pub struct Segment {
    /// Shared with other versions of the index.
    pub body: Arc<Body>,
    /// Rows in use, a word a block in scanning order; all where absent.
    pub alive: Option<Arc<Vec<u64>>>,
}

impl Body {
    /// Arrange and quantise rows that were measured.
    pub fn build(
        rows: (Rows, &[f32]),
        width: usize,
        ids: Ids,
        biases: Biases<'_>,
        measures: &Measures,
        planes: &[Precision],
        levels: i32,
    ) -> Self {
        let (rows, values) = rows;
        let n = measures.norms.len();
        let order = measures.order();
        let row = |row: u32| &values[row as usize * width..][..width];
        let planes = planes
            .iter()
            .map(|&precision| Plane::build(precision, levels, width, &order, &measures.peaks, row))
            .collect();
        let norms: Vec<f32> = order
            .chunks(BLOCK)
            .map(|rows| rows.iter().fold(0.0_f32, |most, &row| most.max(measures.norms[row as usize])))
            .collect();
        let own = |values: &[f32]| Store::Owned(values.iter().map(|value| value + 0.0).collect());
        Self::assemble(
            rows,
            n,
            width,
            ids,
            order.into(),
            norms.into(),
            planes,
            biases.item.map(own),
            biases.task.map(|(bias, _)| own(bias)),
        )
    }

    /// A body from its stored parts.
    #[expect(clippy::too_many_arguments, reason = "each is a part of the file")]
    pub fn assemble(
        rows: Rows,
        n: usize,
        width: usize,
        ids: Ids,
        order: Store<u32>,
        norms: Store<f32>,
        planes: Vec<Plane>,
        item_bias: Option<Store<f32>>,
        task_bias: Option<Store<f32>>,
    ) -> Self {
        let tops = |bias: &[f32]| {
            order
                .chunks(BLOCK)
                .map(|rows| rows.iter().fold(f32::NEG_INFINITY, |top, &row| top.max(bias[row as usize])))
                .collect::<Vec<f32>>()
        };
        let item_bias_tops = item_bias.as_ref().map_or_else(|| vec![0.0; norms.len()], |bias| tops(bias));
        let task_bias_tops =
            task_bias.as_ref().map_or_else(Vec::new, |bias| bias.chunks(n.max(1)).flat_map(tops).collect());
        let rest = Self::rest(&norms, &item_bias_tops);
        Self {
            rows,
            n,
            width,
            ids,
            order,
            norms,
            planes,
            item_bias,
            task_bias,
            item_bias_tops,
            task_bias_tops,
            rest,
        }
    }

    /// From each block on, the most of X and of B.
    pub fn rest(norms: &[f32], bias_tops: &[f32]) -> Vec<(f32, f32)> {
        let mut rest: Vec<(f32, f32)> = norms.iter().copied().zip(bias_tops.iter().copied()).collect();
        for block in (1..rest.len()).rev() {
            let (norm, bias) = rest[block];
            let earlier = &mut rest[block - 1];
            *earlier = (earlier.0.max(norm), earlier.1.max(bias));
        }
        rest
    }

    /// Blocks, the last of which may be partly filled.
    pub fn blocks(&self) -> usize {
        self.n.div_ceil(BLOCK)
    }

    /// The plane of a precision, if there is one.
    pub fn plane(&self, precision: Precision) -> Option<&Plane> {
        self.planes.iter().find(|plane| plane.precision == precision)
    }

    /// The item of a row.
    pub fn id(&self, row: u32) -> u32 {
        match &self.ids {
            Ids::From(first) => first + row,
            Ids::Listed(ids) => ids[row as usize],
        }
    }

    /// The row of an item, if it is here.
    pub fn row_of(&self, id: u32) -> Option<u32> {
        match &self.ids {
            Ids::From(first) => id.checked_sub(*first).filter(|&row| (row as usize) < self.n),
            Ids::Listed(ids) => ids.binary_search(&id).ok().map(|row| row as u32),
        }
    }

    /// The values of all rows; `lent` is the caller's matrix.
    pub fn values<'a>(&'a self, lent: &'a [f32]) -> &'a [f32] {
        match &self.rows {
            Rows::Lent => lent,
            Rows::Kept(values) => values,
        }
    }

    /// What the bound knows of block `block` of one of the planes.
    #[inline(always)]
    pub fn bound(&self, plane: &Plane, block: usize) -> BlockBound {
        let scale = plane.scales[block];
        BlockBound {
            scale,
            inverse: 1.0 / scale,
            error: plane.errors[block],
            norm: self.norms[block],
            bias: self.item_bias_tops[block],
        }
    }

    /// T of a task in a block.
    pub fn task_top(&self, task: usize, block: usize) -> f32 {
        self.task_bias_tops[task * self.norms.len() + block]
    }

    /// The bias of a row, 0 where there is none.
    pub fn item_bias(&self, row: u32) -> f32 {
        self.item_bias.as_ref().map_or(0.0, |bias| bias[row as usize])
    }

    /// The bias of a row for a task.
    pub fn task_bias(&self, task: usize, row: u32) -> f32 {
        self.task_bias.as_ref().map_or(0.0, |bias| bias[task * self.n + row as usize])
    }

    /// Lines and stores in bytes, the caller's matrix not counted.
    pub fn bytes(&self) -> usize {
        let lines: usize = self.planes.iter().map(|plane| plane.lines.len() * size_of::<Line>()).sum();
        let rows = if let Rows::Kept(values) = &self.rows { values.len() * 4 } else { 0 };
        let biases = self.item_bias.as_ref().map_or(0, |bias| bias.len())
            + self.task_bias.as_ref().map_or(0, |bias| bias.len());
        lines + rows + 4 * (self.order.len() + biases)
    }
}

impl Segment {
    /// Which items of block `block` are in use.
    pub fn mask(&self, block: usize) -> u64 {
        let filled = self.body.n - block * BLOCK;
        let valid = if filled >= BLOCK { u64::MAX } else { (1 << filled) - 1 };
        self.alive.as_ref().map_or(valid, |alive| alive[block] & valid)
    }

    /// The segment without some rows.
    pub fn without(&self, rows: impl Fn(u32) -> bool) -> Self {
        let alive = (0..self.body.blocks())
            .map(|block| {
                let mut mask = self.mask(block);
                for (place, &row) in self.body.order[block * BLOCK..].iter().take(BLOCK).enumerate() {
                    if rows(row) {
                        mask &= !(1 << place);
                    }
                }
                mask
            })
            .collect();
        Self { alive: Some(Arc::new(alive)), ..self.clone() }
    }

    /// Rows in use.
    pub fn used(&self) -> usize {
        (0..self.body.blocks()).map(|block| self.mask(block).count_ones() as usize).sum()
    }
}

/// Whether rows may be quantised at all; see [`super::bound`].
pub fn quantisable(measures: &Measures, width: usize) -> bool {
    (1..=MAX_WIDTH).contains(&width) && measures.largest() <= LARGEST
}
