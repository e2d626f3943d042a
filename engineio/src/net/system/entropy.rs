//! Random bytes from the operating system, fetched in batches.

/// A pool of unused random bytes.
pub(in crate::net) struct Entropy {
    pool: [u8; 512],
    used: usize,
}

impl Entropy {
    pub(in crate::net) const fn new() -> Self {
        Self { pool: [0; 512], used: 512 }
    }

    /// Fills `out`. No byte is given out twice, and bytes that were given out are wiped from the pool.
    ///
    /// # Panics
    /// When the operating system provides no entropy: guessable ids would be worse.
    pub(in crate::net) fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(64) {
            if self.used + chunk.len() > self.pool.len() {
                #[expect(clippy::expect_used, reason = "see # Panics")]
                getrandom::fill(&mut self.pool).expect("the operating system provides random bytes");
                self.used = 0;
            }
            let end = self.used + chunk.len();
            if let Some(fresh) = self.pool.get_mut(self.used..end) {
                chunk.copy_from_slice(fresh);
                fresh.fill(0);
            }
            self.used = end;
        }
    }
}

impl std::fmt::Debug for Entropy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entropy").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_draws_are_alike() {
        let mut entropy = Entropy::new();
        let draws: std::collections::HashSet<[u8; 15]> = (0..1000)
            .map(|_| {
                let mut bytes = [0; 15];
                entropy.fill(&mut bytes);
                bytes
            })
            .collect();
        assert_eq!(draws.len(), 1000);
        assert!(!draws.contains(&[0; 15]));
    }
}
