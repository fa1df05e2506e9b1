//! From two OPENs to one agreement, or the NOTIFICATION that says why not (RFC 4271 §6.2).

use std::net::Ipv4Addr;

use crate::settings::{ExtendedNextHop, PeerAs, SessionSettings};
use crate::time::Millis;
use crate::wire::{
    Capabilities, EXTENDED_LIMIT, Encoding, Families, Notification, OfferedRole, Open, Relation, ResetKind,
    STANDARD_LIMIT, required_families, required_four_octet_as,
};

/// What both sides agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Negotiated {
    pub peer_as: u32,
    pub peer_id: Ipv4Addr,
    /// `None`: no keepalives and no hold timer.
    pub hold: Option<Millis>,
    /// Between two keepalives, before jitter.
    pub keepalive: Option<Millis>,
    pub families: Families,
    /// IPv4 routes may have IPv6 next hops (RFC 8950 §4).
    pub ipv4_via_ipv6: bool,
    /// How a deliberate end must be said (RFC 8538 §3.1).
    pub reset: ResetKind,
    pub encoding: Encoding,
}

/// The OPEN we send. Graceful restart stays unoffered while one process carries BGP, BFD and workers.
pub(super) fn our_open(settings: &SessionSettings) -> Open {
    Open {
        asn: settings.local_as,
        hold_seconds: settings.hold_seconds,
        identifier: settings.router_id,
        capabilities: Capabilities {
            families: settings.families,
            multiprotocol: true,
            four_octet_as: true,
            route_refresh: true,
            extended_message: true,
            ipv4_via_ipv6: settings.extended_next_hop == ExtendedNextHop::Offer,
            restart_notification: false,
            role: settings.role.map(OfferedRole::Known),
        },
    }
}

/// RFC 4271 §4.4: a third of the hold time, or as often as we were told to.
fn keepalive(settings: &SessionSettings, hold: u16) -> Option<Millis> {
    let third = Millis(Millis::from_secs(hold).0 / 3);
    let wanted = settings.keepalive_seconds.map(Millis::from_secs);
    (hold > 0).then(|| wanted.map_or(third, |wanted| wanted.min(third)))
}

/// Judges the peer's OPEN.
pub(super) fn negotiate(settings: &SessionSettings, open: &Open) -> Result<Negotiated, Notification> {
    check_as(settings, open)?;
    let relation = if open.asn == settings.local_as {
        Relation::Internal
    } else {
        Relation::External
    };
    check_identifier(settings, open, relation)?;
    if matches!(open.hold_seconds, 1 | 2) {
        return Err(Notification::unacceptable_hold_time());
    }
    check_role(settings, open)?;
    let theirs = &open.capabilities;
    let families = settings.families.intersection(theirs.effective_families());
    if families.is_empty() {
        return Err(Notification::unsupported_capability(required_families(
            settings.families,
        )));
    }
    let hold = settings.hold_seconds.min(open.hold_seconds);
    Ok(Negotiated {
        peer_as: open.asn,
        peer_id: open.identifier,
        hold: (hold > 0).then(|| Millis::from_secs(hold)),
        keepalive: keepalive(settings, hold),
        families,
        ipv4_via_ipv6: theirs.ipv4_via_ipv6 && settings.extended_next_hop == ExtendedNextHop::Offer,
        reset: if theirs.restart_notification {
            ResetKind::Hard
        } else {
            ResetKind::Plain
        },
        encoding: Encoding {
            local_as: settings.local_as,
            relation,
            four_octet_as: theirs.four_octet_as,
            limit: if theirs.extended_message {
                EXTENDED_LIMIT
            } else {
                STANDARD_LIMIT
            },
        },
    })
}

/// RFC 6793 §4.2.3: a peer that cannot write our number could not detect its own loops.
fn check_as(settings: &SessionSettings, open: &Open) -> Result<(), Notification> {
    let expected = match settings.peer_as {
        PeerAs::Exact(asn) => open.asn == asn,
        PeerAs::Internal => open.asn == settings.local_as,
        PeerAs::External => open.asn != settings.local_as,
    };
    if !expected || open.asn == 0 {
        return Err(Notification::bad_peer_as());
    }
    if !open.capabilities.four_octet_as && settings.local_as > u32::from(u16::MAX) {
        return Err(Notification::unsupported_capability(required_four_octet_as(
            settings.local_as,
        )));
    }
    Ok(())
}

/// RFC 6286 §2.1 and §2.2: non-zero, and inside one AS different from ours.
fn check_identifier(settings: &SessionSettings, open: &Open, relation: Relation) -> Result<(), Notification> {
    let twin = relation == Relation::Internal && open.identifier == settings.router_id;
    if open.identifier.is_unspecified() || twin {
        Err(Notification::bad_identifier())
    } else {
        Ok(())
    }
}

/// RFC 9234 §4.2, not strict: a peer without the capability is accepted.
fn check_role(settings: &SessionSettings, open: &Open) -> Result<(), Notification> {
    match (settings.role, open.capabilities.role) {
        (Some(ours), Some(theirs)) if theirs != OfferedRole::Known(ours.counterpart()) => {
            Err(Notification::role_mismatch())
        }
        (Some(_), Some(_) | None) | (None, Some(_) | None) => Ok(()),
    }
}
