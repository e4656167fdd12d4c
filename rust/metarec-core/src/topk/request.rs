//! What a top-K call asks for, and the check of all of it.

use super::path::Path;
use crate::{Error, Ragged, Result, finite};

const OPERATION: &str = "topk";

/// A batch of queries with its filters. Everything but the queries and `k` may be left at its default.
#[derive(Debug, Clone, Copy, Default)]
pub struct Request<'a> {
    /// f32[b, d], row-major.
    pub queries: &'a [f32],
    /// b.
    pub rows: usize,
    /// Longest list wanted; a list that can't be filled is shorter.
    pub k: usize,
    /// Items that each row must not get.
    pub exclude: Option<Ragged<'a>>,
    /// bool[n]: only these items.
    pub allow: Option<&'a [bool]>,
    /// bool[n]: not these items.
    pub deny: Option<&'a [bool]>,
    /// Scores to add to some items of each row.
    pub boosts: Option<Boosts<'a>>,
    /// f32[n]: the items' bias of this call, instead of the index's own.
    pub bias: Option<&'a [f32]>,
    /// i32[b]: the task of each row, whose bias the index adds, or -1 for none.
    pub tasks: Option<&'a [i32]>,
    /// The way to the answer; chosen by what is cheapest where absent.
    pub path: Option<Path>,
}

/// Sparse additions: `added[i]` goes on the score of `items.items()[i]` in its row. An item that stands twice
/// in a row gets both, in the order given.
#[derive(Debug, Clone, Copy)]
pub struct Boosts<'a> {
    /// Which items.
    pub items: Ragged<'a>,
    /// By how much, parallel to the items.
    pub added: &'a [f32],
}

impl Boosts<'_> {
    /// The boosted items of a row and what is added, ascending by item. Stable, so that an item's boosts are
    /// added in the order given.
    pub fn of(&self, row: usize) -> Vec<(u32, f32)> {
        let added = self.added[self.items.range(row)].iter().copied();
        let mut pairs: Vec<_> = self.items.row(row).iter().map(|&item| item as u32).zip(added).collect();
        pairs.sort_by_key(|&(item, _)| item);
        pairs
    }
}

/// What a request is checked against.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// n.
    pub n_items: usize,
    /// d.
    pub width: usize,
    /// C.
    pub tasks: usize,
    /// Largest magnitude of an item's values, of its bias, of its bias for a task.
    pub item: f32,
    /// See above.
    pub bias: f32,
    /// See above.
    pub task_bias: f32,
}

impl Request<'_> {
    /// The task of row `row`, if it has one.
    pub fn task(&self, row: usize) -> Option<usize> {
        self.tasks.and_then(|tasks| usize::try_from(tasks[row]).ok())
    }

    /// The tasks that occur, ascending, each once.
    pub fn used_tasks(&self) -> Vec<usize> {
        let mut used: Vec<_> = (0..self.rows).filter_map(|row| self.task(row)).collect();
        used.sort_unstable();
        used.dedup();
        used
    }

    /// Whether an item may come back at all.
    pub fn admits(&self, item: usize) -> bool {
        self.allow.is_none_or(|allow| allow[item]) && self.deny.is_none_or(|deny| !deny[item])
    }

    /// How many of `n_items` may come back at all.
    pub fn admitted(&self, n_items: usize) -> usize {
        let count = |mask: &[bool]| mask.iter().map(|&set| usize::from(set)).sum::<usize>();
        match (self.allow, self.deny) {
            (None, None) => n_items,
            (Some(allow), None) => count(allow),
            (None, Some(deny)) => n_items - count(deny),
            (Some(allow), Some(deny)) => {
                allow.iter().zip(deny).map(|(&allowed, &denied)| usize::from(allowed & !denied)).sum()
            }
        }
    }

    /// Check every length, index and value against an index.
    pub fn check(&self, limits: &Limits) -> Result<()> {
        let query_limit = check_queries(OPERATION, self.queries, self.rows, limits.width)?;
        let n_items = limits.n_items;
        if let Some(exclude) = self.exclude {
            expect_items("exclude", exclude.expect_rows(OPERATION, "exclude", self.rows)?, n_items)?;
        }
        for (argument, mask) in [("allow", self.allow), ("deny", self.deny)] {
            expect_length(argument, mask.map_or(n_items, <[bool]>::len), n_items)?;
        }
        let mut added = f64::from(limits.bias);
        if let Some(bias) = self.bias {
            expect_length("bias", bias.len(), n_items)?;
            added = finite::largest(OPERATION, "bias", bias, 1)?.into();
        }
        if let Some(tasks) = self.tasks {
            self.check_tasks(tasks, limits.tasks)?;
            added += f64::from(limits.task_bias);
        }
        if let Some(boosts) = self.boosts {
            expect_items("boosts", boosts.items.expect_rows(OPERATION, "boosts", self.rows)?, n_items)?;
            expect_length("boosts", boosts.added.len(), boosts.items.items().len())?;
            let limit = finite::largest(OPERATION, "boosts", boosts.added, 1)?;
            let longest = (0..self.rows).map(|row| boosts.items.range(row).len()).max().unwrap_or(0);
            added += f64::from(limit) * longest as f64;
        }
        check_range(OPERATION, limits.width, query_limit, limits.item, added)
    }

    fn check_tasks(&self, tasks: &[i32], count: usize) -> Result<()> {
        expect_length("tasks", tasks.len(), self.rows)?;
        if count == 0 {
            return Err(Error::Value {
                operation: OPERATION,
                argument: "tasks",
                got: "given".into(),
                expected: "none: the index was built without task_bias".into(),
            });
        }
        match tasks.iter().position(|&task| task < -1 || task >= count as i32) {
            None => Ok(()),
            Some(row) => Err(Error::Value {
                operation: OPERATION,
                argument: "tasks",
                got: format!("{} at row {row}", tasks[row]),
                expected: format!("-1, or a row of the index's task_bias below {count}"),
            }),
        }
    }
}

/// Check f32[rows, width] queries; their largest magnitude.
pub fn check_queries(operation: &'static str, queries: &[f32], rows: usize, width: usize) -> Result<f32> {
    if queries.len() != rows * width {
        return Err(Error::Shape {
            operation,
            argument: "queries",
            got: format!("{} values for {rows} rows", queries.len()),
            expected: format!("{width} values a row"),
        });
    }
    finite::largest(operation, "queries", queries, width)
}

/// Refuse magnitudes with which a score could overflow to infinity, where the order would be lost.
pub fn check_range(
    operation: &'static str,
    width: usize,
    query_limit: f32,
    item_limit: f32,
    added: f64,
) -> Result<()> {
    // Half the range leaves room for rounding in the chain.
    let bound = f64::from(query_limit) * f64::from(item_limit) * width as f64 + added;
    if bound < f64::from(f32::MAX) / 2.0 {
        return Ok(());
    }
    Err(Error::Value {
        operation,
        argument: "queries",
        got: format!(
            "of magnitude up to {query_limit:e} against items up to {item_limit:e} and added scores up to {added:e}"
        ),
        expected: "values whose scores stay within f32".into(),
    })
}

fn expect_items(argument: &'static str, rows: Ragged<'_>, n_items: usize) -> Result<()> {
    expect_size(argument, "items", rows.n_items(), n_items)
}

fn expect_length(argument: &'static str, got: usize, wanted: usize) -> Result<()> {
    expect_size(argument, "values", got, wanted)
}

fn expect_size(argument: &'static str, what: &str, got: usize, wanted: usize) -> Result<()> {
    if got == wanted {
        return Ok(());
    }
    Err(Error::Shape {
        operation: OPERATION,
        argument,
        got: format!("{got} {what}"),
        expected: format!("{wanted} {what}"),
    })
}
