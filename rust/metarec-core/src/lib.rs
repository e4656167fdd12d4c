//! The numeric core of metarec_sdk: exact top-K, closed-form user heads and their solvers.
//!
//! Pure Rust over slices; the Python binding lives in `metarec-py`.

pub mod error;
pub mod finite;
pub mod isa;
pub mod pool;
pub mod ragged;
pub mod topk;

pub use error::{Error, Result};
pub use ragged::Ragged;
