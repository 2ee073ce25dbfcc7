//! `cargo xtask deny`: licences, banned crates and sources, as `deny.toml` has them.
//!
//! The same file serves cargo-deny. This is the part of it that needs nothing installed.

mod config;
mod licence;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::Result;
use crate::run::{metadata, workspace};
use config::Config;

pub fn main(args: &[String]) -> Result<()> {
    if !args.is_empty() {
        return Err("deny takes no arguments".into());
    }
    let text = std::fs::read_to_string(workspace().join("deny.toml"))?;
    let config = Config::parse(&text)?;
    let packages = packages()?;
    for warning in twice(&packages) {
        eprintln!("warning: {warning}");
    }
    let violations: Vec<String> = packages.iter().flat_map(|p| check(&config, p)).collect();
    if !violations.is_empty() {
        return Err(format!("deny.toml is violated:\n  {}", violations.join("\n  ")).into());
    }
    println!(
        "{} packages: licences, bans and sources hold",
        packages.len()
    );
    Ok(())
}

/// A package as `cargo metadata` has it.
struct Package {
    name: String,
    version: String,
    licence: String,
    /// `None` for the workspace's own.
    source: Option<String>,
}

/// Every package of every platform; without a network those of this platform.
fn packages() -> Result<Vec<Package>> {
    let found = metadata(&["--all-features"]).or_else(|error| {
        let host = host()?;
        eprintln!("warning: {error}; looking only at what {host} needs");
        metadata(&["--all-features", "--offline", "--filter-platform", &host])
    })?;
    let text = |package: &Value, name: &str| package[name].as_str().map(str::to_owned);
    let package = |package: &Value| Package {
        name: text(package, "name").unwrap_or_default(),
        version: text(package, "version").unwrap_or_default(),
        licence: text(package, "license").unwrap_or_default(),
        source: text(package, "source"),
    };
    let packages = found["packages"]
        .as_array()
        .ok_or("cargo metadata has no packages")?;
    Ok(packages.iter().map(package).collect())
}

fn host() -> Result<String> {
    let told = crate::run::output(std::process::Command::new("rustc").arg("-vV"))?;
    let host = told.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.ok_or("rustc does not say its host")?.to_owned())
}

fn check(config: &Config, package: &Package) -> Vec<String> {
    let name = format!("{} {}", package.name, package.version);
    let mut violations = Vec::new();
    if config.banned.contains(&package.name) {
        violations.push(format!("{name} is banned"));
    }
    match licence::allowed(&package.licence, &config.licences) {
        Ok(true) => {}
        Ok(false) => violations.push(format!(
            "{name}: licence {:?} is not allowed",
            package.licence
        )),
        Err(error) => violations.push(format!("{name}: licence {:?}: {error}", package.licence)),
    }
    if let Some(source) = &package.source {
        let known = source
            .strip_prefix("registry+")
            .is_some_and(|r| config.registries.iter().any(|k| k == r));
        if !known {
            violations.push(format!("{name} comes from {source}"));
        }
    }
    violations
}

/// Packages that are there in more than one version.
fn twice(packages: &[Package]) -> Vec<String> {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages {
        versions
            .entry(&package.name)
            .or_default()
            .push(&package.version);
    }
    versions.retain(|_, versions| versions.len() > 1);
    let line = |(name, versions): (&str, Vec<&str>)| {
        format!("{name} is there in the versions {}", versions.join(", "))
    };
    versions.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"
        [licenses]
        allow = ["MIT"]
        [bans]
        deny = [{ crate = "openssl-sys" }]
        [sources]
        allow-registry = ["https://good"]
    "#;

    fn violations(name: &str, licence: &str, source: Option<&str>) -> Vec<String> {
        let package = Package {
            name: name.into(),
            version: "1.0.0".into(),
            licence: licence.into(),
            source: source.map(str::to_owned),
        };
        check(&Config::parse(CONFIG).unwrap(), &package)
    }

    #[test]
    fn a_good_package_passes() {
        assert!(violations("serde", "MIT OR Apache-2.0", Some("registry+https://good")).is_empty());
        assert!(violations("wl", "MIT", None).is_empty());
    }

    #[test]
    fn a_banned_crate_is_found() {
        assert_eq!(
            violations("openssl-sys", "MIT", None),
            ["openssl-sys 1.0.0 is banned"]
        );
    }

    #[test]
    fn a_licence_that_is_not_allowed_or_missing_is_found() {
        assert_eq!(violations("x", "GPL-3.0", None).len(), 1);
        assert_eq!(violations("x", "", None).len(), 1);
    }

    #[test]
    fn another_source_is_found() {
        assert_eq!(
            violations("x", "MIT", Some("registry+https://bad")).len(),
            1
        );
        assert_eq!(violations("x", "MIT", Some("git+https://good")).len(), 1);
    }

    #[test]
    fn the_real_file_can_be_read() {
        let text = std::fs::read_to_string(workspace().join("deny.toml")).unwrap();
        let config = Config::parse(&text).unwrap();
        assert!(config.banned.contains(&"openssl-sys".to_owned()));
        assert!(config.licences.contains(&"MIT".to_owned()));
    }
}
