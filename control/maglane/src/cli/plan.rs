//! `maglane plan -f FILE...`: what these objects would do to Services, before they are applied. With `--diff` on top
//! of what a cluster has. Nothing is written anywhere.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use maglane_control::event::{Event, Source};
use maglane_control::kube::{Access, Cluster, ClusterSource, Origin, StreamSettings};
use maglane_control::manifest::Library;
use maglane_control::model::ClusterId;
use maglane_control::plan::PlanSettings;
use maglane_control::preview::{Preview, preview};
use maglane_control::problem::{Problem, Severity};
use maglane_shared::addr::Addr;

use super::Output;
use super::migrate::read;
use super::run::ClassArgs;
use super::table::{Align, render};
use super::values::Kubeconfig;

#[derive(Clone, Debug, Args)]
pub struct PlanArgs {
    /// Files with objects as `kubectl apply -f` takes them; - is standard input. Without --diff they are all there is.
    #[arg(short, long = "filename", required = true, value_name = "FILE")]
    pub filename: Vec<PathBuf>,

    /// Apply the files, in thought, on top of what the cluster has.
    #[arg(long)]
    pub diff: bool,

    /// With --diff: pools and reservations of the cluster that no file has count as deleted.
    #[arg(long, requires = "diff")]
    pub prune: bool,

    /// The cluster of --diff: a kubeconfig file, or in-cluster (default: $KUBECONFIG, else ~/.kube/config).
    #[arg(long, env = "MAGLANE_KUBECONFIG", value_name = "FILE|in-cluster")]
    pub kubeconfig: Option<Kubeconfig>,

    #[command(flatten)]
    pub class: ClassArgs,

    /// Longest wait for the cluster's objects, in seconds.
    #[arg(long, env = "MAGLANE_TIMEOUT", value_name = "SECONDS", default_value_t = 30)]
    pub timeout: u64,

    /// How to print.
    #[arg(short, long, env = "MAGLANE_OUTPUT", value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// What to print where, and whether clients would notice.
pub struct Planned {
    pub text: String,
    pub notes: String,
    pub destructive: bool,
}

pub fn plan(args: &PlanArgs) -> Result<Planned> {
    let mut library = Library::of(ClusterId::OWN);
    for file in &args.filename {
        let text = read(file).with_context(|| format!("{}: cannot be read", file.display()))?;
        library.put(&file.display().to_string(), text.as_bytes());
    }
    let (files, problems) = sorted(library.news());
    let notes: String = problems
        .iter()
        .map(|problem| format!("{}: {problem}\n", problem.severity.name()))
        .collect();
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        bail!("the files cannot be planned with; correct them first\n{notes}");
    }
    let (now, then) = if args.diff {
        let live = live(args)?;
        let mut then = files;
        if args.prune {
            then.extend(pruned(&live, &then));
        }
        (live, then)
    } else {
        (files, vec![])
    };
    let settings = PlanSettings {
        class: args.class.load_balancer_class.as_str().into(),
        default_class: args.class.default_class,
        ..PlanSettings::default()
    };
    let preview = preview(now, then, &settings);
    let text = match args.output {
        Output::Table => table(&preview),
        Output::Json => serde_json::to_string_pretty(&preview)?,
    };
    let destructive = preview.is_destructive();
    Ok(Planned {
        text,
        notes,
        destructive,
    })
}

/// What is told of objects, and what is wrong with them.
fn sorted(events: Vec<Event>) -> (Vec<Event>, Vec<Problem>) {
    let (mut objects, mut all) = (vec![], vec![]);
    for event in events {
        if let Event::SourceProblems { problems, .. } = event {
            all = problems;
        } else {
            objects.push(event);
        }
    }
    (objects, all)
}

/// Everything the cluster has.
fn live(args: &PlanArgs) -> Result<Vec<Event>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let access = Arc::new(Access::open(origin(args)?).await?);
        let cluster = Cluster {
            id: ClusterId::OWN,
            place: "kubernetes".to_owned(),
        };
        let mut source = ClusterSource::start(access, cluster, StreamSettings::default(), []);
        let (mut objects, mut problems) = (vec![], vec![]);
        let wait = tokio::time::sleep(Duration::from_secs(args.timeout));
        tokio::pin!(wait);
        loop {
            tokio::select! {
                events = source.next() => {
                    let synced = events.contains(&Event::SourceSynced(Source::Cluster(ClusterId::OWN)));
                    let (told, wrong) = sorted(events);
                    objects.extend(told);
                    problems = if wrong.is_empty() { problems } else { wrong };
                    if synced {
                        return Ok(objects);
                    }
                }
                () = &mut wait => {
                    let why = problems.first().map_or_else(|| "it does not answer".to_owned(), ToString::to_string);
                    bail!("the cluster's objects could not be read within {} s: {why}", args.timeout);
                }
            }
        }
    })
}

fn origin(args: &PlanArgs) -> Result<Origin> {
    let path = match &args.kubeconfig {
        Some(Kubeconfig::InCluster) => return Ok(Origin::InCluster),
        Some(Kubeconfig::File(path)) => path.clone(),
        None => std::env::var_os("KUBECONFIG")
            .map(PathBuf::from)
            .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".kube/config")))
            .context("--diff needs a cluster; name its kubeconfig file with --kubeconfig")?,
    };
    Ok(Origin::File {
        flag: format!("--kubeconfig {}", path.display()),
        path,
    })
}

/// Deletions of the cluster's pools and reservations that the files do not have.
fn pruned(live: &[Event], files: &[Event]) -> Vec<Event> {
    let name = |event: &Event| {
        if let Event::PoolApplied(spec) = event {
            Some(Event::PoolDeleted(spec.name.clone()))
        } else if let Event::ReservationApplied(spec) = event {
            Some(Event::ReservationDeleted(spec.reservation.name.clone()))
        } else {
            None
        }
    };
    let kept: Vec<Event> = files.iter().filter_map(name).collect();
    live.iter()
        .filter_map(name)
        .filter(|event| !kept.contains(event))
        .collect()
}

fn table(preview: &Preview) -> String {
    let list = |addresses: &[Addr]| match addresses {
        [] => "-".to_owned(),
        some => some.iter().map(Addr::to_string).collect::<Vec<_>>().join(","),
    };
    let row = |change: &maglane_control::preview::ServiceChange| {
        let kind = if change.refused {
            "refused"
        } else {
            change.change.name()
        };
        vec![
            change.service.clone(),
            kind.to_owned(),
            list(&change.before),
            list(&change.after),
            change.why.clone(),
        ]
    };
    let left = |name| (name, Align::Left);
    let columns = ["SERVICE", "CHANGE", "BEFORE", "AFTER", "WHY"].map(left);
    let rows: Vec<Vec<String>> = preview.services.iter().map(row).collect();
    let mut parts = vec![render(&columns, &rows)];
    if !preview.ports.is_empty() {
        let row = |port: &maglane_control::preview::PortRows| {
            let share = format!("{:.1} %", port.rows.percent());
            vec![port.vip.clone(), port.service.clone(), share]
        };
        let rows: Vec<Vec<String>> = preview.ports.iter().map(row).collect();
        let columns = [left("VIP"), left("SERVICE"), ("ROWS MOVED", Align::Right)];
        parts.push(render(&columns, &rows));
    }
    parts.push(format!(
        "announced: {}\nwithdrawn: {}\ntable rows moved: {:.1} % ({} of {})",
        list(&preview.announced),
        list(&preview.withdrawn),
        preview.rows.percent(),
        preview.rows.moved,
        preview.rows.all
    ));
    for problem in &preview.problems {
        parts.push(format!("{}: {problem}", problem.severity.name()));
    }
    if preview.is_destructive() {
        parts.push("destructive: clients of an address above would notice".to_owned());
    }
    parts.join("\n\n")
}
