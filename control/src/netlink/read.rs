//! Dumps: the whole of one kind at a time.

use futures_util::{Stream, TryStreamExt};
use maglane_shared::addr::Addr;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::route::RouteMessage;
use rtnetlink::{Error, Handle};

use super::decode;
use crate::error::ControlError;
use crate::routes::{Link, Neighbor, Route};

pub(super) async fn links(handle: &Handle) -> Result<Vec<Link>, ControlError> {
    dump("links", handle.link().get().execute(), |message| {
        decode::link(&message)
    })
    .await
}

pub(super) async fn addresses(handle: &Handle) -> Result<Vec<Addr>, ControlError> {
    dump("addresses", handle.address().get().execute(), |message| {
        decode::address(&message)
    })
    .await
}

pub(super) async fn routes(handle: &Handle) -> Result<Vec<Route>, ControlError> {
    let mut all = vec![];
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut request = RouteMessage::default();
        request.header.address_family = family;
        all.extend(
            dump("routes", handle.route().get(request).execute(), |message| {
                decode::route(&message)
            })
            .await?,
        );
    }
    Ok(all)
}

pub(super) async fn neighbors(handle: &Handle) -> Result<Vec<Neighbor>, ControlError> {
    dump("neighbours", handle.neighbours().get().execute(), |message| {
        decode::neighbor(&message)
    })
    .await
}

async fn dump<M, T>(
    what: &'static str,
    messages: impl Stream<Item = Result<M, Error>>,
    decode: impl Fn(M) -> Option<T>,
) -> Result<Vec<T>, ControlError> {
    let all: Vec<M> = messages
        .try_collect()
        .await
        .map_err(|error| ControlError::NetlinkRead {
            what,
            detail: error.to_string(),
        })?;
    Ok(all.into_iter().filter_map(decode).collect())
}
