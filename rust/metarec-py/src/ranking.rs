//! The binding of top-K.

use std::path::PathBuf;

use metarec_core::isa::Isa;
use metarec_core::topk::{Biases, Boosts, Options, Path, Precision, Request};
use metarec_core::{pool, topk};
use numpy::{IntoPyArray, PyArray1, PyArray2, PyReadonlyArray1, PyReadonlyArray2, prelude::*};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::arrays::{matrix, optional_matrix, optional_vector, ragged, shape, vector};
use crate::errors::to_python;

/// An index over an item matrix that stays where it is. The matrix is borrowed again for every call, so that no
/// reference outlives the array.
#[pyclass(frozen, module = "metarec_sdk._core")]
pub struct ItemIndex {
    index: topk::ItemIndex,
    /// The matrix that the index was built over; `None` for a loaded index, which has its rows in a file.
    matrix: Option<Py<PyArray2<f32>>>,
}

type Lists<'py> = (Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<f32>>);
type Pair<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>);
type Triple<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>, Bound<'py, PyAny>);

#[pymethods]
impl ItemIndex {
    #[new]
    #[pyo3(signature = (matrix, bias=None, task_bias=None, planes=None))]
    fn new(
        py: Python<'_>,
        matrix: &Bound<'_, PyAny>,
        bias: Option<&Bound<'_, PyAny>>,
        task_bias: Option<&Bound<'_, PyAny>>,
        planes: Option<Vec<String>>,
    ) -> PyResult<Self> {
        let rows = self::matrix::<f32>("matrix", matrix)?;
        let (n_items, width) = shape(&rows);
        let given = GivenBiases::new(bias, task_bias, n_items)?;
        let planes = planes.map(|names| names.iter().map(|name| plane(name)).collect()).transpose()?;
        let options = Options { planes, isa: None };
        let (values, biases) = (rows.as_slice()?, given.biases()?);
        let index = py
            .detach(|| topk::ItemIndex::new(values, n_items, width, biases, &options))
            .map_err(to_python)?;
        Ok(Self { index, matrix: Some(matrix.cast::<PyArray2<f32>>()?.clone().unbind()) })
    }

    /// Map a saved index into memory.
    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf, verify: bool) -> PyResult<Self> {
        let index = py.detach(|| topk::ItemIndex::load(&path, verify, None)).map_err(to_python)?;
        Ok(Self { index, matrix: None })
    }

    /// Write the index and its rows to a file.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        let lent = self.lent(py)?;
        let rows = slice2(&lent)?;
        py.detach(|| self.index.over(rows)?.save(&path)).map_err(to_python)
    }

    /// A new version with more items.
    #[pyo3(signature = (rows, bias=None, task_bias=None))]
    fn append(
        &self,
        py: Python<'_>,
        rows: &Bound<'_, PyAny>,
        bias: Option<&Bound<'_, PyAny>>,
        task_bias: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let rows = self::matrix::<f32>("rows", rows)?;
        let count = self.expect_width("rows", &rows)?;
        let given = GivenBiases::new(bias, task_bias, count)?;
        let (values, biases) = (rows.as_slice()?, given.biases()?);
        let index = py.detach(|| self.index.append(values, count, biases)).map_err(to_python)?;
        Ok(self.with(py, index))
    }

    /// A new version in which some items have other rows.
    #[pyo3(signature = (items, rows, bias=None, task_bias=None))]
    fn replace(
        &self,
        py: Python<'_>,
        items: &Bound<'_, PyAny>,
        rows: &Bound<'_, PyAny>,
        bias: Option<&Bound<'_, PyAny>>,
        task_bias: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let items = vector::<u32>("items", items)?;
        let rows = self::matrix::<f32>("rows", rows)?;
        self.expect_width("rows", &rows)?;
        let given = GivenBiases::new(bias, task_bias, shape(&rows).0)?;
        let (ids, values, biases) = (items.as_slice()?, rows.as_slice()?, given.biases()?);
        let index = py.detach(|| self.index.replace(ids, values, biases)).map_err(to_python)?;
        Ok(self.with(py, index))
    }

    /// Number of items, n.
    #[getter]
    fn n_items(&self) -> usize {
        self.index.n_items()
    }

    /// Number of dimensions, d.
    #[getter]
    fn width(&self) -> usize {
        self.index.width()
    }

    /// Number of tasks with a bias of their own, C.
    #[getter]
    fn n_tasks(&self) -> usize {
        self.index.tasks()
    }

    /// The precisions of the quantised copies.
    #[getter]
    fn planes(&self) -> Vec<&'static str> {
        self.index.planes().iter().map(|&precision| Path::Certified(precision).name()).collect()
    }

    /// Bytes of the index, without the matrix that it was built over.
    #[getter]
    fn nbytes(&self) -> usize {
        self.index.bytes()
    }

    #[pyo3(signature = (
        queries, k, exclude=None, allow=None, deny=None, boosts=None, bias=None, tasks=None, path=None
    ))]
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
        bias: Option<&Bound<'py, PyAny>>,
        tasks: Option<&Bound<'py, PyAny>>,
        path: Option<&str>,
    ) -> PyResult<Lists<'py>> {
        let queries = matrix::<f32>("queries", queries)?;
        let rows = self.expect_width("queries", &queries)?;
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
        let bias = optional_vector::<f32>("bias", bias)?;
        let tasks = optional_vector::<i32>("tasks", tasks)?;

        let n_items = self.index.n_items();
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
            bias: slice(&bias)?,
            tasks: slice(&tasks)?,
            path: path.map(|name| Path::named("path", name)).transpose().map_err(to_python)?,
        };
        let lent = self.lent(py)?;
        let matrix = slice2(&lent)?;
        let found = py.detach(|| self.index.over(matrix)?.topk(&request)).map_err(to_python)?;
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
        let rows = self.expect_width("queries", &queries)?;
        let (offsets, items) = (vector::<i64>("offsets", offsets)?, vector::<i32>("items", items)?);
        let pairs = ragged("scores_at", "items", &offsets, &items, self.index.n_items())?
            .expect_rows("scores_at", "offsets", rows)
            .map_err(to_python)?;
        let queries = queries.as_slice()?;
        let lent = self.lent(py)?;
        let matrix = slice2(&lent)?;
        let scores = py.detach(|| self.index.over(matrix)?.scores_at(queries, pairs)).map_err(to_python)?;
        Ok(scores.into_pyarray(py))
    }
}

impl ItemIndex {
    /// The rows of an argument whose columns fit the index.
    fn expect_width(&self, argument: &str, rows: &PyReadonlyArray2<'_, f32>) -> PyResult<usize> {
        let (count, width) = shape(rows);
        if width == self.index.width() {
            return Ok(count);
        }
        let wanted = self.index.width();
        Err(PyValueError::new_err(format!(
            "{argument} have {width} columns, expected {wanted}, the index's width"
        )))
    }

    /// The matrix for the time of a call.
    fn lent<'py>(&self, py: Python<'py>) -> PyResult<Option<PyReadonlyArray2<'py, f32>>> {
        Ok(self.matrix.as_ref().map(|matrix| matrix.bind(py).try_readonly()).transpose()?)
    }

    /// Another version over the same matrix.
    fn with(&self, py: Python<'_>, index: topk::ItemIndex) -> Self {
        Self { index, matrix: self.matrix.as_ref().map(|matrix| matrix.clone_ref(py)) }
    }
}

/// The biases of some rows, borrowed.
struct GivenBiases<'py> {
    item: Option<PyReadonlyArray1<'py, f32>>,
    task: Option<PyReadonlyArray2<'py, f32>>,
}

impl<'py> GivenBiases<'py> {
    fn new(
        item: Option<&Bound<'py, PyAny>>,
        task: Option<&Bound<'py, PyAny>>,
        count: usize,
    ) -> PyResult<Self> {
        let item = optional_vector::<f32>("bias", item)?;
        let task = optional_matrix::<f32>("task_bias", task)?;
        if let Some(columns) = task.as_ref().map(|values| shape(values).1).filter(|&columns| columns != count)
        {
            return Err(PyValueError::new_err(format!(
                "task_bias has {columns} columns, expected {count}, one an item"
            )));
        }
        Ok(Self { item, task })
    }

    fn biases(&self) -> PyResult<Biases<'_>> {
        let task = match &self.task {
            Some(values) => Some((values.as_slice()?, shape(values).0)),
            None => None,
        };
        Ok(Biases { item: slice(&self.item)?, task })
    }
}

fn plane(name: &str) -> PyResult<Precision> {
    match Path::named("planes", name).map_err(to_python)? {
        Path::Certified(precision) => Ok(precision),
        Path::Fp32 => {
            Err(PyValueError::new_err("planes has 'fp32', expected bf16, int8 or int4; fp32 needs no copy"))
        }
    }
}

fn slice2<'a>(array: &'a Option<PyReadonlyArray2<'_, f32>>) -> PyResult<&'a [f32]> {
    Ok(array.as_ref().map(|array| array.as_slice()).transpose()?.unwrap_or(&[]))
}

/// The instruction set that the kernels use.
#[pyfunction]
pub fn isa() -> PyResult<&'static str> {
    Isa::current().map(Isa::name).map_err(to_python)
}

/// The instruction sets of this machine that have kernels, the best last.
#[pyfunction]
pub fn isas() -> Vec<&'static str> {
    Isa::available().into_iter().map(Isa::name).collect()
}

/// The number of threads of this process's pool.
#[pyfunction]
pub fn threads(py: Python<'_>) -> PyResult<usize> {
    py.detach(pool::threads).map_err(to_python)
}

fn slice<'a, T: numpy::Element>(array: &'a Option<PyReadonlyArray1<'_, T>>) -> PyResult<Option<&'a [T]>> {
    Ok(array.as_ref().map(|array| array.as_slice()).transpose()?)
}
