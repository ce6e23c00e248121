//! Figures: each is a pure function of tables.
//!
//! A [`Figure`] takes the Arrow tables that it names (docs/tables.md describes them) and an [`About`] for its
//! caption line, and gives [`Drawing`]s, which become SVG text or PNG bytes. The same tables give the same bytes.
//! This crate knows no model, no tensor and no statistics: estimates and intervals stand in the tables, and a
//! measure's label, unit and scale stand in their schema's metadata. Text is set in an embedded font: nothing of
//! the system is needed.
//!
//! ```
//! use arrow::array::RecordBatch;
//! use refrain_figures::{About, FIGURES, Tables};
//!
//! fn draw(training_loss: RecordBatch) -> Result<(), Box<dyn std::error::Error>> {
//!     let about = About::of(&training_loss);
//!     let tables = Tables::new().with("training_loss", training_loss);
//!     for figure in FIGURES.iter().filter(|figure| figure.has_tables(&tables)) {
//!         for drawing in (figure.draw)(&tables, &about)? {
//!             std::fs::write(format!("{}.svg", drawing.name()), drawing.svg()?)?;
//!             std::fs::write(format!("{}.png", drawing.name()), drawing.png()?)?;
//!         }
//!     }
//!     Ok(())
//! }
//! ```

#![deny(missing_docs)]

mod draw;
mod entry;
mod error;
mod figures;
mod read;

pub use draw::drawing::Drawing;
pub use entry::Figure;
pub use error::Error;
pub use figures::FIGURES;
pub use read::about::About;
pub use read::tables::Tables;
