//! Every score in fp32: the reference path, for small catalogues, long lists and few admitted items.

mod chunk;
mod plan;
mod scan;
pub mod select;
mod user;

use super::request::Request;
use super::view::View;
use crate::{Result, pool};
pub use chunk::Chosen;
use plan::Plan;
use scan::Scan;
pub use user::ascending;

/// The best keys of rows `first..last` of the batch among the chosen items.
pub fn search(
    view: &View<'_>,
    request: &Request<'_>,
    chosen: &Chosen<'_>,
    first: usize,
    last: usize,
) -> Result<Vec<Vec<u64>>> {
    let scan = Scan { view, request, chosen };
    let rows = last - first;
    if Plan::is_small(rows, chosen.len(), view.width()) {
        // Waking other threads would take longer than the work.
        return Ok(scan.run(first, last, 0, chosen.chunks()));
    }
    let plan = Plan::new(rows, chosen.chunks(), view.width(), pool::threads()?);
    pool::run(|| plan.run(&scan, first, request.k))
}
