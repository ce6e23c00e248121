//! How scores become colours, and the bar that says so.

use crate::draw::axis::{Axis, round_step};
use crate::draw::canvas::{Anchor, Canvas, Point, Text};
use crate::draw::palette::{Colour, GREY, INK, diverging, viridis};
use crate::draw::panel::TICK;

/// A scale of colours between two values.
#[derive(Debug, Clone)]
pub(crate) struct Ramp {
    low: f64,
    high: f64,
    colour: fn(f64) -> Colour,
}

impl Ramp {
    /// White at `middle`, and as far to both sides as the value that is furthest from it: this one has the
    /// strongest colour of all, whichever its sign.
    pub(crate) fn around(middle: f64, values: impl Iterator<Item = f64>) -> Self {
        let largest = values.fold(0f64, |m, v| m.max((v - middle).abs()));
        let limit = if largest > 0.0 { rounded_up(largest) } else { 1.0 };
        Self { low: middle - limit, high: middle + limit, colour: |t| diverging(2.0 * t - 1.0) }
    }

    /// Dark to light between two limits.
    pub(crate) fn sequential(low: f64, high: f64) -> Self {
        let high = if high > low { high } else { low + if low == 0.0 { 1.0 } else { low.abs() } };
        Self { low, high, colour: viridis }
    }

    /// The colour of a value; beyond the limits, that of the limit.
    pub(crate) fn of(&self, v: f64) -> Colour {
        (self.colour)(((v - self.low) / (self.high - self.low)).clamp(0.0, 1.0))
    }

    /// The colour bar, `height` high, with its values to the right.
    pub(crate) fn bar(&self, canvas: &mut Canvas, (x, top): Point, height: f64) {
        const STEPS: usize = 64;
        const WIDTH: f64 = 9.0;
        let at = |t: f64| top + height * (1.0 - t);
        for i in 0..STEPS {
            let (t0, t1) = (i as f64 / STEPS as f64, (i + 1) as f64 / STEPS as f64);
            canvas.rect((x, at(t1)), (x + WIDTH, at(t0)), (self.colour)((t0 + t1) / 2.0));
        }
        canvas.outline((x, top), (x + WIDTH, top + height), GREY, 0.8);
        let axis = Axis::tight(self.low, self.high, "", (height / 22.0).clamp(2.0, 6.0));
        for (v, text) in &axis.ticks {
            let y = at(axis.position(*v));
            canvas.line(&[(x + WIDTH, y), (x + WIDTH + 3.0, y)], &[], GREY, 0.8);
            canvas.text(Text::new(
                (x + WIDTH + 5.0, y + TICK * 0.36),
                Anchor::Start,
                TICK - 0.5,
                INK,
                text.clone(),
            ));
        }
    }
}

/// The next number with two significant digits, so that the end of a scale is not far beyond the largest value.
fn rounded_up(value: f64) -> f64 {
    let step = round_step(value / 100.0);
    (value / step - 1e-9).ceil() * step
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest effect has the darkest colour, either sign, and the neutral value is white.
    #[test]
    fn the_strongest_is_strongest_in_colour() {
        for sign in [1.0, -1.0] {
            let values = [0.02, -0.1, 0.8 * sign];
            let ramp = Ramp::around(0.0, values.into_iter());
            let ink = |v: f64| 1.0 - ramp.of(v).luminance();
            assert!(ink(0.8 * sign) > ink(0.1) && ink(0.1) > ink(0.02) && ink(0.02) > ink(0.0));
            assert_eq!(ramp.of(0.0), Colour::hex(0xffffff));
            assert_eq!(ramp.of(0.8 * sign), diverging(sign));
        }
        assert_eq!(rounded_up(0.804), 0.81);
        assert_eq!(rounded_up(137.0), 138.0);
    }
}
