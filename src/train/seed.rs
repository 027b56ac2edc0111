//! Randomness without a history.

/// A seed that depends on all of `words` and on nothing else: SplitMix64 (Steele, Lea and Flood 2014) over each
/// word in turn, so that step *k*'s dropout needs no memory of the steps before.
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
        let seeds = [mix(&[1, 2]), mix(&[2, 1]), mix(&[1, 3]), mix(&[1]), mix(&[1, 2, 0])];
        for (i, a) in seeds.iter().enumerate() {
            assert!(seeds[i + 1..].iter().all(|b| a != b));
        }
        assert_eq!(mix(&[7, 9]), mix(&[7, 9]));
    }
}
