//! Compiles the steering program (`dataplane/xdp/steer.c`) with clang for the BPF target.
//! `$CLANG` names another compiler. The object is embedded by `src/steer`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn main() {
    let source = Path::new("../xdp/steer.c");
    println!("cargo:rerun-if-changed={}", source.display());
    println!("cargo:rerun-if-env-changed=CLANG");
    let clang = env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("steer.o");
    let mut command = Command::new(&clang);
    command.args(["-target", "bpf", "-O2", "-g", "-Wall", "-Werror", "-mcpu=v3"]);
    // Debian keeps <asm/types.h> under the architecture's name, where clang does not look for -target bpf.
    if let Some(dir) = multiarch_include() {
        command.arg("-idirafter").arg(dir);
    }
    command.arg("-c").arg(source).arg("-o").arg(&out);
    match command.status() {
        Ok(status) if status.success() => {}
        Ok(status) => panic!(
            "{clang} could not compile dataplane/xdp/steer.c ({status}); \
             it needs <bpf/bpf_helpers.h> and <linux/bpf.h>: apt-get install libbpf-dev linux-libc-dev"
        ),
        Err(error) => panic!(
            "cannot run `{clang}` ({error}), which compiles dataplane/xdp/steer.c: \
             apt-get install clang libbpf-dev (or set CLANG)"
        ),
    }
}

fn multiarch_include() -> Option<PathBuf> {
    let arch = env::var("CARGO_CFG_TARGET_ARCH").ok()?;
    let dir = PathBuf::from(format!("/usr/include/{arch}-linux-gnu"));
    fs::metadata(&dir).is_ok().then_some(dir)
}
