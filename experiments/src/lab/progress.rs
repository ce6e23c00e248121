//! What is shown on stderr while the work goes on: a bar with the time left on a terminal, now and then a line
//! elsewhere.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use refrain_runner::ProgressCallback;

use super::speed::Speed;

/// How often a line appears where there is no terminal.
const EVERY: Duration = Duration::from_secs(15);
/// What is over sooner is not shown: a bar that appears and goes is noise.
const NOTICEABLE: Duration = Duration::from_millis(700);

/// Writes a line to stderr. If nobody reads there any more (a closed pipe), the work goes on.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Progress over pieces of work of unlike cost: the time left follows from their costs, not from their number.
pub struct Progress(Mutex<State>);

struct State {
    shown: Shown,
    pieces: (usize, usize),
    cost: (f64, f64),
    /// What was there before says nothing about the rate.
    resumed: f64,
    begun: Instant,
    doing: String,
    speed: Speed,
}

enum Shown {
    Bar(ProgressBar),
    Lines(Instant),
    Nothing,
}

impl Progress {
    /// Progress over the first of `pieces`, of which the second are done, at a total `cost`, of which the second is
    /// done. Costs are in any one unit. Shows nothing if `quiet`.
    pub fn new(pieces: (usize, usize), cost: (f64, f64), quiet: bool) -> Self {
        let begun = Instant::now();
        let shown = match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Shown::Nothing,
            (false, false) => Shown::Lines(begun),
            (false, true) => {
                let bar = bar(1000, "{bar:24} {wide_msg}");
                bar.enable_steady_tick(Duration::from_millis(200));
                Shown::Bar(bar)
            }
        };
        let (doing, speed) = (String::new(), Speed::default());
        Progress(Mutex::new(State { shown, pieces, cost, resumed: cost.1, begun, doing, speed }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A worker that panicked left the counts as they are.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what is being done now.
    pub fn doing(&self, what: &str) {
        let mut state = self.state();
        state.doing = what.to_owned();
        state.show();
    }

    /// Counts one piece as done, at so much of the cost.
    pub fn advance(&self, cost: f64) {
        let mut state = self.state();
        state.pieces.1 += 1;
        state.cost.1 += cost;
        state.show();
    }

    /// Counts tokens as generated.
    pub fn generated(&self, speed: Speed) {
        self.state().speed.add(speed);
    }

    /// Prints a line that stays.
    pub fn note(&self, text: &str) {
        match &self.state().shown {
            Shown::Bar(bar) => bar.suspend(|| say(text)),
            Shown::Lines(_) => say(text),
            Shown::Nothing => {}
        }
    }

    /// Takes the bar away, and says what was generated meanwhile.
    pub fn finish(self) -> Speed {
        let state = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Shown::Bar(bar) = state.shown {
            bar.finish_and_clear();
        }
        state.speed
    }
}

impl State {
    fn show(&mut self) {
        let text = self.text(self.begun.elapsed().as_secs_f64());
        match &mut self.shown {
            Shown::Bar(bar) => {
                bar.set_position((1000.0 * self.cost.1 / self.cost.0.max(1e-9)) as u64);
                bar.set_message(text);
            }
            Shown::Lines(last) if last.elapsed() >= EVERY => {
                *last = Instant::now();
                say(&text);
            }
            Shown::Lines(_) | Shown::Nothing => {}
        }
    }

    fn text(&self, seconds: f64) -> String {
        let rate = (self.cost.1 - self.resumed) / seconds.max(1e-9);
        let mut text = format!("{}/{}", self.pieces.1, self.pieces.0);
        if rate > 0.0 {
            let left = (self.cost.0 - self.cost.1).max(0.0) / rate;
            text += &format!(", {} left", duration(left));
        }
        if let Some(rate) = self.speed.tokens_per_s() {
            text += &format!(", {rate:.0} tokens/s a core");
        }
        if !self.doing.is_empty() {
            text += &format!(": {}", self.doing);
        }
        text
    }
}

fn bar(length: u64, template: &str) -> ProgressBar {
    let bar = ProgressBar::new(length);
    // The templates are constant and valid; the default style is no worse than none.
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// Seconds, as a person would say them.
pub fn duration(seconds: f64) -> String {
    match seconds.round() as u64 {
        s if s < 100 => format!("{s} s"),
        s if s < 6000 => format!("{} min", (s + 30) / 60),
        s => format!("{}.{} h", s / 3600, s % 3600 / 360),
    }
}

/// A callback that shows how far a transfer is: bytes fetched or loaded. It shows nothing if `quiet`.
pub fn transfer(quiet: bool, doing: &'static str) -> ProgressCallback {
    if quiet {
        return ProgressCallback::default();
    }
    let shown = Mutex::new(Transfer::new(doing));
    ProgressCallback::new(move |what, done, total| {
        // A progress bar that could not be drawn is no reason to stop.
        if let Ok(mut shown) = shown.lock() {
            shown.at(what, done, total);
        }
    })
}

struct Transfer {
    doing: &'static str,
    what: String,
    begun: Instant,
    bar: Option<ProgressBar>,
    said: Instant,
}

impl Transfer {
    fn new(doing: &'static str) -> Self {
        Transfer { doing, what: String::new(), begun: Instant::now(), bar: None, said: Instant::now() }
    }

    fn at(&mut self, what: &str, done: u64, total: u64) {
        if self.what != what {
            self.clear();
            *self = Transfer { what: what.to_owned(), ..Transfer::new(self.doing) };
        }
        if done >= total {
            return self.clear();
        }
        if let Some(bar) = &self.bar {
            return bar.set_position(done);
        }
        if !std::io::stderr().is_terminal() {
            if self.said.elapsed() >= EVERY {
                self.said = Instant::now();
                let megabytes = |bytes: u64| bytes as f64 / 1e6;
                say(&format!("{}{what}: {:.0} of {:.0} MB", self.doing, megabytes(done), megabytes(total)));
            }
        } else if self.begun.elapsed() >= NOTICEABLE {
            let style = "{bar:24} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left  {wide_msg}";
            let bar = bar(total, style)
                .with_position(done)
                .with_message(format!("{}{what}", self.doing))
                .with_finish(ProgressFinish::AndClear);
            bar.reset_eta();
            self.bar = Some(bar);
        }
    }

    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_follows_from_costs_and_not_from_counts() {
        let progress = Progress::new((4, 1), (10.0, 2.0), true);
        progress.doing("patching");
        progress.advance(4.0);
        // What was there before says nothing about the rate: 4 in 2 s, and 4 are left.
        assert_eq!(progress.state().text(2.0), "2/4, 2 s left: patching");
        progress.generated(Speed { tokens: 90, seconds: 1.5 });
        assert_eq!(progress.state().text(2.0), "2/4, 2 s left, 60 tokens/s a core: patching");
        assert_eq!(["99 s", "2 min", "2.5 h"], [99.0, 110.0, 9000.0].map(duration));
    }

    #[test]
    fn what_is_soon_over_is_not_shown() {
        let mut transfer = Transfer::new("loading ");
        transfer.at("a", 1, 10);
        assert!(transfer.bar.is_none());
        transfer.bar = Some(ProgressBar::hidden());
        transfer.at("a", 10, 10);
        assert!(transfer.bar.is_none(), "the bar of what is done stays");
        transfer.bar = Some(ProgressBar::hidden());
        transfer.at("b", 1, 10);
        assert!(transfer.bar.is_none(), "the bar of another file stays");
    }
}
