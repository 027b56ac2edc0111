//! Seeds as a user writes them: `0,1,4-6`.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::error::{Error, Result};

/// The most seeds of one command.
const MOST: u64 = 1_000_000_000;

/// Numbers and ranges of numbers, in the order given, none twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seeds(Vec<RangeInclusive<u64>>);

impl Seeds {
    /// `count` seeds from this one on.
    ///
    /// # Errors
    /// [`Error::Config`] for none, too many, or more than there are.
    pub fn from_first(first: u64, count: u64) -> Result<Self> {
        let last = first.checked_add(count.saturating_sub(1));
        match last {
            Some(last) if (1..=MOST).contains(&count) => Ok(Self(vec![first..=last])),
            _ => Err(Error::Config(format!("{count} seeds from {first} on; give 1 to {MOST}"))),
        }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|r| r.end() - r.start() + 1).sum()
    }

    /// One after another.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().cloned().flatten()
    }

    /// The greatest.
    pub fn greatest(&self) -> u64 {
        self.0.iter().map(|r| *r.end()).max().unwrap_or(0)
    }
}

impl FromStr for Seeds {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = |part: &str, why: &str| {
            Err(Error::Config(format!("seeds {text:?}: {part:?} {why}; write seeds like 0,1,4-6")))
        };
        let mut ranges: Vec<RangeInclusive<u64>> = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (Ok(first), Ok(last)) = (first.trim().parse::<u64>(), last.trim().parse::<u64>()) else {
                return refuse(part, "is no number from 0 to 18446744073709551615, nor two with a dash");
            };
            if first > last {
                return refuse(part, "goes backwards");
            }
            if last - first >= MOST {
                return refuse(part, "has more than a thousand million seeds");
            }
            if ranges.iter().any(|r| first <= *r.end() && last >= *r.start()) {
                return refuse(part, "is there twice");
            }
            ranges.push(first..=last);
        }
        let seeds = Self(ranges);
        // Ranges are apart and each is bounded, so that the sum cannot overflow.
        if seeds.count() > MOST {
            return refuse(text, "has more than a thousand million seeds");
        }
        Ok(seeds)
    }
}

impl fmt::Display for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, range) in self.0.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            match range.start() == range.end() {
                true => write!(f, "{comma}{}", range.start())?,
                false => write!(f, "{comma}{}-{}", range.start(), range.end())?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_and_ranges() {
        let seeds: Seeds = "0, 1,4-6".parse().unwrap();
        assert_eq!(seeds.iter().collect::<Vec<_>>(), [0, 1, 4, 5, 6]);
        assert_eq!((seeds.count(), seeds.greatest(), seeds.to_string()), (5, 6, "0,1,4-6".to_owned()));
        let last: Seeds = "18446744073709551615".parse().unwrap();
        assert_eq!(last.iter().count(), 1);
        assert_eq!(Seeds::from_first(u64::MAX, 1).unwrap(), last);
        assert_eq!(Seeds::from_first(3, 1_000_000).unwrap().count(), 1_000_000);
        assert!(Seeds::from_first(u64::MAX, 2).is_err() && Seeds::from_first(0, 0).is_err());
    }

    #[test]
    fn what_is_no_list_is_refused_by_its_part() {
        for (text, word) in [
            ("", "no number"),
            ("1,,2", "no number"),
            ("a", "\"a\""),
            ("-1", "no number"),
            ("1.5", "no number"),
            ("18446744073709551616", "no number"),
            ("6-4", "backwards"),
            ("1,3-5,4", "twice"),
            ("0-18446744073709551615", "thousand million"),
            ("0-900000000,1000000000-1900000000", "thousand million"),
        ] {
            let message = text.parse::<Seeds>().unwrap_err().to_string();
            assert!(message.contains(word) && message.contains("0,1,4-6"), "{text}: {message}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_taken_or_refused(text in "[0-9, a-]{0,20}") {
            if let Ok(seeds) = text.parse::<Seeds>() {
                prop_assert_eq!(seeds.to_string().parse::<Seeds>().unwrap(), seeds);
            }
        }
    }
}
