//! What is said about announcing: the condition of Services, the state of sessions, the acceptance of objects.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Truth;
use crate::announce::{BfdSession, BgpSession, Reason};
use crate::model::{AnnounceObject, ClusterId, ObjectKind, ObjectName, ObjectRef};
use crate::problem::{Problem, Severity};

/// Whether routers are told of a Service's addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announced {
    pub holds: bool,
    pub reason: &'static str,
    pub message: Box<str>,
}

impl Announced {
    /// `there` have been told, `missing` are to be.
    pub fn new(reason: Reason, node: &str, there: &[&ObjectName], missing: &[&ObjectName]) -> Announced {
        let names = |peers: &[&ObjectName]| {
            peers
                .iter()
                .map(|peer| &*peer.name)
                .collect::<Vec<_>>()
                .join(", ")
        };
        if !reason.is_announced() {
            return Announced {
                holds: false,
                reason: reason.name(),
                message: format!("node {node}: {reason}").into(),
            };
        }
        if there.is_empty() {
            let message = format!(
                "node {node}: no session with {} is established; look at its BgpSessionState",
                names(missing)
            );
            return Announced {
                holds: false,
                reason: "NoSession",
                message: message.into(),
            };
        }
        let mut message = format!("node {node}: announced to {}", names(there));
        if !missing.is_empty() {
            message.push_str(&format!("; not yet to {}", names(missing)));
        }
        if reason == Reason::ConflictingAdvertisements {
            message.push_str(&format!("; {reason}"));
        }
        Announced {
            holds: true,
            reason: reason.name(),
            message: message.into(),
        }
    }
}

/// A BgpSessionState of this node, whether or not this process may write anything else. Conditions lack
/// `lastTransitionTime`: it is the time of the write, as long as the status is another one than written before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionWrite {
    pub object: ObjectRef,
    /// `{"spec": {...}, "status": {...}}`; `None`: the object is to be deleted.
    pub body: Option<Value>,
}

impl SessionWrite {
    /// Does it say the same, whatever it counts?
    pub(crate) fn says_as(&self, other: &SessionWrite) -> bool {
        let said = |write: &SessionWrite| {
            let status = write.body.as_ref().map(|body| &body["status"]);
            status.map(|status| {
                (
                    status["conditions"].clone(),
                    status["state"].clone(),
                    status["bfd"].clone(),
                )
            })
        };
        said(self) == said(other)
    }
}

pub fn session_write(
    node: &str,
    peer: &ObjectName,
    session: Option<&BgpSession>,
    bfd: Option<&BfdSession>,
) -> SessionWrite {
    let name = format!("{node}-{}", peer.name);
    SessionWrite {
        object: ObjectRef {
            kind: ObjectKind::BgpSessionState,
            name: ObjectName::of(ClusterId::OWN, "", &name),
        },
        body: session.map(|session| session_body(node, session, bfd)),
    }
}

fn session_body(node: &str, session: &BgpSession, bfd: Option<&BfdSession>) -> Value {
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let unsendable = &session.unsendable;
    let unsendable = unsendable.not_negotiated + unsendable.no_next_hop + unsendable.oversized;
    let (reason, message) = match (session.is_established(), session.withheld) {
        (false, _) => (
            "NotEstablished",
            session.last_error.as_deref().unwrap_or("no error so far"),
        ),
        (true, Some(crate::announce::Withheld::Bfd)) => (
            "BfdNotUp",
            "no route is told before BFD has been up for long enough",
        ),
        (true, Some(crate::announce::Withheld::Workers)) => (
            "WorkersNotAlive",
            "no route is told while a worker does not do its work",
        ),
        (true, None) => ("Established", "the session is established"),
    };
    let mut status = json!({
        "state": format!("{:?}", session.state),
        "localAddress": session.local.map(|local| local.to_string()).unwrap_or_default(),
        "prefixes": session.told,
        "unsendable": unsendable,
        "sessionsUp": number(session.counters.sessions_up),
        "sessionsDown": number(session.counters.sessions_down),
        "lastError": bounded(session.last_error.as_deref().unwrap_or_default()),
        "conditions": [{
            "type": "Established",
            "status": Truth::from(session.is_established()),
            "reason": reason,
            "message": bounded(message),
        }],
    });
    if let Some(bfd) = bfd {
        status["bfd"] = json!(format!("{:?}", bfd.state));
    }
    json!({ "spec": { "node": node, "peer": session.peer.name }, "status": status })
}

/// As the CRD bounds texts.
fn bounded(text: &str) -> String {
    text.chars().take(1024).collect()
}

/// The status of an object that decides about announcing; `problems` are those about it.
pub fn acceptance_body<'p>(object: &'p AnnounceObject, problems: impl Iterator<Item = &'p Problem>) -> Value {
    let mut all: Vec<&Problem> = problems.chain(&object.problems).collect();
    all.sort_unstable();
    let (holds, reason, message) = match all.first() {
        None => (true, "Accepted", "it is in force as it is written".to_owned()),
        Some(worst) => {
            let text = format!("{}: {}; {}", worst.field, worst.message, worst.remedy);
            let text = text.trim_start_matches(": ").to_owned();
            match worst.severity {
                Severity::Error => (false, "Invalid", text),
                Severity::Warning | Severity::Note => (true, "AcceptedWithWarnings", text),
            }
        }
    };
    json!({ "status": { "conditions": [{
        "type": "Accepted", "status": Truth::from(holds), "reason": reason, "message": message,
        "observedGeneration": object.generation,
    }] } })
}
