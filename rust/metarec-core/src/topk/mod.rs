//! Exact top-K by inner product: scoring and selection in one pass, with filters, biases and boosts.
//!
//! The score of query `q` and item `i` is the chain of fused multiply-adds over the dimensions, from 0 on, then
//! `+ bias[i]`, then `+ task_bias[task, i]`, then `+ boost`, each rounded to f32. Lists are by descending score
//! and then ascending item. Neither depends on instruction set, batch, path or thread count.
//!
//! There are two ways to that answer. [`exact`] scores everything in fp32. [`certified`] scans a quantised copy,
//! a quarter of the bytes at a multiple of the speed, whose scores come with a proven bound ([`bound`]); only
//! the items that could belong to a list are scored in fp32, from the caller's own matrix.
//!
//! An index consists of segments ([`segment`]), each with its rows, their scanning order and their quantised
//! copies. Adding and replacing rows makes a new version of the index that shares the segments of the old one.

pub mod bound;
mod certified;
mod exact;
mod file;
mod kernel;
mod order;
pub mod path;
mod plane;
mod request;
mod segment;
mod store;
mod version;
mod view;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::Result;
use crate::isa::Isa;
pub use path::{Path, Precision};
use request::Limits;
pub use request::{Boosts, Request};
pub use segment::Biases;
use segment::Segment;
pub use view::View;

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

/// How an index is built.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The quantised copies to make; what pays where absent.
    pub planes: Option<Vec<Precision>>,
    /// The instruction set to use; the best there is where absent.
    pub isa: Option<Isa>,
}

/// An immutable index over an item matrix that stays with the caller, who lends it to each call.
#[derive(Debug, Clone)]
pub struct ItemIndex {
    segments: Vec<Segment>,
    n_items: usize,
    width: usize,
    tasks: usize,
    planes: Vec<Precision>,
    levels: i32,
    item_limit: f32,
    bias_limit: f32,
    task_bias_limit: f32,
    isa: Isa,
    /// An int4 scan gave up, so that calls go to int8 from then on. Says nothing about what they answer.
    int4_gave_up: Arc<AtomicBool>,
}

impl ItemIndex {
    /// Items in the index.
    pub fn n_items(&self) -> usize {
        self.n_items
    }

    /// Dimensions of an item and of a query.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Tasks with a bias of their own.
    pub fn tasks(&self) -> usize {
        self.tasks
    }

    /// The precisions of its quantised copies.
    pub fn planes(&self) -> &[Precision] {
        &self.planes
    }

    /// Bytes of the index, without the matrix that it was built over.
    pub fn bytes(&self) -> usize {
        self.segments.iter().map(|segment| segment.body.bytes()).sum()
    }

    /// Segments; appending and replacing adds some and merges others.
    pub fn n_segments(&self) -> usize {
        self.segments.len()
    }

    /// The index, to be asked, with the matrix that it was built over. An index that keeps its rows itself
    /// takes an empty one.
    pub fn over<'a>(&'a self, matrix: &'a [f32]) -> Result<View<'a>> {
        self.check_lent(matrix)?;
        Ok(View::new(self, matrix))
    }

    fn limits(&self) -> Limits {
        Limits {
            n_items: self.n_items,
            width: self.width,
            tasks: self.tasks,
            item: self.item_limit,
            bias: self.bias_limit,
            task_bias: self.task_bias_limit,
        }
    }
}
