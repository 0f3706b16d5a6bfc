//! The system's programs and libraries that the build and the tests need.

use crate::error::{Context, Failure, Result};
use crate::layout::cargo;
use crate::process::program;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Something that the system has to offer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Need {
    /// What is looked for.
    pub(crate) what: &'static str,
    /// What it is for, in a word or two.
    pub(crate) why: &'static str,
    /// Debian's packages that bring it; of `a|b` the first that the release has.
    pub(crate) packages: &'static [&'static str],
    /// The package's services, which must not start by themselves.
    pub(crate) units: &'static [&'static str],
    /// How to see whether it is there.
    pub(crate) check: Check,
}

/// How to see whether something is there.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Check {
    /// A program with this name.
    Program(&'static str),
    /// One of these programs.
    AnyProgram(&'static [&'static str]),
    /// A library that pkg-config knows.
    Library(&'static str),
    /// A program that runs without any shared library.
    StaticProgram(&'static str),
}

impl Check {
    fn passes(self) -> bool {
        match self {
            Self::Program(name) => program(name).is_some(),
            Self::AnyProgram(names) => names.iter().any(|name| program(name).is_some()),
            Self::Library(name) => Command::new("pkg-config")
                .args(["--exists", name])
                .status()
                .is_ok_and(|status| status.success()),
            Self::StaticProgram(name) => program(name).is_some_and(|path| is_static(&path)),
        }
    }
}

const fn need(
    what: &'static str,
    why: &'static str,
    packages: &'static [&'static str],
    check: Check,
) -> Need {
    Need { what, why, packages, units: &[], check }
}

/// What compiling the workspace takes.
pub(crate) const BUILD: &[Need] = &[
    need(
        "a C compiler",
        "SQLite, libgit2, aws-lc",
        &["gcc", "libc6-dev"],
        Check::AnyProgram(&["cc", "gcc", "clang"]),
    ),
    need("pkg-config", "to find OpenSSL", &["pkg-config"], Check::Program("pkg-config")),
    need("OpenSSL's headers", "git over https", &["libssl-dev"], Check::Library("openssl")),
];

/// What the demo takes beyond that.
pub(crate) const DEMO: &[Need] = &[
    need("git", "test repositories", &["git"], Check::Program("git")),
    need(
        "a static busybox",
        "the base image of every test image",
        &["busybox-static"],
        Check::StaticProgram("busybox"),
    ),
];

/// What the tests take beyond that.
pub(crate) const TESTS: &[Need] = &[
    need("openssl", "self-signed certificates", &["openssl"], Check::Program("openssl")),
    need("htpasswd", "password files", &["apache2-utils"], Check::Program("htpasswd")),
    need("aiosmtpd", "a mail server", &["python3-aiosmtpd"], Check::Program("aiosmtpd")),
    Need {
        units: &["ssh"],
        ..need("sshd", "git over ssh", &["openssh-server"], Check::Program("sshd"))
    },
    Need {
        units: &["redis-server"],
        ..need("redis-server", "Redis", &["redis-server"], Check::Program("redis-server"))
    },
];

/// What looks at the files of `deploy`. Not every system has it: where it cannot be installed, the
/// tests that want it are skipped.
pub(crate) const DEPLOY: &[Need] = &[
    need(
        "docker-compose",
        "the compose file",
        &["docker-compose"],
        Check::Program("docker-compose"),
    ),
    need("systemd-analyze", "the units", &["systemd"], Check::Program("systemd-analyze")),
];

/// What fuzzing takes beyond that.
pub(crate) const FUZZING: &[Need] =
    &[need("a C++ compiler", "libFuzzer", &["g++"], Check::AnyProgram(&["c++", "g++", "clang++"]))];

/// The docker command.
pub(crate) const DOCKER_CLI: Need = Need {
    units: &["docker.socket", "docker", "containerd"],
    ..need("the docker command", "the demo", &["docker-cli|docker.io"], Check::Program("docker"))
};

/// A Docker engine.
pub(crate) const DOCKER_ENGINE: Need = Need {
    units: &["docker.socket", "docker", "containerd"],
    ..need("dockerd", "building images", &["docker.io"], Check::Program("dockerd"))
};

/// Makes sure of the compiler's companions.
pub(crate) fn toolchain() -> Result<()> {
    for (name, tool) in [("rustfmt", "fmt"), ("clippy", "clippy")] {
        let works = |mut command: Command| {
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        let mut version = cargo();
        version.args([tool, "--version"]);
        if works(version) {
            continue;
        }
        let mut add = Command::new("rustup");
        add.args(["component", "add", name]);
        if !works(add) {
            let text = format!("{name} is missing; run `rustup component add {name}`");
            return Err(Failure::task(text));
        }
    }
    Ok(())
}

/// Makes sure of all of `needs`: installs what is missing where it may, else names it.
pub(crate) fn ensure(needs: &[Need]) -> Result<()> {
    let missing: Vec<&Need> = needs.iter().filter(|need| !need.check.passes()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<&str> = missing.iter().flat_map(|n| n.packages).copied().collect();
    packages.sort_unstable();
    packages.dedup();
    if !may_install() {
        let packages: Vec<_> = packages.iter().map(|names| available(names)).collect();
        let list: Vec<_> = missing.iter().map(|n| format!("{} ({})", n.what, n.why)).collect();
        return Err(Failure::task(format!(
            "missing: {}. Install it; on Debian or Ubuntu: sudo apt-get install {}",
            list.join(", "),
            packages.join(" ")
        )));
    }
    println!("installing {}", packages.join(" "));
    install(&packages)?;
    for unit in missing.iter().flat_map(|need| need.units) {
        keep_from_starting(unit);
    }
    match missing.iter().find(|need| !need.check.passes()) {
        None => Ok(()),
        Some(need) => Err(Failure::task(format!(
            "{} is still missing after installing {}",
            need.what,
            need.packages.join(" ")
        ))),
    }
}

/// Whether packages can be installed here without asking anybody.
pub(crate) fn may_install() -> bool {
    is_root() && program("apt-get").is_some() && Path::new("/etc/debian_version").exists()
}

/// Whether this process is root.
pub(crate) fn is_root() -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        // The owner of our own /proc entry is our effective user; elsewhere nobody is root.
        fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
    }
    #[cfg(not(unix))]
    false
}

fn install(packages: &[&str]) -> Result<()> {
    let _no_services = NoServices::begin()?;
    // The lists first without a fetch: a second install soon after needs none.
    if apt(&["install"], packages).is_ok() {
        return Ok(());
    }
    apt(&["update", "-q"], &[])?;
    apt(&["install"], packages)
}

fn apt(verb: &[&str], packages: &[&str]) -> Result<()> {
    let packages: Vec<&str> = packages.iter().map(|names| available(names)).collect();
    let status = Command::new("apt-get")
        .args(["-q", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300"])
        .args(verb)
        .args(&packages)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .context("cannot run apt-get")?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::task(format!("apt-get {} {} failed", verb.join(" "), packages.join(" "))))
}

/// Of `a|b`, the first package that apt has heard of; else the last one.
fn available(names: &str) -> &str {
    let known = |name: &&str| {
        let mut show = Command::new("apt-cache");
        show.args(["show", "--quiet=2", name]).stdout(Stdio::null()).stderr(Stdio::null());
        show.status().is_ok_and(|status| status.success())
    };
    let last = names.rsplit('|').next().unwrap_or(names);
    if last == names { names } else { names.split('|').find(known).unwrap_or(last) }
}

/// While it lives, installing a package starts none of its services.
struct NoServices {
    ours: bool,
}

const POLICY: &str = "/usr/sbin/policy-rc.d";

impl NoServices {
    fn begin() -> Result<Self> {
        let ours = !Path::new(POLICY).exists();
        if ours {
            fs::write(POLICY, "#!/bin/sh\nexit 101\n").context(format!("cannot write {POLICY}"))?;
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt;
                fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755))
                    .context(format!("cannot make {POLICY} executable"))?;
            }
        }
        Ok(Self { ours })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.ours {
            let _ = fs::remove_file(POLICY);
        }
    }
}

/// A package enables its service for the next boot; the tests run the program themselves.
fn keep_from_starting(unit: &str) {
    if Path::new("/run/systemd/system").exists() {
        let _ = Command::new("systemctl")
            .args(["disable", "--now", unit])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}

/// Whether an ELF file names no loader. A file that cannot be read does not count.
fn is_static(path: &Path) -> bool {
    let Ok(bytes) = fs::read(path) else { return false };
    ![b"/ld-linux".as_slice(), b"/ld-musl"]
        .iter()
        .any(|loader| bytes.windows(loader.len()).any(|window| window == *loader))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_its_package() {
        let odd = need("frobnicate", "tests", &["frob-utils"], Check::Program("frobnicate"));
        assert!(!odd.check.passes());
        assert!(Check::Program("sh").passes());
        assert!(Check::AnyProgram(&["frobnicate", "sh"]).passes());
    }

    #[test]
    fn a_shell_with_a_loader_is_not_static() {
        let dir = std::env::temp_dir().join(format!("xtask-static-{}", std::process::id()));
        fs::write(&dir, b"\x7fELF .. /lib64/ld-linux-x86-64.so.2 ..").expect("a temporary file");
        assert!(!is_static(&dir));
        fs::write(&dir, b"\x7fELF ..").expect("a temporary file");
        assert!(is_static(&dir));
        fs::remove_file(&dir).expect("it is there");
    }
}
