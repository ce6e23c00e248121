//! Random streams that depend on what is drawn, never on the order of execution.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// A seed for the draw `id` of a run with seed `run_seed`: equal inputs give equal seeds on every machine.
pub fn seed(run_seed: u64, id: &str) -> u64 {
    // FNV-1a over the id, then two rounds of SplitMix64's finaliser to spread the bits of both.
    let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    mix(mix(hash).wrapping_add(run_seed))
}

/// The generator for the draw `id` of a run with seed `run_seed`.
pub fn rng(run_seed: u64, id: &str) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed(run_seed, id))
}

fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::seed;

    #[test]
    fn seeds_depend_on_both_parts() {
        assert_eq!(seed(1, "a/1"), seed(1, "a/1"));
        let all = [seed(0, "a"), seed(1, "a"), seed(0, "b"), seed(1, "b"), seed(0, ""), seed(0, "aa")];
        let mut distinct = all.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), all.len());
    }
}
