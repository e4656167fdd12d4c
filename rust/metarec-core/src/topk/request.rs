//! What a top-K call asks for, and the check of all of it.

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
    /// A bias for each task and item, and the task of each row.
    pub task_bias: Option<TaskBias<'a>>,
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

/// Dense additions by task.
#[derive(Debug, Clone, Copy)]
pub struct TaskBias<'a> {
    /// f32[C, n], row-major.
    pub values: &'a [f32],
    /// i32[b], a row of `values`, or -1 for none.
    pub tasks: &'a [i32],
}

impl<'a> TaskBias<'a> {
    /// The bias of row `row`, if it has a task.
    pub fn of(&self, row: usize, n_items: usize) -> Option<&'a [f32]> {
        let task = usize::try_from(self.tasks[row]).ok()?;
        Some(&self.values[task * n_items..][..n_items])
    }

    /// The tasks that occur, each once.
    pub fn used(&self) -> Vec<usize> {
        let mut used: Vec<_> = self.tasks.iter().filter_map(|&task| usize::try_from(task).ok()).collect();
        used.sort_unstable();
        used.dedup();
        used
    }

    fn check(&self, rows: usize, n_items: usize) -> Result<f32> {
        expect_length("tasks", self.tasks.len(), rows)?;
        let count = self.values.len().checked_div(n_items).unwrap_or(0);
        expect_length("task_bias", self.values.len(), count * n_items)?;
        let wrong = |task: i32| task < -1 || (n_items > 0 && task >= 0 && task as usize >= count);
        if let Some(row) = self.tasks.iter().position(|&task| wrong(task)) {
            return Err(Error::Value {
                operation: OPERATION,
                argument: "tasks",
                got: format!("{} at row {row}", self.tasks[row]),
                expected: format!("-1, or a row of task_bias below {count}"),
            });
        }
        let mut most = 0.0_f32;
        for task in self.used() {
            if n_items > 0 {
                let values = &self.values[task * n_items..][..n_items];
                let found =
                    finite::largest(OPERATION, "task_bias", values, n_items).map_err(
                        |error| match error {
                            Error::NotFinite { operation, argument, value, .. } => {
                                Error::NotFinite { operation, argument, row: task, value }
                            }
                            other => other,
                        },
                    )?;
                most = most.max(found);
            }
        }
        Ok(most)
    }
}

impl Request<'_> {
    /// Check every length, index and value against an index of `n_items` × `width` whose items and bias are
    /// at most `item_limit` and `bias_limit` in magnitude.
    pub fn check(&self, n_items: usize, width: usize, item_limit: f32, bias_limit: f32) -> Result<()> {
        let query_limit = check_queries(OPERATION, self.queries, self.rows, width)?;
        if let Some(exclude) = self.exclude {
            expect_items("exclude", exclude.expect_rows(OPERATION, "exclude", self.rows)?, n_items)?;
        }
        if let Some(allow) = self.allow {
            expect_length("allow", allow.len(), n_items)?;
        }
        if let Some(deny) = self.deny {
            expect_length("deny", deny.len(), n_items)?;
        }
        let mut added = f64::from(bias_limit);
        if let Some(task_bias) = self.task_bias {
            added += f64::from(task_bias.check(self.rows, n_items)?);
        }
        if let Some(boosts) = self.boosts {
            expect_items("boosts", boosts.items.expect_rows(OPERATION, "boosts", self.rows)?, n_items)?;
            expect_length("boosts", boosts.added.len(), boosts.items.items().len())?;
            let limit = finite::largest(OPERATION, "boosts", boosts.added, 1)?;
            let longest = (0..self.rows).map(|row| boosts.items.range(row).len()).max().unwrap_or(0);
            added += f64::from(limit) * longest as f64;
        }
        check_range(OPERATION, width, query_limit, item_limit, added)
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
