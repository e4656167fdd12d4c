//! The solver of implicit ALS and the ridge head, and the other side of a log.

use metarec_core::solve::{Events, FactorSolver as Core};
use metarec_core::transpose::events_of_items;
use metarec_core::{Error, Ragged};
use numpy::{PyArray1, PyArray2, PyArrayMethods};
use pyo3::prelude::*;

use crate::arrays;
use crate::errors::to_python;

/// Weighted least squares with implicit negatives against a fixed item table.
#[pyclass(frozen, module = "metarec_sdk._core")]
pub struct FactorSolver {
    core: Core,
}

#[pymethods]
impl FactorSolver {
    #[new]
    #[pyo3(signature = (factors, precision, *, unobserved_weight, exponent = 0.0))]
    fn new(
        py: Python<'_>,
        factors: &Bound<'_, PyAny>,
        precision: &Bound<'_, PyAny>,
        unobserved_weight: f32,
        exponent: f32,
    ) -> PyResult<Self> {
        let factors = arrays::matrix::<f32>("factors", factors)?;
        let precision = arrays::vector::<f32>("precision", precision)?;
        let (n_items, width) = arrays::shape(&factors);
        let (factors, precision) = (factors.as_slice()?, precision.as_slice()?);
        if precision.len() != width {
            let (got, expected) =
                (format!("shape ({n_items}, {width})"), format!("[n, {}] as precision", precision.len()));
            return Err(to_python(Error::Shape {
                operation: "FactorSolver",
                argument: "factors",
                got,
                expected,
            }));
        }
        let core = py.detach(|| Core::new(factors, precision, unobserved_weight, exponent));
        Ok(Self { core: core.map_err(to_python)? })
    }

    /// f32[b, m], the vector of each history.
    #[pyo3(signature = (offsets, items, weights, targets = None, prior_mean = None))]
    fn solve<'py>(
        &self,
        py: Python<'py>,
        offsets: &Bound<'py, PyAny>,
        items: &Bound<'py, PyAny>,
        weights: &Bound<'py, PyAny>,
        targets: Option<&Bound<'py, PyAny>>,
        prior_mean: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let offsets = arrays::vector::<i64>("offsets", offsets)?;
        let items = arrays::vector::<i32>("items", items)?;
        let weights = arrays::vector::<f32>("weights", weights)?;
        let targets = arrays::optional_vector::<f32>("targets", targets)?;
        let mean = arrays::optional_matrix::<f32>("prior_mean", prior_mean)?;
        let targets = targets.as_ref().map(|targets| targets.as_slice()).transpose()?;
        let mean = mean.as_ref().map(|mean| mean.as_slice()).transpose()?;
        let (offsets, items, weights) = (offsets.as_slice()?, items.as_slice()?, weights.as_slice()?);
        let out = py
            .detach(|| {
                let rows = Ragged::new("FactorSolver", "histories", offsets, items, self.core.n_items())?;
                let events = Events::new("FactorSolver", rows, weights, targets)?;
                let mut out = vec![0.0; rows.len() * self.core.width()];
                self.core.solve(events, mean, &mut out)?;
                Ok(out)
            })
            .map_err(to_python)?;
        PyArray1::from_vec(py, out).reshape([offsets.len() - 1, self.core.width()])
    }

    /// f32[b, m], the vector of each history after `steps` conjugate-gradient steps from `start`.
    fn improve<'py>(
        &self,
        py: Python<'py>,
        offsets: &Bound<'py, PyAny>,
        items: &Bound<'py, PyAny>,
        weights: &Bound<'py, PyAny>,
        start: &Bound<'py, PyAny>,
        steps: usize,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let offsets = arrays::vector::<i64>("offsets", offsets)?;
        let items = arrays::vector::<i32>("items", items)?;
        let weights = arrays::vector::<f32>("weights", weights)?;
        let start = arrays::matrix::<f32>("start", start)?;
        let (offsets, items, weights) = (offsets.as_slice()?, items.as_slice()?, weights.as_slice()?);
        let start = start.as_slice()?;
        let out = py
            .detach(|| {
                let rows = Ragged::new("FactorSolver", "histories", offsets, items, self.core.n_items())?;
                let events = Events::new("FactorSolver", rows, weights, None)?;
                let mut out = vec![0.0; rows.len() * self.core.width()];
                self.core.improve(events, start, steps, &mut out)?;
                Ok(out)
            })
            .map_err(to_python)?;
        PyArray1::from_vec(py, out).reshape([offsets.len() - 1, self.core.width()])
    }

    #[getter]
    fn n_items(&self) -> usize {
        self.core.n_items()
    }

    #[getter]
    fn width(&self) -> usize {
        self.core.width()
    }
}

/// (offsets i64[n + 1], rows i32[e], weights f32[e])
type Transposed<'py> = (Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<i32>>, Bound<'py, PyArray1<f32>>);

/// For each item the rows of its events, ascending, and their weights.
#[pyfunction]
pub fn transpose<'py>(
    py: Python<'py>,
    offsets: &Bound<'py, PyAny>,
    items: &Bound<'py, PyAny>,
    weights: &Bound<'py, PyAny>,
    n_items: usize,
) -> PyResult<Transposed<'py>> {
    let offsets = arrays::vector::<i64>("offsets", offsets)?;
    let items = arrays::vector::<i32>("items", items)?;
    let weights = arrays::vector::<f32>("weights", weights)?;
    let (offsets, items, weights) = (offsets.as_slice()?, items.as_slice()?, weights.as_slice()?);
    let (offsets, rows, weights) = py
        .detach(|| {
            let rows = Ragged::new("transpose", "histories", offsets, items, n_items)?;
            let events = Events::new("transpose", rows, weights, None)?;
            let (offsets, positions, owners) = events_of_items(rows, n_items);
            let weights = positions.iter().map(|&position| events.weights[position]).collect();
            Ok((offsets, owners, weights))
        })
        .map_err(to_python)?;
    Ok((PyArray1::from_vec(py, offsets), PyArray1::from_vec(py, rows), PyArray1::from_vec(py, weights)))
}
