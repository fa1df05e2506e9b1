//! NOTIFICATION messages: why a session ends, in words and in bytes (RFC 4271 §4.5 and §6).
//!
//! Constructors give the exact code, subcode and data each RFC asks for: FSM subcodes (RFC 6608), the
//! shutdown text (RFC 9003 §2), the Hard Reset envelope (RFC 8538 §3.1), Cease/BFD Down (RFC 9384 §3),
//! Send Hold Timer Expired (RFC 9687 §5).

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use rustbgpd_wire::notification::{self as codec, cease_subcode, open_subcode};
use rustbgpd_wire::{NotificationCode, NotificationMessage};

/// A NOTIFICATION, received or to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    pub code: u8,
    pub subcode: u8,
    pub data: Bytes,
}

/// Whether an administrative Cease must also end the peer's graceful-restart retention (RFC 8538 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetKind {
    /// The peer never set the N bit: a plain Cease ends everything.
    Plain,
    /// The peer set the N bit: wrap the real reason in Cease/Hard Reset, or it keeps our routes as stale.
    Hard,
}

/// Which state saw a message it does not accept (RFC 6608 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnexpectedIn {
    OpenSent = 1,
    OpenConfirm = 2,
    Established = 3,
}

const CEASE: NotificationCode = NotificationCode::Cease;
const OPEN: NotificationCode = NotificationCode::OpenMessage;

impl Notification {
    fn new(code: NotificationCode, subcode: u8, data: impl Into<Bytes>) -> Self {
        Notification {
            code: code.as_u8(),
            subcode,
            data: data.into(),
        }
    }

    /// RFC 4271 §6.1: the data is the length field as received.
    pub(crate) fn bad_length(length: u16) -> Self {
        Self::new(NotificationCode::MessageHeader, 2, length.to_be_bytes().to_vec())
    }

    pub(super) fn bad_type(message_type: u8) -> Self {
        Self::new(NotificationCode::MessageHeader, 3, vec![message_type])
    }

    pub(crate) fn bad_peer_as() -> Self {
        Self::new(OPEN, open_subcode::BAD_PEER_AS, Bytes::new())
    }

    pub(crate) fn bad_identifier() -> Self {
        Self::new(OPEN, open_subcode::BAD_BGP_IDENTIFIER, Bytes::new())
    }

    pub(crate) fn unacceptable_hold_time() -> Self {
        Self::new(OPEN, open_subcode::UNACCEPTABLE_HOLD_TIME, Bytes::new())
    }

    /// RFC 5492 §5: the data lists the capabilities we require.
    pub(crate) fn unsupported_capability(required: Bytes) -> Self {
        Self::new(OPEN, open_subcode::UNSUPPORTED_CAPABILITY, required)
    }

    pub(crate) fn role_mismatch() -> Self {
        Self::new(OPEN, open_subcode::ROLE_MISMATCH, Bytes::new())
    }

    pub(crate) fn hold_timer_expired() -> Self {
        Self::new(NotificationCode::HoldTimerExpired, 0, Bytes::new())
    }

    pub(crate) fn send_hold_timer_expired() -> Self {
        Self::new(NotificationCode::SendHoldTimerExpired, 0, Bytes::new())
    }

    pub(crate) fn unexpected_message(state: UnexpectedIn, message_type: u8) -> Self {
        Self::new(NotificationCode::FsmError, state as u8, vec![message_type])
    }

    pub(crate) fn collision() -> Self {
        Self::new(
            CEASE,
            cease_subcode::CONNECTION_COLLISION_RESOLUTION,
            Bytes::new(),
        )
    }

    pub(crate) fn connection_rejected() -> Self {
        Self::new(CEASE, cease_subcode::CONNECTION_REJECTED, Bytes::new())
    }

    pub(crate) fn admin_shutdown(text: &str) -> Self {
        Self::new(
            CEASE,
            cease_subcode::ADMINISTRATIVE_SHUTDOWN,
            codec::encode_shutdown_communication(text),
        )
    }

    pub(crate) fn admin_reset(text: &str) -> Self {
        Self::new(
            CEASE,
            cease_subcode::ADMINISTRATIVE_RESET,
            codec::encode_shutdown_communication(text),
        )
    }

    pub(crate) fn peer_deconfigured() -> Self {
        Self::new(CEASE, cease_subcode::PEER_DECONFIGURED, Bytes::new())
    }

    pub(crate) fn configuration_change() -> Self {
        Self::new(CEASE, cease_subcode::OTHER_CONFIGURATION_CHANGE, Bytes::new())
    }

    pub(crate) fn bfd_down() -> Self {
        Self::new(CEASE, cease_subcode::BFD_DOWN, Bytes::new())
    }

    pub(crate) fn is_cease(&self) -> bool {
        self.code == CEASE.as_u8()
    }

    /// RFC 8538 §3.1: the envelope carries code, subcode and data of the real reason.
    #[must_use]
    pub(crate) fn with_reset(self, kind: ResetKind) -> Self {
        match kind {
            ResetKind::Plain => self,
            ResetKind::Hard => {
                let mut data = BytesMut::with_capacity(2 + self.data.len());
                data.put_u8(self.code);
                data.put_u8(self.subcode);
                data.put_slice(&self.data);
                Self::new(CEASE, cease_subcode::HARD_RESET, data)
            }
        }
    }

    /// The peer's shutdown text, checked UTF-8 of at most 255 bytes (RFC 9003 §2).
    pub fn shutdown_text(&self) -> Option<String> {
        let text = codec::extract_shutdown_communication(&self.to_codec())
            .ok()
            .flatten()?
            .to_owned();
        (!text.is_empty()).then_some(text)
    }

    pub(super) fn to_codec(&self) -> NotificationMessage {
        NotificationMessage::new(
            NotificationCode::from_u8(self.code),
            self.subcode,
            self.data.clone(),
        )
    }

    pub(super) fn from_codec(message: NotificationMessage) -> Self {
        Self::new(message.code, message.subcode, message.data)
    }

    pub(super) fn from_decode_error(error: &rustbgpd_wire::DecodeError) -> Self {
        let (code, subcode, data) = error.to_notification();
        Self::new(code, subcode, data)
    }
}

impl fmt::Display for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = codec::description(NotificationCode::from_u8(self.code), self.subcode);
        write!(f, "{words} ({}/{})", self.code, self.subcode)?;
        match self.shutdown_text() {
            Some(text) => write!(f, ": {text:?}"),
            None => Ok(()),
        }
    }
}
