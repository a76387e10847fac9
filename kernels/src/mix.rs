//! The 64-bit mixing function behind stamps, checksums and random weights; `mix.cuh` is its GPU twin.

/// SplitMix64: one step of the generator, then its finaliser (Steele, Lea, Flood, OOPSLA 2014).
pub fn mix64(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_draws_are_those_of_splitmix64() {
        // Known answers of SplitMix64 seeded with 0: each draw adds the increment once more.
        let increment = 0x9e37_79b9_7f4a_7c15_u64;
        let draws: Vec<u64> = (0..3).map(|i| mix64(increment.wrapping_mul(i))).collect();
        assert_eq!(
            draws,
            [
                0xe220_a839_7b1d_cdaf,
                0x6e78_9e6a_a1b9_65f4,
                0x06c4_5d18_8009_454f
            ]
        );
    }
}
