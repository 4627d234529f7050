//! Packets, their heads, and what stands in their payloads.

#![no_main]

use bytes::Bytes;
use nexus_protocol::limits::{DELIVERIES_MAX, PACKET_PAYLOAD_BYTES_MAX};
use nexus_protocol::wire::{
    Answer, AppendAnswer, DeliveriesBuilder, EndHead, Failure, Hello, ItemsBuilder, Open,
    PACKET_HEADER_BYTES, Packet, PacketDecoder, PacketKind, Welcome, decode_ack_with,
    decode_answered, decode_answers, decode_append, decode_deliveries, decode_items,
    encode_ack_with, encode_answers, encode_append,
};
use nexus_protocol::{RecordedEvent, SubscriptionItem};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let whole = packets(&[bytes]);
    // However the bytes arrive, the packets in them are the same.
    let halves = bytes.split_at(bytes.len() / 2);
    assert_eq!(packets(&[halves.0, halves.1]), whole);
    assert_eq!(packets(&bytes.chunks(7).collect::<Vec<_>>()), whole);
    whole.iter().for_each(check);
});

fn packets(parts: &[&[u8]]) -> Vec<Packet> {
    let mut decoder = PacketDecoder::default();
    let mut packets = Vec::new();
    for part in parts {
        decoder.push(part);
        loop {
            match decoder.next_packet() {
                Ok(Some(packet)) => packets.push(packet),
                Ok(None) => break,
                Err(_) => return packets,
            }
        }
    }
    packets
}

fn check(packet: &Packet) {
    assert!(packet.head.len() + packet.payload.len() < 64 << 20);
    assert!(PACKET_HEADER_BYTES == 16);
    match packet.kind {
        PacketKind::Hello => drop(packet.message::<Hello>()),
        PacketKind::Welcome => drop(packet.message::<Welcome>()),
        PacketKind::Open => drop(packet.message::<Open>()),
        PacketKind::Append => check_append(packet),
        PacketKind::Appended => drop(packet.message::<Vec<AppendAnswer>>()),
        PacketKind::Items => check_items(&packet.payload),
        PacketKind::End => drop(packet.message::<EndHead>()),
        PacketKind::Answer => drop(packet.message::<Answer>()),
        PacketKind::Failure => drop(packet.message::<Failure>()),
        PacketKind::Credit => drop(packet.message::<u32>()),
        PacketKind::Deliveries => check_deliveries(packet),
        PacketKind::Answers => check_answers(packet),
        PacketKind::AckWith => check_ack_with(packet),
        PacketKind::Answered => drop(decode_answered(&packet.head)),
    }
}

/// What a client could have sent is encoded again and decodes to the same.
fn check_append(packet: &Packet) {
    let Ok(append) = decode_append(&packet.head, &packet.payload) else { return };
    let Ok(again) = encode_append(&append) else { return };
    let again = packets(&[&again]).pop().expect("it was just encoded");
    assert_eq!(decode_append(&again.head, &again.payload).expect("it was just encoded"), append);
}

/// What a server could have sent is encoded again and decodes to the same.
fn check_deliveries(packet: &Packet) {
    let Ok(deliveries) = decode_deliveries(&packet.head, &packet.payload) else { return };
    assert!(deliveries.len() <= DELIVERIES_MAX);
    let mut builder = DeliveriesBuilder::default();
    deliveries.iter().for_each(|delivery| builder.push(delivery));
    let again = packets(&[&builder.take()]).pop().expect("it was just encoded");
    let decoded = decode_deliveries(&again.head, &again.payload);
    assert_eq!(decoded.expect("it was just encoded"), deliveries);
}

/// What a client could have sent is encoded again and decodes to the same.
fn check_answers(packet: &Packet) {
    let Ok(answers) = decode_answers(&packet.head) else { return };
    let again = encode_answers(answers.seq, &answers.tokens, &answers.said);
    let again = packets(&[&again.expect("it is within its bounds")]).pop();
    let again = again.expect("it was just encoded");
    assert_eq!(decode_answers(&again.head).expect("it was just encoded"), answers);
}

/// The same of what comes with an append.
fn check_ack_with(packet: &Packet) {
    let Ok(with) = decode_ack_with(&packet.head, &packet.payload) else { return };
    let Ok(again) = encode_ack_with(with.seq, &with.tokens, &with.append) else { return };
    let again = packets(&[&again]).pop().expect("it was just encoded");
    let decoded = decode_ack_with(&again.head, &again.payload);
    assert_eq!(decoded.expect("it was just encoded"), with);
}

/// What decodes is encoded to the same bytes. An event of a block is sent alone here: only where its own
/// checksum holds as well, which that of the block stood for.
fn check_items(payload: &Bytes) {
    let Ok(mut items) = decode_items(payload) else { return };
    items.retain(|item| match item {
        SubscriptionItem::Event(event) => RecordedEvent::decode(event.as_bytes().clone()).is_ok(),
        _ => true,
    });
    let mut builder = ItemsBuilder::default();
    items.iter().for_each(|item: &SubscriptionItem| builder.push(item));
    if builder.bytes() > PACKET_PAYLOAD_BYTES_MAX {
        return;
    }
    let again = packets(&[&builder.take()]).pop().expect("it was just encoded");
    assert_eq!(decode_items(&again.payload).expect("it was just encoded"), items);
}
