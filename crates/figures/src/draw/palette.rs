//! Colours, markers and dashes. Categories use the palette of Okabe and Ito, which stays distinct under the common
//! colour-vision deficiencies; every category has a marker and a dash of its own as well, for greyscale.

/// An opaque or translucent colour.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Colour {
    pub(crate) r: u8,
    pub(crate) g: u8,
    pub(crate) b: u8,
    pub(crate) alpha: f64,
}

impl Colour {
    pub(crate) const fn hex(rgb: u32) -> Self {
        Self { r: (rgb >> 16) as u8, g: (rgb >> 8) as u8, b: rgb as u8, alpha: 1.0 }
    }

    /// The same colour, translucent.
    pub(crate) const fn alpha(self, alpha: f64) -> Self {
        Self { alpha, ..self }
    }

    /// Relative luminance of sRGB, 0 black to 1 white.
    pub(crate) fn luminance(self) -> f64 {
        let linear = |v: u8| (f64::from(v) / 255.0).powf(2.2);
        0.2126 * linear(self.r) + 0.7152 * linear(self.g) + 0.0722 * linear(self.b)
    }

    fn mix(self, other: Self, t: f64) -> Self {
        let m = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * t).round() as u8;
        Self { r: m(self.r, other.r), g: m(self.g, other.g), b: m(self.b, other.b), alpha: 1.0 }
    }
}

pub(crate) const WHITE: Colour = Colour::hex(0xffffff);
pub(crate) const INK: Colour = Colour::hex(0x1a1a1a);
/// Secondary text and axes.
pub(crate) const GREY: Colour = Colour::hex(0x5f5f5f);
/// The common reference in a comparison.
pub(crate) const REFERENCE: Colour = Colour::hex(0x7f7f7f);
pub(crate) const CONTROL_GREY: Colour = Colour::hex(0x999999);
/// The ground of a cell that has no value.
pub(crate) const NO_VALUE: Colour = Colour::hex(0xededed);
pub(crate) const GRID: Colour = Colour::hex(0xe6e6e6);
pub(crate) const ORANGE: Colour = Colour::hex(0xe69f00);
pub(crate) const SKY: Colour = Colour::hex(0x56b4e9);
pub(crate) const GREEN: Colour = Colour::hex(0x009e73);
pub(crate) const BLUE: Colour = Colour::hex(0x0072b2);
pub(crate) const VERMILLION: Colour = Colour::hex(0xd55e00);
pub(crate) const PURPLE: Colour = Colour::hex(0xcc79a7);

/// The shape of a data point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marker {
    Circle,
    Square,
    Triangle,
    Diamond,
}

/// How one category is drawn, on every panel and in the legend alike.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    pub(crate) colour: Colour,
    pub(crate) marker: Marker,
    /// Lengths of ink and gap in turn; empty is a solid line.
    pub(crate) dash: &'static [f64],
    pub(crate) width: f64,
}

const DASHED: &[f64] = &[6.0, 3.0];
pub(crate) const DOTTED: &[f64] = &[1.8, 2.4];
const DASH_DOT: &[f64] = &[7.0, 2.5, 1.8, 2.5];
const LONG_DASH: &[f64] = &[12.0, 3.0];
/// Reference lines, such as a threshold.
pub(crate) const RULE: &[f64] = &[4.0, 3.0];

const fn style(colour: Colour, marker: Marker, dash: &'static [f64]) -> Style {
    Style { colour, marker, dash, width: 1.8 }
}

/// Styles for categories without a fixed one, in order.
const CYCLE: [Style; 6] = [
    style(BLUE, Marker::Circle, &[]),
    style(VERMILLION, Marker::Square, DASHED),
    style(GREEN, Marker::Triangle, DASH_DOT),
    style(PURPLE, Marker::Diamond, DOTTED),
    style(SKY, Marker::Circle, LONG_DASH),
    style(ORANGE, Marker::Square, DASH_DOT),
];

/// The style of the `index`-th category. From the seventh on, colours come again, with another marker and dash.
pub(crate) fn category(index: usize) -> Style {
    let colour = CYCLE[index % CYCLE.len()].colour;
    Style { colour, ..CYCLE[(index + index / CYCLE.len()) % CYCLE.len()] }
}

/// The style of what others are compared with: no intervention.
pub(crate) const BASELINE: Style = style(INK, Marker::Diamond, &[]);
/// The style of controls, which are many and no colour's own.
pub(crate) const CONTROL: Style = Style { width: 1.0, ..style(CONTROL_GREY, Marker::Circle, &[]) };

/// Viridis at `t` of 0 to 1: dark for low, light for high.
pub(crate) fn viridis(t: f64) -> Colour {
    const STOPS: [u32; 9] =
        [0x440154, 0x472d7b, 0x3b528b, 0x2c728e, 0x21918c, 0x28ae80, 0x5ec962, 0xaddc30, 0xfde725];
    ramp(&STOPS, t)
}

/// Blue to white to orange, `t` of -1 to 1, white at 0.
pub(crate) fn diverging(t: f64) -> Colour {
    const STOPS: [u32; 7] = [0x08519c, 0x4292c6, 0xb5d4e9, 0xffffff, 0xfdd0a2, 0xf28d35, 0xb34a00];
    ramp(&STOPS, (t + 1.0) / 2.0)
}

fn ramp(stops: &[u32], t: f64) -> Colour {
    let at = t.clamp(0.0, 1.0) * (stops.len() - 1) as f64;
    let low = (at.floor() as usize).min(stops.len() - 2);
    Colour::hex(stops[low]).mix(Colour::hex(stops[low + 1]), at - low as f64)
}
