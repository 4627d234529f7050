//! The ceilings of the QUIC door: a raw client and a raw server understand each other.

use bytes::Bytes;
use nexus_client::raw::RawConnection;
use nexus_node::config::Certificate;
use nexus_server::raw::RawServer;

#[tokio::test(flavor = "multi_thread")]
async fn a_raw_server_echoes_gives_and_takes() {
    let server = RawServer::start(Certificate::temporary().unwrap()).unwrap();
    let raw = RawConnection::connect(server.address().unwrap()).await.unwrap();
    let mut echo = raw.echo().await.unwrap();
    for length in [1, 256, 100_000] {
        echo.round_trip(Bytes::from(vec![3; length])).await.unwrap();
    }
    for length in [0, 1, 1_000_000] {
        raw.fetch(length).await.unwrap();
    }
    raw.send(&Bytes::from(vec![5; 70_000]), 9).await.unwrap();
    drop(server);
    let ended = echo.round_trip(Bytes::from_static(b"there?")).await.unwrap_err();
    assert!(ended.to_string().contains("127.0.0.1"), "{ended}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_raw_connection_leads_nowhere_else() {
    // A server of Nexus speaks another protocol, and other machines are not measured.
    let far = RawConnection::connect(([192, 0, 2, 1], 7420).into()).await.unwrap_err();
    assert!(far.to_string().contains("of this machine"), "{far}");
}
