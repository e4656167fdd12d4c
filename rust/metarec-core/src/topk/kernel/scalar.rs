//! The reference: one plain chain per score.

use super::{Block, CHAINS, LANES, Lanes, Scores};

super::table!(panels, pairs);

fn panels<const U: usize, const P: usize>(block: &Block<'_>, scores: &mut Scores) -> u32 {
    let width = block.panels.len() / P;
    let mut hits = 0;
    for user in 0..U {
        for panel in 0..P {
            let mut sums = [0.0_f32; LANES];
            for (k, item) in block.panels[panel * width..][..width].iter().enumerate() {
                let query = block.queries[k * U + user];
                for (sum, &item) in sums.iter_mut().zip(&item.0) {
                    *sum = query.mul_add(item, *sum);
                }
            }
            let mut above = 0;
            for (lane, sum) in sums.iter_mut().enumerate() {
                *sum += block.bias[panel].0[lane];
                if let Some(extra) = block.extra {
                    *sum += extra[user][panel * LANES + lane];
                }
                above |= u16::from(*sum > block.floors[user]) << lane;
            }
            hits |= u32::from(above != 0) << user;
            scores.above[user * P + panel] = above;
            scores.lanes[user * P + panel] = Lanes(sums);
        }
    }
    hits
}

fn pairs(pairs: &[(&[f32], &[Lanes], usize); CHAINS]) -> [f32; CHAINS] {
    pairs.map(|(query, panel, lane)| {
        query.iter().zip(panel).fold(0.0, |sum, (query, item)| query.mul_add(item.0[lane], sum))
    })
}
