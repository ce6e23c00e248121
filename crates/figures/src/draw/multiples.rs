//! Small multiples: panels of cells side by side, each with its own scale.

use crate::draw::grid::{Grid, LEFT, Layer, RIGHT};
use crate::draw::page::{MARGIN, Page, WIDTH};
use crate::draw::ramp::Ramp;

/// A panel to be laid out.
pub(crate) struct Multiple {
    /// Rows and columns.
    pub(crate) size: (u64, u64),
    pub(crate) axes: (&'static str, &'static str),
    pub(crate) column_labels: Vec<String>,
    pub(crate) sparse: bool,
    pub(crate) layer: Layer,
    pub(crate) ramp: Ramp,
}

/// Draws the panels row by row from the page's top on; returns where they end. Of many, each has less room.
pub(crate) fn draw(page: &mut Page, panels: &[Multiple]) -> f64 {
    let per_row = match panels.len() {
        0 | 1 => 1,
        2 | 4 => 2,
        3 | 5..=12 => 3,
        _ => 4,
    };
    let compact = per_row > 2;
    let column = (WIDTH - 2.0 * MARGIN) / per_row as f64;
    let room = |grid: &Grid| column - grid.panel_width() + grid.across();
    let grids: Vec<Grid> = panels
        .iter()
        .map(|panel| {
            let fit = |width: f64| {
                let area = (width, if compact { width * 1.1 } else { 330.0 });
                let grid = Grid::fit(panel.size.0, panel.size.1, area, panel.axes);
                Grid { sparse: panel.sparse, column_labels: panel.column_labels.clone(), compact, ..grid }
            };
            fit(room(&fit(column - LEFT - RIGHT)).min(400.0))
        })
        .collect();
    let mut top = page.top + 6.0;
    for (row, grids) in grids.chunks(per_row).enumerate() {
        let panels = &panels[row * per_row..row * per_row + grids.len()];
        let head = grids.iter().zip(panels).map(|(g, p)| g.title_height(&p.layer)).fold(0.0, f64::max);
        top += head;
        for (i, (grid, panel)) in grids.iter().zip(panels).enumerate() {
            let left = MARGIN + i as f64 * column + grid.left();
            grid.draw(&mut page.canvas, (left, top), &panel.layer, &panel.ramp);
        }
        top += grids.iter().map(|grid| grid.height() + grid.under()).fold(0.0, f64::max) + 10.0;
    }
    top
}
