//! The certified scan: approximate scores of a quantised copy, exact scores for what could belong to a list.
//!
//! For every user a floor rises while blocks go by: the k-th largest lower bound so far. One threshold a user and
//! block says which sums could still reach it ([`super::bound`]); the kernel compares, and what passes is kept
//! with its bounds until its upper bound falls below the floor. At the end, and when the buffer is full, what is
//! left is scored in fp32 from the caller's rows. Boosted items take no part in the scan: they are scored at
//! the start, which raises the floor early.

mod candidates;
mod context;
mod group;
pub mod query;
mod seen;

use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use super::exact::{self, Chosen, select};
use super::path::Precision;
use super::request::Request;
use super::view::View;
use crate::{Result, pool};
use context::Context;
use group::{Floors, Group};

/// Multiply-adds below which one thread is faster, about a third of a millisecond.
const SMALL: usize = 24 << 20;
/// Query bytes of a group, which should stay in the second-level cache while the items stream by.
const GROUP_BYTES: usize = 64 << 10;
/// Least users of a group where there are enough: each group reads all items once.
const LEAST_GROUP: usize = 32;
/// Groups for each thread, so that a slow one doesn't hold up the rest.
const GROUPS: usize = 4;

/// The scan gave up: a query was too large, or too many items had to be scored exactly.
#[derive(Debug)]
struct Hostile;

/// The best keys of every row.
pub fn search(view: &View<'_>, request: &Request<'_>, precision: Precision) -> Result<Vec<Vec<u64>>> {
    let request = &Request { k: request.k.min(view.index().n_items()), ..*request };
    if request.k == 0 || request.rows == 0 {
        return Ok(vec![Vec::new(); request.rows]);
    }
    let context = Context::new(view, request, precision);
    let work = request.rows.saturating_mul(view.index().n_items()).saturating_mul(view.width());
    let threads = if work < SMALL { 1 } else { pool::threads()? };
    let tile = context.tile();
    if threads > 1 && request.rows < 2 * tile * threads {
        return pool::run(|| split_items(&context, threads))?;
    }
    let most = (GROUP_BYTES / view.width()).clamp(2 * tile, 32 * tile);
    let wanted = if threads > 1 { threads * GROUPS } else { 1 };
    let groups = request.rows.div_ceil(most).max(wanted.min(request.rows / LEAST_GROUP)).max(threads);
    let part = |group: usize| request.rows * group / groups;
    let run = |group: usize| one_group(&context, part(group), part(group + 1));
    let lists: Vec<Result<Vec<Vec<u64>>>> = if threads > 1 {
        pool::run(|| (0..groups).into_par_iter().map(run).collect())?
    } else {
        (0..groups).map(run).collect()
    };
    Ok(lists.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

/// All items for users `first..last`.
fn one_group(context: &Context<'_>, first: usize, last: usize) -> Result<Vec<Vec<u64>>> {
    if context.gave_up.load(Ordering::Relaxed) {
        return fall_back(context, first, last);
    }
    let scanned = Group::new(context, first, last, None).and_then(|mut group| {
        (0..context.stretches()).try_for_each(|stretch| group.scan(stretch))?;
        Ok(group.finish())
    });
    scanned.or_else(|Hostile| {
        context.gave_up.store(true, Ordering::Relaxed);
        fall_back(context, first, last)
    })
}

/// All users on every thread, which take turns at the items and share their floors.
fn split_items(context: &Context<'_>, threads: usize) -> Result<Vec<Vec<u64>>> {
    let rows = context.request.rows;
    let (floors, next) = (Floors::new(rows), AtomicUsize::new(0));
    let parts: Vec<std::result::Result<Vec<Vec<u64>>, Hostile>> = (0..threads)
        .into_par_iter()
        .with_max_len(1)
        .map(|_| {
            let mut group = Group::new(context, 0, rows, Some(&floors))?;
            loop {
                let stretch = next.fetch_add(1, Ordering::Relaxed);
                if stretch >= context.stretches() {
                    return Ok(group.finish());
                }
                group.scan(stretch)?;
            }
        })
        .collect();
    let mut best = vec![Vec::new(); rows];
    for part in parts {
        let Ok(part) = part else { return fall_back(context, 0, rows) };
        for (keys, more) in best.iter_mut().zip(part) {
            keys.extend(more);
        }
    }
    // Keys hold score and item, so that the order of merging doesn't matter. What is boosted is in every part.
    for keys in &mut best {
        keys.sort_unstable();
        keys.dedup();
        select::finish(keys, context.request.k);
    }
    Ok(best)
}

/// Twice the bits where there are, else every score in fp32 after all.
fn fall_back(context: &Context<'_>, first: usize, last: usize) -> Result<Vec<Vec<u64>>> {
    let request = context.request;
    let index = context.view.index();
    if context.precision == Precision::Int4 && index.planes().contains(&Precision::Int8) {
        index.int4_gave_up.store(true, Ordering::Relaxed);
        return one_group(&Context::new(context.view, request, Precision::Int8), first, last);
    }
    let n_items = index.n_items();
    if request.allow.is_none() && request.deny.is_none() {
        return exact::search(context.view, request, &Chosen::All(n_items), first, last);
    }
    let ids: Vec<u32> = (0..n_items as u32).filter(|&item| request.admits(item as usize)).collect();
    exact::search(context.view, request, &Chosen::These(&ids), first, last)
}
