//! Runs in files.

use refrain_patching::prelude::*;
use refrain_tests::Result;
use refrain_tests::check::Check;

use crate::{PARTS, model};

const IDS: [i64; 6] = [5, 9, 3, 17, 11, 20];

#[test]
fn a_run_comes_back_as_it_was() -> Result {
    let lm = model("gpt2-untied")?;
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("new/run.safetensors");
    let run = lm.prompt(&IDS)?.cache(PARTS).run()?;
    run.save(&path)?;
    let back = lm.load_run(&path)?;
    let mut check = Check::new();
    assert_eq!(back.tokens(), IDS);
    check.same("logits", back.logits()?, run.logits()?);
    for hook in run.cache.hooks() {
        check.same(hook, back.cache.get(hook)?, run.cache.get(hook)?);
    }
    let attrs = |run: &PromptRun<'_>| -> Result<_> { Ok(run.head_results()?.logit_attrs(&[7], &[12])?) };
    assert_eq!(attrs(&back)?, attrs(&run)?);
    let patched = |from: &PromptRun<'_>| -> Result<f64> {
        Ok(lm.prompt(&[5, 9, 30, 17, 11, 20])?.patch(Z.layer(1), from).run()?.logit(&[7])?)
    };
    assert_eq!(patched(&back)?, patched(&run)?);
    check.finish();
    let left: Vec<_> =
        std::fs::read_dir(dir.path().join("new"))?.flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["run.safetensors"]);
    Ok(())
}

#[test]
fn narrow_dtypes_survive() -> Result {
    let mut lm = LanguageModel::built_in()?;
    let options = LoadOptions { kind: Some(Kind::BFloat16), ..LoadOptions::default() };
    lm.model = Model::load(&ModelFiles::embedded(), &options)?;
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("run.safetensors");
    let run = lm.prompt("loaf loaf loaf")?.cache(Z).run()?;
    run.save(&path)?;
    let back = lm.load_run(&path)?;
    assert_eq!(back.block(0, Z)?.kind(), Kind::BFloat16);
    let mut check = Check::new();
    check.same("z", back.block(0, Z)?, run.block(0, Z)?);
    check.finish();
    Ok(())
}

#[test]
fn a_file_that_is_no_run_of_this_model_is_refused() -> Result {
    let (lm, other) = (model("gpt2-untied")?, model("heads/llama-gqa")?);
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("run.safetensors");
    let refused = |words: &str| -> Result {
        let error = lm.load_run(&path).err().ok_or("accepted")?.to_string();
        assert!(error.contains(words) && error.contains("run.safetensors"), "{words}: {error}");
        Ok(())
    };
    refused("cannot read")?;
    std::fs::write(&path, b"not at all")?;
    refused("is not a safetensors file")?;
    other.prompt(&IDS)?.cache([Z, ResidPost]).run()?.save(&path)?;
    refused("it is of another model")?;
    other.prompt(&IDS)?.cache(NameFilter::hooks(&[Hook::block(2, Pattern)])).run()?.save(&path)?;
    refused("of another model")?;
    let z = Tensor::zeros([1, 6, 3, 8], (Kind::Float, tch::Device::Cpu));
    Tensor::write_safetensors(&[("blocks.0.attn.hook_z", &z)], &path)?;
    refused("has no `tokens`")?;
    let tokens = Tensor::from_slice(&IDS).unsqueeze(0);
    Tensor::write_safetensors(&[("tokens", &tokens), ("blocks.0.attn.hook_zz", &z)], &path)?;
    refused("did you mean `blocks.0.attn.hook_z`?")?;
    let rows = Tensor::zeros([2, 6, 3, 8], (Kind::Float, tch::Device::Cpu));
    Tensor::write_safetensors(&[("tokens", &tokens), ("blocks.0.attn.hook_z", &rows)], &path)?;
    refused("of several prompts")?;
    Tensor::write_safetensors(&[("tokens", &Tensor::from_slice(&[5000i64]).unsqueeze(0))], &path)?;
    refused("token 5000 does not exist")?;
    Tensor::write_safetensors(&[("tokens", &tokens)], &path)?;
    let error = lm.load_run(&path)?.logits().unwrap_err().to_string();
    assert!(error.contains("has no logits"), "{error}");
    Ok(())
}
