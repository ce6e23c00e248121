//! What stands around the panels is true of the table: scales, samples, tasks, numbers of items and of tests.

#![allow(clippy::unwrap_used, reason = "a helper of a test may panic as a test may")]

mod drawn;
mod made_up;
mod svg;

use arrow::array::RecordBatch;
use drawn::{count, draw, expect, head, heads, repetition};
use made_up::repetition::{self as made, CONDITIONS, Count};
use made_up::scores::{self, Row};
use refrain_figures::{About, Drawing, Figure, Tables};
use svg::{Placed, has, polygons, texts};

/// A table with another column in the place of its own.
fn with_column(table: &RecordBatch, name: &str, column: arrow::array::ArrayRef) -> RecordBatch {
    let at = table.schema().index_of(name).unwrap();
    let mut columns = table.columns().to_vec();
    columns[at] = column;
    RecordBatch::try_new(table.schema(), columns).unwrap()
}

fn with(tables: Tables, table: &str, name: &str, column: arrow::array::ArrayRef) -> Tables {
    let changed = with_column(tables.get(table).unwrap(), name, column);
    tables.with(table.to_owned(), changed)
}

fn never(drawing: &Drawing, unwanted: &[&str]) {
    for text in unwanted {
        assert!(!has(drawing, text), "{}: {text:?}", drawing.name());
    }
}

fn detector(metric: &'static str, head: u32, value: f64) -> Row {
    Row {
        method: "detectors",
        component: "ov",
        head: Some(head),
        n_prompts: 5,
        metric,
        value: Some(value),
        ..Row::default()
    }
}

/// Of a measure that goes from less to more the first is the highest, and it has the end of the scale for a colour
/// and the outline; of another one the first is called what it is.
#[test]
fn a_low_score_is_not_the_strongest() {
    let rows = [detector("copying", 0, -0.927), detector("copying", 1, 0.41), detector("copying", 2, 1.3)];
    let drawing = draw("detectors", &heads(&rows)).unwrap().remove(0);
    expect(&drawing, &["highest: L0H2 (1.30)", "highest"]);
    never(&drawing, &["−0.927", "strongest"]);
    let svg = drawing.svg().unwrap();
    let cells = |colour: &str| polygons(&svg, colour).into_iter().filter(|p| p[1].0 - p[0].0 > 100.0);
    let brightest: Vec<_> = cells("#FDE725").collect();
    assert_eq!(
        brightest.len(),
        1,
        "one cell has the end of the scale, though it is beyond the measure's own end"
    );
    let outline = svg.split("<polyline").skip(1).filter(|tag| {
        let points = svg::attribute(tag, "points").unwrap_or_default();
        points.contains(&format!("{},", brightest[0][0].0 as i64 + 2)) && tag.contains("#1A1A1A")
    });
    assert!(outline.count() > 0, "and is the outlined one");

    let rows = [detector("ahon_ln", 0, 0.05), detector("ahon_ln", 1, 1.2), detector("ahon_ln", 2, 1.0)];
    let drawing = draw("detectors", &heads(&rows)).unwrap().remove(0);
    expect(&drawing, &["furthest from 1: L0H0 (0.0500)"]);
    never(&drawing, &["strongest"]);

    // Not described: from less to more where nothing is below 0, else by the distance from it.
    for (values, wanted) in [([0.2, 0.9], "highest: L0H1"), ([-0.9, -0.1], "furthest from 0: L0H0")] {
        let rows = [detector("unknown", 0, values[0]), detector("unknown", 1, values[1])];
        expect(&draw("detectors", &heads(&rows)).unwrap()[0], &[wanted]);
    }
}

/// Detectors are read on random tokens: not on prompts, and of no task.
#[test]
fn detectors_have_no_task_and_no_prompts() {
    let about = About { model: "m".into(), task: "induction".into(), ..About::default() };
    let tables = heads(&[detector("copying", 0, 0.1), detector("copying", 1, 0.4)]);
    let drawing = (Figure::find("detectors").unwrap().draw)(&tables, &about).unwrap().remove(0);
    expect(&drawing, &["1 layers × 2 heads · 5 random sequences"]);
    never(&drawing, &["task induction", "5 prompts"]);
    let tables = Tables::new().with("edge_scores", scores::edge_scores());
    let drawings = (Figure::find("top_edges").unwrap().draw)(&tables, &about).unwrap();
    assert!(has(&drawings[0], "task induction") && !has(&drawings[1], "task induction"));
}

/// The lens changes nothing.
#[test]
fn the_logit_lens_is_no_effect_of_a_change() {
    let drawing = draw("head_effects", &heads(&scores::lens(6, "logit_diff", true))).unwrap().remove(0);
    expect(
        &drawing,
        &[
            "Logit lens: share of the model's logit difference",
            "that the residual stream at that layer already gives, read through the final norm and the unembedding",
        ],
    );
    never(&drawing, &["corrupted", "effect on"]);
    // Without shares it is the metric itself, on the metric's scale.
    let drawing = draw("head_effects", &heads(&scores::lens(6, "log_prob", false))).unwrap().remove(0);
    expect(
        &drawing,
        &[
            "Logit lens: log-probability of the answer (nats)",
            "highest: resid_post, layer 5",
            "already gives",
        ],
    );
    never(&drawing, &["could not be given", "white"]);
}

/// Tasks are kept apart, and named where there are several.
#[test]
fn tasks_are_drawn_apart() {
    let on = |task, h, effect| Row { task, ..head(h, Some(effect)) };
    let mut rows = vec![on(Some("copy"), 0, 0.7), on(Some("copy"), 1, 0.1), detector("copying", 0, 0.3)];
    for name in ["head_effects", "top_heads"] {
        let one = draw(name, &heads(&rows)).unwrap();
        assert_eq!((one.len(), has(&one[0], "on the task")), (1, false));
        assert!(one[0].name().ends_with(".logit_diff"), "{}", one[0].name());
    }
    rows.extend([on(Some("ioi"), 0, 0.2), on(Some("ioi"), 1, 0.6)]);
    let about = About { task: "all".into(), ..About::default() };
    for (name, words) in [("head_effects", "strongest: L0H1 (0.600)"), ("top_heads", "0.600")] {
        let two = (Figure::find(name).unwrap().draw)(&heads(&rows), &about).unwrap();
        assert_eq!(two.len(), 2, "{name}");
        assert!(two[0].name().ends_with(".logit_diff.copy") && two[1].name().ends_with(".logit_diff.ioi"));
        expect(&two[1], &["on the task `ioi`", "task ioi", words]);
        never(&two[1], &["0.700", "task all"]);
    }
    assert_eq!(draw("detectors", &heads(&rows)).unwrap().len(), 1);
    let mut places = scores::by_position(3, 2, 4, "start", true, false);
    places.iter_mut().enumerate().for_each(|(i, row)| row.task = Some(["copy", "ioi"][i % 2]));
    let two = draw("head_positions", &heads(&places)).unwrap();
    assert!(two.len() == 2 && two[1].name().ends_with(".ioi") && has(&two[1], "on the task `ioi`"));
}

/// Every panel has its own number of items where they differ.
#[test]
fn contrasts_say_how_many_items_and_tests() {
    let tables = |texts| repetition(&CONDITIONS, &[]).with("contrasts", made::contrasts(&CONDITIONS, texts));
    let drawing = draw("control", &tables(40)).unwrap().remove(0);
    let wanted = ["Exact counts (n = 36)", "Loss on ordinary text (n = 40)", "p .010 · 1/2, 1 opposite"];
    expect(&drawing, &wanted);
    expect(
        &drawing,
        &["The 12 p-values shown are not corrected for their number.", "at least as much in the same"],
    );
    expect(&drawing, &["at least as much in the other direction"]);
    never(&drawing, &["40 items", "36 items"]);
    let alike = draw("control", &tables(36)).unwrap().remove(0);
    expect(&alike, &["36 items"]);
    never(&alike, &["n = 36"]);
    let none = made_up::counts((0..36).map(|i| (i % 3 == 0).then_some(0)));
    let none = draw("control", &with(tables(36), "contrasts", "did_opposite", none)).unwrap().remove(0);
    expect(&none, &["p .010 · 1/2"]);
    never(&none, &["pposite"]);
}

/// A share is between nothing and all, and exact counts are of runs of their own number.
#[test]
fn shares_stay_between_0_and_100_per_cent() {
    let share =
        |quantity, value, interval, runs| Count { interval, runs, ..count(4, quantity, value, false) };
    let rows =
        [share("clean_stop_share", 1.0, None, None), share("exact_share", 0.98, Some((-0.5, 1.5)), Some(60))];
    let drawing = draw("outcomes", &repetition(&CONDITIONS[..1], &rows)).unwrap().remove(0);
    expect(&drawing, &["36 items, 108 runs at each N", "(36 items, 60 runs at each N)", "100%"]);
    let svg = drawing.svg().unwrap();
    // The bar goes from 0 to 100 %: the whisker is as long.
    let bars = polygons(&svg, "#009E73")
        .into_iter()
        .map(|p| (p[2].1, p[0].1))
        .map(|(a, b): (f64, f64)| (a.min(b), a.max(b)));
    let bar = bars.max_by(|a, b| (a.1 - a.0).total_cmp(&(b.1 - b.0))).unwrap();
    let ends = |tag: &str| {
        let points = svg::attribute(tag, "points").unwrap().split_whitespace();
        let pairs = points.filter_map(|p| p.split_once(',')).map(|(x, y)| (x.to_owned(), y.parse().unwrap()));
        pairs.collect::<Vec<(String, f64)>>()
    };
    let lines = svg.split("<polyline").skip(1).map(|tag| tag.split("/>").next().unwrap());
    let whiskers: Vec<(f64, f64)> = lines
        .filter(|tag| tag.contains("#1A1A1A"))
        .map(ends)
        .filter(|p| p.len() == 2 && p[0].0 == p[1].0)
        .map(|p| (p[0].1.min(p[1].1), p[0].1.max(p[1].1)))
        .collect();
    assert_eq!(whiskers, [bar]);
}

/// Items that still generate and items that were measured are two things.
#[test]
fn traces_tell_the_living_from_the_measured() {
    let tables = repetition(&CONDITIONS, &[]);
    let toxicity = draw("toxicity_trace", &tables).unwrap().remove(0);
    expect(&toxicity, &["τ / ((1 − τ) max(1, ln(t + c)) + τ)", "Dotted there: the share that has a value"]);
    let entropy = draw("entropy_trace", &tables).unwrap().remove(0);
    never(&entropy, &["Dotted", "ln(t + c)"]);
    let under = draw("entropy_under_intervention", &tables).unwrap().remove(0);
    expect(&under, &["the text that the model generated under that condition"]);
    // The strip follows the living: none is measured in what follows, and none has stopped.
    let table = tables.get("trace_summary").unwrap();
    let rows = table.num_rows() as u32;
    let whole =
        with(tables.clone(), "trace_summary", "n_alive", made_up::counts((0..rows).map(|_| Some(36))));
    let whole = draw("entropy_trace", &whole).unwrap().remove(0);
    assert!(whole.svg().unwrap() != entropy.svg().unwrap());
    expect(&whole, &["Dotted there"]);
}

fn ticks(drawing: &Drawing) -> Vec<String> {
    texts(&drawing.svg().unwrap()).into_iter().map(|t: Placed| t.text).collect()
}

/// Entropies and shares are never negative, whatever an interval says.
#[test]
fn traces_do_not_go_below_0() {
    let tables = repetition(&CONDITIONS, &[]);
    let table = tables.get("trace_summary").unwrap();
    let low = made_up::numbers((0..table.num_rows()).map(|_| Some(-3.0)));
    let high = made_up::numbers((0..table.num_rows()).map(|_| Some(4.5)));
    let wide = with(with(tables.clone(), "trace_summary", "ci_low", low), "trace_summary", "ci_high", high);
    for name in ["entropy_trace", "entropy_under_intervention", "toxicity_trace"] {
        let drawing = draw(name, &wide).unwrap().remove(0);
        let ticks = ticks(&drawing);
        let negative: Vec<&String> = ticks.iter().filter(|t| t.starts_with('−')).collect();
        assert!(negative.is_empty(), "{name}: {negative:?}");
        assert!(name != "toxicity_trace" || ticks.contains(&"0.8".to_owned()), "{ticks:?}");
    }
}

/// A band is explained where there is one.
#[test]
fn the_band_of_a_median_is_explained_where_it_is_drawn() {
    let median = |n, interval| Count { interval, ..count(n, "median_response_tokens", 9.0, false) };
    let drawn =
        |rows: &[Count]| draw("response_length", &repetition(&CONDITIONS[..1], rows)).unwrap().remove(0);
    never(&drawn(&[median(4, None), median(8, None)]), &["Band", "95 %", "lower bound"]);
    let interval = Some((8.0, 10.0));
    expect(&drawn(&[median(4, interval), median(8, interval)]), &["Band: 95 % interval of the median"]);
}

/// Where some columns have a token and others not, the axis says both.
#[test]
fn an_axis_of_tokens_and_positions_says_both() {
    for (from, wanted) in [("end", "position from the end"), ("start", "position from the start")] {
        let mut rows = scores::by_position(3, 2, 6, from, true, false);
        for row in rows.iter_mut().filter(|r| r.position == Some(2)) {
            row.token = None;
        }
        let drawing = draw("head_positions", &heads(&rows)).unwrap().remove(0);
        expect(&drawing, &[&format!("token, or {wanted}")]);
        let all = draw("head_positions", &heads(&scores::by_position(3, 2, 6, from, true, false))).unwrap();
        assert!(!has(&all[0], "token, or"));
    }
}

/// The places of ticks can be read off a logarithmic axis.
#[test]
fn the_axis_of_training_is_labelled() {
    let tables = Tables::new().with("training_loss", made_up::training_loss(2, 2));
    let ticks = ticks(&draw("training", &tables).unwrap().remove(0));
    for wanted in ["10⁶", "10⁷", "2×10⁶", "5×10⁶"] {
        assert!(ticks.contains(&wanted.to_owned()), "{wanted}: {ticks:?}");
    }
}

/// What the table selected is told from what is merely the first of a ranking.
#[test]
fn an_outline_means_one_thing() {
    let mut rows = vec![head(0, Some(0.8)), head(1, Some(0.3))];
    rows[1].selected = true;
    rows.extend((0..2).map(|h| Row { component: "k", ..head(h, Some(0.1 * f64::from(h))) }));
    let drawing = draw("head_effects", &heads(&rows)).unwrap().remove(0);
    expect(&drawing, &["induction head, in H_ind (1)", "strongest of a panel without one"]);
    let mut places = scores::by_position(3, 2, 4, "start", true, false);
    places[0].selected = true;
    let drawing = draw("head_positions", &heads(&places)).unwrap().remove(0);
    never(&drawing, &["H_ind"]);
}
