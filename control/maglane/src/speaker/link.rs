//! From a [`PeerPlan`] to what the driver and the liveness thread want: addresses with their scope, listeners, keys.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use maglane_bgp::bfd::{self, live};
use maglane_bgp::driver::{Incoming, LinkSettings, Listener, Password};
use maglane_bgp::settings::Opening;
use maglane_control::announce::{BfdPlan, Bring, PeerPlan};
use nix::net::if_::if_nametoindex;

/// Where peers may dial in.
const BGP_PORT: u16 = 179;

/// The neighbour's address as sockets want it.
pub fn target(address: SocketAddr, device: Option<&str>) -> Result<SocketAddr, String> {
    match address {
        SocketAddr::V6(mut v6) if v6.ip().is_unicast_link_local() => {
            let device = device.ok_or(format!("{} is link-local: name the interface it is on", v6.ip()))?;
            let index = if_nametoindex(device).map_err(|error| format!("interface {device}: {error}"))?;
            v6.set_scope_id(index);
            Ok(SocketAddr::V6(v6))
        }
        SocketAddr::V4(_) | SocketAddr::V6(_) => Ok(address),
    }
}

pub fn link(
    plan: &PeerPlan,
    peer: SocketAddr,
    device: Option<&str>,
    password: Option<Password>,
) -> LinkSettings {
    let hold = plan.session.hold_seconds;
    LinkSettings {
        peer,
        source: plan.link.source,
        device: device.map(str::to_owned),
        distance: plan.link.distance,
        password,
        user_timeout: (hold > 0).then(|| Duration::from_secs(hold.into())),
    }
}

pub fn bfd_path(plan: &BfdPlan, link: &LinkSettings) -> live::Path {
    live::Path {
        peer: link.peer.ip(),
        source: link.source,
        device: link.device.clone(),
        hops: plan.hops,
        role: match plan.bring {
            Bring::Active => bfd::Role::Active,
            Bring::Passive => bfd::Role::Passive,
        },
        timers: plan.timers,
        control_plane: bfd::ControlPlane::SharesFate,
    }
}

/// One socket an address and device, shared by the peers that are taken calls from there.
#[derive(Default)]
pub struct Listeners(Mutex<HashMap<Place, Weak<Listener>>>);

/// An address and a device to listen on.
type Place = (SocketAddr, Option<String>);

/// A place at a listener; the listener goes with the last of them.
pub struct Door {
    pub incoming: Incoming,
    pub listener: Arc<Listener>,
}

impl Listeners {
    /// `None` for a peer that is only dialed.
    pub fn expect(&self, opening: Opening, link: &LinkSettings) -> Result<Option<Door>, String> {
        match opening {
            Opening::Active => return Ok(None),
            Opening::Both | Opening::Passive => {}
        }
        let any = match link.peer {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let address = SocketAddr::new(link.source.unwrap_or(any), BGP_PORT);
        let at = |error: std::io::Error| {
            format!(
                "listening at {address}: {error}; stop the other BGP speaker of this node, or do not ask to listen"
            )
        };
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, listener| listener.strong_count() > 0);
        let key = (address, link.device.clone());
        let listener = match open.get(&key).and_then(Weak::upgrade) {
            Some(listener) => listener,
            None => {
                let listener = Arc::new(Listener::bind(address, link.device.as_deref()).map_err(at)?);
                open.insert(key, Arc::downgrade(&listener));
                listener
            }
        };
        let incoming = listener.expect(link).map_err(at)?;
        Ok(Some(Door { incoming, listener }))
    }
}
