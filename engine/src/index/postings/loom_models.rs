//! Models of one writer and its readers. Under loom the buckets are tiny (1, 1, 2, 4, then chunks
//! of 8), so that a few pushes cross every kind of border. Every model is explored whole.
//!
//! The writer is always the first thread. Loom remembers only the last access to an atomic: where
//! the writer comes second, its own load of the length hides the reader's, and loom explores a
//! single run. That was seen by planting bugs (orderings relaxed, stores swapped): each must fail.

use loom::model;

use super::{Ascending, PostingList};
use crate::sync::{Arc, thread};
use crate::watermark::Watermark;

/// A list of 10, 20, …
fn tens(len: u64) -> PostingList {
    let list = PostingList::new();
    (1..=len).for_each(|n| list.push(n * 10));
    list
}

/// A writer pushes `pushes` postings behind `before`; a reader meanwhile counts, gets, and searches.
fn check_push(before: u64, pushes: u64) {
    model(move || {
        let list = Arc::new(tens(before));
        let reader = {
            let list = Arc::clone(&list);
            thread::spawn(move || {
                let len = list.len();
                let Some(index) = len.checked_sub(1) else { return };
                let newest = list.get(index).expect("the list only grows");
                assert_eq!(newest, 10 * len as u64, "a counted slot is written");
                assert_eq!(list.last_at_or_below(newest), Some((index, newest)));
                assert_eq!(list.partition_point_above(newest - 1), index);
            })
        };
        (before + 1..=before + pushes).for_each(|n| list.push(n * 10));
        reader.join().expect("the reader ends well");
        assert_eq!(list.last(), Some(10 * (before + pushes)));
    });
}

#[test]
fn loom_push_out_of_the_list_is_seen_whole() {
    check_push(0, 3);
}

#[test]
fn loom_push_into_a_step_is_seen_whole() {
    check_push(3, 2);
}

#[test]
fn loom_push_into_the_first_chunk_is_seen_whole() {
    check_push(7, 2);
}

#[test]
fn loom_push_into_the_next_level_is_seen_whole() {
    check_push(15, 2);
}

/// The reader knows of the slots only by the length that `truncate` published.
#[test]
fn loom_length_from_truncate_counts_written_slots() {
    model(|| {
        let list = Arc::new(PostingList::new());
        let reader = {
            let list = Arc::clone(&list);
            thread::spawn(move || {
                if let Some(kept) = list.get(0) {
                    assert_eq!(kept, 10, "a counted slot is written");
                }
            })
        };
        list.push(10);
        list.push(20);
        list.truncate(1);
        reader.join().expect("the reader ends well");
    });
}

/// What every reader of the next model must find, by the watermark it loaded.
fn visible(watermark: u64) -> &'static [u64] {
    match watermark {
        3 => &[1, 2],
        4 => &[1, 2, 3],
        7 => &[1, 2, 3, 5],
        other => panic!("{other} was never published"),
    }
}

/// The list holds 1, 2 below the watermark 3, and above it 4, 8, 9, which Raft takes back; 3 and 5
/// come in their slots, so that a reader with a stale length meets them beside 8 and 9.
fn check_truncate(read: fn(&Arc<PostingList>, u64)) {
    model(move || {
        let list = Arc::new(PostingList::new());
        [1, 2, 4, 8, 9].into_iter().for_each(|position| list.push(position));
        let watermark = Arc::new(Watermark::new(3));
        let reader = {
            let (list, watermark) = (Arc::clone(&list), Arc::clone(&watermark));
            thread::spawn(move || read(&list, watermark.get()))
        };
        list.truncate(2);
        list.push(3);
        watermark.publish(4);
        list.push(5);
        watermark.publish(7);
        reader.join().expect("the reader ends well");
        read(&list, watermark.get());
    });
}

#[test]
fn loom_truncated_postings_are_never_counted_below_the_watermark() {
    check_truncate(|list, watermark| {
        let visible = visible(watermark);
        assert_eq!(list.partition_point_above(watermark - 1), visible.len());
        let last = list.last_at_or_below(watermark - 1).expect("1 and 2 stay");
        assert_eq!(last, (visible.len() - 1, visible[visible.len() - 1]));
    });
}

#[test]
fn loom_cursor_up_never_meets_truncated_postings() {
    check_truncate(|list, watermark| {
        let mut cursor = Ascending::new(Arc::clone(list), 2);
        visible(watermark)[1..]
            .iter()
            .for_each(|expected| assert_eq!(cursor.next_below(watermark), Some(*expected)));
        assert_eq!(cursor.next_below(watermark), None);
    });
}

#[test]
fn loom_cursor_down_never_meets_truncated_postings() {
    check_truncate(|list, watermark| {
        let down = list.descending_from(watermark - 1);
        assert!(down.eq(visible(watermark).iter().rev().copied()));
    });
}

#[test]
fn loom_cursor_lives_across_watermarks_and_truncation() {
    model(|| {
        let list = Arc::new(PostingList::new());
        [1, 2, 4, 8].into_iter().for_each(|position| list.push(position));
        let watermark = Arc::new(Watermark::new(3));
        let reader = {
            let (list, watermark) = (Arc::clone(&list), Arc::clone(&watermark));
            thread::spawn(move || {
                let mut cursor = Ascending::new(list, 1);
                let mut taken = Vec::new();
                taken.extend(std::iter::from_fn(|| cursor.next_below(3)));
                let now = watermark.get();
                cursor.seek(3);
                taken.extend(std::iter::from_fn(|| cursor.next_below(now)));
                assert_eq!(taken, visible(now));
            })
        };
        list.truncate(2);
        list.push(3);
        list.push(5);
        watermark.publish(7);
        reader.join().expect("the reader ends well");
    });
}
