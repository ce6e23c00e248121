//! `refrain cache`: the activations of a prompt, as safetensors.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use refrain_runner::{NameFilter, Run, dtype_name};
use safetensors::tensor::{Dtype, TensorView};
use tch::Kind;

use super::prompt::PromptArgs;
use crate::lab::Subject;
use crate::lab::disk::write_atomically;
use crate::lab::model_args::ModelArgs;

/// Write the activations of a prompt to a safetensors file, under the names of their hooks
#[derive(Args)]
pub struct CacheArgs {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    prompt: PromptArgs,
    /// Hooks to keep, as blocks.3.attn.hook_z, or blocks.*.attn.hook_z for every layer (docs/hooks.md) [default:
    /// all]
    #[arg(long, value_name = "HOOK,...", value_delimiter = ',')]
    hooks: Vec<String>,
    /// The file
    #[arg(long, value_name = "FILE.safetensors")]
    out: PathBuf,
    /// Print nothing but errors
    #[arg(long)]
    quiet: bool,
}

/// Runs the prompt and writes the file. `tokens` holds the prompt's ids beside the activations.
///
/// # Errors
/// For a model, a prompt, a hook or interventions that cannot be used, and a file that cannot be written.
pub fn run(args: &CacheArgs) -> Result<String> {
    let names = if args.hooks.is_empty() { NameFilter::all() } else { NameFilter::parse(&args.hooks)? };
    let subject = Subject::load(&args.model, args.quiet)?;
    let tokens = subject.tokenizer()?.encode_with_specials(&args.prompt.text()?)?;
    let loaded = args.prompt.interventions(&subject)?;
    let bound = loaded.bind(subject.model.architecture())?;
    let ids = subject.model.ids(std::slice::from_ref(&tokens))?;
    let run = Run { interventions: Some(&bound), names, ..Run::default() };
    let cache = tch::no_grad(|| subject.model.run(&ids, run))?.cache;
    let mut tensors = BTreeMap::from([(
        "tokens".to_owned(),
        (
            Dtype::I64,
            vec![1, tokens.len()],
            tokens.iter().flat_map(|id| id.to_le_bytes()).collect::<Vec<u8>>(),
        ),
    )]);
    for hook in cache.hooks() {
        let tensor = cache.get(hook)?.f_to_device(tch::Device::Cpu)?.f_contiguous()?;
        let shape = tensor.size().iter().map(|size| *size as usize).collect::<Vec<_>>();
        let dtype = match tensor.kind() {
            Kind::Double => Dtype::F64,
            Kind::BFloat16 => Dtype::BF16,
            Kind::Half => Dtype::F16,
            _ => Dtype::F32,
        };
        let mut bytes = vec![0u8; tensor.numel() * tensor.kind().elt_size_in_bytes()];
        tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
        tensors.insert(hook.to_string(), (dtype, shape, bytes));
    }
    let views: BTreeMap<&String, TensorView<'_>> = tensors
        .iter()
        .map(|(name, (dtype, shape, bytes))| Ok((name, TensorView::new(*dtype, shape.clone(), bytes)?)))
        .collect::<Result<_>>()?;
    let metadata = [
        ("model", subject.name.as_str()),
        ("dtype", dtype_name(subject.model.kind())),
        ("version", crate::VERSION),
    ];
    let metadata = metadata.map(|(key, value)| (format!("refrain.{key}"), value.to_owned())).into();
    let bytes = safetensors::serialize(views, Some(metadata)).context("writing the activations")?;
    write_atomically(&args.out, &bytes)?;
    Ok(format!("{} activations of {} tokens: {}\n", tensors.len() - 1, tokens.len(), args.out.display()))
}
