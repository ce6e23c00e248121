//! Numbers that settings may hold, checked where they are read: by clap on the command line and by serde in files.

use std::fmt::{Display, Formatter};
use std::num::NonZeroUsize;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// No setting needs a larger count, and a product of two of these still fits an address.
const MOST: usize = 1_000_000;

/// A number of things: 1 to 1,000,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "usize", into = "usize")]
pub struct Count(NonZeroUsize);

/// A number of things that may be none: 0 to 1,000,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "usize", into = "usize")]
pub struct CountOrNone(usize);

/// A share: 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Share(f64);

/// A factor: a finite number from 0 to 1000.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Factor(f64);

/// What logits are divided by before a token is drawn: a finite number above 0.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Temperature(f64);

/// Probability that the tokens drawn from reach together: above 0, at most 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct TopP(f64);

impl Count {
    /// `N`, checked when the program is compiled.
    pub const fn of<const N: usize>() -> Self {
        const { assert!(N >= 1 && N <= MOST) };
        match NonZeroUsize::new(N) {
            Some(number) => Count(number),
            None => unreachable!(),
        }
    }

    /// The number.
    pub const fn get(self) -> usize {
        self.0.get()
    }

    /// The number as tables hold it; it fits by construction.
    pub const fn u32(self) -> u32 {
        self.0.get() as u32
    }
}

impl CountOrNone {
    /// `N`, checked when the program is compiled.
    pub const fn of<const N: usize>() -> Self {
        const { assert!(N <= MOST) };
        CountOrNone(N)
    }

    /// The number.
    pub const fn get(self) -> usize {
        self.0
    }

    /// The number as tables hold it; it fits by construction.
    pub const fn u32(self) -> u32 {
        self.0 as u32
    }
}

impl Share {
    /// The share of `percent` hundredths, at most 100.
    pub const fn percent(percent: u8) -> Self {
        Share(if percent > 100 { 1.0 } else { percent as f64 / 100.0 })
    }
}

impl Temperature {
    /// The model's own distribution.
    pub const ONE: Self = Temperature(1.0);
}

impl TopP {
    /// All tokens.
    pub const ONE: Self = TopP(1.0);
}

macro_rules! real {
    ($($name:ident)*) => {$(
        impl $name {
            /// The number.
            pub const fn get(self) -> f64 {
                self.0
            }
        }
    )*};
}

real!(Share Factor Temperature TopP);

impl TryFrom<usize> for Count {
    type Error = String;

    fn try_from(number: usize) -> Result<Self, String> {
        match NonZeroUsize::new(number).filter(|_| number <= MOST) {
            Some(number) => Ok(Count(number)),
            None => Err(format!("{number} is not between 1 and {MOST}")),
        }
    }
}

impl TryFrom<usize> for CountOrNone {
    type Error = String;

    fn try_from(number: usize) -> Result<Self, String> {
        if number <= MOST { Ok(CountOrNone(number)) } else { Err(format!("{number} is more than {MOST}")) }
    }
}

impl TryFrom<f64> for Share {
    type Error = String;

    fn try_from(number: f64) -> Result<Self, String> {
        match (0.0..=1.0).contains(&number) {
            true => Ok(Share(number)),
            false => Err(format!("{number} is not between 0 and 1")),
        }
    }
}

impl TryFrom<f64> for Factor {
    type Error = String;

    fn try_from(number: f64) -> Result<Self, String> {
        match (0.0..=1000.0).contains(&number) {
            true => Ok(Factor(number)),
            false => Err(format!("{number} is not between 0 and 1000")),
        }
    }
}

impl TryFrom<f64> for Temperature {
    type Error = String;

    fn try_from(number: f64) -> Result<Self, String> {
        match number > 0.0 && number.is_finite() {
            true => Ok(Temperature(number)),
            false => Err(format!("a temperature must be above 0 and finite, but is {number}")),
        }
    }
}

impl TryFrom<f64> for TopP {
    type Error = String;

    fn try_from(number: f64) -> Result<Self, String> {
        match number > 0.0 && number <= 1.0 {
            true => Ok(TopP(number)),
            false => Err(format!("{number} is not above 0 and at most 1")),
        }
    }
}

macro_rules! number {
    ($($name:ident: $inner:ty;)*) => {$(
        impl From<$name> for $inner {
            fn from(number: $name) -> Self {
                number.get()
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let number: $inner = text.trim().parse().map_err(|_| format!("`{text}` is not a number of this kind"))?;
                number.try_into()
            }
        }

        impl Display for $name {
            fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
                self.get().fmt(f)
            }
        }
    )*};
}

number! {
    Count: usize;
    CountOrNone: usize;
    Share: f64;
    Factor: f64;
    Temperature: f64;
    TopP: f64;
}

/// A size of memory in bytes, written as `512MiB` or `4GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bytes(u64);

impl Bytes {
    /// The number of bytes.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl FromStr for Bytes {
    type Err = String;

    fn from_str(written: &str) -> Result<Self, String> {
        let digits = written.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
        let unit = match written[digits.len()..].trim() {
            "" | "B" => Some(1u64),
            "KiB" | "K" => Some(1 << 10),
            "MiB" | "M" => Some(1 << 20),
            "GiB" | "G" => Some(1 << 30),
            "TiB" | "T" => Some(1 << 40),
            _ => None,
        };
        let size = digits.parse::<f64>().ok().zip(unit).map(|(number, unit)| number * unit as f64);
        match size.filter(|size| (1.0..1e18).contains(size)) {
            Some(size) => Ok(Bytes(size as u64)),
            None => Err(format!("`{written}` is not a size; write 512MiB or 4GiB")),
        }
    }
}

impl TryFrom<String> for Bytes {
    type Error = String;

    fn try_from(written: String) -> Result<Self, String> {
        written.parse()
    }
}

impl Display for Bytes {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            bytes if bytes % (1 << 30) == 0 => write!(f, "{}GiB", bytes >> 30),
            bytes if bytes % (1 << 20) == 0 => write!(f, "{}MiB", bytes >> 20),
            bytes => write!(f, "{bytes}"),
        }
    }
}

impl From<Bytes> for String {
    fn from(bytes: Bytes) -> Self {
        bytes.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_refused_where_they_are_read() {
        assert_eq!("7".parse::<Count>().map(Count::get), Ok(7));
        assert!("0".parse::<Count>().is_err_and(|error| error.contains("between 1 and")));
        assert!("-1".parse::<Count>().is_err() && "1000001".parse::<Count>().is_err());
        assert!("0".parse::<CountOrNone>().is_ok() && "nan".parse::<Share>().is_err());
        assert!("1.5".parse::<Share>().is_err() && "inf".parse::<Factor>().is_err());
        assert!("0".parse::<Temperature>().is_err_and(|error| error.contains("temperature")));
        assert!("inf".parse::<Temperature>().is_err() && "nan".parse::<TopP>().is_err());
        assert!("0".parse::<TopP>().is_err() && "1.1".parse::<TopP>().is_err());
        assert_eq!(("0.7".parse().map(Temperature::get), "1".parse().map(TopP::get)), (Ok(0.7), Ok(1.0)));
        assert!(serde_json::from_str::<Count>("0").is_err() && serde_json::from_str::<Share>("2.0").is_err());
        assert_eq!(serde_json::to_string(&Count::of::<3>()).unwrap(), "3");
    }

    #[test]
    fn sizes_of_memory() {
        let bytes = |text: &str| text.parse::<Bytes>().map(Bytes::get);
        assert_eq!(bytes("4GiB"), Ok(4 << 30));
        assert_eq!(bytes("512 MiB"), Ok(512 << 20));
        assert_eq!(bytes("0.5G"), Ok(1 << 29));
        assert_eq!(bytes("1000"), Ok(1000));
        for wrong in ["", "GiB", "4XiB", "-1GiB", "0", "nanGiB", "infB", "1e30"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Bytes(3 << 20).to_string(), "3MiB");
    }
}
