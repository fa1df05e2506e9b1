//! Coarse monotonic time for the packet path: milliseconds since the worker started, wrapping.

/// Milliseconds since start, modulo 2^32 (49.7 days). Differences are meaningful below 24 days; the
/// flow table's sweep visits every entry far more often than that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Tick(pub u32);

impl Tick {
    /// Milliseconds from `earlier` to `self`; 0 when `earlier` lies ahead (another worker's clock read).
    #[inline]
    pub const fn since(self, earlier: Tick) -> u32 {
        let delta = self.0.wrapping_sub(earlier.0);
        if delta > u32::MAX / 2 { 0 } else { delta }
    }

    #[inline]
    pub const fn plus(self, millis: u32) -> Tick {
        Tick(self.0.wrapping_add(millis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_survive_the_wrap() {
        assert_eq!(Tick(5).since(Tick(u32::MAX - 4)), 10);
        assert_eq!(Tick(5).since(Tick(6)), 0);
        assert_eq!(Tick(u32::MAX).plus(3), Tick(2));
    }
}
