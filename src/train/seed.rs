//! Randomness without a history.

/// A seed that depends on all of `words`, their order and nothing else: the finaliser of SplitMix64 (Steele, Lea
/// and Flood, "Fast splittable pseudorandom number generators", 2014) over each word in turn. So step *k*'s
/// dropout needs no memory of the steps before it.
pub fn mix(words: &[u64]) -> u64 {
    words.iter().fold(0x9e37_79b9_7f4a_7c15, |state, word| {
        let mut z = (state ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

#[cfg(test)]
mod tests {
    use super::mix;

    #[test]
    fn every_word_and_its_place_matter() {
        let seeds = [mix(&[]), mix(&[1, 2]), mix(&[2, 1]), mix(&[1, 3]), mix(&[1]), mix(&[1, 2, 0])];
        for (i, a) in seeds.iter().enumerate() {
            assert!(seeds[i + 1..].iter().all(|b| a != b), "{seeds:x?}");
        }
    }

    #[test]
    fn the_seeds_of_neighbouring_steps_share_no_pattern() {
        // Half of the 64 bits of a good mixer change from one step to the next.
        let changed: u32 = (0..1000).map(|step| (mix(&[7, step]) ^ mix(&[7, step + 1])).count_ones()).sum();
        assert!((31_000..33_000).contains(&changed), "{changed} of 64000 bits change");
    }
}
