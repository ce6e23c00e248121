//! Products with a weight matrix where libtorch's own are slow.

pub(crate) mod gemv;
pub(crate) mod onednn;
