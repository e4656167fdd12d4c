//! The reference: one plain chain per score, one plain sum per quantised item.

use super::{Block, CHAINS, Hits, LANES, Lanes, Line, PANELS, Quantised, Query, ScanTable, Scores, Table};

pub(super) static TABLE: Table = Table {
    panels: super::exact_table!(panels),
    rows,
    pack,
    int8: ScanTable { query: |_| Query::Bytes(127), by_users: &[int8::<1>, int8::<2>, int8::<3>, int8::<4>] },
    int4: ScanTable { query: |_| Query::Bytes(127), by_users: &[int4::<1>, int4::<2>, int4::<3>, int4::<4>] },
    bf16: ScanTable { query: |_| Query::Floats, by_users: &[bf16::<1>, bf16::<2>, bf16::<3>, bf16::<4>] },
    levels: 127,
    offset: 0,
    share: 8,
    fewest: 2048,
};

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

fn rows(query: &[f32], rows: &[&[f32]; CHAINS]) -> [f32; CHAINS] {
    rows.map(|row| query.iter().zip(row).fold(0.0, |sum, (query, item)| query.mul_add(*item, sum)))
}

fn pack(rows: &[&[f32]; LANES], panel: &mut [Lanes]) {
    for (k, lanes) in panel.iter_mut().enumerate() {
        *lanes = Lanes(rows.map(|row| row[k]));
    }
}

fn int8<const U: usize>(block: &Quantised<'_>, hits: &mut Hits) -> u32 {
    scan::<U>(block, hits, |user, panel, lane| {
        panel.iter().enumerate().fold(block.starts[user], |sum, (k, line)| {
            sum + products(block.queries[k * U + user], line.0[lane].map(i32::from))
        })
    })
}

fn int4<const U: usize>(block: &Quantised<'_>, hits: &mut Hits) -> u32 {
    scan::<U>(block, hits, |user, panel, lane| {
        panel.iter().enumerate().fold(block.starts[user], |sum, (k, line)| {
            let [low, high] = [0, 1].map(|word| block.queries[(2 * k + word) * U + user]);
            let bytes = line.0[lane];
            sum + products(low, bytes.map(|byte| i32::from(byte & 15)))
                + products(high, bytes.map(|byte| i32::from(byte >> 4)))
        })
    })
}

fn bf16<const U: usize>(block: &Quantised<'_>, hits: &mut Hits) -> u32 {
    let float = |bits: i32| f32::from_bits(bits as u32);
    let mut any = 0;
    for user in 0..U {
        let mut mask = 0;
        for (item, (panel, lane)) in lanes(block.lines).enumerate() {
            let sum = panel.iter().enumerate().fold(0.0_f32, |sum, (k, line)| {
                let [a, b, c, d] = line.0[lane];
                let [low, high] =
                    [[a, b], [c, d]].map(|half| float(i32::from(u16::from_le_bytes(half)) << 16));
                let sum = float(block.queries[2 * k * U + user]).mul_add(low, sum);
                float(block.queries[(2 * k + 1) * U + user]).mul_add(high, sum)
            });
            mask |= u64::from(sum >= float(block.thresholds[user])) << item;
            hits.sums[user][item] = sum.to_bits() as i32;
        }
        hits.masks[user] = mask;
        any |= u32::from(mask != 0) << user;
    }
    any
}

fn scan<const U: usize>(
    block: &Quantised<'_>,
    hits: &mut Hits,
    sum: impl Fn(usize, &[Line], usize) -> i32,
) -> u32 {
    let mut any = 0;
    for user in 0..U {
        let mut mask = 0;
        for (item, (panel, lane)) in lanes(block.lines).enumerate() {
            let sum = sum(user, panel, lane);
            mask |= u64::from(sum >= block.thresholds[user]) << item;
            hits.sums[user][item] = sum;
        }
        hits.masks[user] = mask;
        any |= u32::from(mask != 0) << user;
    }
    any
}

/// Every item of a block as its panel and lane.
fn lanes(lines: &[Line]) -> impl Iterator<Item = (&[Line], usize)> {
    let width = lines.len() / PANELS;
    (0..PANELS).flat_map(move |panel| (0..LANES).map(move |lane| (&lines[panel * width..][..width], lane)))
}

fn products(query: i32, items: [i32; 4]) -> i32 {
    query.to_le_bytes().iter().zip(items).map(|(&query, item)| i32::from(query as i8) * item).sum()
}
