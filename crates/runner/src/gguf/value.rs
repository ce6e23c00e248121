//! Metadata values, and the bytes that they are read from.

/// A value of the metadata.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Integer(i64),
    /// An f32 as the shortest decimal that is this f32, which is what the model's configuration said: 1e-6, not
    /// 9.99999997e-7.
    Number(f64),
    Flag(bool),
    Text(String),
    Integers(Vec<i64>),
    Numbers(Vec<f64>),
    Flags(Vec<bool>),
    Texts(Vec<String>),
}

impl Value {
    /// As much of it as a message takes.
    pub(crate) fn shown(&self) -> String {
        match self {
            Value::Integer(value) => value.to_string(),
            Value::Number(value) => value.to_string(),
            Value::Flag(value) => value.to_string(),
            Value::Text(text) => format!("{:?}", text.chars().take(60).collect::<String>()),
            Value::Integers(list) => format!("{} whole numbers", list.len()),
            Value::Numbers(list) => format!("{} numbers", list.len()),
            Value::Flags(list) => format!("{} truth values", list.len()),
            Value::Texts(list) => format!("{} texts", list.len()),
        }
    }
}

/// A text of the metadata may be this long, in bytes: chat templates are below 1 MB.
const LONGEST_TEXT: u64 = 1 << 24;
/// All arrays of the metadata together may have this many elements: vocabularies are below 2^20, and have three arrays
/// and their merges. An element takes up to eight times the memory that it takes in the file, so this bounds what
/// a file can ask for.
const MOST_ELEMENTS: u64 = 1 << 23;

const TEXT: u32 = 8;
const ARRAY: u32 = 9;

/// The bytes of one value of this type, or the fewest that it can have; none: there is no such type.
fn least_bytes(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        TEXT | 10..=12 => Some(8),
        ARRAY => Some(12),
        _ => None,
    }
}

/// A place in the bytes of a file, which moves on as they are read. Errors say what is wrong.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    pub(super) at: usize,
    /// Elements that arrays may still have.
    elements: u64,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes, at: 0, elements: MOST_ELEMENTS }
    }

    fn left(&self) -> u64 {
        (self.bytes.len() - self.at) as u64
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        let Some(end) = end else {
            return Err(format!(
                "ends in the middle of its header, at byte {}\nhint: the file is incomplete: fetch or copy it again",
                self.bytes.len()
            ));
        };
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_le_bytes)
    }

    /// A count of things of at least `least` bytes each, which must fit into what is left of the file before anything
    /// is allocated for them.
    pub(super) fn count(&mut self, what: &str, least: u64, most: u64) -> Result<usize, String> {
        let count = self.u64()?;
        if count > most {
            return Err(format!("{what}: {count}, of which there may be {most}"));
        }
        if count.checked_mul(least).is_none_or(|bytes| bytes > self.left()) {
            return Err(format!(
                "{what}: {count}, more than the rest of the file can hold\n\
                 hint: the file is incomplete or damaged: fetch or copy it again"
            ));
        }
        Ok(count as usize)
    }

    /// A text. Bytes that are no UTF-8 are replaced: a token is known by its id, not by how it is written. Some writers
    /// leave a NUL at the end.
    pub(super) fn text(&mut self, what: &str) -> Result<String, String> {
        let length = self.count(what, 1, LONGEST_TEXT)?;
        let text = String::from_utf8_lossy(self.take(length)?);
        Ok(text.trim_end_matches('\0').to_owned())
    }

    fn integer(&mut self, kind: u32, key: &str) -> Result<i64, String> {
        Ok(match kind {
            0 => i64::from(self.array::<1>()?[0]),
            1 => i64::from(self.array::<1>()?[0] as i8),
            2 => i64::from(u16::from_le_bytes(self.array()?)),
            3 => i64::from(i16::from_le_bytes(self.array()?)),
            4 => i64::from(self.u32()?),
            5 => i64::from(self.u32()? as i32),
            10 => {
                let value = self.u64()?;
                i64::try_from(value).map_err(|_| format!("key `{key}`: {value} is too large"))?
            }
            _ => self.u64()? as i64,
        })
    }

    fn flag(&mut self, key: &str) -> Result<bool, String> {
        match self.array::<1>()?[0] {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(format!("key `{key}`: a truth value is {other}, neither 0 nor 1")),
        }
    }

    fn number(&mut self, kind: u32) -> Result<f64, String> {
        match kind {
            6 => Ok(f64::from(f32::from_bits(self.u32()?))),
            _ => Ok(f64::from_bits(self.u64()?)),
        }
    }

    /// A value of type `kind` under `key`.
    pub(super) fn value(&mut self, kind: u32, key: &str) -> Result<Value, String> {
        Ok(match kind {
            0..=5 | 10 | 11 => Value::Integer(self.integer(kind, key)?),
            6 => Value::Number(shortest(f32::from_bits(self.u32()?))),
            7 => Value::Flag(self.flag(key)?),
            TEXT => Value::Text(self.text(&format!("key `{key}`: bytes of its text"))?),
            ARRAY => self.list(key)?,
            12 => Value::Number(self.number(kind)?),
            other => return Err(unknown(key, other)),
        })
    }

    fn list(&mut self, key: &str) -> Result<Value, String> {
        let kind = self.u32()?;
        let Some(least) = least_bytes(kind) else { return Err(unknown(key, kind)) };
        let what = format!("key `{key}`: elements of its array");
        let count = self.count(&what, least, self.elements)?;
        self.elements -= count as u64;
        Ok(match kind {
            6 | 12 => Value::Numbers((0..count).map(|_| self.number(kind)).collect::<Result<_, _>>()?),
            7 => Value::Flags((0..count).map(|_| self.flag(key)).collect::<Result<_, _>>()?),
            TEXT => {
                let what = format!("key `{key}`: bytes of a text");
                Value::Texts((0..count).map(|_| self.text(&what)).collect::<Result<_, _>>()?)
            }
            ARRAY => return Err(format!("key `{key}` is an array of arrays, which no program reads")),
            _ => Value::Integers((0..count).map(|_| self.integer(kind, key)).collect::<Result<_, _>>()?),
        })
    }
}

fn unknown(key: &str, kind: u32) -> String {
    format!(
        "key `{key}` has the type {kind}, which GGUF does not have\nhint: the file is damaged: fetch it again"
    )
}

/// The shortest decimal that reads as `value`, in f64.
pub(super) fn shortest(value: f32) -> f64 {
    value.to_string().parse().unwrap_or_else(|_| f64::from(value))
}
