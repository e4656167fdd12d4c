//! The item-item member.

use metarec_core::Ragged;
use metarec_core::item_item::{Boosts, NeighbourTable, Neighbours, Table, neighbours as core_neighbours};
use metarec_core::solve::Events;
use numpy::PyArray1;
use pyo3::prelude::*;

use crate::arrays;
use crate::errors::to_python;

/// (offsets i64[rows + 1], items i32[o], values f32[o])
type Sparse<'py> = (Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<i32>>, Bound<'py, PyArray1<f32>>);

/// The best neighbours of each item by shrunk cosine, symmetric or within a window after it.
#[pyfunction]
#[pyo3(signature = (offsets, items, n_items, neighbours, shrinkage, window = None))]
pub fn item_knn<'py>(
    py: Python<'py>,
    offsets: &Bound<'py, PyAny>,
    items: &Bound<'py, PyAny>,
    n_items: usize,
    neighbours: usize,
    shrinkage: f32,
    window: Option<usize>,
) -> PyResult<Sparse<'py>> {
    let offsets = arrays::vector::<i64>("offsets", offsets)?;
    let items = arrays::vector::<i32>("items", items)?;
    let (offsets, items) = (offsets.as_slice()?, items.as_slice()?);
    let options = Neighbours { most: neighbours, shrinkage, window };
    let table = py.detach(|| {
        let rows = Ragged::new("item_knn", "histories", offsets, items, n_items)?;
        core_neighbours(rows, n_items, options)
    });
    Ok(wrap(py, table.map_err(to_python)?))
}

/// A checked table of neighbours, asked for what histories add up to.
#[pyclass(frozen, module = "metarec_sdk._core")]
pub struct ItemNeighbours {
    table: NeighbourTable,
}

#[pymethods]
impl ItemNeighbours {
    #[new]
    fn new(
        py: Python<'_>,
        offsets: &Bound<'_, PyAny>,
        items: &Bound<'_, PyAny>,
        values: &Bound<'_, PyAny>,
    ) -> PyResult<Self> {
        let offsets = arrays::vector::<i64>("neighbour_offsets", offsets)?;
        let items = arrays::vector::<i32>("neighbour_items", items)?;
        let values = arrays::vector::<f32>("neighbour_values", values)?;
        let (offsets, items, values) = (offsets.as_slice()?, items.as_slice()?, values.as_slice()?);
        let table = py.detach(|| NeighbourTable::new(offsets.to_vec(), items.to_vec(), values.to_vec()));
        Ok(Self { table: table.map_err(to_python)? })
    }

    /// What each history adds up to in the table.
    #[pyo3(signature = (offsets, items, weights, root = false))]
    fn boosts<'py>(
        &self,
        py: Python<'py>,
        offsets: &Bound<'py, PyAny>,
        items: &Bound<'py, PyAny>,
        weights: &Bound<'py, PyAny>,
        root: bool,
    ) -> PyResult<Sparse<'py>> {
        const OPERATION: &str = "item_item_boosts";
        let offsets = arrays::vector::<i64>("offsets", offsets)?;
        let items = arrays::vector::<i32>("items", items)?;
        let weights = arrays::vector::<f32>("weights", weights)?;
        let (offsets, items, weights) = (offsets.as_slice()?, items.as_slice()?, weights.as_slice()?);
        let form = if root { Boosts::Root } else { Boosts::Sum };
        let result = py.detach(|| {
            let rows = Ragged::new(OPERATION, "histories", offsets, items, self.table.n_items())?;
            self.table.boosts(Events::new(OPERATION, rows, weights, None)?, form)
        });
        Ok(wrap(py, result.map_err(to_python)?))
    }
}

fn wrap(py: Python<'_>, (offsets, items, values): Table) -> Sparse<'_> {
    (PyArray1::from_vec(py, offsets), PyArray1::from_vec(py, items), PyArray1::from_vec(py, values))
}
