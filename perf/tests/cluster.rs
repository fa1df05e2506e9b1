//! The same cases against the API double and, where it is found, a real kube-apiserver with etcd.
//!
//! The double is only as true as what passes here on both. A case gets a namespace of its own; cases that
//! restart the server or take it away come last.

#[path = "cluster/apply.rs"]
mod apply;
#[path = "cluster/faults.rs"]
mod faults;
#[path = "cluster/kinds.rs"]
mod kinds;
#[path = "cluster/read.rs"]
mod read;
#[path = "cluster/rights.rs"]
mod rights;
#[path = "cluster/stage.rs"]
mod stage;
#[path = "cluster/watch.rs"]
mod watch;
#[path = "cluster/write.rs"]
mod write;

use maglane_perf::cluster::{Choice, Cluster, ClusterError};
use stage::{Case, run};

fn cases() -> Vec<Case> {
    [
        read::CASES,
        watch::CASES,
        write::CASES,
        apply::CASES,
        kinds::CASES,
        rights::CASES,
        faults::CASES,
    ]
    .concat()
}

#[test]
fn every_case_holds_for_the_double() {
    let cluster = Cluster::builder()
        .choice(Choice::Double)
        .start()
        .unwrap_or_else(|error| panic!("{error}"));
    run(&cluster, &cases());
}

#[test]
fn every_case_holds_for_a_real_server() {
    match Cluster::builder().choice(Choice::Real).start() {
        Ok(cluster) => run(&cluster, &cases()),
        Err(ClusterError::NoProgram(name)) => {
            eprintln!("skipped: no {name} is found; set KUBEBUILDER_ASSETS")
        }
        Err(error) => panic!("{error}"),
    }
}
