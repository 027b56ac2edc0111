//! Time, kept apart from everything that must be reproducible.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::fit::FitConfig;

/// How far back the rate looks.
const WINDOW: Duration = Duration::from_secs(30);
/// The least time between two marks of the window, so that it stays short however fast the steps are.
const APART: Duration = Duration::from_millis(100);

/// The clock of a run, earlier parts of a resumed run included.
#[derive(Debug)]
pub(super) struct Clock {
    started: Instant,
    before: Duration,
    saved: Instant,
    limit: Option<Duration>,
    interval: Option<Duration>,
    /// Time spent on anything but steps.
    resting: Duration,
    last_evaluation: Duration,
    /// Steps and examples of this process after so much time of stepping.
    marks: VecDeque<Mark>,
    now: Mark,
}

#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    time: Duration,
    steps: u64,
    examples: u64,
}

impl Clock {
    pub(super) fn start(config: &FitConfig, elapsed_ms: u64) -> Self {
        let minutes = |m: f64| Duration::try_from_secs_f64(m * 60.0).unwrap_or(Duration::MAX);
        Self {
            started: Instant::now(),
            before: Duration::from_millis(elapsed_ms),
            saved: Instant::now(),
            limit: (config.minutes > 0.0).then(|| minutes(config.minutes)),
            interval: (config.checkpoint_minutes > 0.0).then(|| minutes(config.checkpoint_minutes)),
            resting: Duration::ZERO,
            last_evaluation: Duration::ZERO,
            marks: VecDeque::from([Mark::default()]),
            now: Mark::default(),
        }
    }

    /// Training time so far.
    pub(super) fn elapsed(&self) -> Duration {
        self.before.saturating_add(self.started.elapsed())
    }

    pub(super) fn limit(&self) -> Option<Duration> {
        self.limit
    }

    pub(super) fn time_is_up(&self) -> bool {
        self.limit.is_some_and(|limit| self.elapsed() >= limit)
    }

    pub(super) fn checkpoint_is_due(&self) -> bool {
        self.interval.is_some_and(|interval| self.saved.elapsed() >= interval)
    }

    pub(super) fn checkpoint_saved(&mut self) {
        self.saved = Instant::now();
    }

    /// Counts a step of so many examples.
    pub(super) fn stepped(&mut self, examples: u64) {
        self.now = Mark {
            time: self.started.elapsed().saturating_sub(self.resting),
            steps: self.now.steps + 1,
            examples: self.now.examples + examples,
        };
        if self.marks.back().is_none_or(|last| self.now.time.saturating_sub(last.time) >= APART) {
            self.marks.push_back(self.now);
        }
        while self.marks.len() > 2 && self.marks.get(1).is_some_and(|mark| self.now.time - mark.time > WINDOW)
        {
            self.marks.pop_front();
        }
    }

    /// Leaves the time between a start and now out of the rate.
    pub(super) fn rested_since(&mut self, start: Instant) {
        self.resting += start.elapsed();
    }

    /// As [`Self::rested_since`], and remembers how long an evaluation takes.
    pub(super) fn evaluated_since(&mut self, start: Instant) {
        self.last_evaluation = start.elapsed();
        self.rested_since(start);
    }

    /// Examples a second.
    pub(super) fn rate(&self) -> f64 {
        self.per_second(|mark| mark.examples)
    }

    /// Seconds until `steps` more steps and `evaluations` more evaluations are done or the time is up.
    pub(super) fn seconds_left(&self, steps: u64, evaluations: u64) -> Option<f64> {
        let speed = self.per_second(|mark| mark.steps);
        let work = steps as f64 / speed + self.last_evaluation.as_secs_f64() * evaluations as f64;
        let allowed = self.limit.map(|limit| limit.saturating_sub(self.elapsed()).as_secs_f64());
        match (work.is_finite(), allowed) {
            (true, Some(allowed)) => Some(work.min(allowed)),
            (true, None) => Some(work),
            (false, allowed) => allowed,
        }
    }

    fn per_second(&self, count: impl Fn(&Mark) -> u64) -> f64 {
        let Some(first) = self.marks.front() else { return 0.0 };
        let seconds = self.now.time.saturating_sub(first.time).as_secs_f64();
        if seconds > 0.0 { (count(&self.now) - count(first)) as f64 / seconds } else { 0.0 }
    }
}

/// How many steps the time allowed is enough for, going on as before, if clearly fewer than the epochs have.
///
/// `None` leaves the schedule alone, so that a bound that does not bind changes nothing.
pub(super) fn planned_steps(step: u64, steps: u64, elapsed: Duration, limit: Duration) -> Option<u64> {
    let share = limit.as_secs_f64() / elapsed.as_secs_f64().max(1e-9);
    let enough_for = step as f64 * share;
    (enough_for < 0.9 * steps as f64).then(|| (enough_for as u64).max(step + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_that_binds_shortens_the_plan_and_one_that_does_not_leaves_it() {
        let seconds = Duration::from_secs;
        assert_eq!(planned_steps(10, 1000, seconds(10), seconds(100)), Some(100));
        assert_eq!(planned_steps(10, 100, seconds(10), seconds(95)), None);
        assert_eq!(planned_steps(10, 100, seconds(10), seconds(500)), None);
        // Time is up already: the next step is the last.
        assert_eq!(planned_steps(10, 100, seconds(10), seconds(1)), Some(11));
    }

    #[test]
    fn the_rate_leaves_rests_out() {
        let mut clock = Clock::start(&FitConfig::default(), 0);
        assert_eq!((clock.rate(), clock.seconds_left(5, 1)), (0.0, None));
        clock.resting = Duration::ZERO;
        for _ in 0..5 {
            std::thread::sleep(Duration::from_millis(20));
            clock.stepped(32);
        }
        let before = clock.rate();
        let rest = Instant::now();
        std::thread::sleep(Duration::from_millis(300));
        clock.rested_since(rest);
        std::thread::sleep(Duration::from_millis(20));
        clock.stepped(32);
        assert!(clock.rate() > before / 3.0, "{} after {before}", clock.rate());
        assert!(before > 32.0 && before <= 1600.0, "{before}");
    }
}
