//! The item matrix in the order in which the kernels read it.

use super::kernel::pages::prefer_huge;

/// Items side by side in a panel: one per lane.
pub const LANES: usize = 16;

/// One value for each item of a panel, aligned to a cache line.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C, align(64))]
pub struct Lanes(pub [f32; LANES]);

impl Lanes {
    /// Bit `l` says that lane `l` exceeds the floor.
    pub fn above(&self, floor: f32) -> u16 {
        self.0.iter().rev().fold(0, |bits, &value| bits << 1 | u16::from(value > floor))
    }
}

/// Items packed [`LANES`] to a panel, dimension after dimension, so that a vector register holds one dimension
/// of several items. A score is then one chain of fused multiply-adds in its own lane, whose order doesn't
/// depend on register width, batch or threads.
#[derive(Debug, Clone)]
pub struct Panels {
    lanes: Vec<Lanes>,
    n_items: usize,
    width: usize,
}

impl Panels {
    /// Pack the rows `source(0) … source(n_items - 1)`, each of `width` values; the last panel is filled up
    /// with zeros.
    pub fn pack<'a>(n_items: usize, width: usize, source: impl Fn(usize) -> &'a [f32]) -> Self {
        Self::build(n_items, width, |item, lane, panel| {
            for (slot, &value) in panel.iter_mut().zip(source(item)) {
                slot.0[lane] = value;
            }
        })
    }

    /// The given items of these panels, packed anew in that order.
    pub fn gather(&self, items: &[u32]) -> Self {
        Self::build(items.len(), self.width, |position, lane, panel| {
            let (source, from) = self.column(items[position] as usize);
            for (slot, lanes) in panel.iter_mut().zip(source) {
                slot.0[lane] = lanes.0[from];
            }
        })
    }

    /// Panels whose every item is written by `write(item, its lane, its panel)`.
    fn build(n_items: usize, width: usize, write: impl Fn(usize, usize, &mut [Lanes])) -> Self {
        let size = n_items.div_ceil(LANES) * width;
        let mut lanes = Vec::with_capacity(size);
        prefer_huge(lanes.spare_capacity_mut());
        for first in (0..n_items).step_by(LANES) {
            let start = lanes.len();
            lanes.resize(start + width, Lanes([0.0; LANES])); // in the first-level cache when written again
            for item in first..n_items.min(first + LANES) {
                write(item, item - first, &mut lanes[start..]);
            }
        }
        Self { lanes, n_items, width }
    }

    /// The panel of an item and its lane there.
    pub fn column(&self, item: usize) -> (&[Lanes], usize) {
        (&self.lanes[item / LANES * self.width..][..self.width], item % LANES)
    }

    /// `count` whole panels from panel `first` on, `width` lanes each.
    pub fn slice(&self, first: usize, count: usize) -> &[Lanes] {
        &self.lanes[first * self.width..(first + count) * self.width]
    }

    /// Items.
    pub fn n_items(&self) -> usize {
        self.n_items
    }

    /// Dimensions.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Panels, the last of which may be partly filled.
    pub fn count(&self) -> usize {
        self.n_items.div_ceil(LANES)
    }
}

/// One value an item in lanes; the lanes past the end get `filler`.
pub fn pack_values(n_items: usize, filler: f32, value: impl Fn(usize) -> f32) -> Vec<Lanes> {
    let lane = |item: usize| if item < n_items { value(item) } else { filler };
    (0..n_items.div_ceil(LANES))
        .map(|panel| Lanes(std::array::from_fn(|lane_index| lane(panel * LANES + lane_index))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lands_in_its_lane() {
        let matrix: Vec<f32> = (0..19 * 3).map(|value| value as f32).collect();
        let panels = Panels::pack(19, 3, |item| &matrix[item * 3..][..3]);
        assert_eq!(panels.count(), 2);
        for item in 0..19 {
            let (panel, lane) = panels.column(item);
            let row: Vec<f32> = panel.iter().map(|lanes| lanes.0[lane]).collect();
            assert_eq!(row, matrix[item * 3..][..3]);
        }
        assert_eq!(panels.slice(1, 1)[2].0[3..], [0.0; 13]);
        let chosen = panels.gather(&[18, 2]);
        assert_eq!((chosen.n_items(), chosen.count()), (2, 1));
        assert_eq!(chosen.slice(0, 1)[1].0[..3], [matrix[18 * 3 + 1], matrix[2 * 3 + 1], 0.0]);
    }
}
