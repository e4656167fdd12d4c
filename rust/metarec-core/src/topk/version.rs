//! Making an index, and new versions of it.

use std::sync::Arc;

use super::kernel::{BLOCK, Kernels};
use super::order::Measures;
use super::segment::{Biases, Body, Ids, Rows, Segment, quantisable};
use super::{ItemIndex, Options, Path, Precision};
use crate::isa::Isa;
use crate::{Error, Result, finite, pool};

const OPERATION: &str = "ItemIndex";
/// Fewer items than this are always scored in fp32.
const FEWEST: usize = 2048;
/// Bytes of an int8 copy from which an int4 copy beside it pays for single queries.
const BEYOND_CACHE: usize = 48 << 20;

impl ItemIndex {
    /// An index over f32[n_items, width] rows, row-major, which the caller keeps and lends to every call.
    pub fn new(
        matrix: &[f32],
        n_items: usize,
        width: usize,
        biases: Biases<'_>,
        options: &Options,
    ) -> Result<Self> {
        let isa = options.isa.map_or_else(Isa::current, Ok)?;
        let mut index = Self {
            segments: Vec::new(),
            n_items: 0,
            width,
            tasks: biases.task.map_or(0, |(_, tasks)| tasks),
            planes: Vec::new(),
            levels: Kernels::of(isa).levels(),
            item_limit: 0.0,
            bias_limit: 0.0,
            task_bias_limit: 0.0,
            isa,
            int4_gave_up: Arc::default(),
        };
        let measures = index.checked(matrix, n_items, biases)?;
        index.planes = index.worthwhile(&measures, n_items, options)?;
        index.push(Rows::Lent, matrix, Ids::From(0), biases, &measures)?;
        index.n_items = n_items;
        Ok(index)
    }

    /// A version with more items, numbered on from the last. This version stays as it is.
    pub fn append(&self, rows: &[f32], count: usize, biases: Biases<'_>) -> Result<Self> {
        let mut index = self.clone();
        let measures = index.checked(rows, count, biases)?;
        if count > 0 {
            let first = self.n_items as u32;
            index.push(Rows::Kept(rows.to_vec().into()), rows, Ids::From(first), biases, &measures)?;
            index.n_items += count;
            index.merge()?;
        }
        Ok(index)
    }

    /// A version in which the rows of some items, ascending, are others. This version stays as it is.
    pub fn replace(&self, items: &[u32], rows: &[f32], biases: Biases<'_>) -> Result<Self> {
        let wrong = |got: String, expected: String| {
            Err(Error::Value { operation: "replace", argument: "items", got, expected })
        };
        if let Some(&item) = items.iter().find(|&&item| item as usize >= self.n_items) {
            return wrong(format!("item {item}"), format!("items from 0 to below {}", self.n_items));
        }
        if let Some(pair) = items.windows(2).find(|pair| pair[0] >= pair[1]) {
            return wrong(
                format!("{} after {}", pair[1], pair[0]),
                "items in ascending order, each once".into(),
            );
        }
        let mut index = self.clone();
        let measures = index.checked(rows, items.len(), biases)?;
        if !items.is_empty() {
            for segment in &mut index.segments {
                if items.iter().any(|&item| segment.body.row_of(item).is_some()) {
                    let body = Arc::clone(&segment.body);
                    *segment = segment.without(|row| items.binary_search(&body.id(row)).is_ok());
                }
            }
            let ids = Ids::Listed(items.to_vec());
            index.push(Rows::Kept(rows.to_vec().into()), rows, ids, biases, &measures)?;
            index.merge()?;
        }
        Ok(index)
    }

    /// Refuse a matrix of another size than the one that the index was built over.
    pub(super) fn check_lent(&self, matrix: &[f32]) -> Result<()> {
        let expected: usize = self
            .segments
            .iter()
            .map(|segment| &segment.body)
            .filter(|body| matches!(body.rows, Rows::Lent))
            .map(|body| body.n * body.width)
            .sum();
        if matrix.len() == expected {
            return Ok(());
        }
        Err(Error::Shape {
            operation: OPERATION,
            argument: "matrix",
            got: format!("{} values", matrix.len()),
            expected: format!("{expected} values, as when the index was built"),
        })
    }

    /// Check new rows and their biases, and take their magnitudes into the limits.
    fn checked(&mut self, rows: &[f32], count: usize, biases: Biases<'_>) -> Result<Measures> {
        let shape = |argument, got: usize, expected: String| {
            Err(Error::Shape { operation: OPERATION, argument, got: format!("{got} values"), expected })
        };
        if rows.len() != count * self.width {
            return shape("matrix", rows.len(), format!("{count} rows of {} values", self.width));
        }
        if self.n_items + count > i32::MAX as usize - BLOCK {
            return shape(
                "matrix",
                self.n_items + count,
                format!("at most {} rows", i32::MAX as usize - BLOCK),
            );
        }
        let has = self.segments.first().map(|first| first.body.item_bias.is_some());
        match (biases.item, has) {
            (Some(bias), Some(true) | None) if bias.len() != count => {
                return shape("bias", bias.len(), format!("{count} values, one a row of the matrix"));
            }
            (Some(_), Some(false)) => {
                return shape("bias", count, "none: the index was built without".into());
            }
            (None, Some(true)) => {
                return shape("bias", 0, format!("{count} values, as the index has a bias"));
            }
            _ => {}
        }
        let (task_bias, tasks) = biases.task.unwrap_or((&[], 0));
        if tasks != self.tasks || task_bias.len() != tasks * count {
            return shape("task_bias", task_bias.len(), format!("{} rows of {count} values", self.tasks));
        }
        let (width, bias) = (self.width, biases.item.unwrap_or(&[]));
        self.bias_limit = self.bias_limit.max(finite::largest(OPERATION, "bias", bias, 1)?);
        let largest = finite::largest(OPERATION, "task_bias", task_bias, count)?;
        self.task_bias_limit = self.task_bias_limit.max(largest);
        let measures = pool::run(|| Measures::of(rows, width, count))??;
        self.item_limit = self.item_limit.max(measures.largest());
        Ok(measures)
    }

    /// The planes that pay for this matrix, or those that were asked for.
    fn worthwhile(&self, measures: &Measures, n_items: usize, options: &Options) -> Result<Vec<Precision>> {
        if !quantisable(measures, self.width) {
            return Ok(Vec::new());
        }
        if let Some(planes) = &options.planes {
            return Ok(Precision::ALL.into_iter().filter(|precision| planes.contains(precision)).collect());
        }
        let mut planes = Vec::new();
        if n_items >= FEWEST {
            planes.push(Precision::Int8);
            if n_items * self.width > BEYOND_CACHE {
                planes.push(Precision::Int4);
            }
        }
        if let Some(Path::Certified(forced)) = Path::forced()?
            && !planes.contains(&forced)
        {
            planes.push(forced);
        }
        Ok(planes)
    }

    fn push(
        &mut self,
        rows: Rows,
        values: &[f32],
        ids: Ids,
        biases: Biases<'_>,
        measures: &Measures,
    ) -> Result<()> {
        // Rows that can't be quantised take the planes away: one index, one way to scan it.
        if !quantisable(measures, self.width) {
            self.planes.clear();
        }
        let (width, planes, levels) = (self.width, &self.planes, self.levels);
        let body = pool::run(|| Body::build((rows, values), width, ids, biases, measures, planes, levels))?;
        self.segments.push(Segment { body: Arc::new(body), alive: None });
        Ok(())
    }

    /// Merge the last segments while the one before the last isn't at least twice as long: there are at most
    /// log₂ n then, and an item is copied at most that often. The first segment is never copied.
    fn merge(&mut self) -> Result<()> {
        while self.segments.len() > 2
            && let [.., before, last] = &self.segments[..]
            && before.used() < 2 * last.used()
        {
            let (before, last) = (before.clone(), last.clone());
            self.segments.truncate(self.segments.len() - 2);
            let merged = Merged::of([&before, &last], self.width, self.tasks);
            let biases = Biases {
                item: before.body.item_bias.as_ref().map(|_| &merged.item_bias[..]),
                task: before.body.task_bias.as_ref().map(|_| (&merged.task_bias[..], self.tasks)),
            };
            let measures = pool::run(|| Measures::of(&merged.rows, self.width, merged.ids.len()))??;
            let rows = Rows::Kept(merged.rows.clone().into());
            self.push(rows, &merged.rows, Ids::Listed(merged.ids.clone()), biases, &measures)?;
        }
        Ok(())
    }
}

/// The rows in use of several segments that keep them, by item.
struct Merged {
    ids: Vec<u32>,
    rows: Vec<f32>,
    item_bias: Vec<f32>,
    task_bias: Vec<f32>,
}

impl Merged {
    fn of(segments: [&Segment; 2], width: usize, tasks: usize) -> Self {
        let mut places: Vec<(u32, &Body, u32)> = Vec::new();
        for segment in segments {
            for (block, rows) in segment.body.order.chunks(BLOCK).enumerate() {
                let mask = segment.mask(block);
                let used = rows.iter().enumerate().filter(|(place, _)| mask >> place & 1 == 1);
                places.extend(used.map(|(_, &row)| (segment.body.id(row), &*segment.body, row)));
            }
        }
        places.sort_unstable_by_key(|&(id, ..)| id);
        let values =
            |&(_, body, row): &(u32, &Body, u32)| body.values(&[])[row as usize * width..][..width].to_vec();
        Self {
            ids: places.iter().map(|&(id, ..)| id).collect(),
            rows: places.iter().flat_map(values).collect(),
            item_bias: places.iter().map(|&(_, body, row)| body.item_bias(row)).collect(),
            task_bias: (0..tasks)
                .flat_map(|task| places.iter().map(move |&(_, body, row)| body.task_bias(task, row)))
                .collect(),
        }
    }
}
