//! `maglane migrate metallb|cilium FILE...`: their objects -> ours, on standard output; what is not as it was, on
//! standard error. Nothing is applied.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use maglane_control::migrate::{Migration, cilium, metallb};
use maglane_control::problem::Severity;

#[derive(Clone, Debug, Args)]
pub struct MigrateArgs {
    /// Whose objects they are.
    #[arg(value_enum)]
    pub from: From,

    /// Files with their objects as `kubectl get -o yaml` prints them; - is standard input.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum From {
    /// MetalLB: its resources, or the ConfigMap of versions before 0.13.
    Metallb,
    /// Cilium: its pools and policies.
    Cilium,
}

/// What to print where, and whether every object came over.
pub struct Migrated {
    pub objects: String,
    pub notes: String,
    pub complete: bool,
}

pub fn migrate(args: &MigrateArgs) -> Result<Migrated> {
    let mut migrated = Migrated {
        objects: String::new(),
        notes: String::new(),
        complete: true,
    };
    for file in &args.files {
        let text = read(file).with_context(|| format!("{}: cannot be read", file.display()))?;
        let Migration { problems, .. } = &add(args.from, &text, &mut migrated.objects);
        for problem in problems {
            let severity = problem.severity.name();
            migrated.notes += &format!("{}: {severity}: {problem}\n", file.display());
            migrated.complete &= problem.severity != Severity::Error;
        }
    }
    Ok(migrated)
}

fn add(from: From, text: &str, objects: &mut String) -> Migration {
    let migration = match from {
        From::Metallb => metallb(text),
        From::Cilium => cilium(text),
    };
    *objects += &migration.yaml();
    migration
}

/// A file, or standard input.
pub(super) fn read(file: &Path) -> io::Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    fs::read_to_string(file)
}
