//! The one mapping from core errors to Python exceptions.

use metarec_core::Error;
use pyo3::PyErr;
use pyo3::exceptions::{PyOSError, PyValueError};

/// Nearly every refusal of the core is the caller's argument, so it becomes a `ValueError` with the core's
/// sentence; the Python layer turns it into the package's own type. Files are an `OSError`.
pub fn to_python(error: Error) -> PyErr {
    match error {
        Error::File { .. } => PyOSError::new_err(error.to_string()),
        _ => PyValueError::new_err(error.to_string()),
    }
}
