//! Enums on the command line: the values and what each means come from the enum itself.

use std::str::FromStr;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

/// A parser of an enum's names. Help lists them, each with what `about` says of it, and an unknown name is refused
/// with the nearest.
pub fn choice<T>(about: fn(T) -> &'static str) -> impl TypedValueParser<Value = T>
where
    T: strum::VariantArray + FromStr<Err = refrain_patching::Error> + Copy + Send + Sync + Into<&'static str>,
{
    let value = |value: &T| PossibleValue::new((*value).into()).help(about(*value));
    PossibleValuesParser::new(T::VARIANTS.iter().map(value)).try_map(|name| name.parse::<T>())
}

/// The first line of the doc comment of an enum's value.
pub fn documented<T: strum::EnumMessage>(value: T) -> &'static str {
    value
        .get_documentation()
        .and_then(|text| text.lines().next())
        .map_or("", |line| line.trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use refrain_patching::{Component, Metric};

    #[test]
    fn every_value_says_what_it_is() {
        assert!(Component::ALL.iter().all(|component| !documented(*component).is_empty()));
        assert!(Metric::ALL.iter().all(|metric| !documented(*metric).is_empty()));
    }
}
