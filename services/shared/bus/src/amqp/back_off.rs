//! Pauses between attempts: doubling, bounded, spread.

use std::sync::Arc;
use std::time::Duration;

use stowage_types::Random;

use super::AmqpOptions;

/// The pauses of one series of attempts.
#[derive(Debug)]
pub(super) struct BackOff {
    next: Duration,
    min: Duration,
    max: Duration,
    random: Arc<dyn Random>,
}

impl BackOff {
    pub(super) fn new(options: &AmqpOptions) -> Self {
        let (min, max) = (options.back_off_min, options.back_off_max);
        Self { next: min, min, max, random: Arc::clone(&options.random) }
    }

    /// The next pause: between half of it and all of it, so that many do not come at once.
    pub(super) fn pause(&mut self) -> Duration {
        let mut byte = [0];
        self.random.fill(&mut byte);
        let half = self.next / 2;
        self.next = self.next.saturating_mul(2).min(self.max);
        half + half * u32::from(byte[0]) / 255
    }

    pub(super) fn reset(&mut self) {
        self.next = self.min;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_bound_and_are_spread_over_the_upper_half() {
        let options = AmqpOptions::new(Arc::new(stowage_types::SystemRandom));
        let mut back_off = BackOff::new(&options);
        for most_ms in [100, 200, 400, 800, 1600, 3200, 5000, 5000] {
            let most = Duration::from_millis(most_ms);
            let pause = back_off.pause();
            assert!(most / 2 <= pause && pause <= most, "{pause:?} of {most:?}");
        }
        back_off.reset();
        assert!(back_off.pause() <= Duration::from_millis(100));
    }
}
