//! [`address_to_keep`]: where a server listens that goes away and comes back.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::ops::Range;

use crate::Random;

/// Ports that are tried, one after another.
const TRIES: usize = 64;
/// Below it are the ports of well-known services.
const LOWEST: u16 = 10_000;

/// An address of this machine that nobody listens on, neither by TCP nor by UDP, and whose port the system gives to
/// nobody who asks for any: so that a server can go away and come back there, while everything else on this machine
/// opens sockets.
///
/// # Panics
/// When all that were tried are taken.
#[must_use]
pub fn address_to_keep() -> SocketAddr {
    let ports = kept(&std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok());
    let mut random = Random::new(RandomState::new().hash_one(std::process::id()));
    for _ in 0..TRIES {
        let port = u64::from(ports.start) + random.below(ports.len() as u64);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port as u16));
        if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            return address;
        }
    }
    panic!("none of {TRIES} ports is free for both TCP and UDP");
}

/// The ports beside those that the system gives, which it tells as two numbers; its default where it does not.
fn kept(given: &Option<String>) -> Range<u16> {
    let mut numbers = given.iter().flat_map(|it| it.split_whitespace()).map(str::parse);
    let (first, last): (u16, u16) = match (numbers.next(), numbers.next()) {
        (Some(Ok(first)), Some(Ok(last))) => (first, last),
        _ => (32_768, 60_999),
    };
    let above = last.saturating_add(1)..u16::MAX;
    match (first > LOWEST, above.is_empty()) {
        (true, _) => LOWEST..first,
        (false, false) => above,
        // It gives all there are: one of them is most likely still free.
        (false, true) => LOWEST..u16::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_that_the_system_gives_are_left_to_it() {
        assert_eq!(kept(&Some("32768\t60999\n".to_owned())), 10_000..32_768);
        assert_eq!(kept(&Some("1024\t60999\n".to_owned())), 61_000..65_535);
        assert_eq!(kept(&Some("1024\t65535\n".to_owned())), 10_000..65_535);
        assert_eq!(kept(&None), 10_000..32_768);
        assert_eq!(kept(&Some("many".to_owned())), 10_000..32_768);
    }

    #[test]
    fn somebody_can_listen_there_again() {
        let address = address_to_keep();
        for _ in 0..2 {
            let (tcp, udp) = (TcpListener::bind(address), UdpSocket::bind(address));
            assert_eq!(
                tcp.unwrap().local_addr().unwrap().port(),
                udp.unwrap().local_addr().unwrap().port()
            );
        }
    }
}
