//! Real traffic through `maglane run`, in namespaces: curl, iperf3, ping, UDP and thousands of flows.
//!
//! Needs root; skipped with a line otherwise. Every wait is on a condition; what fails shows the balancer's
//! status and last words. `E2E_BYTES=1GiB` makes the downloads that long. One line is printed for each check.

#[path = "e2e_traffic/bgp.rs"]
mod bgp;
#[path = "e2e_traffic/checks.rs"]
mod checks;
#[path = "e2e_traffic/clients.rs"]
mod clients;
#[path = "e2e_traffic/kubernetes.rs"]
mod kubernetes;
#[path = "e2e_traffic/live.rs"]
mod live;
#[path = "e2e_traffic/modes.rs"]
mod modes;
#[path = "e2e_traffic/node.rs"]
mod node;
#[path = "e2e_traffic/paths.rs"]
mod paths;
#[path = "e2e_traffic/rollout.rs"]
mod rollout;
#[path = "e2e_traffic/stage.rs"]
mod stage;
#[path = "e2e_traffic/watch.rs"]
mod watch;
