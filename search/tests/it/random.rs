//! Numbers as good as random, from a seed.

/// SplitMix64 of Steele, Lea, and Flood, 2014.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// As many as there are to choose from.
    pub(crate) fn index(&mut self, count: usize) -> usize {
        usize::try_from(self.below(count as u64)).unwrap()
    }
}

/// How many seeds are tried: as many as somebody says who has the time, or so many.
pub(crate) fn seeds_or(few: u64) -> u64 {
    let some = std::env::var("NEXUS_SINK_SEEDS").map_or(few, |it| it.parse().expect("a number"));
    assert!(some >= few, "fewer show too little");
    some
}
