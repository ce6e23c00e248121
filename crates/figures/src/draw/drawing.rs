//! A finished drawing and its two forms, SVG text and PNG bytes, both through plotters' backends.

use plotters::backend::{BitMapBackend, DrawingBackend, SVGBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontStyle, FontTransform, IntoFont, RGBAColor, ShapeStyle, TextStyle};

use crate::draw::canvas::{Anchor, Mark, Point, Text};
use crate::draw::palette::{Colour, WHITE};
use crate::draw::text;
use crate::error::Error;

/// Backend pixels per unit. Backends take whole pixels: this is the precision of every position.
const SCALE: f64 = 4.0;
/// The bitmap is drawn at `SCALE` and averaged down by this, which smooths what plotters draws with hard edges.
const SHRINK: u32 = 2;

/// A figure, laid out and ready to be written as SVG or PNG.
#[derive(Debug)]
pub struct Drawing {
    pub(crate) name: String,
    pub(crate) width: f64,
    pub(crate) height: f64,
    pub(crate) marks: Vec<Mark>,
}

/// Where a backend differs from another in what it makes of the same call.
struct Profile {
    /// Font size to ask for, per em.
    size_per_em: f64,
    /// How far below the top anchor the baseline lies, in ems.
    baseline: f64,
    /// Joins of thick lines have to be rounded off by hand.
    joins: bool,
}

const SVG: Profile = Profile { size_per_em: text::SVG_SIZE_PER_EM, baseline: 0.76, joins: false };
const BITMAP: Profile =
    Profile { size_per_em: text::BITMAP_SIZE_PER_EM, baseline: text::BITMAP_SIZE_PER_EM / 2.0, joins: true };

impl Drawing {
    /// A name that no other drawing of the same tables has, fit for a file: letters, digits, `_`, `-` and `.`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Width and height in CSS pixels; the PNG has twice as many.
    pub fn size(&self) -> (u32, u32) {
        (self.width.ceil() as u32, self.height.ceil() as u32)
    }

    /// The drawing as a standalone SVG document.
    ///
    /// # Errors
    /// When the embedded font or the backend fails.
    pub fn svg(&self) -> Result<String, Error> {
        let size = self.backend_size();
        let mut svg = String::new();
        {
            let mut backend = SVGBackend::with_string(&mut svg, size);
            self.render(&mut backend, &SVG)?;
            backend.present().map_err(backend_error)?;
        }
        // The view box keeps the fine grid; the size on the page is in units.
        let (w, h) = self.size();
        let fine = format!("width=\"{}\" height=\"{}\"", size.0, size.1);
        Ok(svg.replacen(&fine, &format!("width=\"{w}\" height=\"{h}\""), 1))
    }

    /// The drawing as a PNG of twice `size()`, 8 bits RGB, marked as 192 dpi.
    ///
    /// # Errors
    /// When the embedded font, the backend or the encoder fails.
    pub fn png(&self) -> Result<Vec<u8>, Error> {
        let (w, h) = self.backend_size();
        let mut fine = vec![255u8; (w * h * 3) as usize];
        {
            let mut backend = BitMapBackend::with_buffer(&mut fine, (w, h));
            self.render(&mut backend, &BITMAP)?;
            backend.present().map_err(backend_error)?;
        }
        let pixels = shrink(&fine, w, h);
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, w / SHRINK, h / SHRINK);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::Default);
        let per_metre = (96.0 * SCALE / f64::from(SHRINK) / 0.0254).round() as u32;
        encoder.set_pixel_dims(Some(png::PixelDimensions {
            xppu: per_metre,
            yppu: per_metre,
            unit: png::Unit::Meter,
        }));
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&pixels)?;
        writer.finish()?;
        Ok(bytes)
    }

    fn backend_size(&self) -> (u32, u32) {
        let (w, h) = self.size();
        (w * SCALE as u32, h * SCALE as u32)
    }

    fn render<B: DrawingBackend>(&self, backend: &mut B, profile: &Profile) -> Result<(), Error> {
        text::register()?;
        let (w, h) = self.size();
        let (w, h) = (f64::from(w), f64::from(h));
        let page = [(0.0, 0.0), (w, 0.0), (w, h), (0.0, h)];
        backend.fill_polygon(page.map(pixel), &shape(WHITE, 0.0)).map_err(backend_error)?;
        for mark in &self.marks {
            match mark {
                Mark::Fill { points, colour } => backend
                    .fill_polygon(points.iter().copied().map(pixel), &shape(*colour, 0.0))
                    .map_err(backend_error)?,
                Mark::Disc { centre, radius, colour } => backend
                    .draw_circle(pixel(*centre), (radius * SCALE).round() as u32, &shape(*colour, 0.0), true)
                    .map_err(backend_error)?,
                Mark::Line { points, colour, width } => line(backend, profile, points, *colour, *width)?,
                Mark::Text(text) => draw_text(backend, profile, text)?,
            }
        }
        Ok(())
    }
}

fn line<B: DrawingBackend>(
    backend: &mut B,
    profile: &Profile,
    points: &[Point],
    colour: Colour,
    width: f64,
) -> Result<(), Error> {
    let style = shape(colour, width);
    if !profile.joins {
        return backend.draw_path(points.iter().copied().map(pixel), &style).map_err(backend_error);
    }
    // The bitmap backend extends sharp corners without limit: each segment on its own, with round joins.
    for pair in points.windows(2) {
        backend.draw_path([pixel(pair[0]), pixel(pair[1])], &style).map_err(backend_error)?;
    }
    let radius = (width * SCALE / 2.0).floor() as u32;
    if radius > 1 && points.len() > 2 {
        for &point in &points[1..points.len() - 1] {
            backend.draw_circle(pixel(point), radius, &style, true).map_err(backend_error)?;
        }
    }
    Ok(())
}

fn draw_text<B: DrawingBackend>(backend: &mut B, profile: &Profile, text: &Text) -> Result<(), Error> {
    let style = if text.bold { FontStyle::Bold } else { FontStyle::Normal };
    let em = text.size * SCALE;
    let mut font = (text::FAMILY, em * profile.size_per_em, style).into_font();
    let (x, y) = text.at;
    // Backends anchor at the top of a text, each with another idea of it; the baseline is what both can share.
    let rise = text.size * profile.baseline;
    let at = if text.upwards {
        font = font.transform(FontTransform::Rotate270);
        (x - rise, y)
    } else {
        (x, y - rise)
    };
    let h = match text.anchor {
        Anchor::Start => HPos::Left,
        Anchor::Middle => HPos::Center,
        Anchor::End => HPos::Right,
    };
    let colour = rgba(text.colour);
    let style = TextStyle::from(font).color(&colour).pos(Pos::new(h, VPos::Top));
    backend.draw_text(&text.text, &style, pixel(at)).map_err(backend_error)
}

fn shape(colour: Colour, width: f64) -> ShapeStyle {
    ShapeStyle { color: rgba(colour), filled: true, stroke_width: (width * SCALE).round().max(1.0) as u32 }
}

fn rgba(c: Colour) -> RGBAColor {
    plotters::style::RGBColor(c.r, c.g, c.b).mix(c.alpha)
}

fn pixel((x, y): Point) -> (i32, i32) {
    ((x * SCALE).round() as i32, (y * SCALE).round() as i32)
}

fn backend_error(error: impl std::fmt::Display) -> Error {
    Error::Backend(error.to_string())
}

/// Averages blocks of `SHRINK` x `SHRINK` pixels.
fn shrink(fine: &[u8], w: u32, h: u32) -> Vec<u8> {
    let (w, h, k) = (w as usize, h as usize, SHRINK as usize);
    let mut out = Vec::with_capacity(w * h * 3 / (k * k));
    for y in 0..h / k {
        for x in 0..w / k {
            for channel in 0..3 {
                let sum: u32 = (0..k * k)
                    .map(|i| u32::from(fine[((y * k + i / k) * w + x * k + i % k) * 3 + channel]))
                    .sum();
                out.push((sum / (SHRINK * SHRINK)) as u8);
            }
        }
    }
    out
}
