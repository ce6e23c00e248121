//! The table `training_loss` (see `docs/tables.md`).

use refrain_entropy::schema::Table;
use serde::{Deserialize, Serialize};

/// One measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LossRow {
    /// Optimiser steps done.
    pub step: u32,
    /// Training tokens seen.
    pub tokens: u64,
    /// `loss_nats` or `prefix_matching`.
    pub quantity: String,
    /// Which loss, or which head.
    pub part: String,
    /// The value.
    pub value: f64,
}

/// The table `training_loss`.
pub struct TrainingLoss;

impl Table for TrainingLoss {
    type Row = LossRow;
    const NAME: &'static str = "training_loss";
}
