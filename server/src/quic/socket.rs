//! [`told_when_gone`]: a socket of which one learns when it is gone. An endpoint keeps its socket for a while after it
//! was closed, and whoever shuts down a server means to have the port back.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::sync::watch;

/// When a socket is gone.
#[derive(Clone, Debug)]
pub(crate) struct Gone(watch::Receiver<()>);

impl Gone {
    /// Waits until the port is free.
    pub(crate) async fn wait(mut self) {
        while self.0.changed().await.is_ok() {}
    }
}

/// The same socket, and what tells when it is gone.
pub(super) fn told_when_gone(socket: Arc<dyn AsyncUdpSocket>) -> (Arc<dyn AsyncUdpSocket>, Gone) {
    let (there, gone) = watch::channel(());
    (Arc::new(Held { socket, _there: there }), Gone(gone))
}

/// Fields go in their order: the socket before it is told that it has gone.
#[derive(Debug)]
struct Held {
    socket: Arc<dyn AsyncUdpSocket>,
    _there: watch::Sender<()>,
}

/// Waits to write, and keeps the socket for that.
struct HeldPoller {
    poller: Pin<Box<dyn UdpPoller>>,
    _held: Arc<Held>,
}

impl fmt::Debug for HeldPoller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.poller.fmt(f)
    }
}

impl UdpPoller for HeldPoller {
    fn poll_writable(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poller.as_mut().poll_writable(context)
    }
}

impl AsyncUdpSocket for Held {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        let poller = Arc::clone(&self.socket).create_io_poller();
        Box::pin(HeldPoller { poller, _held: self })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.socket.try_send(transmit)
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        received: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.socket.poll_recv(context, buffers, received)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.socket.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.socket.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.socket.may_fragment()
    }
}
