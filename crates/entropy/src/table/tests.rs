use arrow::util::pretty::pretty_format_batches;

use super::*;
use crate::schema::Table;

fn row() -> PerplexityRow {
    PerplexityRow {
        condition: "log:induction".into(),
        text: None,
        tokens: 7,
        nll_nats: 1.5,
        perplexity: 4.5,
        ci_low: Some(4.0),
        ci_high: None,
        n_texts: 3,
        reason: None,
    }
}

#[test]
fn rows_come_back_from_their_table() {
    let batch = Perplexity::batch(&[row()]).unwrap();
    let shown = pretty_format_batches(std::slice::from_ref(&batch)).unwrap().to_string();
    assert_eq!(
        shown,
        "\
+---------------+------+--------+----------+------------+--------+---------+---------+--------+
| condition     | text | tokens | nll_nats | perplexity | ci_low | ci_high | n_texts | reason |
+---------------+------+--------+----------+------------+--------+---------+---------+--------+
| log:induction |      | 7      | 1.5      | 4.5        | 4.0    |         | 3       |        |
+---------------+------+--------+----------+------------+--------+---------+---------+--------+"
    );
    assert_eq!(Perplexity::rows(&batch).unwrap(), [row()]);
    let nan = PerplexityRow { ci_low: Some(f64::NAN), ..row() };
    let error = Perplexity::batch(&[nan]).unwrap_err().to_string();
    assert_eq!(error, "table `perplexity`: `ci_low` is NaN in row 0: what was computed is not a number");
}

#[test]
fn labels_are_dictionaries_and_lists_are_lists() {
    let kinds = |fields: Vec<arrow::datatypes::FieldRef>| -> Vec<String> {
        fields
            .iter()
            .map(|field| {
                format!(
                    "{} {}{}",
                    field.name(),
                    field.data_type(),
                    if field.is_nullable() { "?" } else { "" }
                )
            })
            .collect()
    };
    assert_eq!(
        kinds(Responses::fields().unwrap()),
        [
            "prompt_id Dictionary(UInt32, Utf8)",
            "condition Dictionary(UInt32, Utf8)",
            "decoding Dictionary(UInt32, Utf8)",
            "sample UInt32",
            "end Dictionary(UInt32, Utf8)",
            "tokens List(non-null Int64)",
            "token_strings List(non-null Utf8)",
            "text Utf8",
        ]
    );
    assert!(kinds(TraceSummary::fields().unwrap()).contains(&"ci_low Float64?".to_owned()));
    let response = ResponseRow {
        prompt_id: "count/rare/0/4".into(),
        condition: "none".into(),
        decoding: DecodingLabel::Sampled,
        sample: 1,
        end: End::OutOfWindow,
        tokens: vec![3, 4],
        token_strings: vec!["a".into(), "b".into()],
        text: "a b".into(),
    };
    let batch = Responses::batch(std::slice::from_ref(&response)).unwrap();
    assert!(
        pretty_format_batches(std::slice::from_ref(&batch)).unwrap().to_string().contains("out_of_window")
    );
    assert_eq!(Responses::rows(&batch).unwrap(), [response]);
}
