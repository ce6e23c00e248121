//! Prints what the microworld says: sample documents, words with their counts, or packed ids for a quick trial.

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use refrain_experiments::lab::cli;
use refrain_experiments::microworld::{Kind, Language, Mixture, Split, Stream, token_counts, tokenizer_json};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Print documents of the synthetic language that the built-in model is trained on.
#[derive(Parser)]
#[command(name = "microworld", version = refrain_experiments::VERSION)]
struct Arguments {
    /// Seed of every draw.
    #[arg(long, default_value_t = 1, global = true)]
    seed: u64,
    /// Draw from the held-out split instead of the training split.
    #[arg(long, global = true)]
    held_out: bool,
    /// Token shares as a TOML file; without it the default mixture.
    #[arg(long, value_name = "FILE", global = true)]
    mixture: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Sample documents of every kind as text.
    Documents {
        /// How many of each kind.
        #[arg(long, default_value_t = 3)]
        count: u64,
        /// Longest document in tokens.
        #[arg(long, default_value_t = 1024)]
        limit: usize,
    },
    /// Every word with its count in rows of the training mixture, most frequent first.
    Words {
        /// How many rows of 256 tokens to count.
        #[arg(long, default_value_t = 8192)]
        rows: u64,
    },
    /// Write packed rows as little-endian 16-bit ids.
    Dump {
        /// Where to.
        #[arg(long)]
        out: PathBuf,
        /// How many rows.
        #[arg(long)]
        rows: u64,
        /// Tokens in a row.
        #[arg(long, default_value_t = 256)]
        length: usize,
    },
    /// Print tokenizer.json.
    Tokenizer,
}

fn main() -> ExitCode {
    cli::finish(run())
}

fn run() -> Result<String> {
    let arguments = Arguments::parse();
    let language = Language::new();
    let split = if arguments.held_out { Split::HeldOut } else { Split::Train };
    let mixture: Mixture = match &arguments.mixture {
        Some(path) => {
            let text = refrain_runner::read_text(path)?;
            toml::from_str(&text).with_context(|| format!("{} is not a mixture", path.display()))?
        }
        None => Mixture::default(),
    };
    let mut out = Vec::new();
    match arguments.command {
        Command::Documents { count, limit } => {
            for kind in Kind::ALL {
                for index in 0..count {
                    let document = language.document(split, arguments.seed, kind, index, limit);
                    writeln!(out, "{}\t{}", kind.label(), language.decode(&document.ids))?;
                }
            }
        }
        Command::Words { rows } => {
            let stream = Stream::new(&language, &mixture, split, arguments.seed, 256);
            for (word, count) in token_counts(&language, &stream, rows) {
                writeln!(out, "{word}\t{count}")?;
            }
        }
        Command::Dump { out: path, rows, length } => {
            let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
            let mut file = BufWriter::new(file);
            let stream = Stream::new(&language, &mixture, split, arguments.seed, length);
            for id in (0..rows).flat_map(|index| stream.row(index)) {
                file.write_all(&(id as u16).to_le_bytes())?;
            }
            file.flush()?;
        }
        Command::Tokenizer => writeln!(out, "{}", serde_json::to_string_pretty(&tokenizer_json(&language))?)?,
    }
    Ok(String::from_utf8(out)?)
}
