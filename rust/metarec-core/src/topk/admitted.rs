//! Which items a call may return at all.

use super::panels::{LANES, Lanes};

/// The admitted items of a scan, in the order of the panels.
pub struct Admitted {
    /// The items' bias, −∞ for those that may not come back; a score of −∞ never exceeds a floor.
    pub bias: Vec<Lanes>,
    /// Runs of panels `[first, last)` that hold at least one admitted item.
    pub runs: Vec<(usize, usize)>,
}

impl Admitted {
    /// Combine the masks with the packed bias of an index.
    pub fn new(bias: &[Lanes], admits: impl Fn(usize) -> bool, n_items: usize) -> Self {
        let mut filtered = bias.to_vec();
        let mut runs: Vec<(usize, usize)> = Vec::new();
        for (panel, lanes) in filtered.iter_mut().enumerate() {
            let mut any = false;
            for lane in 0..LANES.min(n_items - panel * LANES) {
                if admits(panel * LANES + lane) {
                    any = true;
                } else {
                    lanes.0[lane] = f32::NEG_INFINITY;
                }
            }
            if any {
                match runs.last_mut() {
                    Some(run) if run.1 == panel => run.1 += 1,
                    _ => runs.push((panel, panel + 1)),
                }
            }
        }
        Self { bias: filtered, runs }
    }
}
