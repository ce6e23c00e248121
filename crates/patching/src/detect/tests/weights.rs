//! What is said of weights alone, against the whole matrices.

use refrain_runner::architecture::QkNorm;
use refrain_runner::weights::NormWeights;
use refrain_runner::{Head, Model};
use tch::{Device, IndexOp, Kind, Tensor};

use super::super::{Composition, Detector, Settings, Through, composition};
use super::reference::{direct_path, group, values_of};
use super::{FAMILIES, close, find, llama, model, normal, run, settings};

#[test]
fn eigenvalues_of_the_whole_circuit() {
    for family in FAMILIES {
        let model = model(family);
        let wanted = vec![Detector::CopyingEigenvalues];
        let found = run(&model, &Settings { detectors: wanted, ..settings() });
        let one = Tensor::ones([1], (Kind::Double, Device::Cpu));
        for head in model.heads() {
            let column = |token| direct_path(&model, head, token, false, Some(&one), &one);
            let columns: Vec<Tensor> = (0..model.architecture().n_vocab as i64).map(column).collect();
            let eigenvalues = Tensor::stack(&columns, 1).linalg_eigvals();
            let sum = eigenvalues.real().sum(Kind::Double).double_value(&[]);
            let moduli = eigenvalues.abs().sum(Kind::Double).double_value(&[]);
            let row = find(&found, Detector::CopyingEigenvalues, head);
            // Those that should be 0 come out as roots of the rounding error.
            close(&format!("{family} {head}"), row.value.unwrap(), sum / moduli, 1e-5);
            assert_eq!((row.p_value, row.ci_low, row.by_sequence.len()), (None, None, 0));
        }
    }
}

fn identity(n: i64) -> Tensor {
    Tensor::eye(n, (Kind::Double, Device::Cpu))
}

/// I - 1 1^T / n.
fn centring(n: i64) -> Tensor {
    identity(n) - Tensor::ones([n, n], (Kind::Double, Device::Cpu)) / n as f64
}

/// A norm without its division, as a matrix.
fn norm_matrix(model: &Model, norm: Option<&NormWeights>, width: i64) -> Tensor {
    let Some(norm) = norm else { return identity(width) };
    let centred = if model.architecture().norms.form.centres() { centring(width) } else { identity(width) };
    match &norm.weight {
        Some(weight) => Tensor::diag(&weight.reshape([-1]), 0).matmul(&centred),
        None => centred,
    }
}

/// W_Q, W_K, W_V of a head, `[d_head, d_model]`, and W_O, `[d_model, d_head]`.
fn maps(model: &Model, head: Head) -> [Tensor; 4] {
    let arch = model.architecture();
    let (d_model, d_head) = (arch.d_model as i64, arch.layers[head.layer].d_head as i64);
    let source = values_of(model, head.layer);
    let (own, other) = (&model.weights().blocks[head.layer], &model.weights().blocks[source]);
    let narrow = |t: &Tensor, head: usize| t.narrow(0, head as i64 * d_head, d_head);
    let conditioned = |weight: &Tensor, norm: Option<&NormWeights>, index: usize| match (arch.norms.qk, norm)
    {
        (Some(QkNorm::AllHeads), Some(_)) => {
            narrow(&norm_matrix(model, norm, weight.size()[0]).matmul(weight), index)
        }
        (Some(QkNorm::EachHead), Some(norm)) => {
            let weight_of_head = norm.weight.as_ref().map(|w| w.i(index as i64));
            let own = NormWeights { weight: weight_of_head, bias: None };
            norm_matrix(model, Some(&own), d_head).matmul(&narrow(weight, index))
        }
        _ => norm_matrix(model, norm, d_head).matmul(&narrow(weight, index)),
    };
    let reads = |block: &refrain_runner::weights::Block| norm_matrix(model, block.ln1.as_ref(), d_model);
    let (q, k) = (&own.attention.q.weight, &other.attention.k.as_ref().unwrap().weight);
    let v = &other.attention.v.as_ref().or(other.attention.k.as_ref()).unwrap().weight;
    let kv = group(model, head);
    let out = own.attention.out.weight.narrow(1, head.head as i64 * d_head, d_head);
    [
        conditioned(q, own.attention.q_norm.as_ref(), head.head).matmul(&reads(own)),
        conditioned(k, other.attention.k_norm.as_ref(), kv).matmul(&reads(other)),
        narrow(v, kv).matmul(&reads(other)),
        norm_matrix(model, own.ln1_post.as_ref(), d_model).matmul(&out),
    ]
}

#[test]
fn composition_of_whole_matrices() {
    for family in FAMILIES {
        let model = model(family);
        let found = composition(&model, 20, 3).unwrap();
        let norm = |t: &Tensor| (t * t).sum(Kind::Double).sqrt().double_value(&[]);
        let mut count = 0;
        for receiver in model.heads() {
            let [q, k, v, o] = maps(&model, receiver);
            for sender in model.heads() {
                let [_, _, sender_v, sender_o] = maps(&model, sender);
                let written = sender_o.matmul(&sender_v);
                let (qk, ov) = (q.tr().matmul(&k), o.matmul(&v));
                let whole = [qk.tr(), qk, ov];
                for (matrix, through) in whole.iter().zip(Through::ALL.iter().copied()) {
                    let from = match through {
                        Through::Q => receiver.layer,
                        Through::K | Through::V => values_of(&model, receiver.layer),
                    };
                    let same = |c: &&Composition| {
                        c.sender == sender && c.receiver == receiver && c.through == through
                    };
                    let row = found.iter().find(same);
                    assert_eq!(row.is_some(), sender.layer < from, "{family} {sender} {receiver}");
                    let Some(row) = row else { continue };
                    count += 1;
                    let wanted = norm(&matrix.matmul(&written)) / (norm(matrix) * norm(&written));
                    let label = format!("{family} {} {sender} {receiver}", through.name());
                    close(&label, row.score.unwrap(), wanted, 1e-10);
                    let (baseline, p) = (row.baseline.unwrap(), row.p_value.unwrap());
                    close(&label, row.excess.unwrap(), wanted - baseline, 1e-10);
                    assert!((1.0 / 21.0..=1.0).contains(&p) && baseline > 0.0 && baseline < 1.0);
                }
            }
        }
        assert_eq!(count, found.len());
    }
}

/// Heads of normal weights score as the baseline says, and their p-values are uniform.
#[test]
fn random_weights_compose_as_the_baseline() {
    let shape = llama(
        r#""num_hidden_layers": 4, "num_attention_heads": 64, "hidden_size": 32, "head_dim": 4, "vocab_size": 10"#,
    );
    let tensors = normal(&shape, 0.0);
    let model = Model::from_tensors(shape, tensors).unwrap();
    let found = composition(&model, 1000, 0).unwrap();
    for &through in Through::ALL {
        let of = || found.iter().filter(|row| row.through == through);
        let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
        // 24 576 pairs of 256 heads.
        close(through.name(), mean(of().filter_map(|row| row.excess).collect()), 0.0, 0.003);
        close(through.name(), mean(of().filter_map(|row| row.p_value).collect()), 0.5, 0.03);
    }
}

#[test]
fn a_normalised_stream_gives_reasons() {
    let model = model("opt-350m");
    let found = run(&model, &settings());
    for head in model.heads() {
        for detector in [Detector::Copying, Detector::CopyingEigenvalues] {
            let row = find(&found, detector, head);
            assert_eq!((row.value, row.p_value, row.by_sequence.len()), (None, None, 0));
            assert!(row.reason.as_ref().unwrap().contains("stream"));
        }
        assert_eq!(find(&found, Detector::PrefixMatching, head).reason, None);
    }
    for row in composition(&model, 3, 0).unwrap() {
        assert_eq!((row.score, row.baseline, row.excess, row.p_value), (None, None, None, None));
        assert!(row.reason.unwrap().contains("stream"));
    }
}

/// A head that copies: embedding and unembedding the identity, W_O W_V too.
#[test]
fn a_copying_head_scores_high_and_its_opposite_low() {
    for (sign, share, eigenvalues) in [(1.0, 1.0, 1.0), (-1.0, 0.0, -1.0)] {
        let shape =
            llama(r#""num_hidden_layers": 1, "num_attention_heads": 1, "hidden_size": 16, "vocab_size": 16"#);
        let mut tensors = normal(&shape, 0.0);
        for (name, tensor) in &mut tensors {
            let matrix =
                ["embed_tokens", "lm_head", "v_proj", "o_proj"].iter().any(|part| name.contains(part));
            if matrix {
                *tensor = if name.contains("o_proj") { identity(16) * sign } else { identity(16) };
            }
        }
        let model = Model::from_tensors(shape, tensors).unwrap();
        let found = run(&model, &settings());
        let row = find(&found, Detector::Copying, Head { layer: 0, head: 0 });
        close("copying", row.value.unwrap(), 4.0 * share - 1.0, 1e-12);
        let least = 1.0 / (1.0 + settings().null_draws as f64);
        // No token is raised less than the attended one by the opposite head.
        assert_eq!(row.p_value.unwrap(), if sign > 0.0 { least } else { 1.0 });
        let row = find(&found, Detector::CopyingEigenvalues, Head { layer: 0, head: 0 });
        close("eigenvalues", row.value.unwrap(), eigenvalues, 1e-9);
    }
}
