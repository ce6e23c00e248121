//! Times prefill and greedy decoding of some prompts at once, as `tests/speed/decode.py` asks; prints one JSON object.

use std::time::Instant;

use refrain_runner::{
    DecodePath, Decoding, Generate, KvCache, LoadOptions, LogitPositions, Model, ModelFiles, Run, dtype,
};
use refrain_tests::Result;
use serde_json::json;
use tch::{Cuda, no_grad};

fn main() -> Result {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, device, kind, threads, prompt, new, repeats, batch, path] = &arguments[..] else {
        return Err(
            "usage: decode-speed DIR DEVICE DTYPE THREADS PROMPT NEW REPEATS BATCH fast|general|compare"
                .into(),
        );
    };
    let (prompt, new, repeats): (usize, usize, usize) = (prompt.parse()?, new.parse()?, repeats.parse()?);
    let batch: usize = batch.parse()?;
    let path: DecodePath = serde_json::from_value(json!(path))?;
    tch::set_num_threads(threads.parse()?);
    let options = LoadOptions { kind: Some(dtype(kind)?), device: device.parse()?, ..LoadOptions::default() };
    let model = Model::load(&ModelFiles::folder(folder.as_ref())?, &options)?;
    let vocabulary = model.architecture().n_vocab as i64;
    let row = |row: i64| (0..prompt as i64).map(|i| (i * 7919 + 13 + 31 * row) % vocabulary).collect();
    let prompts: Vec<Vec<i64>> = (0..batch as i64).map(row).collect();
    let ids = model.ids(&prompts)?;

    let settle = || {
        if model.device().is_cuda() {
            Cuda::synchronize(0);
        }
    };
    let prefill = || -> Result<f64> {
        let start = Instant::now();
        let mut kv = KvCache::new(model.architecture(), batch, prompt + new, model.device())?;
        let run = Run { kv: Some(&mut kv), logits: LogitPositions::Last, ..Run::default() };
        let _ = no_grad(|| model.run(&ids, run))?;
        settle();
        Ok(start.elapsed().as_secs_f64())
    };
    let generate = |new: usize| -> Result<(f64, Vec<i64>)> {
        let options = Generate {
            decoding: Decoding::GREEDY,
            seeds: &[],
            stop: &[],
            max_new: Some(new),
            path,
            ..Generate::default()
        };
        let start = Instant::now();
        let answer = model.generate(&prompts, options)?.remove(0);
        settle();
        Ok((start.elapsed().as_secs_f64(), answer.tokens))
    };
    // What is slow the first time only is no part of the comparison.
    prefill()?;
    generate(2)?;
    let mut prefills = Vec::new();
    let mut decodes = Vec::new();
    let mut answer = Vec::new();
    for _ in 0..repeats {
        prefills.push(prefill()?);
        // The prompt and its first token take the same time in both, which the difference leaves out.
        let (short, _) = generate(1)?;
        let (long, tokens) = generate(new + 1)?;
        decodes.push((long - short) / new as f64);
        answer = tokens;
    }
    println!("{}", json!({"prefill_s": prefills, "decode_s_per_token": decodes, "tokens": answer}));
    Ok(())
}
