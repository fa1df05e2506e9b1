//! Compiles the generator and the sink (`bpf/traffic.c`) with clang for the BPF target; `$CLANG` names another.

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let source = Path::new("bpf/traffic.c");
    println!("cargo:rerun-if-changed={}", source.display());
    println!("cargo:rerun-if-env-changed=CLANG");
    let clang = std::env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("traffic.o");
    let arch = std::env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let status = Command::new(&clang)
        .args(["-target", "bpf", "-O2", "-g", "-Wall", "-Werror", "-mcpu=v3"])
        // Debian keeps <asm/types.h> under the architecture's name, where clang does not look for -target bpf.
        .arg(format!("-idirafter/usr/include/{arch}-linux-gnu"))
        .arg("-c")
        .arg(source)
        .arg("-o")
        .arg(&out)
        .status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => panic!(
            "{clang} could not compile perf/bpf/traffic.c ({status}); it needs <bpf/bpf_helpers.h> and \
             <linux/bpf.h>: apt-get install libbpf-dev linux-libc-dev"
        ),
        Err(error) => {
            panic!("cannot run `{clang}` ({error}): apt-get install clang libbpf-dev (or set CLANG)")
        }
    }
}
