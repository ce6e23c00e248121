//! Vectors in the order in which the kernels read them.

use crate::kernels::lanes::Level;

/// More vectors than this are packed, so that each lane is a vector's. So many, or fewer, do not depend on each other.
pub(crate) const FEW: usize = 8;

/// Vectors as the kernels read them.
pub(crate) struct Vectors {
    /// How many there are, and numbers in each.
    pub(crate) count: usize,
    pub(crate) width: usize,
    /// `[count, width]` for a few. Else panels, each `[width, panel]`: number k of all vectors of a panel side by side,
    /// zeros for those that are missing.
    pub(super) packed: Vec<f32>,
    pub(super) panel: Option<usize>,
    pub(super) level: Level,
}

impl Vectors {
    /// `x` is `[count, width]`.
    pub(crate) fn new(x: &[f32], width: usize, level: Level) -> Vectors {
        let mut made = Vectors { count: 0, width, packed: Vec::new(), panel: None, level };
        made.fill(x, width);
        made
    }

    /// The same with other numbers, in the memory of before.
    pub(crate) fn fill(&mut self, x: &[f32], width: usize) {
        (self.count, self.width) = (x.len() / width.max(1), width);
        self.packed.clear();
        self.panel = None;
        if self.count <= FEW {
            self.packed.extend_from_slice(x);
            return;
        }
        let lanes = match self.level {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => 16,
            _ => 8,
        };
        // Two vectors of lanes, or one if all fit.
        let panel = if self.count <= lanes { lanes } else { 2 * lanes };
        self.panel = Some(panel);
        self.packed.resize(self.count.div_ceil(panel) * panel * width, 0.0);
        for (rows, panels) in x.chunks(panel * width).zip(self.packed.chunks_mut(panel * width)) {
            // In squares, so that neither side jumps through memory.
            for start in (0..width).step_by(16) {
                let end = (start + 16).min(width);
                for (lane, row) in rows.chunks(width).enumerate() {
                    for k in start..end {
                        panels[k * panel + lane] = row[k];
                    }
                }
            }
        }
    }
}
