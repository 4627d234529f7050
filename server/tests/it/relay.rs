//! [`Relay`]: a piece of network between client and server that can lose what the server says.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::net::UdpSocket;
use tokio::runtime::Runtime;

/// Larger than any datagram of QUIC over loopback.
const DATAGRAM_MAX: usize = 65_536;

/// Passes datagrams on, both ways.
pub(crate) struct Relay {
    address: SocketAddr,
    deaf: Arc<AtomicBool>,
}

impl Relay {
    /// Before this server, on this runtime.
    pub(crate) fn before(server: SocketAddr, runtime: &Runtime) -> Self {
        let socket = Arc::new(runtime.block_on(UdpSocket::bind("127.0.0.1:0")).unwrap());
        let address = socket.local_addr().unwrap();
        let deaf = Arc::new(AtomicBool::new(false));
        runtime.spawn(pass_to_server(socket, server, Arc::clone(&deaf)));
        Self { address, deaf }
    }

    /// Where clients find it.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether clients hear nothing of the server; it still hears them.
    pub(crate) fn deafen(&self, deaf: bool) {
        self.deaf.store(deaf, Ordering::Release);
    }
}

async fn pass_to_server(socket: Arc<UdpSocket>, server: SocketAddr, deaf: Arc<AtomicBool>) {
    let mut clients: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut datagram = vec![0; DATAGRAM_MAX];
    loop {
        let Ok((bytes, client)) = socket.recv_from(&mut datagram).await else { continue };
        let there = match clients.get(&client) {
            Some(there) => Arc::clone(there),
            None => {
                let there = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
                there.connect(server).await.unwrap();
                let (from, to) = (Arc::clone(&there), Arc::clone(&socket));
                tokio::spawn(pass_to_client(from, to, client, Arc::clone(&deaf)));
                clients.insert(client, Arc::clone(&there));
                there
            }
        };
        let _ = there.send(&datagram[..bytes]).await;
    }
}

async fn pass_to_client(
    from: Arc<UdpSocket>,
    to: Arc<UdpSocket>,
    client: SocketAddr,
    deaf: Arc<AtomicBool>,
) {
    let mut datagram = vec![0; DATAGRAM_MAX];
    loop {
        let Ok(bytes) = from.recv(&mut datagram).await else { continue };
        if !deaf.load(Ordering::Acquire) {
            let _ = to.send_to(&datagram[..bytes], client).await;
        }
    }
}
