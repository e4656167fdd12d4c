//! `metarec_sdk._core`: a thin binding. Each function checks and borrows arrays, releases the GIL,
//! calls the core and wraps the result.

use pyo3::prelude::*;

mod arrays;
mod errors;
mod ranking;

/// The Rust core of metarec_sdk.
#[pymodule]
mod _core {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::ranking::{ItemIndex, isa, threads};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
