//! What figures read: tables, their columns, and what the schema's metadata says of the run and its measures.

pub(crate) mod about;
pub(crate) mod columns;
pub(crate) mod tables;
