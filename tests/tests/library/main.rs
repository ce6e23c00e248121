//! The library as a program outside sees it: prompts run, kept, patched and taken apart.

mod files;
mod outside;
mod residual;
mod runs;

use refrain_patching::prelude::*;
use refrain_tests::Result;
use refrain_tests::golden;

/// The golden model `name` in f64, as a language model. These models have no tokenizer: prompts are ids.
fn model(name: &str) -> Result<LanguageModel> {
    let words = ModelFiles::folder(&golden::folder("gpt2-tied"))?;
    let model = golden::model(name, Kind::Double)?;
    Ok(LanguageModel { model, tokenizer: Tokenizer::load(&words, 1000)?, chat: None })
}

/// The activations that every decomposition is made of.
const PARTS: [HookPoint; 9] = [Embed, PosEmbed, ResidPre, ResidMid, ResidPost, AttnOut, MlpOut, Z, MlpPost];
