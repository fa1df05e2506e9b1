//! The two address families a session may carry, as a set (RFC 4760 §8), and their codec names.

use maglane_shared::addr::Family;
use rustbgpd_wire::{Afi, Safi};
use serde::{Deserialize, Serialize};

/// A set of unicast address families.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Families {
    v4: bool,
    v6: bool,
}

impl Families {
    pub const NONE: Families = Families { v4: false, v6: false };
    pub const BOTH: Families = Families { v4: true, v6: true };

    pub const fn only(family: Family) -> Self {
        match family {
            Family::V4 => Families { v4: true, v6: false },
            Family::V6 => Families { v4: false, v6: true },
        }
    }

    pub const fn contains(self, family: Family) -> bool {
        match family {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        }
    }

    #[must_use]
    pub const fn with(self, family: Family) -> Self {
        let one = Families::only(family);
        Families {
            v4: self.v4 || one.v4,
            v6: self.v6 || one.v6,
        }
    }

    #[must_use]
    pub const fn intersection(self, other: Families) -> Self {
        Families {
            v4: self.v4 && other.v4,
            v6: self.v6 && other.v6,
        }
    }

    pub const fn is_empty(self) -> bool {
        !self.v4 && !self.v6
    }

    pub fn iter(self) -> impl Iterator<Item = Family> {
        [Family::V4, Family::V6]
            .into_iter()
            .filter(move |family| self.contains(*family))
    }
}

/// The family a prefix belongs to.
pub(crate) const fn family_of(prefix: &ipnet::IpNet) -> Family {
    match prefix {
        ipnet::IpNet::V4(_) => Family::V4,
        ipnet::IpNet::V6(_) => Family::V6,
    }
}

pub(super) const fn afi(family: Family) -> Afi {
    match family {
        Family::V4 => Afi::Ipv4,
        Family::V6 => Afi::Ipv6,
    }
}

/// The unicast family behind a pair of codec names; anything else is not ours to carry.
pub(super) fn unicast(afi: Afi, safi: Safi) -> Option<Family> {
    if safi != Safi::Unicast {
        None
    } else if afi == Afi::Ipv4 {
        Some(Family::V4)
    } else if afi == Afi::Ipv6 {
        Some(Family::V6)
    } else {
        None
    }
}
