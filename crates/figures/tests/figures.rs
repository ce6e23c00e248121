//! What every figure promises, checked on made-up tables: nothing clipped, nothing over another text, the numbers
//! and names of the table, one table one picture, and errors that say what is missing.

#![allow(clippy::unwrap_used, reason = "a helper of a test may panic as a test may")]

mod made_up;

use arrow::array::RecordBatch;
use made_up::{Step, Sweep};
use plotters::style::{FontStyle, IntoFont};
use refrain_figures::*;

fn about() -> About {
    About { model: "tiny".into(), seed: Some(7), prompts: None, note: "a note".into() }
}

/// Every figure on tables of several shapes.
fn gallery() -> Vec<(String, Drawing)> {
    let mut all = Vec::new();
    let mut add = |name: String, drawing: Result<Drawing, Error>| all.push((name, drawing.unwrap()));
    for (layers, heads) in [(12, 12), (32, 32), (1, 4), (16, 16), (2, 64)] {
        let table = made_up::head_scores(layers, heads);
        add(format!("heat map {layers}x{heads}"), head_heat_map(&table, &about()));
    }
    for (layers, heads, method, direction) in [
        (12, 12, "activation-patching", Some("denoise")),
        (4, 0, "zero-ablation", None),
        (48, 0, "activation-patching", Some("noise")),
        (32, 32, "detectors", None),
        (1, 1, "dla", None),
    ] {
        let table = made_up::scores((layers, heads, 0), false, method, direction);
        let title = format!("model on task: {method} of z, logit");
        add(format!("scores {layers}x{heads}"), score_heat_map(&table, &title, &about()));
    }
    for (layers, heads, positions, by_key_position) in
        [(4, 4, 45, false), (12, 0, 200, false), (2, 3, 12, true), (1, 1, 1, false), (6, 2, 1024, false)]
    {
        let table = made_up::scores(
            (layers, heads, positions),
            by_key_position,
            "activation-patching",
            Some("noise"),
        );
        let title = "model on task: activation-patching of z, noise, logit";
        add(format!("positions {layers}x{heads}x{positions}"), score_positions(&table, title, &about()));
    }
    for (name, sweep) in [
        ("full", Sweep::default()),
        ("one pool", Sweep { pools: &["last"], last_n: 8, ..Sweep::default() }),
        ("all out", Sweep { window: 1, phrases: 4, ..Sweep::default() }),
    ] {
        let table = made_up::count_sweep(&sweep);
        add(format!("response, {name}"), response_length(&table, &about()));
        add(format!("control, {name}"), control(&table, &about()));
    }
    for prompts in [1, 12] {
        let table = made_up::entropy_trace(prompts);
        add(format!("entropy, {prompts}"), entropy_trace(&table, &about()));
        add(format!("toxicity, {prompts}"), toxicity_trace(&table, &about()));
        add(format!("descaled, {prompts}"), entropy_under_intervention(&table, &about()));
    }
    for texts in [true, false] {
        add(format!("perplexity, {texts}"), perplexity(&made_up::perplexity(texts), &about()));
    }
    for (layers, heads) in [(2, 2), (12, 12)] {
        let table = made_up::training_loss(layers, heads);
        add(format!("training {layers}x{heads}"), training(&table, &about()));
    }
    all
}

/// A text of an SVG with the box that it fills.
#[derive(Debug)]
struct Placed {
    text: String,
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
}

fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    tag.split_once(&format!(" {name}=\""))?.1.split('"').next()
}

fn number(tag: &str, name: &str) -> f64 {
    attribute(tag, name).unwrap_or_else(|| panic!("{name} in {tag}")).parse().unwrap()
}

/// The texts of an SVG, each with the box from its baseline to the height of its capitals, by the font's own widths.
fn texts(svg: &str) -> Vec<Placed> {
    svg.split("<text")
        .skip(1)
        .map(|piece| {
            let (tag, rest) = piece.split_once('>').unwrap();
            let text = rest.split("</text>").next().unwrap().trim();
            let text =
                text.replace("&lt;", "<").replace("&gt;", ">").replace("&apos;", "'").replace("&amp;", "&");
            let (x, y, em) = (number(tag, "x"), number(tag, "y"), number(tag, "font-size"));
            let style = if tag.contains("bold") { FontStyle::Bold } else { FontStyle::Normal };
            let family = attribute(tag, "font-family").unwrap();
            let font = (family, em * 2384.0 / 2048.0, style).into_font();
            let width = f64::from(font.box_size(&text).unwrap().0);
            let start = match attribute(tag, "text-anchor").unwrap() {
                "start" => 0.0,
                "middle" => -width / 2.0,
                _ => -width,
            };
            let (left, right) = (start, start + width);
            if tag.contains("rotate(270") {
                Placed { text, left: x, right: x + 0.76 * em, top: y - right, bottom: y - left }
            } else {
                Placed { text, left: x + left, right: x + right, top: y, bottom: y + 0.76 * em }
            }
        })
        .collect()
}

fn has(svg: &str, wanted: &str) -> bool {
    texts(svg).iter().any(|t| t.text.contains(wanted))
}

#[test]
fn no_text_is_clipped_or_covers_another() {
    for (name, drawing) in gallery() {
        let svg = drawing.svg().unwrap();
        let view = attribute(&svg, "viewBox").unwrap();
        let view: Vec<f64> = view.split(' ').map(|v| v.parse().unwrap()).collect();
        let placed = texts(&svg);
        assert!(placed.len() > 8, "{name}: {} texts", placed.len());
        for (i, a) in placed.iter().enumerate() {
            assert!(
                a.left >= 0.0 && a.top >= 0.0 && a.right <= view[2] && a.bottom <= view[3],
                "{name}: clipped: {a:?} in {view:?}"
            );
            for b in &placed[..i] {
                let apart = a.right <= b.left + 1.0
                    || b.right <= a.left + 1.0
                    || a.bottom <= b.top + 1.0
                    || b.bottom <= a.top + 1.0;
                assert!(apart, "{name}: {a:?} over {b:?}");
            }
        }
    }
}

#[test]
fn every_shape_is_inside_the_page() {
    for (name, drawing) in gallery() {
        let svg = drawing.svg().unwrap();
        let view = attribute(&svg, "viewBox").unwrap();
        let view: Vec<f64> = view.split(' ').map(|v| v.parse().unwrap()).collect();
        for piece in svg.split(" points=\"").skip(1) {
            let points = piece.split('"').next().unwrap();
            for pair in points.split_whitespace() {
                let (x, y) = pair.split_once(',').unwrap();
                let (x, y): (f64, f64) = (x.parse().unwrap(), y.parse().unwrap());
                let inside = (0.0..=view[2]).contains(&x) && (0.0..=view[3]).contains(&y);
                assert!(inside, "{name}: {pair} outside {view:?}");
            }
        }
    }
}

#[test]
fn the_same_table_gives_the_same_bytes() {
    for ((name, a), (_, b)) in gallery().into_iter().zip(gallery()) {
        assert!(a.svg().unwrap() == b.svg().unwrap(), "{name}");
    }
    let table = made_up::perplexity(true);
    let png = || perplexity(&table, &about()).unwrap().png().unwrap();
    assert!(png() == png());
}

#[test]
fn a_png_has_twice_the_size_and_shows_something() {
    let drawing = toxicity_trace(&made_up::entropy_trace(4), &about()).unwrap();
    let bytes = drawing.png().unwrap();
    let mut reader = png::Decoder::new(&bytes[..]).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size()];
    let info = reader.next_frame(&mut pixels).unwrap();
    let (w, h) = drawing.size();
    assert_eq!((info.width, info.height), (2 * w, 2 * h));
    let share = |near: [i32; 3]| {
        let hits =
            pixels.chunks(3).filter(|p| p.iter().zip(near).all(|(v, n)| (i32::from(*v) - n).abs() < 6));
        hits.count() as f64 / (info.width * info.height) as f64
    };
    assert!(share([255, 255, 255]) > 0.5, "a white page");
    assert!(share([0xd5, 0x5e, 0x00]) > 5e-4, "the repetition line");
    assert!(share([0x1a, 0x1a, 0x1a]) > 1e-3, "text");
}

#[test]
fn labels_say_what_the_table_holds() {
    let heat = head_heat_map(&made_up::head_scores(12, 12), &about()).unwrap().svg().unwrap();
    for wanted in [
        "tiny",
        "seed 7",
        "a note",
        "(2 of 144)",
        "not measured: clean and corrupted logit are equal",
        "layer",
    ] {
        assert!(has(&heat, wanted), "{wanted}");
    }
    let control = control(&made_up::count_sweep(&Sweep::default()), &about()).unwrap().svg().unwrap();
    for wanted in [
        "no intervention",
        "log: 1/ln(t + c)",
        "linear: 1/t",
        "constant: 0.5",
        "Wilson",
        "512",
        "9720 runs on 36",
    ] {
        assert!(has(&control, wanted), "{wanted}");
    }
    let toxicity = toxicity_trace(&made_up::entropy_trace(5), &about()).unwrap().svg().unwrap();
    for wanted in [
        "γ = 0.65",
        "repetition",
        "ordinary text",
        "95 % band over 5 prompts each",
        "bootstrap interval over prompts",
        "N = 64",
    ] {
        assert!(has(&toxicity, wanted), "{wanted}");
    }
    let training = training(&made_up::training_loss(4, 8), &about()).unwrap().svg().unwrap();
    for wanted in ["held out", "sentence", "L3H2", "layer 3", "held-out loss is 8.0", "10⁶"] {
        assert!(has(&training, wanted), "{wanted}");
    }
    let perplexity = perplexity(&made_up::perplexity(true), &about()).unwrap().svg().unwrap();
    for wanted in [
        "no intervention",
        "constant, induction heads",
        "log, random heads 2",
        "26.48",
        "+4.80 %",
        "40 texts",
    ] {
        assert!(has(&perplexity, wanted), "{wanted}");
    }
}

/// Four runs at N = 4 of which one filled the window: the share printed is 25 %.
#[test]
fn the_share_out_of_window_is_printed() {
    use made_up::{counts, labels, plain};
    let rows = 4;
    let same = |text: &'static str| labels((0..rows).map(|_| Some(text)));
    let table = made_up::table(vec![
        ("intervention", same("none")),
        ("pool", plain((0..rows).map(|_| Some("top")))),
        ("decoding", made_up::labels_u32((0..rows).map(|_| Some("greedy")))),
        ("outcome", labels((0..rows).map(|i| Some(if i == 0 { "out_of_window" } else { "stopped" })))),
        ("n", counts((0..rows).map(|_| Some(4)))),
        ("prompt", counts((0..rows).map(Some))),
        ("response_tokens", counts((0..rows).map(|i| Some(if i == 0 { 64 } else { 8 })))),
        ("phrase_tokens", counts((0..rows).map(|_| Some(2)))),
    ]);
    let svg = response_length(&table, &about()).unwrap().svg().unwrap();
    assert!(has(&svg, "25%") && has(&svg, "4 runs") && has(&svg, "run that filled the window"));
    assert!(!has(&svg, "random words"), "a pool that is not there has no legend entry");
}

/// Only the undescaled run: an entropy trace of it has a line, the figure of interventions has nothing to show.
#[test]
fn nothing_to_draw_is_an_error_with_a_hint() {
    let rows: Vec<Step> = (0..20)
        .map(|i| Step {
            condition: "repetition",
            intervention: "none",
            head_set: "none",
            n: Some(8),
            prompt: i / 5,
            step: i % 5,
            quantity: "entropy_nats",
            value: Some(1.0),
        })
        .collect();
    let table = made_up::steps(&rows);
    assert!(entropy_trace(&table, &about()).is_ok());
    let error = entropy_under_intervention(&table, &about()).unwrap_err();
    assert!(matches!(error, Error::NothingToDraw { figure: "entropy_under_intervention", .. }), "{error}");
    assert!(error.to_string().contains("hint: trace the interventions too"), "{error}");
    let error = toxicity_trace(&table, &about()).unwrap_err();
    assert!(error.to_string().contains("toxicity_causal"), "{error}");
}

type Figure = fn(&RecordBatch, &About) -> Result<Drawing, Error>;

/// Each column that a figure reads is missed by its name, or is not read at all.
#[test]
fn a_missing_column_is_named() {
    let sweep = made_up::count_sweep(&Sweep { phrases: 2, last_n: 4, ..Sweep::default() });
    let trace = made_up::entropy_trace(3);
    let cases: [(&str, Figure, RecordBatch, usize); 8] = [
        ("head_heat_map", head_heat_map, made_up::head_scores(2, 2), 12),
        ("response_length", response_length, sweep.clone(), 8),
        ("control", control, sweep, 8),
        ("entropy_trace", entropy_trace, trace.clone(), 9),
        ("toxicity_trace", toxicity_trace, trace.clone(), 9),
        ("entropy_under_intervention", entropy_under_intervention, trace, 9),
        ("perplexity", perplexity, made_up::perplexity(false), 8),
        ("training", training, made_up::training_loss(1, 1), 4),
    ];
    for (name, figure, table, reads) in cases {
        let mut missed = 0;
        for column in 0..table.num_columns() {
            let mut without = table.clone();
            let field = table.schema().field(column).name().clone();
            without.remove_column(column);
            let Err(error) = figure(&without, &about()) else { continue };
            let text = error.to_string();
            assert!(matches!(&error, Error::MissingColumn { column, .. } if *column == field), "{text}");
            assert!(text.contains(&format!("`{name}`")) && text.contains("hint:"), "{text}");
            missed += 1;
        }
        assert_eq!(missed, reads, "{name}: columns read");
        let error = figure(&table.slice(0, 0), &about()).unwrap_err();
        assert!(matches!(error, Error::EmptyTable { .. }), "{error}");
    }
}

#[test]
fn a_column_of_another_type_is_named() {
    let table = made_up::training_loss(1, 1);
    let columns = table.schema().fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>();
    let wrong = made_up::table(
        columns
            .iter()
            .map(|name| {
                let column = if name == "value" { "part" } else { name.as_str() };
                (name.as_str(), table.column_by_name(column).unwrap().clone())
            })
            .collect(),
    );
    let error = training(&wrong, &about()).unwrap_err();
    assert!(matches!(error, Error::ColumnType { column: "value", expected: "numbers", .. }), "{error}");
}

#[test]
fn scores_say_which_place_does_most() {
    let table = made_up::scores((4, 4, 0), false, "activation-patching", Some("denoise"));
    let svg = score_heat_map(&table, "a title, of its own", &about()).unwrap().svg().unwrap();
    assert!(
        has(&svg, "a title, of its own") && has(&svg, "strongest: L") && has(&svg, "layers × heads: 4 × 4")
    );
    let table = made_up::scores((4, 4, 9), false, "activation-patching", Some("denoise"));
    let svg = score_positions(&table, "t", &about()).unwrap().svg().unwrap();
    assert!(has(&svg, " at position ") && has(&svg, "The heads of layer "));
    // By position there is no map of heads, and the other way round.
    assert!(matches!(score_heat_map(&table, "t", &about()), Err(Error::NothingToDraw { .. })));
    let table = made_up::scores((4, 4, 0), false, "activation-patching", Some("denoise"));
    assert!(matches!(score_positions(&table, "t", &about()), Err(Error::NothingToDraw { .. })));
    let table = made_up::scores((6, 2, 40), false, "activation-patching", Some("denoise"));
    assert!(score_positions(&table, "t", &about()).unwrap().svg().unwrap().contains("not measured"));
}
