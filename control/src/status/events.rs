//! Events on Services, with the reasons that users of MetalLB know.

use maglane_shared::addr::Addr;
use serde::{Deserialize, Serialize};

use crate::ipam::Answer;
use crate::model::{ObjectName, ObjectRef};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventKind {
    Normal,
    Warning,
}

/// To be shown by `kubectl describe`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserEvent {
    pub object: ObjectRef,
    /// `metadata.uid`.
    pub uid: Box<str>,
    pub kind: EventKind,
    /// Stable, CamelCase.
    pub reason: Box<str>,
    pub note: Box<str>,
}

/// What has become of a Service's addresses since `before`, in events.
pub(crate) fn of_answer(
    service: &ObjectName,
    uid: &str,
    before: &[Addr],
    answer: &Answer,
    news: bool,
) -> Vec<UserEvent> {
    let event = |kind, reason: &str, note: String| UserEvent {
        object: ObjectRef {
            kind: crate::model::ObjectKind::Service,
            name: service.clone(),
        },
        uid: uid.into(),
        kind,
        reason: reason.into(),
        note: note.into(),
    };
    let mut events = vec![];
    let after: Vec<Addr> = answer.addrs().collect();
    let gained: Vec<String> = after
        .iter()
        .filter(|addr| !before.contains(addr))
        .map(Addr::to_string)
        .collect();
    let lost: Vec<String> = before
        .iter()
        .filter(|addr| !after.contains(addr))
        .map(Addr::to_string)
        .collect();
    if !lost.is_empty() {
        events.push(event(
            EventKind::Warning,
            "ClearAssignment",
            format!("Gave up {}", lost.join(", ")),
        ));
    }
    if !gained.is_empty() {
        events.push(event(
            EventKind::Normal,
            "IPAllocated",
            format!("Assigned {}", gained.join(", ")),
        ));
    }
    if let Some(reason) = answer.reason.as_ref().filter(|_| news) {
        let name = if after.is_empty() {
            "AllocationFailed"
        } else {
            "AdditionalAssignFailed"
        };
        events.push(event(
            EventKind::Warning,
            name,
            format!("{}: {reason}", reason.name()),
        ));
    }
    events
}
