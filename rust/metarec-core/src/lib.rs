//! The numeric core of metarec_sdk: exact top-K, closed-form user heads and their solvers.
//!
//! Pure Rust over slices; the Python binding lives in `metarec-py`.

pub mod error;

pub use error::{Error, Result};
