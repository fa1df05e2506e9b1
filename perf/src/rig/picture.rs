//! The rig as a newcomer sees it.

use super::{Host, Rig, Shape, plan};

impl Rig {
    /// The network in ASCII, with addresses and commands to type.
    #[must_use]
    pub fn picture(&self) -> String {
        let spec = self.spec();
        let drawing = match spec.shape {
            Shape::TwoArmed => [
                "  c1 --+                  +-- br-front -- eth0 [lb1] eth1 --+",
                "       +-- r -- front ----+                                 +-- br-back -- b1 b2 ..",
                "  c2 --+   +-- back ----------------------------------------+",
            ],
            Shape::Flat => [
                "  c1 --+                           +-- eth0 [lb1]",
                "       +-- r -- back -- br-back ---+",
                "  c2 --+                           +-- b1 b2 ..",
            ],
        };
        let hop = spec.balancer_hop(1);
        let (vip, client, backend) = (plan::vip(1), plan::client(1, 0), plan::backend(1));
        let exec = |host: Host| format!("ip netns exec {}", spec.namespace(host));
        format!(
            "{}\n\n  c1 {} {}   lb1 {} {}   b1 {} {}\n  VIPs {} {}\n\n  \
             {} curl -s http://{}/\n  {} tcpdump -ni eth0\n",
            drawing.join("\n"),
            client.v4,
            client.v6,
            hop.v4,
            hop.v6,
            backend.v4,
            backend.v6,
            plan::VIP_NET_V4,
            plan::VIP_NET_V6,
            exec(Host::Client(1)),
            vip.v4,
            exec(Host::Backend(1)),
        )
    }
}
