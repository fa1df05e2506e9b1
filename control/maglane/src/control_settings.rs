//! The controller's settings from the process's, and where its recording goes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};
use maglane_control::compile::CompileSettings;
use maglane_control::effect::PortSpan;
use maglane_control::event::Source;
use maglane_control::model::ClusterId;
use maglane_control::plan::PlanSettings;
use maglane_control::record::Recorder;
use maglane_control::step::Settings;
use maglane_shared::addr::Addr;

use crate::run::Shared;
use crate::settings::KubernetesSettings;

/// `--record`. A control loop started anew records to another file, for its controller starts from another state.
pub fn recorder(path: Option<&Path>, settings: &Settings) -> Result<Option<Recorder<File>>> {
    let Some(path) = path else {
        return Ok(None);
    };
    let mut path = path.to_owned();
    let mut attempt = 1;
    while path.exists() {
        attempt += 1;
        path.set_extension(format!("{attempt}.jsonl"));
    }
    let open = || Recorder::new(File::create(&path)?, settings);
    open().map(Some).with_context(|| {
        format!(
            "--record {}: cannot be written; name a file in a directory that exists",
            path.display()
        )
    })
}

pub fn controller_settings(shared: &Shared) -> Settings {
    let Shared { settings, launch, .. } = shared;
    let (balance, kubernetes) = (&settings.balance, &settings.kubernetes);
    let snat: BTreeSet<Addr> = launch.snat_addresses.iter().map(|ip| Addr::from(*ip)).collect();
    let span = PortSpan {
        first: settings.nat.ports.first,
        last: settings.nat.ports.last,
    };
    Settings {
        interfaces: settings
            .interfaces
            .iter()
            .map(|name| name.as_str().into())
            .collect(),
        workers: launch.workers,
        sources: sources(settings),
        max_removal_percent: kubernetes.max_removal_percent,
        l2: settings.l2.clone(),
        nat_returns: snat.iter().map(|addr| (*addr, span)).collect(),
        plan: PlanSettings {
            mode: balance.mode,
            snat,
            serve: kubernetes.serve,
            class: kubernetes.class.as_str().into(),
            default_class: kubernetes.default_class,
            node: Some(kubernetes.node_name.as_str().into()),
            clusters: clusters(kubernetes),
        },
        compile: CompileSettings {
            hash_key: balance.hash_key,
            maglev_table_size: balance.maglev_table_size,
            max_services: balance.max_services,
            max_backends: balance.max_backends,
        },
    }
}

fn sources(settings: &crate::settings::Settings) -> BTreeSet<Source> {
    let mut sources: BTreeSet<Source> = [Source::Kernel].into();
    sources.extend(settings.manifests.as_ref().map(|_| Source::Manifests));
    if settings.kubernetes.own.is_some() {
        sources.extend(clusters(&settings.kubernetes).into_keys().map(Source::Cluster));
    }
    sources
}

fn clusters(kubernetes: &KubernetesSettings) -> BTreeMap<ClusterId, Box<str>> {
    let others = kubernetes.others.iter().map(|cluster| cluster.name.as_str());
    let names = std::iter::once(kubernetes.cluster_name.as_str()).chain(others);
    (ClusterId::OWN.0..)
        .map(ClusterId)
        .zip(names.map(Into::into))
        .collect()
}
