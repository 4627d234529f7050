//! The one filter grammar, in reads of the log and of streams.

use nexus_protocol::limits::{FILTER_ALTERNATIVES_MAX, FILTER_VALUES_MAX};
use nexus_protocol::{Append, EventStore, Filter, FilterItem, Read, ReadError};

use super::ask::{append, numbers, try_read, typed};

/// Twelve events: data is the position, the stream, type, and tags go in cycles.
async fn twelve(store: &impl EventStore) {
    let streams = ["order-1", "order-2", "invoice-1", "order"];
    for number in 0..12 {
        let stream = streams[usize::try_from(number).unwrap() % 4];
        let event_type = ["Placed", "Paid", "Shipped"][usize::try_from(number).unwrap() % 3];
        let mut event = typed(event_type, number).tag(format!("parity:{}", number % 2));
        if number >= 6 {
            event = event.tag("half:late");
        }
        append(store, Append::to(stream).event(event)).await;
    }
}

fn owned(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

fn item(change: impl FnOnce(&mut FilterItem)) -> FilterItem {
    let mut item = FilterItem::default();
    change(&mut item);
    item
}

/// Reads with the filter, both ways, in one piece and in pieces.
async fn check(store: &impl EventStore, filter: Filter, wanted: &[u64]) {
    let all = Read::all().filter(filter.clone());
    assert_eq!(numbers(store, all.clone()).await, wanted, "{filter:?}");
    let mut backwards = numbers(store, all.clone().backwards()).await;
    backwards.reverse();
    assert_eq!(backwards, wanted, "{filter:?}");
    for from in 0..13 {
        let read = all.clone().from_position(nexus_protocol::Position::new(from)).limit(2);
        let found = numbers(store, read.clone()).await;
        let rest: Vec<u64> = wanted.iter().copied().filter(|n| *n >= from).take(2).collect();
        assert_eq!(found, rest, "{filter:?} from {from}");
        let found = numbers(store, read.backwards()).await;
        let rest: Vec<u64> = wanted.iter().rev().copied().filter(|n| *n <= from).take(2).collect();
        assert_eq!(found, rest, "{filter:?} back from {from}");
    }
}

pub(super) async fn every_member_selects<S: EventStore>(store: S) {
    twelve(&store).await;
    check(&store, Filter::all(), &(0..12).collect::<Vec<_>>()).await;
    check(&store, Filter::category("order"), &[0, 1, 3, 4, 5, 7, 8, 9, 11]).await;
    check(&store, Filter::category("invoice"), &[2, 6, 10]).await;
    check(&store, Filter::category("order-1"), &[]).await;
    check(&store, Filter::event_type("Paid"), &[1, 4, 7, 10]).await;
    check(&store, Filter::tag("half:late"), &[6, 7, 8, 9, 10, 11]).await;
    check(&store, Filter::tag("half:early"), &[]).await;
    check(&store, Filter::stream_prefix("order-"), &[0, 1, 4, 5, 8, 9]).await;
    check(&store, Filter::stream_prefix("or"), &[0, 1, 3, 4, 5, 7, 8, 9, 11]).await;
    check(&store, Filter::any([item(|i| i.streams = owned(&["order"]))]), &[3, 7, 11]).await;
    check(&store, Filter::any([item(|i| i.streams = owned(&["order", "no"]))]), &[3, 7, 11]).await;
}

pub(super) async fn members_are_anded_and_alternatives_ored<S: EventStore>(store: S) {
    twelve(&store).await;
    let both = |i: &mut FilterItem| {
        i.types = owned(&["Paid", "Shipped"]);
        i.tags = owned(&["half:late", "parity:0"]);
    };
    check(&store, Filter::any([item(both)]), &[8, 10]).await;
    let all = |i: &mut FilterItem| {
        both(i);
        i.categories = owned(&["order"]);
        i.streams = owned(&["order-1", "invoice-1"]);
        i.stream_prefix = owned(&["order-1", "x"]);
    };
    check(&store, Filter::any([item(all)]), &[8]).await;
    let paid = item(|i| i.types = owned(&["Paid"]));
    let invoices = item(|i| i.categories = owned(&["invoice"]));
    let order = item(|i| i.stream_prefix = owned(&["order-2"]));
    let none = item(|i| i.tags = owned(&["half:late", "half:early"]));
    check(&store, Filter::any([paid.clone(), invoices.clone()]), &[1, 2, 4, 6, 7, 10]).await;
    check(&store, Filter::any([paid, invoices, order]), &[1, 2, 4, 5, 6, 7, 9, 10]).await;
    check(&store, Filter::any([none.clone()]), &[]).await;
    check(&store, Filter::any([none, FilterItem::default()]), &(0..12).collect::<Vec<_>>()).await;
}

pub(super) async fn filters_hold_in_reads_of_a_stream<S: EventStore>(store: S) {
    twelve(&store).await;
    let read = |filter| Read::stream("order-1").filter(filter);
    assert_eq!(numbers(&store, read(Filter::all())).await, [0, 4, 8]);
    assert_eq!(numbers(&store, read(Filter::event_type("Paid"))).await, [4]);
    assert_eq!(numbers(&store, read(Filter::tag("parity:0")).backwards().limit(2)).await, [8, 4]);
    assert!(numbers(&store, read(Filter::category("invoice"))).await.is_empty());
}

pub(super) async fn filters_are_bounded<S: EventStore>(store: S) {
    twelve(&store).await;
    let many = vec!["Placed".to_owned(); FILTER_VALUES_MAX + 1];
    let alternative = item(|i| i.types = owned(&["Placed"]));
    let refused = [
        Filter::any([item(|i| i.types = many)]),
        Filter::any(vec![alternative.clone(); FILTER_ALTERNATIVES_MAX + 1]),
    ];
    for filter in refused {
        let error = try_read(&store, Read::all().filter(filter)).await.unwrap_err();
        assert!(matches!(error, ReadError::Invalid(_)), "{error}");
    }
    check(&store, Filter::any(vec![alternative; FILTER_ALTERNATIVES_MAX]), &[0, 3, 6, 9]).await;
}
