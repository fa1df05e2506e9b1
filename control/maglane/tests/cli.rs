//! The command line as a user meets it: help, refusals, exit codes. Needs no root.

use std::process::{Command, Output};

fn maglane(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_maglane"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MAGLANE_")) {
        command.env_remove(name);
    }
    command.args(args).output().unwrap()
}

fn stdout(args: &[&str]) -> String {
    let output = maglane(args);
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn refusal(args: &[&str]) -> String {
    let output = maglane(args);
    assert!(!output.status.success(), "{args:?} was accepted");
    String::from_utf8(output.stderr).unwrap()
}

/// Each flag of a long help with the text below it.
fn flags(help: &str) -> Vec<(String, String)> {
    let mut flags: Vec<(String, String)> = vec![];
    for line in help.lines() {
        let text = line.trim_start();
        let starts_flag = line.starts_with("  ") && text.starts_with('-') && !text.starts_with("- ");
        match (starts_flag, text.find("--"), flags.last_mut()) {
            (true, Some(at), _) => {
                let name = text[at..].split([' ', '[', '=']).next().unwrap().to_owned();
                flags.push((name, text.to_owned()));
            }
            (_, _, Some((_, description))) => {
                description.push(' ');
                description.push_str(text);
            }
            (_, _, None) => {}
        }
    }
    flags.retain(|(name, _)| name != "--help");
    flags
}

#[test]
fn every_flag_has_an_environment_name_and_says_its_default() {
    for subcommand in ["run", "status", "services", "backends", "flows", "version"] {
        let help = stdout(&[subcommand, "--help"]);
        let flags = flags(&help);
        assert!(!flags.is_empty(), "{subcommand}");
        for (name, text) in flags {
            let variable = format!("MAGLANE_{}", name[2..].replace('-', "_").to_uppercase());
            // The value of a secret is not shown: there the name stands alone.
            let named = ["=", "]"]
                .iter()
                .any(|end| text.contains(&format!("[env: {variable}{end}")));
            assert!(named, "{subcommand} {name}: {text}");
            assert!(
                text.contains("default"),
                "{subcommand} {name} does not say its default: {text}"
            );
        }
    }
}

#[test]
fn the_flags_of_run_are_grouped() {
    let help = stdout(&["run", "--help"]);
    for heading in [
        "Interfaces:",
        "Workers:",
        "AF_XDP sockets:",
        "Services and balancing:",
        "Kubernetes:",
        "NAT:",
        "Tunnels:",
        "Flows:",
        "Control:",
        "Logging:",
    ] {
        assert!(help.lines().any(|line| line == heading), "{heading} is missing");
    }
    assert!(flags(&help).len() > 40);
}

#[test]
fn a_bad_flag_is_named_with_its_value_and_a_remedy() {
    for (flag, value, remedy) in [
        ("--batch-size", "0", "1..=64"),
        ("--cores", "a-b", "taskset"),
        ("--wait", "never", "adaptive"),
        ("--snat-ports", "1", "16384-29999"),
        ("--hash-key", "12", "openssl rand -hex 16"),
        ("--udp-timeout", "5", "unit"),
        ("--rx-ring", "1000", "power of two"),
        ("--mode", "dsr", "l2-dsr"),
        ("--snat-address", "localhost", "IP"),
        ("--maglev-table-size", "1000", "prime"),
        ("--metrics-address", "9770", "IP:PORT"),
    ] {
        let text = refusal(&["run", "--interface", "lo", "--manifests", "/", flag, value]);
        assert!(
            text.contains(flag) && text.contains(value) && text.contains(remedy),
            "{flag} {value}: {text}"
        );
    }
}

#[test]
fn what_is_required_is_asked_for() {
    let text = refusal(&["run"]);
    assert!(text.contains("--interface"), "{text}");
    let text = refusal(&["run", "--interface", "mglbin-none"]);
    assert!(
        text.contains("--kubeconfig") && text.contains("--manifests") && text.contains("nothing to serve"),
        "{text}"
    );
    let text = refusal(&["run", "--interface", "mglbin-none", "--manifests", "/nonexistent"]);
    assert!(
        text.contains("--manifests /nonexistent: is not a directory"),
        "{text}"
    );
}

#[test]
fn the_environment_stands_in_for_flags() {
    let output = Command::new(env!("CARGO_BIN_EXE_maglane"))
        .args(["run", "--manifests", "/"])
        .env("MAGLANE_INTERFACE", "mglbin-none")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains("--interface mglbin-none: no such interface"),
        "{text}"
    );
}

#[test]
fn a_question_without_an_instance_says_so() {
    for subcommand in ["status", "services", "backends", "flows"] {
        let text = refusal(&[subcommand, "--admin-socket", "/nonexistent/maglane.sock"]);
        assert!(
            text.contains("/nonexistent/maglane.sock") && text.contains("maglane run"),
            "{text}"
        );
    }
}

#[test]
fn version_has_a_stable_json_form() {
    let json: serde_json::Value = serde_json::from_str(&stdout(&["version", "-o", "json"])).unwrap();
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(json["algorithm"], 1);
    assert!(stdout(&["version"]).starts_with("maglane 0."));
}

const POOL: &str = "apiVersion: maglane.io/v1alpha1\nkind: AddressPool\nmetadata: {name: main}\nspec: {addresses: [RANGE]}\n";

const SERVICE: &str = "---\napiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: default}\nspec: {type: \
                       LoadBalancer, clusterIP: 10.96.0.1, ipFamilies: [IPv4], ports: [{port: 80}]}\nstatus: \
                       {loadBalancer: {ingress: [{ip: 192.0.2.1}]}}\n";

#[test]
fn plan_says_what_a_pool_would_do_and_exits_by_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("objects.yaml");
    let plan = |text: &str, more: &[&str]| {
        std::fs::write(&path, text).unwrap();
        let args = ["plan", "--default-class", "-f", path.to_str().unwrap()];
        maglane(&[&args, more].concat())
    };
    let fits = plan(&(POOL.replace("RANGE", "192.0.2.0/29") + SERVICE), &[]);
    let text = String::from_utf8(fits.stdout.clone()).unwrap();
    assert_eq!(fits.status.code(), Some(0), "{fits:?}");
    assert!(
        text.contains("default/web  keeps   192.0.2.1  192.0.2.1"),
        "{text}"
    );

    let shrunk = plan(
        &(POOL.replace("RANGE", "192.0.2.8/29") + SERVICE),
        &["-o", "json"],
    );
    assert_eq!(shrunk.status.code(), Some(2), "{shrunk:?}");
    let json: serde_json::Value = serde_json::from_slice(&shrunk.stdout).unwrap();
    assert_eq!(json["services"][0]["refused"], true);

    let broken = plan("kind: AddressPool", &[]);
    assert_eq!(broken.status.code(), Some(1), "{broken:?}");
    assert!(
        String::from_utf8(broken.stderr)
            .unwrap()
            .contains("correct them first")
    );
}
