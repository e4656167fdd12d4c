//! A call that admits few items: they are gathered first, so that a large batch doesn't score the others.

use super::request::{Boosts, Request, TaskBias};
use super::{ItemIndex, Lists, lists, panels};
use crate::{Ragged, Result};

/// Rows from which gathering pays: below, reading the panels once more costs as much as scanning them.
const ROWS: usize = 16;
/// Gather where at most one item in this many is admitted.
const SPARSITY: usize = 3;

/// The admitted items, ascending, where it is worthwhile to gather them.
pub fn worthwhile(request: &Request<'_>, n_items: usize, admits: impl Fn(usize) -> bool) -> Option<Vec<u32>> {
    if request.rows < ROWS {
        return None;
    }
    let most = n_items / SPARSITY;
    let chosen: Vec<u32> =
        (0..n_items).filter(|&item| admits(item)).take(most + 1).map(|item| item as u32).collect();
    (chosen.len() <= most).then_some(chosen)
}

impl ItemIndex {
    /// [`ItemIndex::topk`] of a checked request among the chosen items alone; the packed order is the items'
    /// own, so that ties fall the same way.
    pub(super) fn topk_of_subset(&self, request: &Request<'_>, chosen: &[u32]) -> Result<Lists> {
        let value = |position: usize| {
            let item = chosen[position] as usize;
            self.bias[item / panels::LANES].0[item % panels::LANES]
        };
        let index = Self {
            panels: self.panels.gather(chosen),
            bias: panels::pack_values(chosen.len(), f32::NEG_INFINITY, value),
            ..*self
        };
        let positions = Positions::new(chosen, self.n_items());
        let exclude = request.exclude.map(|rows| positions.translate(rows, &[]));
        let boosts = request.boosts.map(|boosts| positions.translate(boosts.items, boosts.added));
        let task_bias = request.task_bias.map(|bias| GatheredBias::new(bias, chosen, self.n_items()));
        let narrowed = Request {
            exclude: exclude.as_ref().map(|rows| rows.ragged(chosen.len())).transpose()?,
            boosts: match &boosts {
                Some(rows) => Some(Boosts { items: rows.ragged(chosen.len())?, added: &rows.values }),
                None => None,
            },
            task_bias: task_bias.as_ref().map(|bias| TaskBias { values: &bias.values, tasks: &bias.tasks }),
            allow: None,
            deny: None,
            ..*request
        };
        let runs = [(0, index.panels.count())];
        let mut found = lists(index.search(&narrowed, &index.bias, &runs)?);
        found.items.iter_mut().for_each(|item| *item = chosen[*item as usize].into());
        Ok(found)
    }
}

/// Where each item stands among the chosen ones.
struct Positions(Vec<i32>);

impl Positions {
    fn new(chosen: &[u32], n_items: usize) -> Self {
        let mut positions = vec![-1; n_items];
        for (position, &item) in chosen.iter().enumerate() {
            positions[item as usize] = position as i32;
        }
        Self(positions)
    }

    /// The rows without the items that aren't chosen; `values` is parallel to the items, or empty.
    fn translate(&self, rows: Ragged<'_>, values: &[f32]) -> Rows {
        let mut translated = Rows { offsets: vec![0], items: Vec::new(), values: Vec::new() };
        for row in 0..rows.len() {
            for place in rows.range(row) {
                let position = self.0[rows.items()[place] as usize];
                if position >= 0 {
                    translated.items.push(position);
                    translated.values.extend(values.get(place));
                }
            }
            translated.offsets.push(translated.items.len() as i64);
        }
        translated
    }
}

struct Rows {
    offsets: Vec<i64>,
    items: Vec<i32>,
    values: Vec<f32>,
}

impl Rows {
    fn ragged(&self, n_items: usize) -> Result<Ragged<'_>> {
        Ragged::new("topk", "subset", &self.offsets, &self.items, n_items)
    }
}

/// The used tasks' bias of the chosen items, tasks renumbered.
struct GatheredBias {
    values: Vec<f32>,
    tasks: Vec<i32>,
}

impl GatheredBias {
    fn new(bias: TaskBias<'_>, chosen: &[u32], n_items: usize) -> Self {
        let used = bias.used();
        let mut values = Vec::with_capacity(used.len() * chosen.len());
        for &task in &used {
            let row = &bias.values[task * n_items..][..n_items];
            values.extend(chosen.iter().map(|&item| row[item as usize]));
        }
        let renumbered = |&task: &i32| match usize::try_from(task) {
            Ok(task) => used.partition_point(|&other| other < task) as i32,
            Err(_) => -1,
        };
        Self { values, tasks: bias.tasks.iter().map(renumbered).collect() }
    }
}
