//! Random values of a seed, fast enough to draw matrices where nothing is optimised away.

/// xorshift64* (Vigna, An experimental exploration of Marsaglia's xorshift generators, scrambled, 2016).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Of a seed, stirred so that neighbouring ones start far apart (Steele, Lea and Flood, Fast splittable
    /// pseudorandom number generators, 2014).
    pub fn new(seed: u64) -> Self {
        let state = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let state = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        Self((state ^ state >> 27).wrapping_mul(0x94d0_49bb_1331_11eb) | 1)
    }

    /// 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// In 0 .. bound.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound
    }

    /// In -1 .. 1.
    pub fn uniform(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    /// Nearly normal.
    pub fn normal(&mut self) -> f32 {
        (0..4).map(|_| self.uniform()).sum::<f32>() * 0.87
    }

    /// Student's t with two degrees of freedom, whose variance is infinite, by its quantile function.
    pub fn heavy(&mut self) -> f32 {
        let place = self.uniform();
        place * (2.0 / (1.0 - place * place).max(1e-7)).sqrt()
    }

    /// So many values.
    pub fn vector(&mut self, count: usize, mut value: impl FnMut(&mut Self) -> f32) -> Vec<f32> {
        (0..count).map(|_| value(self)).collect()
    }

    /// A power of ten.
    pub fn magnitude(&mut self, least: i32, most: i32) -> f32 {
        10.0_f64.powi(least + self.below((most - least + 1) as usize) as i32) as f32
    }
}
