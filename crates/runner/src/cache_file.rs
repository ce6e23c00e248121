//! Activations in a safetensors file, under the names of their hooks, with the tokens of the run beside them.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use tch::{Device, Kind, Tensor};

use crate::atomic::write_atomically;
use crate::cache::ActivationCache;
use crate::dtype::dtype_name;
use crate::error::{Error, Result};
use crate::hook::{Hook, HookPoint};
use crate::language_model::LanguageModel;
use crate::prompt_run::PromptRun;

/// The name of the prompt's ids.
const TOKENS: &str = "tokens";

/// Dtypes here and in the file.
const KINDS: [(Kind, Dtype); 5] = [
    (Kind::Float, Dtype::F32),
    (Kind::Double, Dtype::F64),
    (Kind::BFloat16, Dtype::BF16),
    (Kind::Half, Dtype::F16),
    (Kind::Int64, Dtype::I64),
];

impl ActivationCache {
    /// The bytes of a safetensors file: every activation under the name of its hook, the run's ids as `tokens`,
    /// `[1, pos]` i64, and `about` as metadata, each key after `refrain.`.
    ///
    /// # Errors
    /// [`Error::Torch`]; [`Error::Input`] for a dtype that has no place in such a file.
    pub fn to_safetensors(&self, tokens: &[i64], about: &[(&str, &str)]) -> Result<Vec<u8>> {
        let hooks = self.hooks().map(|hook| Ok((hook.to_string(), self.get(hook)?.shallow_clone())));
        let mut tensors = hooks.collect::<Result<BTreeMap<_, _>>>()?;
        tensors.insert(TOKENS.to_owned(), Tensor::f_from_slice(tokens)?.f_unsqueeze(0)?);
        let mut data = BTreeMap::new();
        for (name, tensor) in &tensors {
            let tensor = tensor.f_detach()?.f_to_device(Device::Cpu)?.f_contiguous()?;
            let dtype = KINDS.iter().find(|(kind, _)| *kind == tensor.kind()).map(|(_, dtype)| *dtype);
            let dtype = dtype.ok_or_else(|| {
                Error::Input(format!("`{name}` is {:?}, which such a file does not hold", tensor.kind()))
            })?;
            let mut bytes = vec![0u8; tensor.numel() * tensor.kind().elt_size_in_bytes()];
            tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
            let shape: Vec<usize> = tensor.size().iter().map(|size| *size as usize).collect();
            data.insert(name.as_str(), (dtype, shape, bytes));
        }
        let broken = |error: safetensors::SafeTensorError| Error::Input(format!("activations: {error}"));
        let views = data
            .iter()
            .map(|(name, (dtype, shape, bytes))| {
                Ok((*name, TensorView::new(*dtype, shape.clone(), bytes).map_err(broken)?))
            })
            .collect::<Result<BTreeMap<_, _>>>()?;
        let about =
            about.iter().map(|(key, value)| (format!("refrain.{key}"), (*value).to_owned())).collect();
        safetensors::serialize(views, Some(about)).map_err(broken)
    }
}

impl PromptRun<'_> {
    /// Writes the kept activations, the logits and the tokens to a safetensors file at `path`. The file appears whole
    /// or not at all.
    ///
    /// # Errors
    /// [`Error::Write`]; as [`ActivationCache::to_safetensors`].
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut all = self.cache.shallow_clone();
        if let Ok(logits) = self.logits() {
            all.insert(Hook::top(HookPoint::Logits), logits.shallow_clone());
        }
        let dtype = dtype_name(self.language_model().model.kind());
        let bytes =
            all.to_safetensors(self.tokens(), &[("dtype", dtype), ("version", env!("CARGO_PKG_VERSION"))])?;
        write_atomically(path, &bytes).map_err(|cause| Error::Write { path: path.to_owned(), cause })
    }
}

impl LanguageModel {
    /// Reads back a run that [`PromptRun::save`] or `refrain cache` wrote. It must be one of this model.
    ///
    /// # Errors
    /// [`Error::Read`] if there is no such file; [`Error::Format`] if it is no such file, is of another model, or holds
    /// activations of several prompts.
    pub fn load_run(&self, path: &Path) -> Result<PromptRun<'_>> {
        let bytes = std::fs::read(path).map_err(|cause| Error::Read {
            path: path.to_owned(),
            cause,
            hint: "`PromptRun::save` and `refrain cache` write such a file",
        })?;
        let wrong = |what: String| Error::Format { file: path.display().to_string(), what };
        let file = SafeTensors::deserialize(&bytes)
            .map_err(|error| wrong(format!("is not a safetensors file: {error}")))?;
        let (mut tokens, mut cache) = (None, ActivationCache::default());
        for (name, view) in file.iter() {
            let dtype = view.dtype();
            let Some((kind, _)) = KINDS.iter().find(|(_, known)| *known == dtype) else {
                return Err(wrong(format!("`{name}` is {dtype:?}, which no activation is")));
            };
            let shape: Vec<i64> = view.shape().iter().map(|size| *size as i64).collect();
            let tensor = Tensor::f_from_data_size(view.data(), &shape, *kind)?;
            if name == TOKENS {
                let ids = Vec::<i64>::try_from(&tensor.f_view([-1])?)
                    .map_err(|_| wrong("`tokens` are no token ids".into()))?;
                tokens = Some(ids);
                continue;
            }
            let hook: Hook = name.parse().map_err(|error: Error| wrong(error.to_string()))?;
            cache.insert(hook, tensor.f_to_device(self.model.device())?);
        }
        let tokens = tokens.filter(|tokens| !tokens.is_empty()).ok_or_else(|| {
            wrong("has no `tokens`\nhint: `PromptRun::save` and `refrain cache` write such a file".into())
        })?;
        for hook in cache.hooks() {
            let size = cache.get(hook)?.size();
            self.check_fits(hook, &size, tokens.len()).map_err(&wrong)?;
        }
        if let Some(id) =
            tokens.iter().find(|id| !(0..self.model.architecture().n_vocab as i64).contains(*id))
        {
            return Err(wrong(format!("token {id} does not exist in this model: it is of another model")));
        }
        let logits = cache.get(Hook::top(HookPoint::Logits)).ok().map(Tensor::shallow_clone);
        Ok(PromptRun::new(self, tokens, logits, cache))
    }

    /// Whether an activation of this size, of one row of `pos` tokens, can be this model's at `hook`.
    fn check_fits(&self, hook: Hook, size: &[i64], pos: usize) -> Result<(), String> {
        let arch = self.model.architecture();
        if !arch.has(hook) {
            return Err(format!(
                "this {} model of {} layers has no `{hook}`: it is of another model",
                arch.family, arch.n_layers
            ));
        }
        let fits = size.first() == Some(&1)
            && size.contains(&(pos as i64))
            && arch.width(hook).is_none_or(|width| size.last() == Some(&(width as i64)));
        match fits {
            true => Ok(()),
            false => Err(format!(
                "`{hook}` is {size:?}, which no run of one prompt of {pos} tokens has in this model: it is of another \
                 model, or of several prompts"
            )),
        }
    }
}
