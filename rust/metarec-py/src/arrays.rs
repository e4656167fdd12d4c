//! Borrowing NumPy arrays without a copy: exact dtype, dimensions, C order and alignment, or a `ValueError`
//! that names the argument, what it is and how to convert it.

use metarec_core::Ragged;
use numpy::{
    Element, PyArrayDescrMethods, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArray, PyUntypedArrayMethods,
    prelude::*,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::errors::to_python;

/// Borrow a one-dimensional array of `T`.
pub fn vector<'py, T: Element>(name: &str, value: &Bound<'py, PyAny>) -> PyResult<PyReadonlyArray1<'py, T>> {
    check::<T>(name, value, 1)?;
    Ok(value.cast::<numpy::PyArray1<T>>()?.try_readonly()?)
}

/// Borrow a two-dimensional, row-major array of `T`.
pub fn matrix<'py, T: Element>(name: &str, value: &Bound<'py, PyAny>) -> PyResult<PyReadonlyArray2<'py, T>> {
    check::<T>(name, value, 2)?;
    Ok(value.cast::<numpy::PyArray2<T>>()?.try_readonly()?)
}

/// [`vector`] of an argument that may be `None`.
pub fn optional_vector<'py, T: Element>(
    name: &str,
    value: Option<&Bound<'py, PyAny>>,
) -> PyResult<Option<PyReadonlyArray1<'py, T>>> {
    value.map(|value| vector(name, value)).transpose()
}

/// [`matrix`] of an argument that may be `None`.
pub fn optional_matrix<'py, T: Element>(
    name: &str,
    value: Option<&Bound<'py, PyAny>>,
) -> PyResult<Option<PyReadonlyArray2<'py, T>>> {
    value.map(|value| matrix(name, value)).transpose()
}

/// The length of each axis of a borrowed matrix.
pub fn shape<T: Element>(array: &PyReadonlyArray2<'_, T>) -> (usize, usize) {
    (array.shape()[0], array.shape()[1])
}

/// The checked rows of borrowed offsets and items.
pub fn ragged<'a>(
    operation: &'static str,
    argument: &'static str,
    offsets: &'a PyReadonlyArray1<'_, i64>,
    items: &'a PyReadonlyArray1<'_, i32>,
    n_items: usize,
) -> PyResult<Ragged<'a>> {
    Ragged::new(operation, argument, offsets.as_slice()?, items.as_slice()?, n_items).map_err(to_python)
}

fn check<T: Element>(name: &str, value: &Bound<'_, PyAny>, dimensions: usize) -> PyResult<()> {
    let wanted = numpy::dtype::<T>(value.py());
    let refuse = |got: String| {
        Err(PyValueError::new_err(format!(
            "{name} is {got}, expected a C-contiguous {wanted} array of {dimensions} dimension(s); \
             numpy.ascontiguousarray({name}, dtype=\"{wanted}\") converts"
        )))
    };
    let Ok(array) = value.cast::<PyUntypedArray>() else {
        return refuse(format!("of type {}", value.get_type().name()?));
    };
    if !array.dtype().is_equiv_to(&wanted) {
        return refuse(format!("an array of dtype {}", array.dtype()));
    }
    if array.ndim() != dimensions {
        return refuse(format!("an array of shape {:?}", array.shape()));
    }
    let flags = array.getattr("flags")?;
    if !array.is_c_contiguous() || !flags.getattr("aligned")?.extract::<bool>()? {
        return refuse("an array that is not C-contiguous and aligned".to_owned());
    }
    Ok(())
}
