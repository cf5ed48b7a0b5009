use std::{collections::HashMap, hash::Hash};

/// A bounded memory of what came last: of two generations the older one goes when the younger one
/// is full.
pub(super) struct Remembered<K, V> {
    younger: HashMap<K, V>,
    older: HashMap<K, V>,
    generation: usize,
}

impl<K: Eq + Hash, V> Remembered<K, V> {
    /// Remembers at least this many, and at most twice as many.
    pub(super) fn new(generation: usize) -> Self {
        Self {
            younger: HashMap::new(),
            older: HashMap::new(),
            generation,
        }
    }

    pub(super) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: std::borrow::Borrow<Q>,
    {
        self.younger.get(key).or_else(|| self.older.get(key))
    }

    pub(super) fn put(&mut self, key: K, value: V) {
        if self.younger.len() >= self.generation && !self.younger.contains_key(&key) {
            self.older = std::mem::take(&mut self.younger);
        }
        self.younger.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_remembered_and_no_more_than_two_generations() {
        let mut remembered = Remembered::new(10);
        for number in 0..95 {
            remembered.put(number, number);
            remembered.put(number, number + 1);
        }
        for number in 85..95 {
            assert_eq!(remembered.get(&number), Some(&(number + 1)));
        }
        assert_eq!(remembered.get(&0), None);
        assert!(remembered.younger.len() + remembered.older.len() <= 20);
    }
}
