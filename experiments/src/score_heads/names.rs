//! Names on the command line.

use anyhow::{Result, bail};
use strsim::levenshtein;

/// The values of the names given to `flag`, each once, in order.
///
/// # Errors
/// For none, for one that is given twice, and for one that does not exist, with the nearest that does.
pub fn named<T: Copy>(flag: &str, given: &[String], known: &[(&str, T)]) -> Result<Vec<T>> {
    if given.is_empty() {
        bail!("--{flag} names nothing");
    }
    let mut values = Vec::new();
    for (index, name) in given.iter().enumerate() {
        if given[..index].contains(name) {
            bail!("--{flag} names `{name}` twice");
        }
        match known.iter().find(|(other, _)| other == name) {
            Some((_, value)) => values.push(*value),
            None => {
                let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
                let meant =
                    nearest(name, &names).map_or(String::new(), |near| format!("; is `{near}` meant?"));
                bail!("--{flag}: there is no `{name}`{meant}\nhint: there are {}", names.join(", "));
            }
        }
    }
    Ok(values)
}

/// The known name that takes the fewest edits, if it takes few.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace('_', "-");
    let name = plain(name);
    let begins = known.iter().find(|other| name.len() >= 3 && plain(other).starts_with(&name));
    let near = known.iter().map(|other| (levenshtein(&name, &plain(other)), *other)).min();
    begins.copied().or(near.filter(|(edits, _)| *edits <= (name.len() / 3).max(1)).map(|(_, other)| other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered() {
        let known = [("activation-patching", 1), ("zero-ablation", 2), ("logit_diff", 3), ("eap", 4)];
        let error = |name: &str| named("method", &[name.to_owned()], &known).unwrap_err().to_string();
        assert!(error("activation-patchin").contains("is `activation-patching` meant?"));
        assert!(error("activation").contains("is `activation-patching` meant?"));
        assert!(error("logit-diff").contains("is `logit_diff` meant?"));
        assert!(error("eep").contains("is `eap` meant?"));
        let far = error("gradients");
        assert!(far.contains("no `gradients`\nhint: there are activation-patching, zero-ablation"), "{far}");
        let twice = named("method", &["eap".to_owned(), "eap".into()], &known).unwrap_err().to_string();
        assert!(twice.contains("`eap` twice"), "{twice}");
        assert_eq!(named("method", &["eap".to_owned(), "zero-ablation".into()], &known).unwrap(), [4, 2]);
    }
}
