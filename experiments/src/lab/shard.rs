//! A share of a stage's parts, for job arrays: part u belongs to shard u mod N.

use std::fmt::{Display, Formatter};
use std::str::FromStr;

/// Shard `index` of `of`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: usize,
    of: usize,
}

impl Shard {
    /// Whether the part of this number is in the shard.
    pub fn holds(self, part: usize) -> bool {
        part % self.of == self.index
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers =
            text.split_once('/').and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
        match numbers {
            Some((index, of)) if index < of => Ok(Shard { index, of }),
            Some((index, of)) => Err(format!(
                "shard {index} of {of} does not exist: they count from 0 to {}",
                of.saturating_sub(1)
            )),
            None => Err(format!("`{text}` is not a shard; write I/N, as 0/4")),
        }
    }
}

impl Display for Shard {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_in_one_shard() {
        for of in [1usize, 3, 7] {
            let shards: Vec<Shard> = (0..of).map(|index| format!("{index}/{of}").parse().unwrap()).collect();
            for part in 0..20 {
                assert_eq!(shards.iter().filter(|shard| shard.holds(part)).count(), 1);
            }
        }
        for wrong in ["3/3", "1", "a/b", "-1/2", "0/0"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }
}
