//! The numeric core of metarec_sdk: exact top-K, closed-form user heads and their solvers.
//!
//! Pure Rust over slices; the Python binding lives in `metarec-py`.

pub mod error;
pub mod finite;
pub mod heads;
pub mod isa;
pub mod item_item;
pub mod pool;
pub mod ragged;
pub mod solve;
pub mod topk;
pub mod transpose;

pub use error::{Error, Result};
pub use ragged::Ragged;
