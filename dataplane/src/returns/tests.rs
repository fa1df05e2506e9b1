use super::*;

#[test]
fn an_empty_table_finds_nothing() {
    let endpoint = Endpoint {
        addr: "10.0.0.1".parse().unwrap(),
        port: 1,
    };
    let key = ReplyKey {
        backend: endpoint,
        to: endpoint,
        via: Via::Client,
        protocol: Protocol::Tcp,
    };
    assert_eq!(NatReturns::new(16).find(FlowHash(7), &key), None);
}
