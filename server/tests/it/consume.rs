//! Sessions of consumers, packet by packet: credit is kept to, and who does not keep to the protocol is no consumer any
//! more. What a client makes of them is tried by the tests of `client/`.

use std::time::Duration;

use bytes::Bytes;
use nexus_client::Client;
use nexus_protocol::group::{Delivery, GroupConfig, Refused};
use nexus_protocol::wire::{
    Operation, PacketDecoder, PacketKind, Said, decode_answered, decode_deliveries, encode_answers,
    encode_packet,
};
use nexus_protocol::{Append, EventData};
use quinn::{Connection, Endpoint, RecvStream, SendStream};

use crate::enemies::{greeted_with, open, reason};
use crate::stores::Running;

/// A stream of a connection, and what has come of it.
struct Stream {
    _endpoint: Endpoint,
    _connection: Connection,
    send: SendStream,
    recv: RecvStream,
    decoder: PacketDecoder,
}

impl Stream {
    /// Of a consumer with so much credit, which says this besides.
    async fn consumer(running: &Running, consumer: &str, credit: u32, more: &[u8]) -> Self {
        let (endpoint, connection) = greeted_with(running, 3).await;
        let (mut send, recv) = connection.open_bi().await.unwrap();
        let (group, consumer) = ("mail".to_owned(), consumer.to_owned());
        let operation = Operation::Consume { group, consumer, credit, max: 1000 };
        send.write_all(&[&open(operation), more].concat()).await.unwrap();
        let decoder = PacketDecoder::default();
        Self { _endpoint: endpoint, _connection: connection, send, recv, decoder }
    }

    async fn packet(&mut self) -> nexus_protocol::wire::Packet {
        loop {
            if let Some(packet) = self.decoder.next_packet().unwrap() {
                return packet;
            }
            let chunk = self.recv.read_chunk(64 * 1024, true).await.unwrap();
            self.decoder.push(&chunk.expect("the server says more").bytes);
        }
    }

    async fn deliveries(&mut self, count: usize) -> Vec<Delivery> {
        let mut all = Vec::new();
        while all.len() < count {
            let packet = self.packet().await;
            assert_eq!(packet.kind, PacketKind::Deliveries);
            all.extend(decode_deliveries(&packet.head, &packet.payload).unwrap());
        }
        all
    }
}

async fn group_of(client: &Client, events: u64) {
    client.set_group("mail", &GroupConfig::default()).await.unwrap();
    for number in 0..events {
        let event = EventData::json("Counted", &number).unwrap();
        client.append(Append::to(format!("count-{number}")).event(event)).await.unwrap();
    }
}

#[test]
fn credit_is_kept_to_and_answers_are_answered_by_their_numbers() {
    let running = Running::in_memory();
    let client = running.client();
    running.runtime.block_on(async {
        group_of(&client, 5).await;
        let mut stream = Stream::consumer(&running, "a", 2, b"").await;
        let first = stream.deliveries(2).await;
        assert_eq!(first.len(), 2);
        for _ in 0..20 {
            assert_eq!(client.group("mail").await.unwrap().in_flight, 2);
        }
        let credit = encode_packet(PacketKind::Credit, &1_u32, &[]);
        stream.send.write_all(&credit).await.unwrap();
        let third = stream.deliveries(1).await;
        assert_eq!(third.len(), 1);
        // Many packets at a time, one of which says again what another said.
        let acks = [7, 3, u64::MAX].map(|seq| {
            let token = if seq == 7 { first[0].token } else { first[1].token };
            encode_answers(seq, &[token], &Said::Ack).unwrap()
        });
        stream.send.write_all(&acks.concat()).await.unwrap();
        let mut outcomes = Vec::new();
        while outcomes.len() < 3 {
            let packet = stream.packet().await;
            assert_eq!(packet.kind, PacketKind::Answered);
            outcomes.extend(decode_answered(&packet.head).unwrap());
        }
        outcomes.sort_by_key(|(seq, _)| *seq);
        let seqs: Vec<_> = outcomes.iter().map(|(seq, _)| *seq).collect();
        assert_eq!(seqs, [3, 7, u64::MAX]);
        let done = outcomes.iter().map(|(_, outcome)| outcome.as_ref().unwrap().0.done);
        assert_eq!(done.sum::<u64>(), 2);
        let refused = outcomes.iter().flat_map(|(_, it)| it.as_ref().unwrap().0.refused.clone());
        assert!(refused.map(|it| it.why).eq([Refused::AlreadyAcked]));
        // Who finishes has left: the third is with somebody else at once, for the first time.
        stream.send.finish().unwrap();
        assert_eq!(stream.recv.read_chunk(1024, true).await.unwrap(), None);
        let other = client.consumer("mail", "b");
        let mut again = Vec::new();
        while again.len() < 3 {
            again.extend(other.receive(3, Duration::from_secs(30)).await.unwrap());
        }
        assert!(again.iter().all(|it| it.attempt == 1));
        assert!(again.iter().any(|it| it.token.position == third[0].token.position));
    });
}

#[test]
fn who_does_not_keep_to_the_protocol_is_no_consumer() {
    let running = Running::in_memory();
    let client = running.client();
    running.runtime.block_on(async {
        group_of(&client, 1).await;
        let garbage = encode_packet(PacketKind::Answers, &vec![7_u64; 3], &[]);
        let deliveries = encode_packet(PacketKind::Deliveries, &(), &[]);
        let mut too_long = encode_packet(PacketKind::Answers, &(), &[]).to_vec();
        too_long[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        let records = encode_packet(PacketKind::AckWith, &(), b"no records");
        let cases: [(Bytes, &str); 5] = [
            (garbage, "malformed"),
            (deliveries, "came where credit or answers"),
            (too_long.into(), "at most 65536 are allowed"),
            (records, "malformed"),
            (Bytes::from_static(b"GET / HTTP/1.1\r\n\r\n"), "not a packet"),
        ];
        for (bytes, why) in cases {
            let mut stream = Stream::consumer(&running, "enemy", 0, &bytes).await;
            let said = reason(&stream.packet().await);
            assert!(said.contains(why), "{said}");
        }
        // Nor is who names itself badly, or a group that is not there.
        for (group, consumer, why) in
            [("mail", "", "empty"), ("a b", "c", "group name"), ("other", "c", "create it first")]
        {
            let (_endpoint, connection) = greeted_with(&running, 3).await;
            let (group, consumer) = (group.to_owned(), consumer.to_owned());
            let operation = Operation::Consume { group, consumer, credit: 1, max: 1 };
            let packet = crate::enemies::begin(&connection, &open(operation)).await.unwrap();
            let said = reason(&packet);
            assert!(said.contains(why), "{said}");
        }
        assert!(client.group("mail").await.unwrap().members.is_empty());
    });
}

/// The time for an answer is half a minute: it comes at once.
#[test]
fn a_connection_that_is_lost_leaves_nothing_behind() {
    let running = Running::in_memory();
    let client = running.client();
    running.runtime.block_on(async {
        group_of(&client, 2).await;
        let mut stream = Stream::consumer(&running, "a", 2, b"").await;
        let taken = stream.deliveries(2).await;
        // What was said before is decided all the same.
        let ack = encode_answers(1, &[taken[0].token], &Said::Ack).unwrap();
        stream.send.write_all(&ack).await.unwrap();
        assert_eq!(stream.packet().await.kind, PacketKind::Answered);
        stream._connection.close(0_u32.into(), b"gone");
        let other = client.consumer("mail", "b");
        let again = other.receive(2, Duration::from_secs(25)).await.unwrap();
        assert_eq!(again.len(), 1);
        assert_eq!((again[0].attempt, again[0].token.position), (2, taken[1].token.position));
    });
}
