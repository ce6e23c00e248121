//! A tiny Llama with a word tokenizer, made here and never stored: the model of the whole-program tests. Its parts
//! stay open to changes until [`Tiny::write`], so that a test can spoil one of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use refrain_runner::family::{self, Config, architecture};
use refrain_runner::{LoadOptions, Model, ModelFiles, Tokenizer};
use serde_json::{Value, json};
use tch::{Kind, Tensor};

use crate::Result;

/// Positions of the model.
pub const WINDOW: usize = 64;

/// Tokens that are no words. 0 is for unknown text, 1 begins a text and 2 ends it.
const OTHERS: [&str; 13] =
    ["<unk>", "<bos>", "<eos>", ":", "Please", "in", "2", "4", "8", "9", "16", "32", "64"];
/// Words of the instruction.
const INSTRUCTION: [&str; 4] = ["repeat", "this", "word", "times"];
/// Made-up words.
const WORDS: usize = 63;

/// A model folder in the making.
#[derive(Debug)]
pub struct Tiny {
    /// Where it goes.
    pub folder: PathBuf,
    /// `config.json`.
    pub config: Value,
    /// `tokenizer.json`.
    pub tokenizer: Value,
    /// `model.safetensors`.
    pub weights: BTreeMap<String, Tensor>,
}

/// The vocabulary, by id.
pub fn vocabulary() -> Vec<String> {
    let others = OTHERS.iter().chain(&INSTRUCTION).map(|token| (*token).to_owned());
    others.chain((0..WORDS).map(word)).collect()
}

/// A made-up word of three letters.
pub fn word(index: usize) -> String {
    let letter = |from: &[u8], index: usize| char::from(from[index % from.len()]);
    let (consonants, vowels) = (b"bdfgklmnprstvz", b"aeiou");
    [letter(consonants, index), letter(vowels, index), letter(consonants, index / 5)].iter().collect()
}

impl Tiny {
    /// The model for `folder`, always the same; nothing is written yet.
    pub fn new(folder: &Path) -> Result<Self> {
        let vocabulary = vocabulary();
        let config = json!({
            "model_type": "llama",
            "architectures": ["LlamaForCausalLM"],
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "vocab_size": vocabulary.len(),
            "max_position_embeddings": WINDOW,
            "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0,
            "hidden_act": "silu",
            "tie_word_embeddings": false,
            "bos_token_id": 1,
            "eos_token_id": 2,
        });
        let shape = architecture(&Config::parse(config.to_string().as_bytes(), &[])?)?;
        // The generator is libtorch's global one; tests run side by side.
        static GENERATOR: Mutex<()> = Mutex::new(());
        let guard = GENERATOR.lock()?;
        tch::manual_seed(20_260);
        let mut weights = family::fresh(&shape, 0.6)?;
        drop(guard);
        // A leaning to say the last token again, so that there is something to count: what the blocks write weighs less
        // beside the embedding, and the head knows the embedding.
        let embed = weights.get("model.embed_tokens.weight").ok_or("no embedding")?.shallow_clone();
        for (name, tensor) in &mut weights {
            if name.ends_with("o_proj.weight") || name.ends_with("down_proj.weight") {
                *tensor = &*tensor * 0.12;
            } else if name == "lm_head.weight" {
                *tensor = &*tensor + &embed;
            } else if name == "model.embed_tokens.weight" {
                *tensor = &*tensor * 2.0;
            }
        }
        Ok(Tiny { folder: folder.to_owned(), config, tokenizer: tokenizer(&vocabulary), weights })
    }

    /// Writes the folder.
    pub fn write(&self) -> Result {
        std::fs::create_dir_all(&self.folder)?;
        std::fs::write(self.path("config.json"), serde_json::to_vec_pretty(&self.config)?)?;
        std::fs::write(self.path("tokenizer.json"), serde_json::to_vec_pretty(&self.tokenizer)?)?;
        let tensors: Vec<(&String, &Tensor)> = self.weights.iter().collect();
        Tensor::write_safetensors(&tensors, self.path("model.safetensors"))?;
        Ok(())
    }

    /// Writes the folder with the weights in `count` files and an index.
    pub fn write_shards(&self, count: usize) -> Result {
        self.write()?;
        std::fs::remove_file(self.path("model.safetensors"))?;
        let mut map = serde_json::Map::new();
        for shard in 0..count {
            let file = format!("model-{:05}-of-{count:05}.safetensors", shard + 1);
            let tensors: Vec<_> = self.weights.iter().skip(shard).step_by(count).collect();
            map.extend(tensors.iter().map(|(name, _)| ((*name).clone(), file.clone().into())));
            Tensor::write_safetensors(&tensors, self.path(&file))?;
        }
        let index = json!({"metadata": {}, "weight_map": map});
        std::fs::write(self.path("model.safetensors.index.json"), index.to_string())?;
        Ok(())
    }

    /// Makes all weights `kind`, and has `config.json` say so or say nothing of it.
    pub fn cast(&mut self, kind: Kind, stated: Option<&str>) {
        self.weights.values_mut().for_each(|tensor| *tensor = tensor.to_kind(kind));
        self.config["torch_dtype"] = stated.into();
    }

    /// A file of the folder.
    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    /// The written folder, loaded.
    pub fn load(&self) -> Result<(Model, Tokenizer)> {
        let files = ModelFiles::folder(&self.folder)?;
        let model = Model::load(&files, &LoadOptions::default())?;
        let tokenizer = Tokenizer::load(&files, model.architecture().n_vocab)?;
        Ok((model, tokenizer))
    }
}

fn tokenizer(vocabulary: &[String]) -> Value {
    let special = |id: usize| {
        json!({
            "id": id, "content": vocabulary[id], "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true,
        })
    };
    let ids: serde_json::Map<String, Value> =
        vocabulary.iter().enumerate().map(|(id, token)| (token.clone(), id.into())).collect();
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [special(0), special(1), special(2)],
        "normalizer": null,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<bos>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<bos>": {"id": "<bos>", "ids": [1], "tokens": ["<bos>"]}},
        },
        "decoder": null,
        "model": {"type": "WordLevel", "vocab": ids, "unk_token": "<unk>"},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_is_there_once() -> Result {
        let mut tokens = vocabulary();
        tokens.sort();
        tokens.dedup();
        assert_eq!(tokens.len(), vocabulary().len());
        let dir = tempfile::tempdir()?;
        let tiny = Tiny::new(dir.path())?;
        tiny.write()?;
        let (model, tokenizer) = tiny.load()?;
        assert_eq!((model.heads().len(), model.architecture().n_ctx), (8, WINDOW));
        let ids = tokenizer.encode_with_specials("Please repeat this word: bab in 16 times\n")?;
        assert_eq!(ids.iter().filter(|id| **id == 0).count(), 0, "{ids:?}");
        Ok(())
    }
}
