//! GGUF files: the same numbers as a folder with the same weights, and every broken file an error.

mod convert;
mod metadata;
mod surroundings;

use refrain_runner::{LoadOptions, Model, ModelFiles};
use refrain_tests::Result;
use refrain_tests::gguf::As;
use tch::{Kind, Tensor};

use convert::{Case, both};

const fn case(name: &'static str, architecture: &'static str) -> Case {
    Case { name, architecture, tolerance: 0.0 }
}

/// Goldens whose configuration a GGUF file can say.
const CASES: [Case; 31] = [
    case("llama-gqa", "llama"),
    case("llama-bias", "llama"),
    case("llama-mqa", "llama"),
    case("llama-mha-tied", "llama"),
    case("llama-linear", "llama"),
    case("llama-yarn", "llama"),
    // Its parameters are not in the file, only the divisors that came of them, in f32.
    Case { name: "llama-rope3", architecture: "llama", tolerance: 1e-5 },
    case("mistral-full", "llama"),
    case("mistral-window", "llama"),
    case("mixtral-full", "llama"),
    case("mixtral-window", "llama"),
    case("qwen2-tied", "qwen2"),
    case("qwen2-yarn", "qwen2"),
    case("qwen2-moe-shared", "qwen2moe"),
    case("qwen3-tied", "qwen3"),
    case("qwen3-moe-norm", "qwen3moe"),
    case("gemma-mha", "gemma"),
    case("gemma-mqa", "gemma"),
    case("gemma2-caps", "gemma2"),
    case("gemma3-linear", "gemma3"),
    case("gemma3-types", "gemma3"),
    case("gpt2-tied", "gpt2"),
    case("gpt2-untied", "gpt2"),
    case("gpt-neox-pythia", "gptneox"),
    case("gpt-neox-serial", "gptneox"),
    case("gpt-neox-nobias", "gptneox"),
    case("olmo2-gqa", "olmo2"),
    case("olmo2-mha", "olmo2"),
    case("olmoe-norm", "olmoe"),
    // Its factors are f32 in the file, which counts for angles in f64.
    Case { name: "phi3-long", architecture: "phi3", tolerance: 1e-4 },
    case("phi3-window", "phi3"),
];

fn load(files: &ModelFiles, kind: Option<Kind>) -> Result<Model> {
    Ok(Model::load(files, &LoadOptions { kind, ..LoadOptions::default() })?)
}

/// The logits of some tokens.
fn logits(model: &Model) -> Result<Tensor> {
    let ids: Vec<i64> =
        (0..40).map(|at| (at * at + 5 * at + 3) % model.architecture().n_vocab as i64).collect();
    let rows = [ids.clone(), ids.into_iter().rev().collect()];
    Ok(tch::no_grad(|| model.logits(&model.ids(&rows)?))?)
}

fn agree(form: As) -> Result<Vec<String>> {
    let mut quantised = Vec::new();
    for case in &CASES {
        let name = case.name;
        let both = both(case, form).map_err(|error| format!("{name}: {error}"))?;
        let files = ModelFiles::gguf(&both.file).map_err(|error| format!("{name}: {error}"))?;
        if both.writer.tensors.iter().any(|tensor| tensor.kind == 8) {
            quantised.push(case.architecture.to_owned());
        }
        for kind in [Kind::Float, Kind::BFloat16, Kind::Double] {
            let wanted = load(&ModelFiles::folder(&both.folder)?, Some(kind))?;
            let found = load(&files, Some(kind)).map_err(|error| format!("{name}: {error}"))?;
            assert_eq!(found.weights().n_params(), wanted.weights().n_params(), "{name}");
            assert_eq!(found.architecture().eos, wanted.architecture().eos, "{name}");
            let (found, wanted) = (logits(&found)?, logits(&wanted)?);
            let tolerance = match kind {
                // What is nearly equal may be rounded apart.
                Kind::BFloat16 if case.tolerance > 0.0 => 0.1,
                _ => case.tolerance,
            };
            let difference = (&found - &wanted).abs().max().to_kind(Kind::Double).double_value(&[]);
            assert!(difference <= tolerance, "{name} as {form:?} in {kind:?}: {difference:e}");
            assert!(wanted.to_kind(Kind::Double).std(true).double_value(&[]) > 1e-3, "{name}: all alike");
        }
    }
    quantised.sort();
    quantised.dedup();
    Ok(quantised)
}

#[test]
fn the_logits_are_those_of_the_folder_in_f32() -> Result {
    assert!(agree(As::F32)?.is_empty());
    Ok(())
}

#[test]
fn the_logits_are_those_of_the_folder_in_f16() -> Result {
    agree(As::F16)?;
    Ok(())
}

/// Rows are permuted, transposed and stacked as whole blocks.
#[test]
fn the_logits_of_quantised_weights_are_those_of_a_folder_with_the_same_numbers() -> Result {
    let quantised = agree(As::Q8)?;
    for architecture in ["llama", "gemma", "gpt2", "gptneox"] {
        assert!(quantised.iter().any(|found| found == architecture), "{architecture}: nothing was quantised");
    }
    Ok(())
}
