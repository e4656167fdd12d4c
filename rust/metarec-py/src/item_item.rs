//! The item-item member.

use metarec_core::Ragged;
use metarec_core::item_item::{Boosts, Neighbours, Table, boosts, neighbours as core_neighbours};
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

/// What each history adds up to in the table of neighbours.
#[pyfunction]
#[pyo3(signature = (offsets, items, weights, neighbour_offsets, neighbour_items, neighbour_values, root = false))]
#[allow(clippy::too_many_arguments, reason = "two sparse tables, spelled out as arrays")]
pub fn item_item_boosts<'py>(
    py: Python<'py>,
    offsets: &Bound<'py, PyAny>,
    items: &Bound<'py, PyAny>,
    weights: &Bound<'py, PyAny>,
    neighbour_offsets: &Bound<'py, PyAny>,
    neighbour_items: &Bound<'py, PyAny>,
    neighbour_values: &Bound<'py, PyAny>,
    root: bool,
) -> PyResult<Sparse<'py>> {
    let offsets = arrays::vector::<i64>("offsets", offsets)?;
    let items = arrays::vector::<i32>("items", items)?;
    let weights = arrays::vector::<f32>("weights", weights)?;
    let table_offsets = arrays::vector::<i64>("neighbour_offsets", neighbour_offsets)?;
    let table_items = arrays::vector::<i32>("neighbour_items", neighbour_items)?;
    let table_values = arrays::vector::<f32>("neighbour_values", neighbour_values)?;
    let (offsets, items, weights) = (offsets.as_slice()?, items.as_slice()?, weights.as_slice()?);
    let (table_offsets, table_items) = (table_offsets.as_slice()?, table_items.as_slice()?);
    let values = table_values.as_slice()?;
    let form = if root { Boosts::Root } else { Boosts::Sum };
    let result = py.detach(|| {
        let n_items = table_offsets.len().saturating_sub(1);
        let table = Ragged::new("item_item_boosts", "neighbour_items", table_offsets, table_items, n_items)?;
        let rows = Ragged::new("item_item_boosts", "histories", offsets, items, n_items)?;
        boosts(Events::new("item_item_boosts", rows, weights, None)?, table, values, form)
    });
    Ok(wrap(py, result.map_err(to_python)?))
}

fn wrap(py: Python<'_>, (offsets, items, values): Table) -> Sparse<'_> {
    (PyArray1::from_vec(py, offsets), PyArray1::from_vec(py, items), PyArray1::from_vec(py, values))
}
