//! GGUF: a model in one file, with its tokenizer in the metadata.

#[allow(dead_code, reason = "the container that has the metadata is not read yet")]
pub(crate) mod tokenizer;
