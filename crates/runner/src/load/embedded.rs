//! The model inside the binary: trained by this repository on its own synthetic language (docs/model.md), and kept as
//! a Hugging Face folder, so that it goes through the same loading path as any other.

use crate::load::files::ModelFiles;

const FILES: [(&str, &[u8]); 4] = [
    ("config.json", include_bytes!("../../model/config.json")),
    ("model.safetensors", include_bytes!("../../model/model.safetensors")),
    ("tokenizer.json", include_bytes!("../../model/tokenizer.json")),
    ("token_counts.json", include_bytes!("../../model/token_counts.json")),
];

impl ModelFiles {
    /// The built-in model.
    pub fn embedded() -> Self {
        ModelFiles::built_in("microworld", &FILES)
    }
}
