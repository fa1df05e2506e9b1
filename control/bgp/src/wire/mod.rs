//! BGP messages in our words: a facade over the codec crate `rustbgpd-wire`, which nothing outside this
//! folder may name. No state, no clock, no I/O.
//!
//! Receive: [`take`] cuts one message off a byte stream and says which NOTIFICATION a bad one deserves
//! (RFC 4271 §6.1); [`RawUpdate::inspect`] judges an UPDATE (RFC 7606). Send: [`Message::encode`], and
//! [`announce`], [`withdraw`], [`end_of_rib`], which pack many prefixes into few UPDATEs.

mod attributes;
mod family;
mod inspect;
mod notification;
mod open;
#[cfg(test)]
pub(crate) mod tests;
mod update;

use bytes::{Bytes, BytesMut};
use maglane_shared::addr::Family;
use rustbgpd_wire as codec;

pub use attributes::{Attributes, Community, ExtendedCommunity, LargeCommunity, NextHop, Path};
pub use family::Families;
pub(crate) use family::family_of;
pub use inspect::{Inspection, RawUpdate, UpdateVerdict};
pub use notification::{Notification, ResetKind, UnexpectedIn};
pub use open::{Capabilities, OfferedRole, Open, Role};
pub(crate) use open::{required_families, required_four_octet_as};
pub use update::{Encoding, Oversized, Relation, announce, end_of_rib, withdraw};

/// The largest message before extended messages are agreed on (RFC 4271 §4.1).
pub const STANDARD_LIMIT: u16 = 4096;
/// The largest message after (RFC 8654 §3).
pub const EXTENDED_LIMIT: u16 = 65535;

const HEADER_LEN: usize = 19;
const TYPE_OFFSET: usize = 18;

/// A decoded message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    Open(Open),
    Update(RawUpdate),
    Notification(Notification),
    Keepalive,
    /// `None`: a family we do not carry, to be ignored (RFC 2918 §4).
    Refresh(Option<Family>),
}

impl Message {
    /// The type octet of the header (RFC 4271 §4.1, RFC 2918 §3).
    pub const fn type_code(&self) -> u8 {
        match self {
            Message::Open(_) => 1,
            Message::Update(_) => 2,
            Message::Notification(_) => 3,
            Message::Keepalive => 4,
            Message::Refresh(_) => 5,
        }
    }

    /// The message as bytes. OPENs carry a bounded capability list and NOTIFICATIONs are cut to fit, so
    /// this cannot fail; UPDATEs are made by [`announce`] and [`withdraw`] and passed through.
    pub fn encode(&self) -> Bytes {
        let message = match self {
            Message::Open(open) => codec::Message::Open(open.to_codec()),
            Message::Update(update) => codec::Message::Update(update.to_codec()),
            Message::Notification(notification) => codec::Message::Notification(bounded(notification)),
            Message::Keepalive => codec::Message::Keepalive,
            Message::Refresh(family) => codec::Message::RouteRefresh(codec::RouteRefreshMessage::new(
                family::afi(family.unwrap_or(Family::V4)),
                codec::Safi::Unicast,
            )),
        };
        codec::encode_message_with_limit(&message, EXTENDED_LIMIT)
            .map_or_else(|_| Bytes::new(), BytesMut::freeze)
    }
}

/// A NOTIFICATION must fit the standard size until the session knows better (RFC 8654 §4).
fn bounded(notification: &Notification) -> codec::NotificationMessage {
    let mut message = notification.to_codec();
    message
        .data
        .truncate(usize::from(STANDARD_LIMIT) - HEADER_LEN - 2);
    message
}

/// Takes one whole message off the front of `stream`, or nothing while it is incomplete.
///
/// `limit` is the largest message agreed on. On `Err` the connection is to be closed with that
/// NOTIFICATION, except where the bad message was a NOTIFICATION itself (RFC 4271 §6.4).
pub fn take(stream: &mut BytesMut, limit: u16) -> Result<Option<Message>, Notification> {
    let peeked = codec::peek_message_length(stream, limit);
    let Some(length) = peeked.map_err(|error| Notification::from_decode_error(&error))? else {
        return Ok(None);
    };
    check_minimum(stream, length)?;
    if stream.len() < usize::from(length) {
        return Ok(None);
    }
    let mut bytes = stream.split_to(usize::from(length)).freeze();
    let message_type = bytes[TYPE_OFFSET];
    let message =
        codec::decode_message(&mut bytes, limit).map_err(|error| explain(&error, message_type, length))?;
    from_codec(message).map(Some)
}

/// RFC 4271 §6.1: each type has a least length, and a KEEPALIVE exactly one.
fn check_minimum(stream: &[u8], length: u16) -> Result<(), Notification> {
    let fits = match stream[TYPE_OFFSET] {
        1 => (29..=STANDARD_LIMIT).contains(&length),
        2 | 5 => length >= 23,
        3 => length >= 21,
        4 => length == 19,
        _ => true,
    };
    if fits {
        Ok(())
    } else {
        Err(Notification::bad_length(length))
    }
}

/// The codec files every malformed field but an UPDATE's under OPEN; a bad ROUTE-REFRESH is a bad length.
fn explain(error: &codec::DecodeError, message_type: u8, length: u16) -> Notification {
    match message_type {
        3..=5 => Notification::bad_length(length),
        _ => Notification::from_decode_error(error),
    }
}

fn from_codec(message: codec::Message) -> Result<Message, Notification> {
    match message {
        codec::Message::Open(open) => Ok(Message::Open(Open::from_codec(&open))),
        codec::Message::Update(update) => Ok(Message::Update(RawUpdate::from_codec(update))),
        codec::Message::Notification(message) => Ok(Message::Notification(Notification::from_codec(message))),
        codec::Message::RouteRefresh(refresh) => {
            let family = refresh.afi().zip(refresh.safi());
            Ok(Message::Refresh(
                family.and_then(|(afi, safi)| family::unicast(afi, safi)),
            ))
        }
        codec::Message::Keepalive => Ok(Message::Keepalive),
        other => Err(Notification::bad_type(other.message_type().as_u8())),
    }
}
