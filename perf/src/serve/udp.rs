//! UDP echo: answers `NAME PAYLOAD`, from the very address that was asked, which a DSR backend must.

use std::io::IoSliceMut;
use std::net::SocketAddr;

use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use socket2::{Protocol, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Room for what the kernel may merge into one receive.
const BUFFER: usize = 65_536;
const SOCKET_BUFFER: usize = 4 << 20;

pub fn bind(address: SocketAddr) -> anyhow::Result<UdpSocket> {
    let socket = super::bound(address, Type::DGRAM, Protocol::UDP)?;
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    Ok(UdpSocket::from_std(socket.into())?)
}

pub async fn run(socket: UdpSocket, name: String) -> anyhow::Result<()> {
    let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
    let mut buffer = vec![0_u8; BUFFER];
    let mut answer = Vec::with_capacity(BUFFER);
    loop {
        socket.readable().await?;
        let mut meta = [RecvMeta::default()];
        let received = socket.try_io(Interest::READABLE, || {
            state.recv((&socket).into(), &mut [IoSliceMut::new(&mut buffer)], &mut meta)
        });
        if received.is_err() {
            continue;
        }
        let meta = meta[0];
        for payload in buffer[..meta.len].chunks(meta.stride.max(1)) {
            answer.clear();
            answer.extend_from_slice(name.as_bytes());
            answer.push(b' ');
            answer.extend_from_slice(payload);
            let transmit = Transmit {
                destination: meta.addr,
                ecn: None,
                contents: &answer,
                segment_size: None,
                src_ip: meta.dst_ip,
            };
            // A full send buffer or a vanished client loses this answer, as UDP may.
            let _ = socket.try_io(Interest::WRITABLE, || state.try_send((&socket).into(), &transmit));
        }
    }
}
