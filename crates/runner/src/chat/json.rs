//! The filter `tojson`: Python's `json.dumps`, as `transformers` calls it.

use minijinja::Error;
use minijinja::value::{Kwargs, Value, ValueKind};

use super::budget::refused;

/// The options of `json.dumps` that templates use.
pub(super) struct Json {
    ascii: bool,
    indent: Option<String>,
    between: String,
    after_key: String,
    sorted: bool,
}

impl Json {
    /// Reads `ensure_ascii`, `indent`, `separators` and `sort_keys`.
    pub(super) fn options(given: &Kwargs) -> Result<Self, Error> {
        let indent = match given.get::<Option<Value>>("indent")? {
            None => None,
            Some(indent) if indent.is_none() => None,
            Some(indent) => match (indent.as_str(), indent.as_i64()) {
                (Some(text), _) if text.len() <= 100 => Some(text.to_owned()),
                (None, Some(columns @ ..=100)) => Some(" ".repeat(columns.max(0) as usize)),
                _ => return Err(refused("tojson: indent must be at most 100 columns")),
            },
        };
        let mut between = if indent.is_some() { "," } else { ", " }.to_owned();
        let mut after_key = ": ".to_owned();
        if let Some(pair) = given.get::<Option<Value>>("separators")?.filter(|pair| !pair.is_none()) {
            let pair = pair.try_iter()?.checked().collect::<Result<Vec<Value>, Error>>()?;
            let [first, second] = &pair[..] else {
                return Err(refused("tojson: separators must be two strings"));
            };
            (between, after_key) = (first.to_string(), second.to_string());
            if between.len().max(after_key.len()) > 100 {
                return Err(refused("tojson: a separator may have 100 bytes"));
            }
        }
        let options = Json {
            ascii: given.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
            indent,
            between,
            after_key,
            sorted: given.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
        };
        given.assert_all_used()?;
        Ok(options)
    }

    /// `value` as JSON.
    pub(super) fn text(&self, value: &Value) -> Result<String, Error> {
        let mut out = String::new();
        self.write(value, 0, &mut out)?;
        Ok(out)
    }

    fn write(&self, value: &Value, depth: usize, out: &mut String) -> Result<(), Error> {
        match value.kind() {
            ValueKind::None => out.push_str("null"),
            ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number if value.is_integer() => out.push_str(&value.to_string()),
            ValueKind::Number => out.push_str(&float(f64::try_from(value.clone())?)),
            ValueKind::String => self.quoted(value.as_str().unwrap_or_default(), out),
            _ if matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable) => {
                let items = value.try_iter()?.checked().collect::<Result<Vec<Value>, Error>>()?;
                self.bracketed(['[', ']'], items.iter(), depth, out, |item, out| {
                    self.write(item, depth + 1, out)
                })?;
            }
            ValueKind::Map => {
                let mut keys = value.try_iter()?.checked().collect::<Result<Vec<Value>, Error>>()?;
                if self.sorted {
                    keys.sort();
                }
                self.bracketed(['{', '}'], keys.iter(), depth, out, |key, out| {
                    let name = match key.kind() {
                        ValueKind::String => key.to_string(),
                        ValueKind::None | ValueKind::Bool | ValueKind::Number => self.text(key)?,
                        kind => return Err(refused(format!("tojson: a {kind} cannot be a key"))),
                    };
                    self.quoted(&name, out);
                    out.push_str(&self.after_key);
                    self.write(&value.get_item(key)?, depth + 1, out)
                })?;
            }
            kind => return Err(refused(format!("tojson: a value that is {kind} has no JSON"))),
        }
        Ok(())
    }

    fn bracketed<'a>(
        &self,
        [open, close]: [char; 2],
        items: impl ExactSizeIterator<Item = &'a Value>,
        depth: usize,
        out: &mut String,
        each: impl Fn(&Value, &mut String) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let line = |depth: usize, out: &mut String| {
            if let Some(indent) = &self.indent {
                out.push('\n');
                (0..depth).for_each(|_| out.push_str(indent));
            }
        };
        let empty = items.len() == 0;
        out.push(open);
        for (i, item) in items.enumerate() {
            if i > 0 {
                out.push_str(&self.between);
            }
            line(depth + 1, out);
            each(item, out)?;
        }
        if !empty {
            line(depth, out);
        }
        out.push(close);
        Ok(())
    }

    fn quoted(&self, text: &str, out: &mut String) {
        out.push('"');
        for letter in text.chars() {
            match letter {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                letter if letter < ' ' || (self.ascii && letter > '~') => {
                    let mut units = [0; 2];
                    for unit in letter.encode_utf16(&mut units) {
                        out.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                letter => out.push(letter),
            }
        }
        out.push('"');
    }
}

/// A float as Python's `repr` writes it.
fn float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity".into() } else { "-Infinity".into() };
    }
    let scientific = format!("{value:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    match exponent.parse::<i32>() {
        Ok(exponent) if (-4..16).contains(&exponent) || value == 0.0 => format!("{value:?}"),
        Ok(exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
        Err(_) => scientific,
    }
}

#[cfg(test)]
mod tests {
    use super::float;

    #[test]
    fn floats_are_pythons() {
        let shown = [0.5, 1.0, 1e15, 1e16, 1.5e-5, 1e-4, -2.5e300, 0.0].map(float);
        assert_eq!(
            shown,
            ["0.5", "1.0", "1000000000000000.0", "1e+16", "1.5e-05", "0.0001", "-2.5e+300", "0.0"]
        );
    }
}
