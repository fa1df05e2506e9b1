//! UPDATEs in: judged, counted and forgotten. Nothing a peer says is ever imported, but a malformed
//! UPDATE must not cost the session unless RFC 7606 §2 says so.

use bytes::Bytes;
use maglane_shared::addr::Family;
use rustbgpd_wire::validate::{UpdateValidationOptions, validate_update_attributes_with_options};
use rustbgpd_wire::{
    ErrorDisposition, NotificationCode, ParsedUpdate, PathAttribute, RevisedParsedUpdate, UpdateMessage,
};

use super::family::unicast;
use super::notification::Notification;
use super::update::{Encoding, Relation};

/// An UPDATE whose three length fields add up; its contents are still to be judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawUpdate(UpdateMessage);

/// What an UPDATE amounted to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    pub announced: usize,
    pub withdrawn: usize,
    pub verdict: UpdateVerdict,
    /// Set when this was the End-of-RIB marker of a family (RFC 4724 §2).
    pub end_of_rib: Option<Family>,
}

/// RFC 7606 §2, without the session reset, which is the `Err` of [`RawUpdate::inspect`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateVerdict {
    Clean,
    AttributeDiscard,
    TreatAsWithdraw,
}

impl RawUpdate {
    pub(super) fn from_codec(message: UpdateMessage) -> Self {
        RawUpdate(message)
    }

    pub(super) fn to_codec(&self) -> UpdateMessage {
        self.0.clone()
    }

    /// Judges the UPDATE. `Err` is the NOTIFICATION to reset the session with.
    pub fn inspect(&self, session: &Encoding) -> Result<Inspection, Notification> {
        let internal = session.relation == Relation::Internal;
        let parsed = self
            .0
            .parse_revised(session.four_octet_as, internal, false, &[])
            .map_err(|error| Notification::from_decode_error(&error))?;
        let counted = Counted::of(&parsed.update);
        let verdict = match validity(&parsed, &counted, session)? {
            None => UpdateVerdict::Clean,
            Some(ErrorDisposition::AttributeDiscard) => UpdateVerdict::AttributeDiscard,
            Some(ErrorDisposition::TreatAsWithdraw | ErrorDisposition::SessionReset) => {
                UpdateVerdict::TreatAsWithdraw
            }
        };
        Ok(Inspection {
            announced: counted.announced,
            withdrawn: counted.withdrawn,
            verdict,
            end_of_rib: self.end_of_rib(&parsed.update),
        })
    }

    fn end_of_rib(&self, update: &ParsedUpdate) -> Option<Family> {
        let bare = self.0.withdrawn_routes.is_empty() && self.0.nlri.is_empty();
        match update.attributes.as_slice() {
            [] if bare && self.0.path_attributes.is_empty() => Some(Family::V4),
            [PathAttribute::MpUnreachNlri(mp)] if bare && mp.withdrawn.is_empty() => unicast(mp.afi, mp.safi),
            _ => None,
        }
    }
}

struct Counted {
    announced: usize,
    withdrawn: usize,
    in_body: bool,
}

impl Counted {
    fn of(update: &ParsedUpdate) -> Self {
        let mut counted = Counted {
            announced: update.announced.len(),
            withdrawn: update.withdrawn.len(),
            in_body: !update.announced.is_empty(),
        };
        for attribute in &update.attributes {
            if let PathAttribute::MpReachNlri(mp) = attribute {
                counted.announced += mp.announced.len();
            } else if let PathAttribute::MpUnreachNlri(mp) = attribute {
                counted.withdrawn += mp.withdrawn.len();
            }
        }
        counted
    }
}

/// The strongest remedy any attribute calls for (RFC 7606 §3 (h)).
fn validity(
    parsed: &RevisedParsedUpdate,
    counted: &Counted,
    session: &Encoding,
) -> Result<Option<ErrorDisposition>, Notification> {
    let structural = parsed
        .malformed
        .iter()
        .max_by_key(|malformed| malformed.disposition);
    if let Some(worst) = structural.filter(|worst| worst.disposition == ErrorDisposition::SessionReset) {
        return Err(Notification::from_decode_error(&worst.error));
    }
    let semantic = validate_update_attributes_with_options(
        &parsed.update.attributes,
        counted.announced > 0,
        counted.in_body,
        session.relation == Relation::External,
        lenient(),
    );
    match semantic {
        Ok(()) => Ok(structural.map(|worst| worst.disposition)),
        Err(error) if error.disposition == ErrorDisposition::SessionReset => {
            let data = Bytes::from(error.data);
            Err(Notification {
                code: NotificationCode::UpdateMessage.as_u8(),
                subcode: error.subcode,
                data,
            })
        }
        Err(error) => Ok(structural
            .map(|worst| worst.disposition)
            .max(Some(error.disposition))),
    }
}

/// Link-local next hops are what unnumbered peers send; judging scope is for those who import.
fn lenient() -> UpdateValidationOptions {
    let mut options = UpdateValidationOptions::default();
    options.allow_ipv4_link_local_mp_reach_next_hop = true;
    options.link_local_next_hop = true;
    options
}
