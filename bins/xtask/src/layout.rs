//! Where the checkout and its build output are.

use crate::error::{Context, Failure, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The checkout's directories.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    /// The checkout.
    pub(crate) root: PathBuf,
    /// Cargo's target directory, wherever configuration put it.
    pub(crate) target: PathBuf,
}

impl Layout {
    /// Asks cargo.
    pub(crate) fn find() -> Result<Self> {
        // The run-time value first: a shared target directory may hold an xtask that was compiled
        // in another checkout.
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let metadata = cargo_metadata(&manifest, &["--no-deps"])?;
        Ok(Self {
            root: PathBuf::from(field(&metadata, "workspace_root")?),
            target: PathBuf::from(field(&metadata, "target_directory")?),
        })
    }

    /// Where services keep data, logs and `services.json`.
    pub(crate) fn services(&self) -> PathBuf {
        self.target.join("services")
    }

    /// Where programs built for the tests are installed.
    pub(crate) fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }

    /// A short name for this checkout, for things that live outside of it: the same every time,
    /// another for another target directory.
    pub(crate) fn nickname(&self) -> String {
        // FNV-1a, because std's hasher may change between releases.
        let hash = self.target.to_string_lossy().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| {
            (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
        });
        format!("{:08x}", (hash ^ (hash >> 32)) & 0xffff_ffff)
    }

    /// The platform that the compiler runs on.
    pub(crate) fn host(&self) -> Result<String> {
        let output = self.cargo(&["-vV"]).output().context("cannot run cargo")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let host = text.lines().find_map(|line| line.strip_prefix("host: "));
        host.map(str::to_owned).ok_or_else(|| Failure::task("cargo -vV names no host"))
    }

    /// A cargo command that runs in the checkout.
    pub(crate) fn cargo(&self, args: &[&str]) -> Command {
        let mut command = cargo();
        command.args(args).current_dir(&self.root).stdin(Stdio::null());
        command
    }
}

/// The cargo that runs us, without what it told us about our own package.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        // `cargo run` sets these for xtask; build scripts that watch them would run again.
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// `cargo metadata` of the workspace that `dir` is in.
pub(crate) fn cargo_metadata(dir: &Path, args: &[&str]) -> Result<Value> {
    let output = cargo()
        .args(["metadata", "--format-version", "1"])
        .args(args)
        .current_dir(dir)
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo metadata")?;
    if !output.status.success() {
        return Err(Failure::task("cargo metadata failed, see above"));
    }
    serde_json::from_slice(&output.stdout).context("cargo metadata printed no JSON")
}

/// `cargo tree` without the lines of the tree.
pub(crate) fn cargo_tree(layout: &Layout, args: &[&str]) -> Result<String> {
    let output = layout
        .cargo(&["tree", "--locked", "--quiet", "--prefix", "none"])
        .args(args)
        .output()
        .context("cannot run cargo tree")?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Failure::task(format!("cargo tree: {}", String::from_utf8_lossy(&output.stderr).trim())))
}

fn field<'a>(metadata: &'a Value, name: &str) -> Result<&'a str> {
    metadata[name].as_str().ok_or_else(|| Failure::task(format!("cargo metadata has no {name}")))
}
