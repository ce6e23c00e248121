//! `refrain-check` as its user runs it, on the golden models.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser;
use refrain_experiments::check::Args;
use refrain_runner::{LoadOptions, Model, ModelFiles};
use refrain_tests::Result;
use refrain_tests::golden::{folder, models};
use refrain_tests::program::Ran;
use serde_json::Value;
use tch::{Kind, Tensor};

fn check(model: &Path, arguments: &[&str]) -> Result<Ran> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_refrain-check"));
    // Threads of models so small would only wait for each other.
    command.env("OMP_NUM_THREADS", "1");
    Ran::of(command.arg("--model").arg(model).args(arguments))
}

/// What the program does, in this process: starting one takes longer than checking a small model.
fn check_here(model: &Path, arguments: &[&str]) -> Result<(String, bool)> {
    tch::set_num_threads(1);
    let model = model.display().to_string();
    let arguments = Args::try_parse_from([&["refrain-check", "--model", &model], arguments].concat())?;
    Ok(refrain_experiments::check::run(&arguments)?)
}

/// A reference in `dir` made of golden tensors of `name`: `pairs` of its name there and the golden's.
fn reference(dir: &Path, name: &str, pairs: &[(&str, &str)]) -> Result<PathBuf> {
    let golden = Tensor::read_safetensors(folder(name).join("golden.safetensors"))?;
    let get = |key: &str| golden.iter().find(|(known, _)| known == key).map(|(_, tensor)| tensor);
    let mut tensors = Vec::new();
    for (there, key) in pairs {
        tensors.push((*there, get(key).ok_or("no such golden tensor")?));
    }
    let path = dir.join("reference.safetensors");
    Tensor::write_safetensors(&tensors, &path)?;
    Ok(path)
}

const PLAIN: [(&str, &str); 2] = [("input_ids", "input_ids"), ("logits", "logits")];
const PADDED: [(&str, &str); 3] = [
    ("input_ids", "left.input_ids"),
    ("attention_mask", "left.attention_mask"),
    ("logits", "left.logits_f64"),
];

fn json(ran: &Ran) -> Result<Value> {
    assert_eq!(ran.stdout.lines().count(), 1, "{ran:#?}");
    Ok(serde_json::from_str(&ran.stdout)?)
}

/// A copy of the folder of `name` in `dir` whose weights went through `change`.
fn spoilt(dir: &Path, name: &str, change: impl Fn(&str, Tensor) -> Tensor) -> Result<PathBuf> {
    let copy = dir.join(name);
    std::fs::create_dir_all(&copy)?;
    std::fs::copy(folder(name).join("config.json"), copy.join("config.json"))?;
    let tensors = Tensor::read_safetensors(folder(name).join("model.safetensors"))?;
    let tensors: Vec<(String, Tensor)> =
        tensors.into_iter().map(|(name, tensor)| (name.clone(), change(&name, tensor))).collect();
    Tensor::write_safetensors(&tensors, copy.join("model.safetensors"))?;
    Ok(copy)
}

#[test]
fn every_golden_is_what_transformers_computes() -> Result {
    let dir = tempfile::tempdir()?;
    for (name, family) in models()? {
        let path = reference(dir.path(), &name, &PLAIN)?;
        let (text, sound) =
            check_here(&folder(&name), &["--json", "--reference", &path.display().to_string()])?;
        assert!(sound, "{name}: {text}");
        let found: Value = serde_json::from_str(&text)?;
        assert_eq!(found["family"], family.as_str(), "{name}");
        assert_eq!((&found["ok"], &found["verdict"]), (&Value::from(true), &Value::from("noise")), "{name}");
        assert!(found["max_abs_diff"].as_f64().ok_or("no difference")? < 1e-4, "{name}");
        assert!(found["n_params"].as_u64().ok_or("no count")? > 1000, "{name}");
        for key in ["identities", "identities_f64"] {
            let identities = found[key].as_object().ok_or("no identities")?;
            assert!(identities.len() > 15, "{name}");
            assert!(
                identities.values().all(|error| error.as_f64().is_some_and(|error| error < 1e-3)),
                "{name}"
            );
        }
    }
    Ok(())
}

#[test]
fn text_of_eighty_columns() -> Result {
    for name in ["llama-gqa", "gemma4-ple", "qwen2-moe-shared", "opt-350m", "phi3-long", "llama-yarn-factor"]
    {
        let ran = check(&folder(name), &[])?.succeeded();
        let long: Vec<&str> = ran.stdout.lines().filter(|line| line.chars().count() > 80).collect();
        assert!(long.is_empty(), "{name}: {long:?}");
        assert!(ran.stdout.contains("noise: nothing but the rounding of f32"), "{ran:#?}");
    }
    let ran = check(&folder("gpt2-tied"), &[])?.succeeded();
    assert!(ran.stdout.contains("tied to the unembedding"), "{ran:#?}");
    let (tied, untied) = (
        json(&check(&folder("gpt2-tied"), &["--json"])?)?,
        json(&check(&folder("gpt2-untied"), &["--json"])?)?,
    );
    assert_eq!((&tied["max_abs_diff"], &tied["tolerance"]), (&Value::Null, &Value::Null));
    // 48 tokens of 24 more, and MLPs of 96 instead of 64 neurons in both layers.
    let more = untied["n_params"].as_i64().ok_or("none")? - tied["n_params"].as_i64().ok_or("none")?;
    assert_eq!(more, 48 * 24 + 2 * 32 * (24 + 24 + 1));
    Ok(())
}

#[test]
fn narrower_dtypes_and_padding() -> Result {
    let dir = tempfile::tempdir()?;
    for name in ["gpt2-tied", "gemma2-caps", "qwen2-moe-shared", "opt-350m"] {
        let path = reference(dir.path(), name, &PADDED)?.display().to_string();
        for dtype in ["f64", "f32", "f16", "bf16"] {
            check(&folder(name), &["--dtype", dtype, "--reference", &path])?.succeeded();
        }
        // bf16 is not exact, and the program can tell why.
        let ran = check(
            &folder(name),
            &["--dtype", "bf16", "--tolerance", "1e-6", "--reference", &path, "--json"],
        )?;
        assert_eq!(ran.code, Some(1), "{ran:#?}");
        let found = json(&ran)?;
        assert_eq!(
            (&found["reference"]["verdict"], &found["verdict"]),
            (&Value::from("rounding"), &Value::from("noise"))
        );
    }
    // Without the mask the pads count as tokens.
    let path = reference(dir.path(), "gpt2-tied", &[PADDED[0], PADDED[2]])?.display().to_string();
    assert_eq!(check(&folder("gpt2-tied"), &["--reference", &path])?.code, Some(1));
    Ok(())
}

/// Logits of a bare forward pass of transformers, which counts padding as positions, made here by adding to the
/// right ones.
#[test]
fn positions_of_left_padded_rows_are_explained() -> Result {
    let dir = tempfile::tempdir()?;
    let golden = Tensor::read_safetensors(folder("gpt2-tied").join("golden.safetensors"))?;
    let get =
        |key: &str| golden.iter().find(|(known, _)| known == key).map(|(_, tensor)| tensor.shallow_clone());
    let ids = get("left.input_ids").ok_or("no ids")?;
    let (mask, logits) =
        (get("left.attention_mask").ok_or("no mask")?, get("left.logits_f64").ok_or("none")?);
    let path = dir.path().join("reference.safetensors");
    let explained = |logits: &Tensor| -> Result<Ran> {
        Tensor::write_safetensors(
            &[("input_ids", &ids), ("attention_mask", &mask), ("logits", logits)],
            &path,
        )?;
        check(&folder("gpt2-tied"), &["--reference", &path.display().to_string()])
    };
    let note = ["positions count real tokens only", "position_ids = (mask.cumsum(-1) - 1).clamp(min=0)"];
    let padded = mask.select(1, 0).eq(0);
    assert!(
        padded.any().int64_value(&[]) == 1 && padded.all().int64_value(&[]) == 0,
        "rows of one kind only"
    );
    // Wrong in the rows with padding, then in the others.
    let wrong = |rows: &Tensor| &logits + rows.to_kind(Kind::Double).unsqueeze(-1).unsqueeze(-1);
    let ran = explained(&wrong(&padded))?;
    assert!(ran.code == Some(1) && note.iter().all(|text| ran.stdout.contains(text)), "{ran:#?}");
    assert!(ran.stdout.contains("left padding: ") && !ran.stdout.contains("bug: "), "{ran:#?}");
    // Wrong in all rows, most in those with padding: more than positions.
    let everywhere = padded.to_kind(Kind::Double) + 1.0;
    let ran = explained(&(&logits + everywhere.unsqueeze(-1).unsqueeze(-1)))?;
    assert!(ran.code == Some(1) && ran.stdout.contains("bug: "), "{ran:#?}");
    let ran = explained(&wrong(&padded.logical_not()))?;
    assert!(ran.code == Some(1) && !ran.stdout.contains(note[0]), "{ran:#?}");
    assert!(!explained(&logits)?.succeeded().stdout.contains(note[0]));
    Ok(())
}

#[test]
fn a_spoilt_weight_is_a_bug_with_a_place() -> Result {
    let dir = tempfile::tempdir()?;
    let path = reference(dir.path(), "gpt2-tied", &PLAIN)?.display().to_string();
    let bias = "transformer.h.1.mlp.c_proj.bias";
    let model =
        spoilt(dir.path(), "gpt2-tied", |name, tensor| if name == bias { tensor * 1.5 } else { tensor })?;
    let ran = check(&model, &["--reference", &path])?;
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    for word in ["worst at row ", "position ", "(token ", "bug: it is there in f64 too", "noise: nothing but"]
    {
        assert!(ran.stdout.contains(word), "{word:?}: {ran:#?}");
    }
    let found = json(&check(&model, &["--reference", &path, "--json"])?)?;
    assert_eq!((&found["ok"], &found["reference"]["verdict"]), (&Value::from(false), &Value::from("bug")));
    assert!(found["reference"]["worst"]["position"].is_u64());
    Ok(())
}

/// Whatever the tokens that are sampled, no weight of any layer can be another without its being found.
#[test]
fn a_fault_in_any_weight_of_any_layer_is_found() -> Result {
    let dir = tempfile::tempdir()?;
    for name in ["llama-gqa", "gemma3-linear"] {
        let path = reference(dir.path(), name, &PLAIN)?.display().to_string();
        let tensors = Tensor::read_safetensors(folder(name).join("model.safetensors"))?;
        assert!(tensors.iter().any(|(name, _)| name.contains("layers.1.")), "{name}");
        for (spoilt_one, _) in tensors {
            let model = spoilt(dir.path(), name, |name, tensor| match name == spoilt_one {
                true => {
                    let pattern = Tensor::arange(tensor.numel() as i64, (tensor.kind(), tch::Device::Cpu));
                    &tensor + pattern.remainder(3.0).reshape(tensor.size()) * 0.3
                }
                false => tensor,
            })?;
            let (text, sound) = check_here(&model, &["--json", "--reference", &path])?;
            let found: Value = serde_json::from_str(&text)?;
            // The formulas hold, for other weights.
            assert_eq!((sound, &found["verdict"]), (false, &Value::from("noise")), "{name}: {spoilt_one}");
            assert_eq!(found["reference"]["verdict"], "bug", "{name}: {spoilt_one}: {text}");
        }
    }
    Ok(())
}

/// Logits of thousands round by more than those of ones. What is allowed follows, and verdict and exit code agree.
#[test]
fn the_tolerance_follows_the_logits() -> Result {
    let dir = tempfile::tempdir()?;
    let name = "gpt2-untied";
    let model = spoilt(dir.path(), name, |name, tensor| match name {
        "lm_head.weight" => tensor * 3e4,
        _ => tensor,
    })?;
    let golden = Tensor::read_safetensors(folder(name).join("golden.safetensors"))?;
    let ids = golden.iter().find(|(key, _)| key == "input_ids").map(|(_, ids)| ids).ok_or("no ids")?;
    let exact = tch::no_grad(|| {
        let options = LoadOptions { kind: Some(Kind::Double), ..LoadOptions::default() };
        let model = Model::load(&ModelFiles::folder(&model)?, &options)?;
        model.logits(ids)
    })?;
    let path = dir.path().join("exact.safetensors");
    let beside = |logits: &Tensor, more: &[&str]| -> Result<(Value, bool)> {
        Tensor::write_safetensors(&[("input_ids", ids), ("logits", logits)], &path)?;
        let shown = path.display().to_string();
        let (text, sound) = check_here(&model, &[&["--json", "--reference", &shown], more].concat())?;
        Ok((serde_json::from_str(&text)?, sound))
    };
    let (found, sound) = beside(&exact, &[])?;
    let number = |key: &str| found[key].as_f64().ok_or("no number");
    let (far, tolerance) = (number("max_abs_diff")?, number("tolerance")?);
    assert!(sound && far > 1e-4 && tolerance > 1e-4, "{found}");
    assert_eq!(found["reference"]["verdict"], Value::Null, "{found}");
    // What was asked for is held to, with another verdict than what was not.
    let (found, sound) = beside(&exact, &["--tolerance", "1e-4"])?;
    assert_eq!((&found["reference"]["verdict"], sound), (&Value::from("rounding"), false), "{found}");
    // Beyond the tolerance in f32 and within it in f64: rounding. Beyond it in both: a mistake.
    let worst = |key: &str| found["reference"]["worst"][key].as_i64().ok_or("no place");
    let place = [worst("row")?, worst("position")?, worst("entry")?];
    let ours = found["reference"]["worst"]["logit"].as_f64().ok_or("no logit")?;
    let away = if ours > exact.double_value(&place) { -1.0 } else { 1.0 };
    for (by, verdict) in [(0.9, "noise"), (2.0, "bug")] {
        let moved = exact.copy();
        let _ = moved
            .get(place[0])
            .get(place[1])
            .get(place[2])
            .fill_(exact.double_value(&place) + by * away * tolerance);
        let (found, sound) = beside(&moved, &[])?;
        assert_eq!(
            (&found["reference"]["verdict"], sound),
            (&Value::from(verdict), verdict == "noise"),
            "{found}"
        );
    }
    Ok(())
}

#[test]
fn every_program_has_its_version() -> Result {
    for (name, path) in [
        ("refrain-check", env!("CARGO_BIN_EXE_refrain-check")),
        ("train", env!("CARGO_BIN_EXE_train")),
        ("microworld", env!("CARGO_BIN_EXE_microworld")),
    ] {
        let ran = Ran::of(Command::new(path).arg("--version"))?.succeeded();
        assert_eq!(ran.stdout, format!("{name} {}\n", refrain_experiments::VERSION));
    }
    let help = Ran::of(Command::new(env!("CARGO_BIN_EXE_refrain")).arg("--help"))?.succeeded();
    assert!(help.stdout.starts_with("Find out why a language model repeats itself"), "{help:?}");
    Ok(())
}

#[test]
fn what_cannot_be_used_is_refused() -> Result {
    let dir = tempfile::tempdir()?;
    let model = folder("gpt2-tied");
    let refused = |path: &Path, words: &[&str]| -> Result {
        check(&model, &["--reference", &path.display().to_string()])?.refused(words);
        Ok(())
    };
    check(&dir.path().join("none"), &[])?.refused(&["cannot read"]);
    refused(&dir.path().join("none"), &["there is no such file"])?;
    refused(&model.join("config.json"), &["cannot read it as safetensors"])?;
    refused(
        &reference(dir.path(), "gpt2-tied", &PLAIN[..1])?,
        &["no tensor `logits`", "the file holds input_ids"],
    )?;
    refused(&reference(dir.path(), "gpt2-tied", &PLAIN[1..])?, &["no tensor `input_ids`"])?;
    refused(
        &reference(dir.path(), "llama-gqa", &[PLAIN[0], ("logits", "resid_pre.0")])?,
        &["not [2, 10, 48]"],
    )?;
    refused(
        &reference(dir.path(), "gpt2-tied", &[("input_ids", "logits"), PLAIN[1]])?,
        &["not whole numbers"],
    )?;
    let wrong = [PLAIN[0], PLAIN[1], ("attention_mask", "left.attention_mask")];
    refused(&reference(dir.path(), "gpt2-tied", &wrong)?, &["`attention_mask` has shape [3, 10]"])?;

    let path = dir.path().join("made.safetensors");
    let made = |ids: &Tensor, logits: &Tensor, words: &[&str]| -> Result {
        Tensor::write_safetensors(&[("input_ids", ids), ("logits", logits)], &path)?;
        refused(&path, words)
    };
    let (ids, logits) = (
        Tensor::from_slice(&[3i64, 47]).unsqueeze(0),
        Tensor::zeros([1, 2, 48], (Kind::Float, tch::Device::Cpu)),
    );
    made(&(&ids + 1), &logits, &["token id 48 is outside the vocabulary of 48"])?;
    made(&(&ids - 4), &logits, &["token id -1 is outside"])?;
    made(&ids, &(&logits / 0.0), &["NaN or infinity"])?;
    made(&ids.squeeze_dim(0), &logits, &["not [batch, pos]"])?;
    made(
        &ids.repeat([1, 40]),
        &Tensor::zeros([1, 80, 48], (Kind::Float, tch::Device::Cpu)),
        &["window of 64"],
    )?;
    // As i32 they can be used.
    Tensor::write_safetensors(&[("input_ids", &ids.to_kind(Kind::Int)), ("logits", &logits)], &path)?;
    assert_eq!(check(&model, &["--reference", &path.display().to_string()])?.code, Some(1));
    check(&model, &["--dtype", "f8"])?;
    Ok(())
}
