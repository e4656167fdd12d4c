//! Sixty-four items at a time, packed from the rows where they are into the order in which the kernels read.

use super::super::kernel::{BLOCK, LANES, Lanes, PANELS};
use super::super::request::Request;
use super::super::view::View;

/// The items of a scan, ascending.
#[derive(Debug, Clone)]
pub enum Chosen<'a> {
    /// All of them, so many.
    All(usize),
    /// These.
    These(&'a [u32]),
}

impl Chosen<'_> {
    /// How many items.
    pub fn len(&self) -> usize {
        match self {
            Self::All(count) => *count,
            Self::These(ids) => ids.len(),
        }
    }

    /// Chunks of them, the last of which may be partly filled.
    pub fn chunks(&self) -> usize {
        self.len().div_ceil(BLOCK)
    }

    /// The item at a place.
    pub fn at(&self, place: usize) -> u32 {
        match self {
            Self::All(_) => place as u32,
            Self::These(ids) => ids[place],
        }
    }
}

/// Packed items with their biases; the lanes past the last item score −∞.
pub struct Chunk {
    /// The items of the filled lanes.
    pub ids: Vec<u32>,
    panels: Vec<Lanes>,
    bias: [Lanes; PANELS],
    /// f32[used tasks, BLOCK].
    task_bias: Vec<f32>,
    width: usize,
}

const EMPTY: Lanes = Lanes([f32::NEG_INFINITY; LANES]);
const ZEROS: [f32; BLOCK] = [0.0; BLOCK];

impl Chunk {
    /// Room for one.
    pub fn new(width: usize) -> Self {
        let panels = vec![Lanes([0.0; LANES]); PANELS * width];
        Self { ids: Vec::with_capacity(BLOCK), panels, bias: [EMPTY; PANELS], task_bias: Vec::new(), width }
    }

    /// Pack chunk `index` of the chosen items; `tasks` are the ones that the request uses.
    pub fn fill(
        &mut self,
        view: &View<'_>,
        request: &Request<'_>,
        chosen: &Chosen<'_>,
        index: usize,
        tasks: &[usize],
    ) {
        let last = chosen.len().min((index + 1) * BLOCK);
        self.ids.clear();
        self.ids.extend((index * BLOCK..last).map(|place| chosen.at(place)));
        self.task_bias.clear();
        self.task_bias.resize(tasks.len() * BLOCK, 0.0);
        for (panel, ids) in self.ids.chunks(LANES).enumerate() {
            let items: [_; LANES] = std::array::from_fn(|lane| view.item(*ids.get(lane).unwrap_or(&ids[0])));
            view.kernels()
                .pack(&items.map(|item| item.values), &mut self.panels[panel * self.width..][..self.width]);
            self.bias[panel] = Lanes(std::array::from_fn(|lane| match ids.get(lane) {
                Some(&id) => {
                    request.bias.map_or_else(|| items[lane].item_bias(), |bias| bias[id as usize] + 0.0)
                }
                None => f32::NEG_INFINITY,
            }));
            for (position, &task) in tasks.iter().enumerate() {
                let target = &mut self.task_bias[position * BLOCK + panel * LANES..][..LANES];
                for (value, item) in target.iter_mut().zip(&items) {
                    *value = item.task_bias(task);
                }
            }
        }
    }

    /// Panels with at least one item.
    pub fn filled(&self) -> usize {
        self.ids.len().div_ceil(LANES)
    }

    /// `count` panels from panel `first` on.
    pub fn panels(&self, first: usize, count: usize) -> &[Lanes] {
        &self.panels[first * self.width..(first + count) * self.width]
    }

    /// Their items' bias.
    pub fn bias(&self, first: usize, count: usize) -> &[Lanes] {
        &self.bias[first..first + count]
    }

    /// Their bias for a used task, by its position among them; zeros for none.
    pub fn task_bias(&self, task: Option<usize>, first: usize, count: usize) -> &[f32] {
        let lanes = first * LANES..(first + count) * LANES;
        task.map_or(&ZEROS[lanes.clone()], |task| &self.task_bias[task * BLOCK..][lanes])
    }
}
