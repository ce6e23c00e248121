//! Bakes the directory of libtorch into every binary and test, so that they run without
//! `LD_LIBRARY_PATH`. Shared by all packages that link libtorch (`build = ".../build/rpath.rs"`).

pub fn main() {
    // torch-sys tells the packages that depend on it directly where it found libtorch.
    println!("cargo:rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
    let Ok(found) = std::env::var("DEP_TCH_LIBTORCH_LIB") else { return };
    // Through the link `.libtorch` to the cache itself: a binary outlives the checkout.
    let lib = std::fs::canonicalize(&found).unwrap_or_else(|_| found.into());
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    // A crate outside this workspace reads it as DEP_REFRAIN_PATCHING_LIBTORCH (or _RUNNER_), to do the same.
    println!("cargo:libtorch={}", lib.display());
}
