//! How numbers are stored: ggml's types.

/// A type whose numbers can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stored {
    F32,
    F16,
    Bf16,
    F64,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
    Iq4Nl,
    Iq4Xs,
    Mxfp4,
}

/// Id in the file, name, numbers of a block, bytes of a block.
const TYPES: [(Stored, u32, &str, usize, usize); 17] = [
    (Stored::F32, 0, "F32", 1, 4),
    (Stored::F16, 1, "F16", 1, 2),
    (Stored::Q4_0, 2, "Q4_0", 32, 18),
    (Stored::Q4_1, 3, "Q4_1", 32, 20),
    (Stored::Q5_0, 6, "Q5_0", 32, 22),
    (Stored::Q5_1, 7, "Q5_1", 32, 24),
    (Stored::Q8_0, 8, "Q8_0", 32, 34),
    (Stored::Q2K, 10, "Q2_K", 256, 84),
    (Stored::Q3K, 11, "Q3_K", 256, 110),
    (Stored::Q4K, 12, "Q4_K", 256, 144),
    (Stored::Q5K, 13, "Q5_K", 256, 176),
    (Stored::Q6K, 14, "Q6_K", 256, 210),
    (Stored::Iq4Nl, 20, "IQ4_NL", 32, 18),
    (Stored::Iq4Xs, 23, "IQ4_XS", 256, 136),
    (Stored::F64, 28, "F64", 1, 8),
    (Stored::Bf16, 30, "BF16", 1, 2),
    (Stored::Mxfp4, 39, "MXFP4", 32, 17),
];

/// Types that exist and are not read.
const OTHERS: [(u32, &str); 18] = [
    (9, "Q8_1"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (29, "IQ1_M"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (40, "NVFP4"),
    (41, "Q1_0"),
    (42, "Q2_0"),
];

impl Stored {
    /// The type with this number in the file, or what to say of a tensor that has it.
    pub(super) fn from_id(id: u32) -> Result<Self, String> {
        if let Some((stored, ..)) = TYPES.iter().find(|(_, known, ..)| *known == id) {
            return Ok(*stored);
        }
        let names: Vec<&str> = TYPES.iter().map(|(_, _, name, ..)| *name).collect();
        let hint = format!("hint: take a file in one of {}", names.join(", "));
        Err(match OTHERS.iter().find(|(known, _)| *known == id) {
            Some((_, name)) => format!("is stored as {name}, which is not supported\n{hint}"),
            None => format!("is stored as type {id}, which GGUF does not have or has no longer\n{hint}"),
        })
    }

    fn entry(self) -> (&'static str, usize, usize) {
        let entry = TYPES.iter().find(|(stored, ..)| *stored == self);
        // Every type stands in the table, as a test says.
        entry.map_or(("?", 1, 1), |(_, _, name, block, bytes)| (name, *block, *bytes))
    }

    /// Its name in ggml.
    pub(crate) fn name(self) -> &'static str {
        self.entry().0
    }

    /// Numbers of a block: those that are stored together.
    pub(crate) fn block(self) -> usize {
        self.entry().1
    }

    /// Bytes of a block.
    pub(crate) fn bytes(self) -> usize {
        self.entry().2
    }

    /// Whether its numbers are floating-point ones, each by itself.
    pub(crate) fn is_float(self) -> bool {
        self.block() == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_in_the_table() {
        for (stored, id, name, block, bytes) in TYPES {
            assert_eq!(Stored::from_id(id), Ok(stored));
            assert_eq!((stored.name(), stored.block(), stored.bytes()), (name, block, bytes));
        }
    }

    #[test]
    fn other_types_are_refused_by_name() {
        for (id, words) in [(16, "IQ2_XXS"), (42, "Q2_0"), (4, "type 4"), (31, "type 31"), (99, "type 99")] {
            let error = Stored::from_id(id).unwrap_err();
            assert!(error.contains(words) && error.contains("\nhint: ") && error.contains("Q6_K"), "{error}");
        }
    }
}
