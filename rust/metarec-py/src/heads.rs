//! Closed-form heads and the small linear algebra under them.

use metarec_core::heads::natpar;
use metarec_core::solve::{Events, gram as gram_matrix, symmetric_eigen as eigen};
use metarec_core::{Error, Ragged, finite, pool};
use numpy::{PyArray1, PyArray2, PyArrayMethods};
use pyo3::prelude::*;

use crate::arrays;
use crate::errors::to_python;

/// (r f64[b, m], kappa f64[b])
type State<'py> = (Bound<'py, PyArray2<f64>>, Bound<'py, PyArray1<f64>>);

/// A checked item table ψ, asked for the sums of histories.
#[pyclass(frozen, module = "metarec_sdk._core")]
pub struct NatparTable {
    psi: Vec<f32>,
    n_items: usize,
    width: usize,
}

#[pymethods]
impl NatparTable {
    #[new]
    fn new(psi: &Bound<'_, PyAny>) -> PyResult<Self> {
        let psi = arrays::matrix::<f32>("psi", psi)?;
        let (n_items, width) = arrays::shape(&psi);
        let psi = psi.as_slice()?;
        finite::check("natpar_table", "psi", psi, width).map_err(to_python)?;
        Ok(Self { psi: psi.to_vec(), n_items, width })
    }

    /// The sums `r = Σ ω ψ` and `κ = Σ ω` of each history.
    fn state<'py>(
        &self,
        py: Python<'py>,
        offsets: &Bound<'py, PyAny>,
        items: &Bound<'py, PyAny>,
        weights: &Bound<'py, PyAny>,
    ) -> PyResult<State<'py>> {
        const OPERATION: &str = "natpar_state";
        let offsets = arrays::vector::<i64>("offsets", offsets)?;
        let items = arrays::vector::<i32>("items", items)?;
        let weights = arrays::vector::<f32>("weights", weights)?;
        let (offsets, items, weights) = (offsets.as_slice()?, items.as_slice()?, weights.as_slice()?);
        let width = self.width;
        let (r, kappa) = py
            .detach(|| {
                let rows = Ragged::new(OPERATION, "histories", offsets, items, self.n_items)?;
                let events = Events::new(OPERATION, rows, weights, None)?;
                let (mut r, mut kappa) = (vec![0.0; rows.len() * width], vec![0.0; rows.len()]);
                natpar::state(events, &self.psi, width, &mut r, &mut kappa)?;
                Ok((r, kappa))
            })
            .map_err(to_python)?;
        let kappa = PyArray1::from_vec(py, kappa);
        Ok((PyArray1::from_vec(py, r).reshape([kappa.len()?, width])?, kappa))
    }
}

/// The posterior means `(s r + μ) / (s κ + 1)`.
#[pyfunction]
#[pyo3(signature = (r, kappa, prior_variance, edges, prior_mean = None))]
pub fn natpar_query<'py>(
    py: Python<'py>,
    r: &Bound<'py, PyAny>,
    kappa: &Bound<'py, PyAny>,
    prior_variance: &Bound<'py, PyAny>,
    edges: &Bound<'py, PyAny>,
    prior_mean: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let r = arrays::matrix::<f64>("r", r)?;
    let kappa = arrays::vector::<f64>("kappa", kappa)?;
    let variance = arrays::matrix::<f32>("prior_variance", prior_variance)?;
    let edges = arrays::vector::<f32>("edges", edges)?;
    let mean = arrays::optional_matrix::<f32>("prior_mean", prior_mean)?;
    let (users, width) = arrays::shape(&r);
    if arrays::shape(&variance).1 != width {
        let (got, expected) = (format!("shape {:?}", arrays::shape(&variance)), format!("[bins, {width}]"));
        return Err(to_python(Error::Shape {
            operation: "natpar_query",
            argument: "prior_variance",
            got,
            expected,
        }));
    }
    let mean = mean.as_ref().map(|mean| mean.as_slice()).transpose()?;
    let prior = natpar::Prior { variance: variance.as_slice()?, edges: edges.as_slice()?, mean };
    let (r, kappa) = (r.as_slice()?, kappa.as_slice()?);
    let out = py
        .detach(|| {
            let mut out = vec![0.0; users * width];
            natpar::query(r, kappa, width, prior, &mut out)?;
            Ok(out)
        })
        .map_err(to_python)?;
    PyArray1::from_vec(py, out).reshape([users, width])
}

/// `XᵀX` in float64, the same for any number of threads.
#[pyfunction]
pub fn gram<'py>(py: Python<'py>, table: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArray2<f64>>> {
    let table = arrays::matrix::<f32>("table", table)?;
    let width = arrays::shape(&table).1;
    let table = table.as_slice()?;
    let out = py
        .detach(|| {
            finite::check("gram", "table", table, width)?;
            pool::run(|| gram_matrix(table, width))
        })
        .map_err(to_python)?;
    PyArray1::from_vec(py, out).reshape([width, width])
}

/// (values f64[m], vectors f64[m, m])
type Eigen<'py> = (Bound<'py, PyArray1<f64>>, Bound<'py, PyArray2<f64>>);

/// Ascending eigenvalues and the eigenvectors as columns, each with a positive largest entry.
#[pyfunction]
pub fn symmetric_eigen<'py>(py: Python<'py>, matrix: &Bound<'py, PyAny>) -> PyResult<Eigen<'py>> {
    let matrix = arrays::matrix::<f64>("matrix", matrix)?;
    let (rows, columns) = arrays::shape(&matrix);
    let matrix = matrix.as_slice()?;
    if rows != columns {
        let (got, expected) = (format!("shape ({rows}, {columns})"), "a square matrix".to_owned());
        return Err(to_python(Error::Shape {
            operation: "symmetric_eigen",
            argument: "matrix",
            got,
            expected,
        }));
    }
    if let Some(position) = matrix.iter().position(|value| !value.is_finite()) {
        let (row, value) = (position / columns, matrix[position] as f32);
        return Err(to_python(Error::NotFinite {
            operation: "symmetric_eigen",
            argument: "matrix",
            row,
            value,
        }));
    }
    let (values, vectors) = py.detach(|| eigen(matrix, rows));
    Ok((PyArray1::from_vec(py, values), PyArray1::from_vec(py, vectors).reshape([rows, rows])?))
}
