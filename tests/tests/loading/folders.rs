//! Shards, dtypes and what is refused.

use std::sync::{Arc, Mutex};

use refrain_runner::{Error, LoadOptions, Model, ModelFiles, ProgressCallback, dtype_name};
use refrain_tests::Result;
use refrain_tests::check::largest;
use refrain_tests::tiny::Tiny;
use tch::{IndexOp, Kind};

use crate::logits;

fn load(tiny: &Tiny, kind: Option<Kind>) -> refrain_runner::Result<Model> {
    Model::load(&ModelFiles::folder(&tiny.folder)?, &LoadOptions { kind, ..LoadOptions::default() })
}

#[test]
fn shards_are_the_same_model() -> Result {
    let dir = tempfile::tempdir()?;
    let tiny = Tiny::new(dir.path())?;
    tiny.write()?;
    let whole = load(&tiny, None)?;
    tiny.write_shards(3)?;
    let shards = load(&tiny, None)?;
    assert_eq!(largest(&logits(&whole)?, &logits(&shards)?), 0.0);
    Ok(())
}

#[test]
fn the_dtype_is_the_flags_or_the_configurations_or_the_files() -> Result {
    let kinds = [Kind::Float, Kind::BFloat16, Kind::Half, Kind::Double];
    for stored in kinds {
        for (stated, meant) in
            [(None, stored), (Some("bfloat16"), Kind::BFloat16), (Some("float32"), Kind::Float)]
        {
            let dir = tempfile::tempdir()?;
            let mut tiny = Tiny::new(dir.path())?;
            tiny.cast(stored, stated);
            tiny.write()?;
            assert_eq!(load(&tiny, None)?.kind(), meant, "stored {stored:?}, stated {stated:?}");
            for kind in kinds {
                let model = load(&tiny, Some(kind))?;
                assert_eq!(model.kind(), kind, "stored {stored:?}");
                // A weight is the stored one, converted once.
                let name = "model.embed_tokens.weight";
                let wanted = tiny.weights[name].to_kind(kind);
                assert!(model.weights().embed.equal(&wanted), "{} from {stored:?}", dtype_name(kind));
            }
        }
    }
    assert_eq!(Model::load(&ModelFiles::embedded(), &LoadOptions::default())?.kind(), Kind::Float);
    Ok(())
}

#[test]
fn a_dtype_too_narrow_for_a_weight_is_refused() -> Result {
    let dir = tempfile::tempdir()?;
    let mut tiny = Tiny::new(dir.path())?;
    let name = "model.layers.1.mlp.up_proj.weight";
    let _ = tiny.weights.get_mut(name).ok_or("no weight")?.i((3, 2)).fill_(1e6);
    tiny.write()?;
    load(&tiny, None)?;
    load(&tiny, Some(Kind::BFloat16))?;
    let error = load(&tiny, Some(Kind::Half)).unwrap_err().to_string();
    for word in [name, "too large for f16", "hint: choose a wider dtype"] {
        assert!(error.contains(word), "{error}");
    }
    Ok(())
}

/// The last number of a tensor of more than one piece.
#[test]
fn nan_at_the_end_of_a_large_tensor() -> Result {
    let dir = tempfile::tempdir()?;
    let mut tiny = Tiny::new(dir.path())?;
    let wide = 70_000;
    tiny.config["vocab_size"] = wide.into();
    for name in ["model.embed_tokens.weight", "lm_head.weight"] {
        let tensor = tch::Tensor::arange(wide * 16, (Kind::Float, tch::Device::Cpu)).reshape([wide, 16]);
        tiny.weights.insert(name.into(), tensor);
    }
    tiny.write()?;
    let model = load(&tiny, None)?;
    assert!(model.weights().embed.equal(&tiny.weights["model.embed_tokens.weight"]), "the pieces' order");
    let _ = tiny.weights["lm_head.weight"].i((wide - 1, 15)).fill_(f64::NAN);
    tiny.write()?;
    let error = load(&tiny, None).unwrap_err().to_string();
    assert!(error.contains("`lm_head.weight` holds NaN"), "{error}");
    // A tied model's head is compared, over all pieces.
    tiny.config["tie_word_embeddings"] = true.into();
    let embed = tiny.weights["model.embed_tokens.weight"].shallow_clone();
    tiny.weights.insert("lm_head.weight".into(), embed.copy());
    tiny.write()?;
    load(&tiny, None)?;
    let _ = tiny.weights["lm_head.weight"].i((wide - 1, 15)).fill_(0.5);
    tiny.write()?;
    assert!(load(&tiny, None).unwrap_err().to_string().contains("differs from the embedding"));
    Ok(())
}

#[test]
fn progress_grows_to_all_of_it() -> Result {
    let dir = tempfile::tempdir()?;
    let tiny = Tiny::new(dir.path())?;
    tiny.write_shards(2)?;
    let told = Arc::new(Mutex::new(Vec::new()));
    let listener = Arc::clone(&told);
    let watch = ProgressCallback::new(move |_, done, total| {
        listener.lock().map(|mut told| told.push((done, total))).unwrap_or_default();
    });
    let options = LoadOptions { watch, ..LoadOptions::default() };
    Model::load(&ModelFiles::folder(&tiny.folder)?, &options)?;
    let told = told.lock().map_err(|error| error.to_string())?;
    let bytes: usize = tiny.weights.values().map(|tensor| 4 * tensor.numel()).sum();
    assert!(told.len() > 10 && told.windows(2).all(|two| two[0].0 <= two[1].0), "{told:?}");
    assert_eq!(told.last(), Some(&(bytes as u64, bytes as u64)));
    Ok(())
}

#[test]
fn pickles_are_refused_with_the_way_to_convert_them() -> Result {
    for name in [
        "pytorch_model.bin",
        "pytorch_model-00001-of-00002.bin",
        "pytorch_model.bin.index.json",
        "consolidated.00.pth",
    ] {
        let dir = tempfile::tempdir()?;
        let tiny = Tiny::new(dir.path())?;
        tiny.write()?;
        std::fs::rename(tiny.path("model.safetensors"), tiny.path(name))?;
        let error = load(&tiny, None).unwrap_err();
        assert!(matches!(error, Error::Format { .. }), "{error:?}");
        for word in [name, "is a pickle", "hint: ", "AutoModelForCausalLM.from_pretrained("] {
            assert!(error.to_string().contains(word), "{error}");
        }
    }
    Ok(())
}
