//! The inner pieces of scoring, on a random GPT-2 of 4 layers, 8 heads and width 256: `cargo bench -p
//! refrain-patching`.

use criterion::{Criterion, criterion_group, criterion_main};
use refrain_patching::Change;
use refrain_patching::attribution::{atp, eap};
use refrain_patching::sweep::{Settings, Sweep};
use refrain_patching::{Component, Error, Metric, Pair, Targets, measure};
use refrain_runner::Model;
use refrain_runner::family::{self, Config, architecture};
use tch::{Device, Kind, Tensor};

const CONFIG: &str = r#"{"model_type": "gpt2", "n_embd": 256, "n_head": 8, "n_layer": 4, "n_positions": 256,
"vocab_size": 8192,
    "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5}"#;

fn model() -> Model {
    let config = Config::parse(CONFIG.as_bytes(), &[]).expect("a configuration");
    let architecture = architecture(&config).expect("a family");
    let tensors = family::fresh(&architecture, 0.05).expect("weights");
    Model::from_tensors(architecture, tensors).expect("a model")
}

fn pairs() -> Vec<Pair> {
    let of = |pair: i64| (0..64).map(|i| (5 + 31 * i + 97 * pair) % 7919).collect::<Vec<i64>>();
    let pair = |pair| {
        let mut corrupted = of(pair);
        corrupted[32] += 1;
        Pair { clean: of(pair), corrupted, answer: 1, foil: Some(2) }
    };
    (0..4).map(pair).collect()
}

fn settings(component: Component) -> Settings {
    Settings {
        components: vec![component],
        metrics: vec![Metric::LogitDiff],
        change: Change::Denoise,
        by_position: false,
        by_key_position: false,
        memory: 1 << 30,
        threads: 1,
    }
}

fn pieces(bench: &mut Criterion) {
    tch::set_num_threads(1);
    let (model, pairs) = (model(), pairs());
    for component in [Component::Z, Component::K, Component::Pattern, Component::MlpOut] {
        let sweep = Sweep::new(&model, &pairs, settings(component)).expect("a sweep");
        let first = &sweep.units()[..1];
        bench.bench_function(&format!("one layer of {component}, 4 pairs of 64 tokens"), |b| {
            b.iter(|| sweep.run(first, &mut |_, _| Ok::<(), Error>(())).expect("scores"));
        });
    }
    bench.bench_function("attribution patching of z", |b| {
        b.iter(|| atp(&model, &pairs, &settings(Component::Z)).expect("scores"));
    });
    bench.bench_function("edges", |b| {
        b.iter(|| eap(&model, &pairs, &settings(Component::Z), None).expect("scores"));
    });
    let logits = Tensor::randn([128, 8192], (Kind::Float, Device::Cpu));
    let targets =
        Targets::new(&model, &pairs).and_then(|targets| targets.with_clean(&logits.narrow(0, 0, 4)));
    let targets = targets.expect("targets");
    bench.bench_function("every metric of 128 rows, vocabulary of 8192", |b| {
        b.iter(|| tch::no_grad(|| measure(Metric::ALL, &logits, &targets)).expect("values"));
    });
}

criterion_group!(benches, pieces);
criterion_main!(benches);
