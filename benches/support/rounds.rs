//! Rounds in which every peer has its turn, so that what disturbs one disturbs all.

/// What each peer came to in each round.
pub(crate) struct Rounds {
    peers: Vec<Vec<f64>>,
}

impl Rounds {
    pub(crate) fn new(peers: usize) -> Self {
        Self {
            peers: vec![Vec::new(); peers],
        }
    }

    /// The peers in their order for the next round: forth in one, back in the next.
    pub(crate) fn order(&self) -> Vec<usize> {
        let mut order: Vec<_> = (0..self.peers.len()).collect();
        if self.peers[0].len() % 2 == 1 {
            order.reverse();
        }
        order
    }

    pub(crate) fn add(&mut self, peer: usize, value: f64) {
        self.peers[peer].push(value);
    }

    pub(crate) fn median(&self, peer: usize) -> f64 {
        median(self.peers[peer].clone())
    }

    /// The median over the rounds of one peer's value against another's in the same round.
    pub(crate) fn ratio(&self, peer: usize, to: usize) -> f64 {
        self.paired(peer, to, |a, b| a / b)
    }

    /// The same for what one peer has more than the other.
    pub(crate) fn difference(&self, peer: usize, to: usize) -> f64 {
        self.paired(peer, to, |a, b| a - b)
    }

    fn paired(&self, peer: usize, to: usize, compare: fn(f64, f64) -> f64) -> f64 {
        let pairs = self.peers[peer].iter().zip(&self.peers[to]);
        median(pairs.map(|(&a, &b)| compare(a, b)).collect())
    }
}

pub(crate) fn median(values: Vec<f64>) -> f64 {
    quantile(values, 0.5)
}

pub(crate) fn quantile(mut values: Vec<f64>, at: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1) as f64;
    values
        .get((last * at).round() as usize)
        .copied()
        .unwrap_or(f64::NAN)
}
