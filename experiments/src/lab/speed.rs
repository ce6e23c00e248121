//! How fast a model generates.

use std::time::Instant;

use refrain_runner::Generated;

/// Tokens that were generated, and the time that it took, prompts included.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Speed {
    /// Generated tokens.
    pub tokens: u64,
    /// Seconds; of work that runs side by side the sum.
    pub seconds: f64,
}

impl Speed {
    /// Does `work`, and adds what it generates and how long it takes.
    ///
    /// # Errors
    /// Those of `work`.
    pub fn of<E>(&mut self, work: impl FnOnce() -> Result<Vec<Generated>, E>) -> Result<Vec<Generated>, E> {
        let begun = Instant::now();
        let generated = work()?;
        let tokens = generated.iter().map(|generated| generated.tokens.len() as u64).sum();
        self.add(Speed { tokens, seconds: begun.elapsed().as_secs_f64() });
        Ok(generated)
    }

    /// Adds what other work generated.
    pub fn add(&mut self, other: Speed) {
        self.tokens += other.tokens;
        self.seconds += other.seconds;
    }

    /// Tokens per second; none if nothing was generated.
    pub fn tokens_per_s(&self) -> Option<f64> {
        (self.tokens > 0 && self.seconds > 0.0).then(|| self.tokens as f64 / self.seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use refrain_runner::Outcome;

    #[test]
    fn tokens_and_seconds_add_up() {
        let mut speed = Speed::default();
        assert_eq!(speed.tokens_per_s(), None);
        let generated = |tokens: usize| Generated { tokens: vec![1; tokens], outcome: Outcome::Limit };
        let work = || Ok::<_, ()>(vec![generated(3), generated(4)]);
        assert_eq!(speed.of(work).unwrap().len(), 2);
        assert_eq!(speed.tokens, 7);
        assert_eq!(speed.of(|| Err("no")), Err("no"));
        speed.seconds = 0.5;
        speed.add(Speed { tokens: 3, seconds: 1.5 });
        assert_eq!(speed.tokens_per_s(), Some(5.0));
    }
}
