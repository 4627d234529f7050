//! Made-up orders: streams of a few events, as a shop would append them.

use nexus_protocol::{Append, CorrelationId, EventData, Revision};
use serde_json::{Value, json};
use uuid::Uuid;

/// Category of the streams.
pub(super) const CATEGORY: &str = "order";
/// Customers who order.
pub(super) const CUSTOMERS: u64 = 500;

const ARTICLES: [(&str, u64); 8] = [
    ("espresso-beans", 1_490),
    ("filter-papers", 390),
    ("hand-mill", 8_900),
    ("kettle", 4_450),
    ("oat-milk", 250),
    ("press", 3_290),
    ("scale", 2_700),
    ("thermos", 3_990),
];

/// Orders of one run. The same writer and number make the same order.
pub(super) struct Orders {
    run: String,
}

impl Orders {
    /// Orders whose streams carry the name of the run, so that they are new in any log.
    pub(super) fn new(run: &str) -> Self {
        Self { run: run.to_owned() }
    }

    /// The stream of events that are not orders.
    pub(super) fn stream_of_ticks(&self) -> String {
        format!("demo-{}", self.run)
    }

    /// The appends of an order, one after the other.
    pub(super) fn order(&self, writer: u64, number: u64) -> Vec<Append> {
        let mut chance = Chance(writer << 32 | number);
        let id = format!("{}-{writer}-{number}", self.run);
        let stream = format!("{CATEGORY}-{id}");
        let customer = chance.below(CUSTOMERS);
        let correlation =
            CorrelationId::from_uuid(Uuid::new_v5(&Uuid::NAMESPACE_OID, id.as_bytes()));
        let events = story(&mut chance, &id, customer);
        let mut appends = Vec::with_capacity(events.len());
        for (revision, (event_type, data)) in (0_u64..).zip(events) {
            let event = EventData::json(event_type, &data)
                .expect("a JSON value has a JSON form")
                .tag(customer_tag(customer))
                .tag(format!("order:{id}"))
                .correlation_id(correlation);
            let append = Append::to(&stream);
            let append = match Revision::new(revision).previous() {
                None => append.no_stream(),
                Some(previous) => append.at(previous),
            };
            appends.push(append.event(event));
        }
        appends
    }
}

/// The tag of a customer.
pub(super) fn customer_tag(customer: u64) -> String {
    format!("customer:{customer}")
}

/// What happens to an order.
fn story(chance: &mut Chance, id: &str, customer: u64) -> Vec<(&'static str, Value)> {
    let mut total_cents = 0;
    let mut lines = Vec::new();
    for _ in 0..=chance.below(3) {
        let at = usize::try_from(chance.below(ARTICLES.len() as u64)).unwrap_or(0);
        let (sku, price_cents) = ARTICLES.get(at).copied().unwrap_or(("gift", 0));
        let quantity = 1 + chance.below(3);
        total_cents += quantity * price_cents;
        lines.push(json!({"sku": sku, "quantity": quantity, "price_cents": price_cents}));
    }
    let placed = json!({
        "order_id": id, "customer_id": customer, "lines": lines, "total_cents": total_cents,
    });
    let mut events = vec![("OrderPlaced", placed)];
    if chance.below(20) == 0 {
        events.push(("PaymentFailed", json!({"order_id": id, "reason": "card declined"})));
        events.push(("OrderCancelled", json!({"order_id": id, "reason": "not paid"})));
        return events;
    }
    let payment = json!({"order_id": id, "captured_cents": total_cents, "method": "card"});
    events.push(("PaymentCaptured", payment));
    let parcel = format!("{:012}", chance.below(1_000_000_000_000));
    events.push(("OrderShipped", json!({"order_id": id, "carrier": "post", "parcel": parcel})));
    if chance.below(4) > 0 {
        events.push(("OrderDelivered", json!({"order_id": id, "parcel": parcel})));
    }
    events
}

/// Chance that is the same each time (splitmix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }
}

#[cfg(test)]
mod tests {
    use nexus_protocol::ExpectedRevision;
    use nexus_protocol::limits::DATA_BYTES_DEFAULT;

    use super::*;

    #[test]
    fn an_order_begins_with_its_placing_and_each_event_expects_the_one_before() {
        let orders = Orders::new("r");
        for number in 0..200 {
            let appends = orders.order(3, number);
            assert!((3..=4).contains(&appends.len()));
            for (revision, append) in appends.iter().enumerate() {
                let [stream] = append.streams.as_slice() else { panic!("one stream") };
                assert_eq!(stream.stream, format!("order-r-3-{number}"));
                stream.events[0].check(DATA_BYTES_DEFAULT).unwrap();
                match revision {
                    0 => assert_eq!(stream.expected, ExpectedRevision::NoStream),
                    n => assert_eq!(
                        stream.expected,
                        ExpectedRevision::Exact(Revision::new(n as u64 - 1))
                    ),
                }
            }
            assert_eq!(appends[0].streams[0].events[0].event_type, "OrderPlaced");
            assert_eq!(orders.order(3, number), appends, "the same order each time");
        }
    }
}
