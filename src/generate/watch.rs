//! The watchdog: notices when the generator draws the same again and again, or has lost against the discriminator.

use super::condition::Wish;
use super::config::WatchSection;

/// Looks in a row that must be bad before anything is done.
const PATIENCE: u64 = 3;
/// Good looks between two states that are kept to return to.
const KEEP_EVERY: u64 = 5;

/// What a look at a step found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look {
    /// How much made pictures differ, as a part of what the real ones of the batch differ by.
    pub diversity: f64,
    /// Mean verdict on real pictures less that on made ones.
    pub gap: f64,
}

/// What is to be done after a look.
#[derive(Clone, Debug, PartialEq)]
pub enum Advice {
    /// Nothing.
    GoOn,
    /// All is well: keep this state to return to.
    Keep,
    /// Say so.
    Warn(String),
    /// Return to the state kept last and go on more slowly.
    Return(String),
}

/// What was seen so far. Three counters, so that a resumed run goes on exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// Bad looks in a row.
    pub bad: u64,
    /// Good looks, all in all since the last return.
    pub good: u64,
    /// Returns so far.
    pub returns: u64,
}

impl Watch {
    /// Takes a look in; `kept` says whether there is a state to return to.
    pub fn look(&mut self, look: Look, kept: bool, config: &WatchSection) -> Advice {
        let collapsed = look.diversity < config.diversity;
        let lost = look.gap > config.gap;
        if !collapsed && !lost {
            self.bad = 0;
            self.good += 1;
            return if self.good % KEEP_EVERY == 1 { Advice::Keep } else { Advice::GoOn };
        }
        self.bad += 1;
        // Before anything good was made, sameness is where every run begins.
        if self.bad != PATIENCE || (self.good == 0 && !kept) {
            return Advice::GoOn;
        }
        self.bad = 0;
        let what = match collapsed {
            true => format!(
                "the pictures made differ by {:.0} % of what real ones differ by: the generator has collapsed",
                100.0 * look.diversity
            ),
            false => {
                format!("the discriminator tells real from made by {:.0}: the generator has lost", look.gap)
            }
        };
        if !kept || self.returns >= config.returns {
            return Advice::Warn(what);
        }
        self.returned();
        Advice::Return(what)
    }

    /// Takes note of a return.
    pub fn returned(&mut self) {
        self.returns += 1;
        (self.good, self.bad) = (0, 0);
    }
}

/// Which pictures of a batch should differ by their latent numbers alone: the number of each one's group. Pictures of the
/// same wish are a group, so that a generator that draws one picture a label is found out; where less than half of a batch
/// has company, all are one.
pub fn groups(wishes: &[Wish]) -> Vec<usize> {
    let first = |wish: &Wish| wishes.iter().position(|other| other == wish).unwrap_or(0);
    let groups: Vec<usize> = wishes.iter().map(first).collect();
    let alone = |group: &usize| groups.iter().filter(|other| *other == group).count() < 2;
    match 2 * groups.iter().filter(|group| alone(group)).count() > groups.len() {
        true => vec![0; wishes.len()],
        false => groups,
    }
}

/// How much pictures of the same group differ: the root of the mean variance of a value within groups. `groups` has an
/// entry for each picture of `values`.
pub fn diversity(values: &[f32], groups: &[usize]) -> f64 {
    let stride = values.len() / groups.len().max(1);
    let mut distinct = groups.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    let free = groups.len() - distinct.len();
    if free == 0 || stride == 0 {
        return 0.0;
    }
    let mut total = 0.0;
    for group in distinct {
        let pictures = || groups.iter().zip(values.chunks_exact(stride)).filter(|(g, _)| **g == group);
        let count = pictures().count() as f64;
        let (mut sums, mut squares) = (vec![0.0f64; stride], vec![0.0f64; stride]);
        for (_, picture) in pictures() {
            for ((sum, square), value) in sums.iter_mut().zip(&mut squares).zip(picture) {
                let value = f64::from(*value);
                *sum += value;
                *square += value * value;
            }
        }
        total += sums.iter().zip(&squares).map(|(s, q)| (q - s * s / count).max(0.0)).sum::<f64>();
    }
    (total / (free * stride) as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(diversity: f64, gap: f64) -> Look {
        Look { diversity, gap }
    }

    #[test]
    fn a_collapse_is_noticed_once_something_was_good() {
        let config = WatchSection::default();
        let mut watch = Watch::default();
        for _ in 0..9 {
            assert_eq!(watch.look(look(0.0, 0.0), false, &config), Advice::GoOn, "the beginning");
        }
        assert_eq!(watch.look(look(0.8, 1.0), false, &config), Advice::Keep);
        assert_eq!(watch.look(look(0.8, 1.0), true, &config), Advice::GoOn);
        assert_eq!(watch.look(look(0.1, 1.0), true, &config), Advice::GoOn);
        assert_eq!(watch.look(look(0.1, 1.0), true, &config), Advice::GoOn);
        assert!(matches!(watch.look(look(0.1, 1.0), true, &config), Advice::Return(_)));
        assert_eq!(watch.returns, 1);
        assert_eq!(
            watch.look(look(0.8, 1.0), true, &config),
            Advice::Keep,
            "a new good state replaces the old"
        );
    }

    #[test]
    fn a_lost_game_is_noticed_and_returns_end() {
        let config = WatchSection { returns: 1, ..WatchSection::default() };
        let mut watch = Watch { good: 1, ..Watch::default() };
        let mut last = || (0..3).map(|_| watch.look(look(0.9, 1e3), true, &config)).last();
        assert!(matches!(last(), Some(Advice::Return(what)) if what.contains("1000")));
        assert!(matches!(last(), Some(Advice::Warn(_))));
    }

    #[test]
    fn diversity_is_the_deviation_within_groups() {
        assert!((diversity(&[0.0, 5.0, 2.0, 5.0], &[0, 0]) - 1.0).abs() < 1e-9);
        assert_eq!(diversity(&[1.0; 8], &[0; 4]), 0.0);
        assert_eq!(diversity(&[1.0], &[0]), 0.0);
        // One picture a label is no diversity, however many labels there are.
        assert_eq!(diversity(&[1.0, 7.0, 1.0, 7.0], &[0, 1, 0, 1]), 0.0);
        assert!((diversity(&[1.0, 7.0, 2.0, 7.0], &[0, 1, 0, 1]) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn groups_are_wishes_if_most_have_company() {
        let of = |labels: &[usize]| groups(&labels.iter().map(|l| Wish::Label(*l)).collect::<Vec<_>>());
        assert_eq!(of(&[4, 2, 4, 2, 9]), [0, 1, 0, 1, 4]);
        assert_eq!(of(&[1, 2, 3, 4, 4]), [0; 5]);
        assert!(of(&[]).is_empty());
    }
}
