//! One BgpPeer from its first plan to its last: what it needs is fetched, its session run, and begun anew when its
//! settings change. Routes and BFD change without it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use maglane_bgp::bfd::State as BfdState;
use maglane_bgp::bfd::live::{Forwarding, SessionHandle};
use maglane_bgp::discovery::{self, Discovery};
use maglane_bgp::driver::{self, Command, LinkSettings, PeerHandle};
use maglane_bgp::fsm::{State, StopReason};
use maglane_bgp::peer::{self, Counters};
use maglane_bgp::rib::Unsendable;
use maglane_bgp::wire::Families;
use maglane_control::announce::{BgpSession, Neighbor, PeerPlan, Withheld};
use maglane_control::model::ObjectName;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::Telling;
use super::gate::{Bfd, Gate, Verdict};
use super::ledger::{self, Report};
use super::link::{self, Door};
use super::manager::{Context, PeerWanted};

/// Pause before what could not begin is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// A farewell is bounded by the driver; this is for one that hangs.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long the peer's BFD may take to be told before BGP ends all the same.
const BFD_FAREWELL: Duration = Duration::from_millis(100);

/// Until it leaves the plan or the process ends.
pub async fn run(
    context: Arc<Context>,
    name: ObjectName,
    mut wanted: watch::Receiver<PeerWanted>,
) -> ObjectName {
    while let Some(plan) = current(&mut wanted) {
        let opened = tokio::select! {
            opened = open(&context, &name, &plan) => opened,
            () = other_settings(&mut wanted, &plan) => continue,
        };
        match opened {
            Ok(session) => session.run(&mut wanted).await,
            Err(problem) => {
                tracing::warn!("BgpPeer {name}: {problem}");
                context.ledger.write(failed(&name, &plan, problem));
                tokio::select! {
                    () = sleep(RETRY) => {}
                    () = other_settings(&mut wanted, &plan) => {}
                }
            }
        }
    }
    name
}

fn current(wanted: &mut watch::Receiver<PeerWanted>) -> Option<Arc<PeerPlan>> {
    let now = wanted.borrow_and_update();
    now.plan.clone().filter(|_| !now.ending)
}

/// Until a session as planned is no longer what is wanted.
async fn other_settings(wanted: &mut watch::Receiver<PeerWanted>, plan: &PeerPlan) {
    let other =
        |now: &PeerWanted| now.ending || !now.plan.as_ref().is_some_and(|now| same_session(now, plan));
    // A manager that is gone wants nothing.
    let _ = wanted.wait_for(other).await;
}

fn same_session(one: &PeerPlan, other: &PeerPlan) -> bool {
    (&one.session, &one.link, &one.password) == (&other.session, &other.link, &other.password)
}

fn failed(name: &ObjectName, plan: &Arc<PeerPlan>, problem: String) -> Report {
    Report {
        plan: Arc::clone(plan),
        bgp: BgpSession {
            peer: name.clone(),
            state: State::Idle,
            local: None,
            remote: None,
            families: Families::default(),
            told: 0,
            unsendable: Unsendable::default(),
            synced: None,
            withheld: None,
            last_error: Some(problem.into()),
            counters: Counters::default(),
        },
        since: None,
        bfd: None,
        bfd_configured: plan.bfd.is_some(),
    }
}

/// Everything a session needs, gathered; the driver runs, with nothing to tell yet.
async fn open(context: &Arc<Context>, name: &ObjectName, plan: &Arc<PeerPlan>) -> Result<Session, String> {
    let password = match &plan.password {
        Some(source) => {
            let revealed = context.secrets.reveal(name, source).await;
            Some(revealed.map_err(|why| format!("no session without its password: {why}"))?)
        }
        None => None,
    };
    let (peer, device, discovery) = neighbor(context, name, plan).await?;
    let link = link::link(plan, peer, device.as_deref(), password);
    let door = context.listeners.expect(plan.session.opening, &link)?;
    let (incoming, listener) = match door {
        Some(Door { incoming, listener }) => (Some(incoming), Some(listener)),
        None => (None, None),
    };
    let handle = driver::spawn(plan.session.clone(), link.clone(), incoming).map_err(|e| e.to_string())?;
    let hold_up = plan
        .bfd
        .map_or(Duration::ZERO, |bfd| Duration::from_millis(bfd.hold_up_ms.into()));
    Ok(Session {
        context: Arc::clone(context),
        name: name.clone(),
        plan: Arc::clone(plan),
        link,
        handle,
        bfd: None,
        bfd_problem: None,
        bfd_retry: None,
        gate: Gate::new(hold_up),
        sent: None,
        withheld: None,
        telling: Telling::AsPlanned,
        epoch: Instant::now(),
        since: None,
        sessions: 0,
        discovery,
        _listener: listener,
    })
}

/// Whom to dial, and by which interface; waits for a neighbour that is to be discovered.
async fn neighbor(
    context: &Context,
    name: &ObjectName,
    plan: &Arc<PeerPlan>,
) -> Result<(SocketAddr, Option<String>, Option<Discovery>), String> {
    let device = plan.link.device.as_deref();
    match &plan.link.neighbor {
        Neighbor::Address(address) => Ok((link::target(*address, device)?, device.map(str::to_owned), None)),
        Neighbor::Unnumbered { interface, port } => {
            let at = |error| format!("interface {interface}: router advertisements: {error}");
            let mut discovery = discovery::start(interface).map_err(at)?;
            let waiting = format!("waiting for a router advertisement on {interface}");
            context.ledger.write(failed(name, plan, waiting));
            let address = discovery.neighbor().await;
            let target = link::target(SocketAddr::new(address.into(), *port), Some(interface))?;
            Ok((target, Some(interface.to_string()), Some(discovery)))
        }
    }
}

struct Session {
    context: Arc<Context>,
    name: ObjectName,
    plan: Arc<PeerPlan>,
    link: LinkSettings,
    handle: PeerHandle,
    bfd: Option<SessionHandle>,
    bfd_problem: Option<String>,
    bfd_retry: Option<Instant>,
    gate: Gate,
    /// The gate as last told to the driver.
    sent: Option<peer::Gate>,
    withheld: Option<Withheld>,
    telling: Telling,
    epoch: Instant,
    since: Option<std::time::Instant>,
    sessions: u64,
    /// Goes on while the session lives: the neighbour learns us by our advertisements.
    discovery: Option<Discovery>,
    _listener: Option<Arc<driver::Listener>>,
}

/// What the plan now means for a running session.
enum Turn {
    GoOn,
    End(StopReason),
}

impl Session {
    async fn run(mut self, wanted: &mut watch::Receiver<PeerWanted>) {
        let mut news = self.context.news.clone();
        let now = wanted.borrow_and_update().clone();
        if let Turn::End(reason) = self.turn(now).await {
            return self.stop(reason).await;
        }
        loop {
            self.keep_bfd();
            let verdict = self.judge().await;
            self.report(&verdict);
            tokio::select! {
                changed = wanted.changed() => {
                    let now = wanted.borrow_and_update().clone();
                    let turn = match changed {
                        Ok(()) => self.turn(now).await,
                        Err(_) => Turn::End(StopReason::PeerRemoved),
                    };
                    if let Turn::End(reason) = turn {
                        return self.stop(reason).await;
                    }
                }
                changed = self.handle.status.changed() => if changed.is_err() {
                    tracing::error!("BgpPeer {}: its driver ended unasked; it is begun anew", self.name);
                    return;
                },
                _ = news.changed() => {}
                () = moved(&mut self.discovery) => return self.stop(StopReason::ConfigurationChanged).await,
                () = until(verdict.again.map(|at| self.epoch + at)) => {}
                () = until(self.bfd_retry) => {}
            }
        }
    }

    async fn turn(&mut self, now: PeerWanted) -> Turn {
        let Some(plan) = now.plan.filter(|_| !now.ending) else {
            return Turn::End(if now.ending {
                StopReason::Shutdown("the load balancer stops".to_owned())
            } else {
                StopReason::PeerRemoved
            });
        };
        if !same_session(&plan, &self.plan) {
            return Turn::End(StopReason::ConfigurationChanged);
        }
        self.telling = now.telling;
        self.take_bfd(&plan);
        self.plan = plan;
        let routes = self.plan.routes.clone();
        let revision = now.revision;
        self.order(Command::Routes { revision, routes }).await;
        Turn::GoOn
    }

    /// Timers change in place; everything else about BFD needs another BFD session.
    fn take_bfd(&mut self, plan: &PeerPlan) {
        let (old, new) = (self.plan.bfd, plan.bfd);
        if old == new {
            return;
        }
        let hold_up = new.map_or(Duration::ZERO, |bfd| Duration::from_millis(bfd.hold_up_ms.into()));
        match (old, new, &self.bfd) {
            (Some(was), Some(is), Some(session))
                if (was.hops, was.bring, was.hold_up_ms) == (is.hops, is.bring, is.hold_up_ms)
                    && session.set_timers(is.timers).is_ok() => {}
            (Some(_) | None, Some(_) | None, Some(_) | None) => {
                self.bfd = None;
                self.bfd_retry = None;
                self.gate = Gate::new(hold_up);
            }
        }
    }

    fn keep_bfd(&mut self) {
        let Some(plan) = self.plan.bfd.filter(|_| self.bfd.is_none()) else {
            return;
        };
        if self.bfd_retry.is_some_and(|at| at > Instant::now()) {
            return;
        }
        match self.context.begin_bfd(&link::bfd_path(&plan, &self.link)) {
            Ok(session) => {
                self.bfd = Some(session);
                (self.bfd_problem, self.bfd_retry) = (None, None);
            }
            Err(problem) => {
                if self.bfd_problem.as_ref() != Some(&problem) {
                    tracing::warn!("BgpPeer {}: {problem}", self.name);
                }
                self.bfd_problem = Some(problem);
                self.bfd_retry = Some(Instant::now() + RETRY);
            }
        }
    }

    async fn judge(&mut self) -> Verdict {
        let bfd = match (&self.bfd, self.plan.bfd) {
            (_, None) => Bfd::Unused,
            (None, Some(_)) => Bfd::Missing,
            (Some(session), Some(_)) => Bfd::Session(session.status()),
        };
        let forwarding = self.context.liveness.forwarding();
        let verdict = self.gate.look(forwarding, bfd, self.epoch.elapsed());
        let gate = match (verdict.withheld, self.telling) {
            (None, Telling::AsPlanned) => peer::Gate::Open,
            (Some(_), Telling::AsPlanned) | (_, Telling::Nothing) => peer::Gate::Closed,
        };
        if self.withheld != verdict.withheld {
            self.withheld = verdict.withheld;
            match verdict.withheld {
                Some(Withheld::Workers) => tracing::warn!(
                    "BgpPeer {}: told nothing, for a worker stands still or the steering program is off",
                    self.name
                ),
                Some(Withheld::Bfd) => tracing::info!("BgpPeer {}: told nothing until BFD is up", self.name),
                None => tracing::info!("BgpPeer {}: told its routes", self.name),
            }
        }
        if self.sent != Some(gate) {
            self.sent = Some(gate);
            self.order(Command::Gate(gate)).await;
        }
        if verdict.failed {
            let why = self
                .bfd
                .as_ref()
                .map_or("", |session| ledger::why(&session.status()));
            tracing::warn!("BgpPeer {}: BFD failed, the session ends: {why}", self.name);
            self.order(Command::Restart(StopReason::BfdDown)).await;
        } else if verdict.recovered {
            self.order(Command::Hurry).await;
        }
        verdict
    }

    fn report(&mut self, verdict: &Verdict) {
        let status = self.handle.status.borrow_and_update().clone();
        if status.counters.sessions_up != self.sessions {
            self.sessions = status.counters.sessions_up;
            self.since = Some(std::time::Instant::now());
        }
        let session = status.session;
        self.context.ledger.write(Report {
            plan: Arc::clone(&self.plan),
            bgp: BgpSession {
                peer: self.name.clone(),
                state: status.state,
                local: session.map(|session| session.local),
                remote: session.map(|_| self.link.peer.ip()),
                families: session.map_or_else(Families::default, |session| session.agreed.families),
                told: status.told,
                unsendable: status.unsendable,
                synced: status.synced,
                withheld: verdict.withheld,
                last_error: self.bfd_problem.clone().or(status.last_error).map(Into::into),
                counters: status.counters,
            },
            since: self.since.filter(|_| session.is_some()),
            bfd: self.bfd.as_ref().map(SessionHandle::reader),
            bfd_configured: self.plan.bfd.is_some(),
        });
    }

    /// A driver that ended says so by its status.
    async fn order(&self, command: Command) {
        let _ = self.handle.commands.send(command).await;
    }

    /// BFD AdminDown before BGP's Cease: the router is not to take the end for a failure (RFC 5880 §6.8.16).
    async fn stop(mut self, reason: StopReason) {
        if let Some(bfd) = &self.bfd
            && bfd.admin_down().is_ok()
        {
            let told = async {
                while bfd.status().state != BfdState::AdminDown
                    && self.context.liveness.forwarding() == Forwarding::Works
                {
                    sleep(Duration::from_millis(1)).await;
                }
            };
            let _late = timeout(BFD_FAREWELL, told).await;
        }
        self.order(Command::Stop(reason)).await;
        let _hung = timeout(FAREWELL, &mut self.handle.task).await;
        self.report(&Verdict {
            withheld: None::<Withheld>,
            failed: false,
            recovered: false,
            again: None,
        });
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Another neighbour than before advertises itself.
async fn moved(discovery: &mut Option<Discovery>) {
    match discovery {
        Some(discovery) => discovery.moved().await,
        None => std::future::pending().await,
    }
}
