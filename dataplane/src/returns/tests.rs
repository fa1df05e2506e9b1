use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

fn endpoint(addr: &str, port: u16) -> Endpoint {
    Endpoint {
        addr: addr.parse().unwrap(),
        port,
    }
}

fn mapping(via: Via, port: u16, client_port: u16) -> Mapping {
    Mapping {
        backend: endpoint("2001:db8::b", 8443),
        via,
        port,
        protocol: Protocol::Tcp,
        client: endpoint("2001:db8::c", client_port),
        service: ServiceId {
            slot: 3,
            epoch: u32::MAX,
        },
    }
}

fn key(mapping: &Mapping) -> ReplyKey {
    let to = match mapping.via {
        Via::Snat(_) => endpoint("2001:db8::1", mapping.port),
        Via::Client => mapping.client,
    };
    ReplyKey {
        backend: mapping.backend,
        to,
        via: mapping.via,
        protocol: mapping.protocol,
    }
}

fn hash(mapping: &Mapping) -> FlowHash {
    key(mapping).hash(&HashKey::default())
}

#[test]
fn an_empty_table_finds_nothing() {
    let mapping = mapping(Via::Client, 1, 1);
    assert_eq!(NatReturns::new(16).find(hash(&mapping), &key(&mapping)), None);
}

#[test]
fn a_source_port_belongs_to_one_flow_until_it_is_given_back() {
    let returns = NatReturns::new(64);
    let (first, second) = (mapping(Via::Snat(0), 20_000, 1), mapping(Via::Snat(0), 20_000, 2));
    let slot = returns.insert(hash(&first), &first, Tick(5)).unwrap();
    assert_eq!(
        returns.insert(hash(&second), &second, Tick(5)),
        Err(Refused::Taken)
    );
    assert_eq!(
        returns.find(hash(&first), &key(&first)).unwrap().client,
        first.client
    );
    assert!(returns.holds(slot, &first) && !returns.holds(slot, &second));
    // Another backend, another address of ours and another protocol are other mappings.
    let backend = Mapping {
        backend: endpoint("2001:db8::bb", 8443),
        ..second
    };
    let address = Mapping {
        via: Via::Snat(1),
        ..second
    };
    let protocol = Mapping {
        protocol: Protocol::Udp,
        ..second
    };
    for other in [backend, address, protocol] {
        assert!(returns.insert(hash(&other), &other, Tick(5)).is_ok(), "{other:?}");
    }
    returns.remove(slot);
    assert_eq!(returns.find(hash(&first), &key(&first)), None);
    assert!(returns.insert(hash(&second), &second, Tick(6)).is_ok());
}

#[test]
fn dnat_tells_flows_apart_by_client() {
    let returns = NatReturns::new(64);
    let (first, second) = (mapping(Via::Client, 1, 1), mapping(Via::Client, 2, 2));
    let elsewhere = Mapping {
        service: ServiceId { slot: 4, epoch: 1 },
        ..first
    };
    returns.insert(hash(&first), &first, Tick(0)).unwrap();
    returns.insert(hash(&second), &second, Tick(0)).unwrap();
    assert_eq!(
        returns.insert(hash(&elsewhere), &elsewhere, Tick(0)),
        Err(Refused::Taken)
    );
    assert_eq!(
        returns.find(hash(&second), &key(&second)).unwrap().client,
        second.client
    );
}

#[test]
fn a_full_row_is_said_to_be_full() {
    let returns = NatReturns::new(4);
    for port in 0..PROBES as u16 {
        returns
            .insert(FlowHash(0), &mapping(Via::Snat(0), port, port), Tick(0))
            .unwrap();
    }
    assert_eq!(
        returns.insert(FlowHash(0), &mapping(Via::Snat(0), 99, 99), Tick(0)),
        Err(Refused::Full)
    );
}

#[test]
fn notes_follow_the_tenant() {
    let returns = NatReturns::new(64);
    let first = mapping(Via::Snat(0), 20_000, 1);
    let slot = returns.insert(hash(&first), &first, Tick(5)).unwrap();
    let found = returns.find(hash(&first), &key(&first)).unwrap();
    assert_eq!(returns.cached_hop(&found, 0), None);
    returns.cache_hop(&found, 9, HopIndex(4));
    returns.note_close(&found, Close::Fin);
    returns.touch(slot, Tick(500));
    assert_eq!(
        returns.replies(slot),
        Replies {
            last_seen: Tick(5),
            fin: true,
            rst: false
        }
    );
    returns.touch(slot, Tick(1005));
    assert_eq!(returns.replies(slot).last_seen, Tick(1005));
    let again = returns.find(hash(&first), &key(&first)).unwrap();
    assert_eq!(
        (returns.cached_hop(&again, 9), returns.cached_hop(&again, 8)),
        (Some(HopIndex(4)), None)
    );
    returns.remove(slot);
    let second = mapping(Via::Snat(0), 20_000, 2);
    let slot = returns.insert(hash(&second), &second, Tick(2000)).unwrap();
    // Late notes of whoever read the first tenant are lost.
    returns.note_close(&found, Close::Rst);
    returns.cache_hop(&again, 9, HopIndex(7));
    assert_eq!(
        returns.replies(slot),
        Replies {
            last_seen: Tick(2000),
            fin: false,
            rst: false
        }
    );
    assert_eq!(
        returns.cached_hop(&returns.find(hash(&second), &key(&second)).unwrap(), 9),
        None
    );
}

proptest! {
    #[test]
    fn what_goes_in_comes_out(
        port in any::<u16>(), client_port in any::<u16>(), index in 0..64u8, dnat: bool, udp: bool,
        backend in any::<[u8; 16]>(), client in any::<[u8; 4]>(), service in any::<(u32, u32)>(),
    ) {
        let via = if dnat { Via::Client } else { Via::Snat(index) };
        let mapping = Mapping {
            backend: Endpoint { addr: maglane_shared::addr::Addr::from_v6_bytes(backend), port: client_port },
            via,
            port: if dnat { client_port } else { port },
            protocol: if udp { Protocol::Udp } else { Protocol::Tcp },
            client: Endpoint { addr: maglane_shared::addr::Addr::from_v4_bytes(client), port: client_port },
            service: ServiceId { slot: service.0, epoch: service.1 },
        };
        let returns = NatReturns::new(16);
        let slot = returns.insert(hash(&mapping), &mapping, Tick(1)).unwrap();
        let found = returns.find(hash(&mapping), &key(&mapping)).unwrap();
        prop_assert_eq!((found.client, found.service, found.slot), (mapping.client, mapping.service, slot));
        prop_assert!(returns.holds(slot, &mapping));
    }
}

/// Two threads want the same 500 ports at once, over and over: no port is ever held twice.
#[test]
fn racing_workers_never_share_a_source_port() {
    let returns = NatReturns::new(1 << 12);
    for round in 0..20u16 {
        let win = |worker: u16| -> Vec<(u16, ReturnSlot)> {
            let wanted = |port| mapping(Via::Snat(0), port, worker);
            let take = |port| {
                Some((
                    port,
                    returns.insert(hash(&wanted(port)), &wanted(port), Tick(0)).ok()?,
                ))
            };
            (round..round + 500).filter_map(take).collect()
        };
        let (a, b) = std::thread::scope(|scope| {
            let other = scope.spawn(|| win(1));
            (win(0), other.join().unwrap())
        });
        let ports: HashSet<u16> = a.iter().chain(&b).map(|(port, _)| *port).collect();
        assert_eq!(ports.len(), a.len() + b.len());
        assert!(ports.len() > 400, "{}", ports.len());
        a.into_iter().chain(b).for_each(|(_, slot)| returns.remove(slot));
    }
}
