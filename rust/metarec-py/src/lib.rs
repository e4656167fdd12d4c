//! `metarec_sdk._core`: a thin binding. Each function checks and borrows arrays, releases the GIL,
//! calls the core and wraps the result.

use pyo3::prelude::*;

mod arrays;
mod errors;
mod heads;
mod ials;
mod item_item;
mod ranking;

/// The Rust core of metarec_sdk.
#[pymodule]
mod _core {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::heads::{NatparTable, gram, natpar_query, symmetric_eigen};
    #[pymodule_export]
    use crate::ials::{FactorSolver, transpose};
    #[pymodule_export]
    use crate::item_item::{ItemNeighbours, item_knn};
    #[pymodule_export]
    use crate::ranking::{ItemIndex, isa, isas, threads};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
