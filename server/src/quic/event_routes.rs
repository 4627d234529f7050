//! What is asked of routes.

use bytes::Bytes;
use nexus_node::Access;
use nexus_protocol::limits::PACKET_HEAD_BYTES_MAX;
use nexus_protocol::route::RouteConfig;
use nexus_protocol::wire::{
    Answer, DryRunHead, PacketKind, RouteAsk, WireError, try_encode_packet,
};
use nexus_protocol::{AppendError, Invalid, TooLarge};

fn not_right(why: &WireError) -> AppendError {
    Invalid::Request(why.to_string()).into()
}

/// Answers one question about a route. Blocks on the disk. What no handler is asked, since it cannot be right, `not_one` is
/// told.
///
/// # Errors
/// As the handlers say; `TooLarge` of an answer that fits no packet.
pub(super) fn answer(
    access: &Access,
    route: &str,
    ask: RouteAsk,
    not_one: impl Fn(&AppendError),
) -> Result<Bytes, AppendError> {
    let invalid = |why: WireError| {
        let error = not_right(&why);
        not_one(&error);
        error
    };
    let mut payload = Vec::new();
    let answer = match ask {
        RouteAsk::Set(config) => {
            let config = RouteConfig::try_from(config).map_err(invalid)?;
            Answer::RouteSet { made: access.set_route(route, &config)? }
        }
        RouteAsk::Names => Answer::Routes(access.routes()?),
        RouteAsk::Info => Answer::Route(Box::new((&access.route(route)?).into())),
        RouteAsk::Delete => access.delete_route(route).map(|()| Answer::Done)?,
        RouteAsk::DryRun { config, limit } => {
            let config = config.map(RouteConfig::try_from).transpose().map_err(invalid)?;
            let run = access.dry_run(route, config, limit as usize)?;
            payload = DryRunHead::payload_of(&run);
            Answer::DryRun((&run).into())
        }
    };
    try_encode_packet(PacketKind::Answer, &answer, &payload).map_err(|why| {
        let error = match why {
            WireError::TooLarge { bytes, .. } => AppendError::TooLarge(TooLarge {
                what: "an answer about a route, in bytes".into(),
                size: bytes,
                max: PACKET_HEAD_BYTES_MAX,
            }),
            why => not_right(&why),
        };
        not_one(&error);
        error
    })
}
