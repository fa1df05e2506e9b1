//! `maglane-rig`: the command line of the rig; one file a subcommand.

mod bench;
mod capture;
mod check;
mod cluster;
mod decap;
mod demo;
mod demo_kubernetes;
mod layout;
mod load;
mod serve;
mod traffic;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Namespaces, servers, clients and a packet checker to exercise Maglane with.
#[derive(Debug, Parser)]
#[command(name = "maglane-rig", version, max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show Maglane at work: real traffic through two VIPs, a drain, a new backend (root).
    Demo(demo::Demo),
    /// The same with a Kubernetes API server: a pool, a Service, an address, an API server in trouble (root).
    DemoKubernetes(demo_kubernetes::DemoKubernetes),
    /// Lay out the namespaces and leave them (root).
    Up(layout::Up),
    /// Remove the namespaces of a run and end the processes in them (root).
    Cleanup(layout::Cleanup),
    /// Be a backend: HTTP and UDP echo that say who answered.
    Serve(serve::Serve),
    /// Be a backend's tunnel end: take IPIP and GUE off (root).
    Decap(decap::Decap),
    /// Hold many HTTP connections open, ask on each, count every break.
    Flows(load::Flows),
    /// Open a new connection for every request.
    Connects(load::Connects),
    /// Ask by UDP, count losses and answers by the wrong backend.
    Udp(load::Udp),
    /// Capture with tcpdump, whole frames, until SIGTERM or ctrl-C.
    Capture(capture::Capture),
    /// Recompute every checksum of captures; exit 1 when one is bad or a frame is cut.
    Check(check::Check),
    /// Run a Kubernetes API server, the real one where it is found, until ctrl-C; prints its kubeconfig.
    Cluster(cluster::RunCluster),
    /// Compare Maglane with bare AF_XDP, the kernel and DPDK, packets a second and losses (root).
    Bench(bench::Bench),
    /// Send packets of many flows at a rate or as fast as possible (root).
    Blast(traffic::Blast),
    /// Count and drop what arrives, in XDP (root).
    Sink(traffic::Sinks),
    /// Forward between two interfaces by AF_XDP and do nothing else: the ceiling to compare with (root).
    Reflect(traffic::Reflect),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Demo(command) => command.run(),
        Command::DemoKubernetes(command) => command.run(),
        Command::Up(command) => command.run(),
        Command::Cleanup(command) => command.run(),
        Command::Serve(command) => command.run(),
        Command::Decap(command) => command.run(),
        Command::Flows(command) => command.run(),
        Command::Connects(command) => command.run(),
        Command::Udp(command) => command.run(),
        Command::Capture(command) => command.run(),
        Command::Check(command) => command.run(),
        Command::Cluster(command) => command.run(),
        Command::Bench(command) => command.run(),
        Command::Blast(command) => command.run(),
        Command::Sink(command) => command.run(),
        Command::Reflect(command) => command.run(),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("maglane-rig: {error:#}");
            ExitCode::from(2)
        }
    }
}
