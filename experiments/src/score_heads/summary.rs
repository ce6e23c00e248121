//! What a run ends with on the terminal: the strongest places of every score, in 80 columns.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::Result;
use refrain_patching::table::{ApproximationRow, EdgeScoreRow, HeadScoreRow};

use super::subject::Subject;

/// Places of each score.
const SHOWN: usize = 10;

/// The rows of one score, as they stand in the table.
pub fn by_score(rows: &[HeadScoreRow]) -> Vec<Vec<&HeadScoreRow>> {
    let key = |row: &HeadScoreRow| (row.method.clone(), row.component.clone(), row.metric.clone());
    let mut scores: Vec<(_, Vec<&HeadScoreRow>)> = Vec::new();
    for row in rows {
        match scores.iter_mut().find(|(known, _)| *known == key(row)) {
            Some((_, rows)) => rows.push(row),
            None => scores.push((key(row), vec![row])),
        }
    }
    scores.into_iter().map(|(_, rows)| rows).collect()
}

/// How much a place does, whichever way; detectors' scores as they are.
pub fn strength(row: &HeadScoreRow) -> f64 {
    row.change.map(f64::abs).or(row.value).unwrap_or(f64::NEG_INFINITY)
}

/// The whole text.
///
/// # Errors
/// None in practice: text is written to memory.
pub fn summary(
    means: &[HeadScoreRow],
    edges: &[EdgeScoreRow],
    approximations: &[ApproximationRow],
    subject: &Subject,
    seed: u64,
    files: &[(&str, Vec<PathBuf>)],
) -> Result<String> {
    let mut text = String::new();
    let (shortest, longest) = subject.lengths();
    let tokens = if shortest == longest { longest.to_string() } else { format!("{shortest} to {longest}") };
    let (pairs, s) = (subject.pairs.len(), if subject.pairs.len() == 1 { "" } else { "s" });
    writeln!(text, "score-heads on {}, seed {seed}", subject.name)?;
    writeln!(text, "{}: {pairs} pair{s} of {tokens} tokens\n", subject.task)?;
    for rows in by_score(means) {
        score(&mut text, &rows)?;
    }
    strongest_edges(&mut text, edges)?;
    approximation(&mut text, approximations)?;
    for (what, paths) in files {
        for (index, path) in paths.iter().enumerate() {
            writeln!(text, "{:<10}{}", if index == 0 { what } else { "" }, path.display())?;
        }
    }
    Ok(text)
}

fn score(text: &mut String, rows: &[&HeadScoreRow]) -> Result<()> {
    let Some(first) = rows.first() else { return Ok(()) };
    let HeadScoreRow { method, component, metric, .. } = first;
    let way = first.direction.as_ref().map_or(String::new(), |way| format!(" ({way})"));
    let detector = rows.iter().all(|row| row.change.is_none() && row.clean_value.is_none());
    let mut rows = rows.to_vec();
    // Stable: equal places stay in the order of the table.
    rows.sort_by(|a, b| strength(b).total_cmp(&strength(a)));
    if detector {
        writeln!(text, "{method}: {metric}")?;
        writeln!(text, "  {:<9}{:>9}   95 % interval", "head", "score")?;
    } else {
        writeln!(text, "{method} of {component}{way}: {metric}")?;
        if let (Some(clean), Some(corrupted)) = (first.clean_value, first.corrupted_value) {
            writeln!(text, "  clean {}, corrupted {}", number(clean), number(corrupted))?;
        }
        writeln!(text, "  {:<16}{:>9}   {:<18}{:>10}", "place", "effect", "95 % interval", "change")?;
    }
    for row in rows.iter().take(SHOWN) {
        let interval = match (row.ci_low, row.ci_high) {
            (Some(low), Some(high)) => format!("[{low:.3}, {high:.3}]"),
            _ => String::new(),
        };
        let of = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.3}"));
        if detector {
            let line = format!("  {:<9}{:>9}   {interval}", place(row), of(row.value));
            writeln!(text, "{}", line.trim_end())?;
        } else {
            let change = row.change.map_or("-".to_owned(), number);
            let interval = if interval.is_empty() { "-" } else { &interval };
            writeln!(text, "  {:<16}{:>9}   {interval:<18}{change:>10}", place(row), of(row.effect))?;
        }
    }
    if rows.len() > SHOWN {
        writeln!(text, "  and {} more in the table", rows.len() - SHOWN)?;
    }
    let shown = rows.iter().take(SHOWN);
    let mut reasons: Vec<&String> = shown.filter_map(|row| row.reason.as_ref()).collect();
    reasons.sort_unstable();
    reasons.dedup();
    for reason in reasons {
        writeln!(text, "  ({reason})")?;
    }
    writeln!(text)?;
    Ok(())
}

/// The strongest edges of every method and metric.
fn strongest_edges(text: &mut String, edges: &[EdgeScoreRow]) -> Result<()> {
    let mut scores: Vec<(String, Vec<&EdgeScoreRow>)> = Vec::new();
    for edge in edges {
        let way = edge.direction.as_ref().map_or(String::new(), |way| format!(" ({way})"));
        let title = format!("{} of edges{way}: {}", edge.method, edge.metric);
        match scores.iter_mut().find(|(known, _)| *known == title) {
            Some((_, rows)) => rows.push(edge),
            None => scores.push((title, vec![edge])),
        }
    }
    for (title, mut rows) in scores {
        // A composition score is judged by what it is above random weights.
        let size = |edge: &EdgeScoreRow| match edge.p_value {
            Some(_) => edge.effect,
            None => edge.value.map(f64::abs),
        };
        rows.sort_by(|a, b| size(b).unwrap_or(-1.0).total_cmp(&size(a).unwrap_or(-1.0)));
        let composition = rows[0].p_value.is_some();
        writeln!(text, "{title}")?;
        let (value, effect) = if composition { ("score", "above random") } else { ("change", "effect") };
        writeln!(text, "  {:<10} {:<14}{value:>12}{effect:>14}", "from", "to")?;
        for edge in rows.iter().take(SHOWN) {
            let input = edge.receiver_input.as_ref().map_or(String::new(), |input| format!(".{input}"));
            let of = |value: Option<f64>| value.map_or("-".to_owned(), number);
            let to = format!("{}{input}", edge.receiver);
            writeln!(text, "  {:<10} {to:<14}{:>12}{:>14}", edge.sender, of(edge.value), of(edge.effect))?;
        }
        if rows.len() > SHOWN {
            writeln!(text, "  and {} more in the table", rows.len() - SHOWN)?;
        }
        writeln!(text)?;
    }
    Ok(())
}

fn approximation(text: &mut String, rows: &[ApproximationRow]) -> Result<()> {
    let summaries: Vec<&ApproximationRow> =
        rows.iter().filter(|row| row.miss.is_none() && row.top_k.is_none()).collect();
    if summaries.is_empty() {
        return Ok(());
    }
    writeln!(text, "Approximations beside activation patching, by the change of the metric")?;
    writeln!(
        text,
        "  {:>6}{:>10}{:>9}{:>9}{:>12}{:>12}{:>9}",
        "places", "Spearman", "Kendall", "Pearson", "rms error", "max error", "top 5"
    )?;
    for row in summaries {
        let of = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.3}"));
        let same = |other: &&ApproximationRow| {
            other.top_k == Some(5)
                && (&other.method, &other.component, &other.metric)
                    == (&row.method, &row.component, &row.metric)
        };
        let top = rows.iter().find(same).and_then(|row| row.overlap);
        let top = top.map_or("-".to_owned(), |overlap| format!("{:.0}/5", overlap * 5.0));
        let error = |value: Option<f64>| value.map_or("-".to_owned(), number);
        writeln!(text, "  {} of {}: {}", row.method, row.component, row.metric)?;
        writeln!(
            text,
            "  {:>6}{:>10}{:>9}{:>9}{:>12}{:>12}{top:>9}",
            row.n,
            of(row.spearman),
            of(row.kendall),
            of(row.pearson),
            error(row.rms_error),
            error(row.max_error),
        )?;
    }
    writeln!(text)?;
    Ok(())
}

/// A place in a few characters: `L2H1`, `L2`, `L2 n17`, at a position `L2H1 @13`, at an entry of a pattern `L2H1 @13<-4`.
pub fn place(row: &HeadScoreRow) -> String {
    let mut text = format!("L{}", row.layer);
    if let Some(head) = row.head {
        text += &format!("H{head}");
    }
    if let Some(neuron) = row.neuron {
        text += &format!(" n{neuron}");
    }
    if let Some(position) = row.position {
        text += &format!(" @{position}");
    }
    if let Some(source) = row.key_position {
        text += &format!("<-{source}");
    }
    text
}

/// A number in at most nine characters.
fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if !(1e-3..1e5).contains(&size) => format!("{value:.2e}"),
        size if size >= 100.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}
