//! Says which build of the program this is, so that parts of a run that two builds made are not mixed unseen; and
//! links libtorch.

use std::path::{Path, PathBuf};

#[path = "../build/rpath.rs"]
mod rpath;

fn main() {
    rpath::main();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = vec![root.join("Cargo.lock")];
    for folder in ["crates", "experiments/src"] {
        collect(&root.join(folder), &mut files);
        println!("cargo:rerun-if-changed=../{folder}");
    }
    println!("cargo:rerun-if-changed=../Cargo.lock");
    files.sort();
    // FNV-1a, which does not change between versions of Rust.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for file in &files {
        add(file.strip_prefix(&root).unwrap_or(file).to_string_lossy().as_bytes());
        add(&std::fs::read(file).unwrap_or_default());
    }
    println!("cargo:rustc-env=REFRAIN_BUILD={:08x}", hash >> 32);
}

/// Every Rust source below `folder`.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|end| end == "rs") {
            files.push(path);
        }
    }
}
