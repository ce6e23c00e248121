//! The report as text.

use super::describe::{describe, wrapped};
use super::{Report, Verdict};

impl Report {
    /// The report, 80 columns wide.
    pub(super) fn text(&self) -> String {
        let mut text = wrapped("model", &[self.model.clone(), self.family.clone()]);
        text += &wrapped("parameters", &[grouped(self.n_params), format!("computed in {}", self.dtype)]);
        for (label, key) in [("weights", "weights"), ("recipe", "gguf_file_type")] {
            if let Some(value) = self.storage.get(key) {
                let parts: Vec<String> = value.split(", ").map(str::to_owned).collect();
                text += &wrapped(label, &parts);
            }
        }
        text += &describe(&self.architecture);
        text += &self.identities_text();
        text += &self.reference_text();
        text
    }

    fn identities_text(&self) -> String {
        let wide = self.identities_f64.is_some() && self.dtype != "f64";
        let mut text = format!(
            "\nEvery activation of {} random tokens, computed anew: largest error relative to\nthe largest entry\n",
            self.tokens
        );
        let second = if wide { "f64" } else { "" };
        text += &format!("{:60}{:>9}{second:>9}\n", "identity", self.dtype);
        for (name, found) in &self.details {
            let exact =
                found.relative_f64.filter(|_| wide).map_or_else(String::new, |exact| format!("{exact:.0e}"));
            let mark = if found.verdict == Verdict::Noise { "" } else { " !" };
            let gap = if name.chars().count() > 60 { format!("\n{:60}", "") } else { String::new() };
            text += &format!("{name:60}{gap}{:>9}{exact:>9}{mark}\n", format!("{:.0e}", found.relative));
        }
        if self.tokens_again < self.tokens {
            let fewer = wide && self.tokens_f64 == Some(self.tokens_again);
            let ways = if fewer { "In f64, token by token and padded" } else { "Token by token and padded" };
            text += &format!("{ways}: the first {} tokens.\n", self.tokens_again);
        }
        if let Some(reason) = &self.skipped_f64 {
            text += &format!("Not repeated in f64: {reason}.\n");
        }
        text += &match self.verdict {
            Verdict::Noise => format!("noise: nothing but the rounding of {}\n", self.dtype),
            Verdict::Overflow => self.overflow_text(),
            verdict => {
                let worst = self.details.iter().filter(|(_, found)| found.verdict == verdict);
                let worst = worst.max_by(|a, b| a.1.relative.total_cmp(&b.1.relative));
                let worst =
                    worst.map_or_else(String::new, |(name, found)| format!("`{name}` at {}", found.worst));
                match verdict {
                    Verdict::Bug => format!("bug: more than rounding, worst {worst}\n"),
                    _ => format!("unknown: more than is usual in {}, worst {worst}\n", self.dtype),
                }
            }
        };
        text
    }

    fn overflow_text(&self) -> String {
        let dtype = self.dtype;
        let largest = self.overflow.as_ref().map_or_else(String::new, |found| {
            format!(
                "`{}` is as large as {:.3e},\n{dtype} ends at {:.3e}\n",
                found.hook, found.magnitude, found.limit
            )
        });
        format!(
            "overflow: activations overflow {dtype} and are finite in f64: choose --dtype bf16 or f32\n{largest}"
        )
    }

    fn reference_text(&self) -> String {
        let (Some(found), Some(tolerance)) = (&self.reference, self.tolerance) else { return String::new() };
        let worst = &found.worst;
        let mut text = format!(
            "\nLogits against the reference: largest difference {:.2e}, tolerance {tolerance:.2e}\n\
             worst at row {}, position {} (token {}), entry {} of the vocabulary:\n{} instead of {}\n",
            worst.max_abs_diff,
            worst.row,
            worst.position,
            worst.token,
            worst.entry,
            worst.logit,
            worst.reference
        );
        if let Some(exact) = found.max_abs_diff_f64.filter(|_| self.dtype != "f64") {
            text += &format!("in f64 {exact:.2e}\n");
        }
        text += &match found.verdict {
            None => "equal within the tolerance\n".to_owned(),
            Some(Verdict::Noise) => {
                format!("noise: within the tolerance in f64, so it is {} rounding\n", self.dtype)
            }
            Some(Verdict::Rounding) => format!(
                "rounding: more than --tolerance allows, and no more in f64 than {} rounds\n",
                self.dtype
            ),
            Some(Verdict::Bug) => {
                "bug: it is there in f64 too, so weights, configuration or computation differ (or the\n\
                 reference was computed in a narrower dtype)\n"
                    .to_owned()
            }
            Some(Verdict::LeftPadding) => {
                "left padding: the difference is there in f64 too, but only in rows that begin\n\
                 with padding. Here positions count real tokens only. transformers does so where\n\
                 it is given position_ids = (mask.cumsum(-1) - 1).clamp(min=0); without them it\n\
                 counts padding as well, and such a reference cannot be compared with\n"
                    .to_owned()
            }
            Some(Verdict::Overflow) => self.overflow_text(),
            Some(Verdict::Unknown) => "unknown: beyond the tolerance, and not tried in f64\n".to_owned(),
        };
        if found.verdict == Some(Verdict::Bug) && found.left_padded {
            text += "This row begins with padding: here positions count real tokens only. transformers\n\
                     does so where it is given position_ids = (mask.cumsum(-1) - 1).clamp(min=0)\n";
        }
        text
    }
}

/// A number with its thousands apart.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}
