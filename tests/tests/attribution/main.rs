//! Attribution against what it approximates or must sum to, on the golden models in f64.

mod atp;
mod atp_star;
mod circuits;
mod common;
mod direct;
mod edges;
mod integrated;
mod paths;
mod read_out;
