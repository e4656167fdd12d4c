//! The binding of top-K.

use metarec_core::isa::Isa;
use metarec_core::topk::{Boosts, Request, TaskBias};
use metarec_core::{pool, topk};
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::arrays::{matrix, optional_matrix, optional_vector, ragged, shape, vector};
use crate::errors::to_python;

/// A packed, immutable copy of an item matrix.
#[pyclass(frozen, module = "metarec_sdk._core")]
pub struct ItemIndex(topk::ItemIndex);

type Lists<'py> = (Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<f32>>);
type Pair<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>);
type Triple<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>, Bound<'py, PyAny>);

#[pymethods]
impl ItemIndex {
    #[new]
    #[pyo3(signature = (matrix, bias=None))]
    fn new(py: Python<'_>, matrix: &Bound<'_, PyAny>, bias: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let rows = self::matrix::<f32>("matrix", matrix)?;
        let bias = optional_vector::<f32>("bias", bias)?;
        let (n_items, width) = shape(&rows);
        let (rows, bias) = (rows.as_slice()?, slice(&bias)?);
        py.detach(|| topk::ItemIndex::new(rows, n_items, width, bias)).map(Self).map_err(to_python)
    }

    /// Number of items, n.
    #[getter]
    fn n_items(&self) -> usize {
        self.0.n_items()
    }

    /// Number of dimensions, d.
    #[getter]
    fn width(&self) -> usize {
        self.0.width()
    }

    #[pyo3(signature = (queries, k, exclude=None, allow=None, deny=None, boosts=None, task_bias=None, tasks=None))]
    #[expect(clippy::too_many_arguments, reason = "the Python layer groups them")]
    fn topk<'py>(
        &self,
        py: Python<'py>,
        queries: &Bound<'py, PyAny>,
        k: usize,
        exclude: Option<Pair<'py>>,
        allow: Option<&Bound<'py, PyAny>>,
        deny: Option<&Bound<'py, PyAny>>,
        boosts: Option<Triple<'py>>,
        task_bias: Option<&Bound<'py, PyAny>>,
        tasks: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Lists<'py>> {
        let queries = matrix::<f32>("queries", queries)?;
        let rows = self.expect_width(&queries)?;
        let exclude = exclude
            .map(|(offsets, items)| {
                let offsets = vector::<i64>("exclude offsets", &offsets)?;
                PyResult::Ok((offsets, vector::<i32>("exclude items", &items)?))
            })
            .transpose()?;
        let boosts = boosts
            .map(|(offsets, items, added)| {
                let offsets = vector::<i64>("boosts offsets", &offsets)?;
                let items = vector::<i32>("boosts items", &items)?;
                PyResult::Ok((offsets, items, vector::<f32>("boosts values", &added)?))
            })
            .transpose()?;
        let allow = optional_vector::<bool>("allow", allow)?;
        let deny = optional_vector::<bool>("deny", deny)?;
        let task_bias = optional_matrix::<f32>("task_bias", task_bias)?;
        let tasks = optional_vector::<i32>("tasks", tasks)?;

        let n_items = self.0.n_items();
        let request = Request {
            queries: queries.as_slice()?,
            rows,
            k,
            exclude: exclude
                .as_ref()
                .map(|(offsets, items)| ragged("topk", "exclude", offsets, items, n_items))
                .transpose()?,
            allow: slice(&allow)?,
            deny: slice(&deny)?,
            boosts: match &boosts {
                Some((offsets, items, added)) => Some(Boosts {
                    items: ragged("topk", "boosts", offsets, items, n_items)?,
                    added: added.as_slice()?,
                }),
                None => None,
            },
            task_bias: match (&task_bias, &tasks) {
                (Some(values), Some(tasks)) if shape(values).1 == n_items => {
                    Some(TaskBias { values: values.as_slice()?, tasks: tasks.as_slice()? })
                }
                (Some(values), Some(_)) => {
                    let columns = shape(values).1;
                    return Err(PyValueError::new_err(format!(
                        "topk: task_bias has {columns} columns, expected {n_items}, one an item"
                    )));
                }
                (None, None) => None,
                _ => return Err(PyValueError::new_err("topk: task_bias and tasks go together")),
            },
        };
        let found = py.detach(|| self.0.topk(&request)).map_err(to_python)?;
        Ok((found.offsets.into_pyarray(py), found.items.into_pyarray(py), found.scores.into_pyarray(py)))
    }

    fn scores_at<'py>(
        &self,
        py: Python<'py>,
        queries: &Bound<'py, PyAny>,
        offsets: &Bound<'py, PyAny>,
        items: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyArray1<f32>>> {
        let queries = matrix::<f32>("queries", queries)?;
        let rows = self.expect_width(&queries)?;
        let (offsets, items) = (vector::<i64>("offsets", offsets)?, vector::<i32>("items", items)?);
        let pairs = ragged("scores_at", "items", &offsets, &items, self.0.n_items())?
            .expect_rows("scores_at", "offsets", rows)
            .map_err(to_python)?;
        let queries = queries.as_slice()?;
        let scores = py.detach(|| self.0.scores_at(queries, pairs)).map_err(to_python)?;
        Ok(scores.into_pyarray(py))
    }
}

impl ItemIndex {
    /// The rows of queries that fit the index.
    fn expect_width(&self, queries: &numpy::PyReadonlyArray2<'_, f32>) -> PyResult<usize> {
        let (rows, width) = shape(queries);
        if width == self.0.width() {
            return Ok(rows);
        }
        let wanted = self.0.width();
        Err(PyValueError::new_err(format!(
            "queries have {width} columns, expected {wanted}, the index's width"
        )))
    }
}

/// The instruction set that the kernels use.
#[pyfunction]
pub fn isa() -> PyResult<&'static str> {
    Isa::current().map(Isa::name).map_err(to_python)
}

/// The number of threads of this process's pool.
#[pyfunction]
pub fn threads(py: Python<'_>) -> PyResult<usize> {
    py.detach(pool::threads).map_err(to_python)
}

fn slice<'a, T: numpy::Element>(array: &'a Option<PyReadonlyArray1<'_, T>>) -> PyResult<Option<&'a [T]>> {
    Ok(array.as_ref().map(|array| array.as_slice()).transpose()?)
}
