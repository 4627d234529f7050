//! Posting lists against a plain vector.

use proptest::prelude::*;

use super::{CHUNK_SLOTS, PostingList};
use crate::sync::{Arc, thread};

/// The positions 10, 20, … as a list of `len`.
fn tens(len: u64) -> PostingList {
    let list = PostingList::new();
    (1..=len).for_each(|n| list.push(n * 10));
    list
}

#[test]
fn empty_list_answers() {
    let list = PostingList::new();
    assert!(list.is_empty());
    assert_eq!((list.len(), list.get(0), list.last()), (0, None, None));
    assert_eq!(list.partition_point_above(u64::MAX), 0);
    assert_eq!(list.last_at_or_below(u64::MAX), None);
    assert_eq!(list.ascending_from(0).next(), None);
    assert_eq!(list.descending_from(u64::MAX).next(), None);
}

#[test]
fn short_list_costs_no_allocation() {
    assert_eq!(tens(3).memory_bytes(), 48);
    assert_eq!(tens(8).memory_bytes(), 48 + 56);
    assert!(tens(9).memory_bytes() < 512);
}

#[test]
fn long_list_costs_less_than_24_bytes_a_posting() {
    let list = tens(99);
    for len in 100..20_000 {
        list.push(len * 10);
        let bytes = u64::try_from(list.memory_bytes()).unwrap();
        assert!(bytes < len * 24, "{len} postings take {bytes} bytes");
    }
    assert!(tens(1_000_000).memory_bytes() < 8_200_000);
}

#[test]
fn every_index_is_found_at_every_length() {
    let list = PostingList::new();
    let chunk = u64::try_from(CHUNK_SLOTS).unwrap();
    for n in 0..chunk * 9 {
        list.push(n * 3 + 1);
        let index = usize::try_from(n).unwrap();
        assert_eq!(list.get(index), Some(n * 3 + 1));
        assert_eq!(list.get(index + 1), None);
        assert_eq!(list.last(), Some(n * 3 + 1));
    }
    for n in 0..chunk * 9 {
        let index = usize::try_from(n).unwrap();
        assert_eq!(list.get(index), Some(n * 3 + 1));
        assert_eq!(list.partition_point_above(n * 3), index);
        assert_eq!(list.last_at_or_below(n * 3 + 2), Some((index, n * 3 + 1)));
    }
}

#[test]
#[should_panic(expected = "posting 20 pushed after 20")]
fn push_refuses_what_does_not_ascend() {
    tens(2).push(20);
}

#[test]
#[should_panic(expected = "2 postings cannot be truncated to 3")]
fn truncate_refuses_to_grow() {
    tens(2).truncate(3);
}

#[test]
fn zero_and_the_greatest_position_are_postings() {
    let list = PostingList::new();
    list.push(0);
    list.push(u64::MAX);
    assert_eq!(list.partition_point_above(0), 1);
    assert_eq!(list.ascending_from(0).collect::<Vec<_>>(), [0, u64::MAX]);
    assert_eq!(list.descending_from(u64::MAX).collect::<Vec<_>>(), [u64::MAX, 0]);
}

#[test]
fn cursor_sees_later_pushes_and_stays_below_its_bound() {
    let list = Arc::new(tens(3));
    let mut cursor = super::Ascending::new(Arc::clone(&list), 11);
    assert_eq!(cursor.next_below(30), Some(20));
    assert_eq!(cursor.next_below(30), None);
    list.truncate(2);
    list.push(25);
    assert_eq!(cursor.next_below(30), Some(25));
    assert_eq!(cursor.peek_below(u64::MAX), None);
}

/// What is done to the list and, beside it, to a `Vec`.
#[derive(Clone, Debug)]
enum Step {
    /// Push so many, each this much above the one before.
    Push { count: usize, gap: u64 },
    /// Keep this many parts of 256.
    Truncate { keep: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (1_usize..700, 1_u64..5).prop_map(|(count, gap)| Step::Push { count, gap }),
        3 => (1_usize..5, 1_u64..5).prop_map(|(count, gap)| Step::Push { count, gap }),
        1 => (0_usize..=256).prop_map(|keep| Step::Truncate { keep }),
    ];
    prop::collection::vec(step, 0..12)
}

/// Holds every answer about `position` against the model's.
fn check_position(list: &PostingList, model: &[u64], position: u64) {
    let above = model.partition_point(|value| *value <= position);
    let from = model.partition_point(|value| *value < position);
    assert_eq!(list.partition_point_above(position), above);
    let last = above.checked_sub(1).map(|index| (index, model[index]));
    assert_eq!(list.last_at_or_below(position), last);
    assert!(list.ascending_from(position).eq(model[from..].iter().copied()));
    assert!(list.descending_from(position).eq(model[..above].iter().rev().copied()));
}

/// Moves both cursors along `targets` and holds them against the model.
fn check_seek(list: &PostingList, model: &[u64], mut targets: Vec<u64>) {
    targets.sort_unstable();
    let mut up = list.ascending_from(0);
    for target in &targets {
        up.seek(*target);
        assert_eq!(up.peek_below(u64::MAX), model.iter().copied().find(|v| v >= target));
    }
    let mut down = list.descending_from(u64::MAX);
    for target in targets.iter().rev() {
        down.seek(*target);
        assert_eq!(down.peek(), model.iter().rev().copied().find(|v| v <= target));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn list_agrees_with_a_vec(
        steps in steps(),
        questions in prop::collection::vec(0_u64..12_000, 1..20),
    ) {
        let (list, mut model) = (PostingList::new(), Vec::new());
        for step in steps {
            match step {
                Step::Push { count, gap } => for _ in 0..count {
                    let position = model.last().map_or(0, |last| last + gap);
                    list.push(position);
                    model.push(position);
                },
                Step::Truncate { keep } => {
                    let len = model.len() * keep / 256;
                    list.truncate(len);
                    model.truncate(len);
                }
            }
            prop_assert_eq!(list.len(), model.len());
            prop_assert_eq!(list.last(), model.last().copied());
        }
        prop_assert!((0..list.len()).map_while(|index| list.get(index)).eq(model.iter().copied()));
        questions.iter().for_each(|position| check_position(&list, &model, *position));
        check_seek(&list, &model, questions);
    }
}

#[test]
fn readers_keep_up_with_the_writer() {
    const POSTINGS: u64 = 200_000;
    let list = Arc::new(PostingList::new());
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let list = Arc::clone(&list);
            thread::spawn(move || {
                let mut expected = 0;
                let mut cursor = super::Ascending::new(Arc::clone(&list), 0);
                while expected < POSTINGS {
                    for position in cursor.by_ref() {
                        assert_eq!(position, expected * 2);
                        expected += 1;
                    }
                    let seen = list.len();
                    let above = list.partition_point_above(expected * 2);
                    assert!(above >= seen.min(usize::try_from(expected).unwrap()));
                    thread::yield_now();
                }
            })
        })
        .collect();
    (0..POSTINGS).for_each(|n| list.push(n * 2));
    readers.into_iter().for_each(|reader| reader.join().unwrap());
}
