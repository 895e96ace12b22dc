//! Tells of most names that they are in none of the files of a day, without reading one.
//!
//! A Bloom filter in blocks of a cache line (Putze, Sanders, Singler: "Cache-, Hash- and Space-Efficient
//! Bloom Filters", 2007). Its size is fixed: the more names, the more often it only says "maybe".

/// Blocks: 8 MiB. Of six million names one new one in a hundred is looked for in vain.
const BLOCKS: usize = 1 << 17;
const BLOCK_WORDS: usize = 8;
/// Bits of a block that a name sets, at most.
const BITS: usize = 4;
/// Spreads a name over the bits of its block; any odd number with many bits would do.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Names that may have been added.
#[derive(Debug)]
pub(super) struct NameFilter(Box<[[u64; BLOCK_WORDS]]>);

impl Default for NameFilter {
    fn default() -> Self {
        Self(vec![[0; BLOCK_WORDS]; BLOCKS].into())
    }
}

impl NameFilter {
    pub(super) fn add(&mut self, name: u64) {
        let block = &mut self.0[block_of(name)];
        bits_of(name).for_each(|(word, bit)| block[word] |= bit);
    }

    /// Whoever was added may be there; of others most are not.
    pub(super) fn may_have(&self, name: u64) -> bool {
        let block = &self.0[block_of(name)];
        bits_of(name).all(|(word, bit)| block[word] & bit != 0)
    }
}

/// Names are hashes, so their last bits say it as well as any.
fn block_of(name: u64) -> usize {
    usize::try_from(name % BLOCKS as u64).unwrap_or(0)
}

fn bits_of(name: u64) -> impl Iterator<Item = (usize, u64)> {
    let spread = name.wrapping_mul(SPREAD);
    (0..BITS).map(move |n| {
        // Nine bits each, from the top.
        let place = spread >> (55 - 9 * n) & 511;
        (usize::try_from(place / 64).unwrap_or(0), 1 << (place % 64))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(n: u64) -> u64 {
        // As a hash spreads them: the finalizer of splitmix64.
        let n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        n ^ n >> 31
    }

    #[test]
    fn nobody_who_was_added_is_missed_and_few_others_are_suspected() {
        let mut filter = NameFilter::default();
        (1..=1_000_000).map(name).for_each(|name| filter.add(name));
        assert!((1..=1_000_000).all(|n| filter.may_have(name(n))));
        let suspected = (2_000_000..2_100_000).filter(|n| filter.may_have(name(*n))).count();
        assert!(suspected < 200, "{suspected} of 100,000");
    }
}
