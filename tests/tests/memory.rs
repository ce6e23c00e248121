//! How much memory loading takes beside the weights, from safetensors and from GGUF. A test of its own
//! program: the peak is the whole process's.
//!
//! REFRAIN_TEST_MEMORY_MB (320) is the size of the checkpoint.
#![cfg(target_os = "linux")]

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use refrain_runner::family::{Config, architecture};
use refrain_runner::{LoadOptions, Model, ModelFiles, dtype_name};
use refrain_tests::Result;
use refrain_tests::gguf::{Entry, GgufWriter};
use refrain_tests::peak::status;
use serde_json::{Value, json};
use tch::{Kind, Tensor};

/// Names and shapes of a Llama's weights.
fn shapes(layers: usize, vocab: usize) -> Vec<(String, Vec<usize>)> {
    let (d, mlp) = (1024, 4096);
    let mut shapes = vec![("model.embed_tokens.weight".to_owned(), vec![vocab, d])];
    for layer in 0..layers {
        let at = |name: &str| format!("model.layers.{layer}.{name}.weight");
        shapes.extend(["q", "k", "v", "o"].map(|name| (at(&format!("self_attn.{name}_proj")), vec![d, d])));
        shapes.extend(["gate", "up"].map(|name| (at(&format!("mlp.{name}_proj")), vec![mlp, d])));
        shapes.push((at("mlp.down_proj"), vec![d, mlp]));
        shapes.extend(["input_layernorm", "post_attention_layernorm"].map(|name| (at(name), vec![d])));
    }
    shapes.extend([("model.norm.weight".into(), vec![d]), ("lm_head.weight".into(), vec![vocab, d])]);
    shapes
}

/// Writes about `bytes` of weights stored as `kind` into two files (or one); nothing of it is kept in memory.
fn write(folder: &Path, bytes: usize, kind: Kind, shards: usize) -> Result<usize> {
    let (width, layer, vocab) =
        (kind.elt_size_in_bytes(), 16_779_264, bytes / 6 / kind.elt_size_in_bytes() / 1024);
    let layers = (bytes / width - 2 * vocab * 1024) / layer;
    let shapes = shapes(layers, vocab);
    let config = json!({
        "model_type": "llama", "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": layers,
        "num_attention_heads": 16, "num_key_value_heads": 16, "vocab_size": vocab, "max_position_embeddings": 64,
        "rms_norm_eps": 1e-5, "hidden_act": "silu", "tie_word_embeddings": false,
    });
    architecture(&Config::parse(config.to_string().as_bytes(), &[])?)?;
    std::fs::write(folder.join("config.json"), config.to_string())?;
    let numbers = Tensor::linspace(-0.1, 0.1, 1 << 16, (Kind::Float, tch::Device::Cpu)).to_kind(kind);
    let mut pattern = vec![0u8; (1 << 16) * width];
    // SAFETY: the tensor is contiguous and as long as the buffer.
    unsafe { std::ptr::copy_nonoverlapping(numbers.data_ptr().cast(), pattern.as_mut_ptr(), pattern.len()) };
    let (mut map, mut elements) = (serde_json::Map::new(), 0);
    for (shard, shapes) in shapes.chunks(shapes.len().div_ceil(shards)).enumerate() {
        let file = format!("model-{shard}.safetensors");
        let (mut header, mut end) = (serde_json::Map::new(), 0);
        for (name, shape) in shapes {
            let begin = end;
            let size: usize = shape.iter().product();
            end += size * width;
            elements += size;
            let dtype = dtype_name(kind).to_uppercase();
            header
                .insert(name.clone(), json!({"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}));
            map.insert(name.clone(), file.clone().into());
        }
        // Most writers put the data at a multiple of eight; every other file here does not.
        let header = Value::Object(header).to_string();
        let header = format!("{header}{}", " ".repeat(8 - header.len() % 8 + shard % 2));
        let mut out = BufWriter::new(File::create(folder.join(&file))?);
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(header.as_bytes())?;
        for piece in std::iter::repeat_n((), end.div_ceil(pattern.len())).enumerate() {
            let left = end - piece.0 * pattern.len();
            out.write_all(&pattern[..left.min(pattern.len())])?;
        }
        out.flush()?;
    }
    std::fs::write(folder.join("model.safetensors.index.json"), json!({"weight_map": map}).to_string())?;
    Ok(elements)
}

/// What a tensor is called in a GGUF file.
fn renamed(name: &str) -> String {
    let pairs = [
        ("model.layers.", "blk."),
        ("self_attn.o_proj", "attn_output"),
        ("self_attn.", "attn_"),
        ("input_layernorm", "attn_norm"),
        ("post_attention_layernorm", "ffn_norm"),
        ("mlp.", "ffn_"),
        ("_proj", ""),
        ("model.embed_tokens", "token_embd"),
        ("model.norm", "output_norm"),
        ("lm_head", "output"),
    ];
    pairs.iter().fold(name.to_owned(), |name, (from, to)| name.replace(from, to))
}

/// The same model in blocks of eight bits, of about `bytes` once they are f32. How many numbers it has.
fn write_gguf(path: &Path, bytes: usize) -> Result<usize> {
    let vocab = bytes / 24 / 1024;
    let layers = (bytes / 4 - 2 * vocab * 1024) / 16_779_264;
    let mut file = GgufWriter::new("llama");
    for (key, value) in [
        ("block_count", layers),
        ("context_length", 64),
        ("embedding_length", 1024),
        ("feed_forward_length", 4096),
        ("attention.head_count", 16),
    ] {
        file.size(&format!("llama.{key}"), value as u64);
    }
    file.number("llama.attention.layer_norm_rms_epsilon", 1e-5);
    // The scale is about a thousandth.
    let block: Vec<u8> = [0x19, 0x14].into_iter().chain((0..32).map(|q| q * 3)).collect();
    let mut elements = 0;
    for (name, shape) in shapes(layers, vocab) {
        let size: usize = shape.iter().product();
        elements += size;
        let (kind, data) = match shape.len() {
            1 => (0, 1f32.to_le_bytes().repeat(size)),
            _ => (8, block.repeat(size / 32)),
        };
        let shape = shape.into_iter().map(|size| size as u64).collect();
        file.tensors.push(Entry { name: renamed(&name), shape, kind, data });
    }
    std::fs::write(path, file.finish())?;
    Ok(elements)
}

/// How weights are stored.
#[derive(Debug, Clone, Copy)]
enum Stored {
    /// In safetensors files, so many.
    Shards(Kind, usize),
    /// In a GGUF file.
    Gguf,
}

const CASES: [(Stored, Kind); 7] = [
    (Stored::Shards(Kind::Float, 3), Kind::Float),
    (Stored::Shards(Kind::BFloat16, 3), Kind::BFloat16),
    (Stored::Shards(Kind::Float, 3), Kind::BFloat16),
    (Stored::Shards(Kind::BFloat16, 3), Kind::Float),
    (Stored::Shards(Kind::Float, 1), Kind::Float),
    (Stored::Gguf, Kind::Float),
    (Stored::Gguf, Kind::BFloat16),
];
/// Which case this process is to measure.
const CASE: &str = "REFRAIN_TEST_MEMORY_CASE";

/// Every case in a process of its own, on its main thread, as the experiments load: an allocator does not give back
/// all that it had, and keeps apart what threads have.
fn main() -> Result {
    if let Ok(case) = std::env::var(CASE) {
        return measure(CASES[case.parse::<usize>()?]);
    }
    for case in 0..CASES.len() {
        let mut again = std::process::Command::new(std::env::current_exe()?);
        let ran = again.env(CASE, case.to_string()).output()?;
        let said = String::from_utf8_lossy(&ran.stdout);
        println!("{}", said.lines().find(|line| line.contains("->")).unwrap_or_default());
        assert!(
            ran.status.success() && said.contains("->"),
            "{said}{}",
            String::from_utf8_lossy(&ran.stderr)
        );
    }
    Ok(())
}

fn measure((stored, kind): (Stored, Kind)) -> Result {
    let megabytes: usize = std::env::var("REFRAIN_TEST_MEMORY_MB").map_or(Ok(320), |text| text.parse())?;
    let dir = tempfile::tempdir()?;
    let bytes = megabytes << 20;
    let (elements, path) = match stored {
        Stored::Shards(stored, shards) => (write(dir.path(), bytes, stored, shards)?, dir.path().to_owned()),
        Stored::Gguf => {
            let path = dir.path().join("model.gguf");
            (write_gguf(&path, bytes)?, path)
        }
    };
    let open = || match stored {
        Stored::Shards(..) => ModelFiles::folder(&path),
        Stored::Gguf => ModelFiles::gguf(&path),
    };
    let files = open()?;
    // Forgets the peak that was.
    std::fs::write("/proc/self/clear_refs", "5")?;
    let before = status("VmRSS")?;
    let begun = std::time::Instant::now();
    let model = Model::load(&files, &LoadOptions { kind: Some(kind), ..LoadOptions::default() })?;
    let loaded = begun.elapsed();
    files.model_sha256()?;
    let hashed = begun.elapsed() - loaded;
    let peak = status("VmHWM")?;
    drop(model);
    let weights = (elements * kind.elt_size_in_bytes()) as f64;
    let (ratio, whole) = ((peak - before) / weights, peak / weights);
    println!(
        "{stored:?} -> {}, {:.0} MB of weights: loaded in {loaded:.2?}, hashed in {hashed:.2?}; \
         peak {:.0} MB, of it {:.0} MB before: {ratio:.3} x the weights for loading, {whole:.3} x for the process",
        dtype_name(kind),
        weights / 1e6,
        peak / 1e6,
        before / 1e6,
    );
    assert!(peak - before > weights / 2.0, "the peak was not measured");
    assert!(ratio <= 1.2, "the peak is {ratio:.2} x the weights");
    Ok(())
}
