//! How the time of a sweep over all heads grows with layers, heads, tokens and prompts: one of them at a time.
//! Prints a table and appends it to docs/benchmarks/sweep-sizes.csv (`make bench-sizes`).

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use refrain_patching::Change;
use refrain_patching::sweep::{MatMul, Settings, Sweep, restart_products};
use refrain_patching::{Component, Metric, Pair};
use refrain_runner::Model;
use refrain_runner::family::{self, Config, architecture};
use refrain_tests::Result;
use refrain_tests::peak::Peak;
use refrain_tests::roof;
use serde_json::json;
use tch::Kind;

#[derive(Clone, Copy)]
struct Size {
    layers: usize,
    heads: usize,
    tokens: usize,
    prompts: usize,
}

const D_MODEL: usize = 256;
const BASE: Size = Size { layers: 4, heads: 8, tokens: 64, prompts: 4 };

fn main() -> Result {
    let threads = std::thread::available_parallelism()?.get();
    let of = |change: &dyn Fn(&mut Size)| {
        let mut size = BASE;
        change(&mut size);
        size
    };
    let layers = [2, 4, 8, 12, 24].map(|layers| of(&|size| size.layers = layers));
    let heads = [2, 4, 8, 16, 32].map(|heads| of(&|size| size.heads = heads));
    let tokens = [64, 128, 256, 512, 1024].map(|tokens| of(&|size| size.tokens = tokens));
    let prompts = [1, 2, 4, 8, 16].map(|prompts| of(&|size| size.prompts = prompts));
    let mut csv = String::new();
    println!("d_model {D_MODEL}, all heads' z, differing token in the middle, {threads} threads, f32");
    println!("layers heads tokens prompts   seconds  us/row/layer   GFLOP  GFLOP/s  of roof  peak MB");
    let date = std::process::Command::new("date").arg("+%Y-%m-%d").output()?.stdout;
    let date = String::from_utf8(date)?.trim().to_owned();
    for size in [layers, heads, tokens, prompts].concat() {
        let Size { layers, heads, tokens, prompts } = size;
        let model = model(size)?;
        let seconds = (0..3).map(|_| one(&model, size, threads)).collect::<Result<Vec<_>>>()?;
        let (seconds, peak) =
            seconds.into_iter().min_by(|a, b| a.0.total_cmp(&b.0)).ok_or("nothing was timed")?;
        let products = ideal(&model, size);
        let operations: f64 = products.iter().map(MatMul::operations).sum();
        let share = roof::seconds(&products, threads, Kind::Float).best / seconds;
        // Rows of restarted runs times the blocks that each passes, on average half of them.
        let passed = (heads * prompts * layers * (layers + 1) / 2) as f64;
        let (each, rate) = (seconds / passed * 1e6, operations / seconds / 1e9);
        println!(
            "{layers:6} {heads:5} {tokens:6} {prompts:7} {seconds:9.3} {each:13.1} {:7.1} {rate:8.1} {share:8.2} \
                {:8.0}",
            operations / 1e9,
            peak / 1e6,
        );
        writeln!(
            csv,
            "{date},{threads},{layers},{heads},{tokens},{prompts},{seconds:.4},{:.3},{share:.3},{:.0}",
            operations / 1e9,
            peak / 1e6
        )?;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/benchmarks/sweep-sizes.csv");
    let new = !path.exists();
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path)?;
    if new {
        writeln!(
            file,
            "date,threads,layers,heads,tokens,prompts,seconds,ideal_gflop,fraction_of_roof,peak_mb"
        )?;
    }
    file.write_all(csv.as_bytes())?;
    Ok(())
}

fn model(size: Size) -> Result<Model> {
    let config = json!({
        "model_type": "gpt2", "n_embd": D_MODEL, "n_head": size.heads, "n_layer": size.layers, "n_positions": 1024,
        "vocab_size": 8192, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5,
    });
    let architecture = architecture(&Config::parse(config.to_string().as_bytes(), &[])?)?;
    let tensors = family::fresh(&architecture, 0.02)?;
    Ok(Model::from_tensors(architecture, tensors)?)
}

/// Seconds and peak bytes of one sweep.
fn one(model: &Model, size: Size, threads: usize) -> Result<(f64, f64)> {
    let of =
        |pair: usize| (0..size.tokens).map(|i| (5 + 31 * i + 97 * pair) as i64 % 7919).collect::<Vec<i64>>();
    let pairs: Vec<Pair> = (0..size.prompts)
        .map(|pair| {
            let mut corrupted = of(pair);
            corrupted[size.tokens / 2] += 1;
            Pair { clean: of(pair), corrupted, answer: 1, foil: Some(2) }
        })
        .collect();
    let settings = Settings {
        components: vec![Component::Z],
        metrics: vec![Metric::LogitDiff],
        change: Change::Denoise,
        by_position: false,
        by_key_position: false,
        memory: 4 << 30,
        threads,
    };
    let peak = Peak::start()?;
    let start = Instant::now();
    let sweep = Sweep::new(model, &pairs, settings)?;
    sweep.run(sweep.units(), &mut |_, _| Ok::<(), refrain_patching::Error>(()))?;
    Ok((start.elapsed().as_secs_f64(), peak.bytes()?))
}

fn ideal(model: &Model, size: Size) -> Vec<MatMul> {
    let arch = model.architecture();
    let of = |layer: usize| {
        let columns = if layer + 1 == size.layers { 1 } else { size.tokens - size.tokens / 2 };
        restart_products(arch, layer, size.heads * size.prompts, columns, size.tokens)
    };
    (0..size.layers).flat_map(of).collect()
}
