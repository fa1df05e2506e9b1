//! Time and chance as arguments: the machines of this crate read no clock and draw no random numbers.

use std::ops::Add;

/// Milliseconds since an instant of the caller's choosing, never going back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Millis(pub u64);

impl Add for Millis {
    type Output = Millis;

    fn add(self, span: Millis) -> Millis {
        Millis(self.0.saturating_add(span.0))
    }
}

impl Millis {
    pub const fn from_secs(seconds: u16) -> Self {
        Millis(seconds as u64 * 1000)
    }
}

/// When a step happens, and the one random number it may use.
#[derive(Clone, Copy, Debug)]
pub struct At {
    pub now: Millis,
    pub random: u32,
}

impl At {
    /// The moment `span` from now, less up to a quarter of it (RFC 4271 §10).
    pub(crate) fn after_jittered(self, span: Millis) -> Millis {
        let cut = u128::from(span.0) * u128::from(self.random) / (4 * u128::from(u32::MAX));
        self.now + Millis(span.0 - cut as u64)
    }

    pub(crate) fn after(self, span: Millis) -> Millis {
        self.now + span
    }
}
