//! What a schema may cost: schemas are an outsider's, and payloads are checked against them again and again.
//!
//! A validator meets a value with a schema, with all that this one applies to the same value, and so on. That must come
//! to an end ([`check_in_place`]), and must not double from one level of the payload to the next ([`check_fans`]).

use super::keywords::Meets;
use super::places::{Key, Places};
use crate::SchemaError;

/// Schemas that one value may be met with, counted as often as it is met with them: `allOf` of two that are each `allOf`
/// of the same two is six. It bounds the time that a value takes, and the size of a validator.
const MEETINGS_MAX: u64 = 100_000;

/// How many schemas may lead to each other on one value. It bounds the stack that a validator takes.
const IN_PLACE_DEPTH_MAX: u32 = 48;

/// Powers of two that a payload may be met with: the product of how many schemas with parts meet each level of it.
const FANS_LOG2_MAX: f64 = 20.0;

/// Where counting ends how often one value may be met; see [`Cost::meetings`].
const COUNTED_MAX: u64 = 1_000_000;

/// Levels of a payload: none that was read has more.
const LEVELS_MAX: usize = 128;

/// What meeting a payload with the schema costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cost {
    /// How many schemas may lead to each other on one value.
    pub(super) depth: u32,
    /// How often one value and what is inside of it is met, by the levels of the payload, where nothing is remembered of
    /// what was met before.
    meetings: Vec<u64>,
}

impl Cost {
    /// How many schemas are met on the way to one value of a payload with so many levels, where nothing is remembered.
    pub(super) fn meetings(&self, levels: usize) -> u64 {
        let known = self.meetings.get(levels.saturating_sub(1)).or(self.meetings.last());
        known.copied().unwrap_or_default()
    }
}

#[derive(Clone, Copy, Default)]
struct InPlace {
    done: bool,
    open: bool,
    parts: bool,
    meetings: u64,
    depth: u32,
    fan: u64,
}

/// Checks all of it. Says of each place, too, whether what it applies to one value speaks of parts of that.
pub(super) fn check(places: &Places<'_>) -> Result<(Cost, Vec<bool>), SchemaError> {
    let (found, order) = check_in_place(places)?;
    check_fans(places, &found)?;
    let depth = found.iter().map(|it| it.depth).max().unwrap_or_default();
    let cost = Cost { depth, meetings: count_meetings(places, &order) };
    Ok((cost, found.iter().map(|it| it.parts).collect()))
}

/// Counts level by level. `order` has each place after those that it applies to the same value.
fn count_meetings(places: &Places<'_>, order: &[usize]) -> Vec<u64> {
    let mut counted = Vec::new();
    let mut below = vec![0_u64; places.all.len()];
    while counted.len() < LEVELS_MAX {
        let mut here = vec![0_u64; places.all.len()];
        for place in order {
            let (mut sum, mut one_of_them) = (1_u64, 0);
            for way in places.ways(*place) {
                let at = |counts: &[u64]| counts.get(way.to).copied().unwrap_or_default();
                match (way.meets, way.keyword, way.key) {
                    (Meets::Nothing, ..) => {}
                    (Meets::Same, ..) => sum = sum.saturating_add(at(&here)),
                    // A part is one of these.
                    (_, "properties" | "prefixItems", _) | (_, "items", Key::Index(_)) => {
                        one_of_them = at(&below).max(one_of_them);
                    }
                    _ => sum = sum.saturating_add(at(&below)),
                }
            }
            if let Some(it) = here.get_mut(*place) {
                *it = sum.saturating_add(one_of_them);
            }
        }
        let first = here.first().copied().unwrap_or_default();
        counted.push(first);
        if first > COUNTED_MAX || here == below {
            break;
        }
        below = here;
    }
    counted
}

/// Counts what each place leads to on the same value. Walks with a stack of its own: references make chains of any length.
fn check_in_place(places: &Places<'_>) -> Result<(Vec<InPlace>, Vec<usize>), SchemaError> {
    let mut order = Vec::with_capacity(places.all.len());
    let mut found = vec![InPlace::default(); places.all.len()];
    for start in 0..places.all.len() {
        let mut stack = vec![(start, 0_usize)];
        while let Some((place, next)) = stack.pop() {
            let here = found.get(place).copied().unwrap_or_default();
            if here.done {
                continue;
            }
            let ways = places.ways(place);
            if next == 0 {
                let parts = ways.iter().any(|it| it.meets == Meets::Part);
                let well_known = places.all.get(place).is_some_and(|it| it.well_known);
                let fan = u64::from(parts && !well_known);
                let begun = InPlace { done: false, open: true, parts, meetings: 1, depth: 1, fan };
                set(&mut found, place, begun);
            }
            // The way that was walked last is done now: what it costs counts here as well.
            if let Some(way) = next.checked_sub(1).and_then(|it| ways.get(it))
                && way.meets == Meets::Same
            {
                let inner = found.get(way.to).copied().unwrap_or_default();
                let sum = InPlace {
                    parts: here.parts || inner.parts,
                    meetings: here.meetings.saturating_add(inner.meetings),
                    depth: here.depth.max(inner.depth + 1),
                    fan: here.fan.saturating_add(inner.fan),
                    ..here
                };
                check_cost(places, place, &sum)?;
                set(&mut found, place, sum);
            }
            match ways.get(next) {
                Some(way) => {
                    stack.push((place, next + 1));
                    let to = found.get(way.to).copied().unwrap_or_default();
                    if way.meets == Meets::Same && to.open {
                        let pointer = places.pointer_to(place, way.keyword);
                        let why = "it leads back to itself on the same value, without end";
                        return Err(SchemaError::Refused { pointer, why: why.to_owned() });
                    }
                    if way.meets == Meets::Same && !to.done {
                        stack.push((way.to, 0));
                    }
                }
                None => {
                    let sum = found.get(place).copied().unwrap_or_default();
                    set(&mut found, place, InPlace { done: true, open: false, ..sum });
                    order.push(place);
                }
            }
        }
    }
    Ok((found, order))
}

fn set(found: &mut [InPlace], place: usize, to: InPlace) {
    if let Some(it) = found.get_mut(place) {
        *it = to;
    }
}

fn check_cost(places: &Places<'_>, place: usize, cost: &InPlace) -> Result<(), SchemaError> {
    let why = if cost.meetings > MEETINGS_MAX {
        format!("one value is met with over {MEETINGS_MAX} schemas")
    } else if cost.depth > IN_PLACE_DEPTH_MAX {
        format!("over {IN_PLACE_DEPTH_MAX} schemas lead to each other on one value")
    } else {
        return Ok(());
    };
    Err(SchemaError::Refused { pointer: places.pointer(place), why })
}

/// Where several schemas with parts meet one value, each meets its parts, and so on: levels multiply. Where a schema leads
/// back to itself a validator remembers what it found, so each schema counts once.
fn check_fans(places: &Places<'_>, found: &[InPlace]) -> Result<(), SchemaError> {
    let knots = knots_of(places);
    // A knot leads only to knots with smaller numbers, so those are known when it is its turn.
    let mut inside: Vec<Vec<usize>> = vec![Vec::new(); knots.iter().max().map_or(0, |it| it + 1)];
    for (place, knot) in knots.iter().enumerate() {
        if let Some(it) = inside.get_mut(*knot) {
            it.push(place);
        }
    }
    let mut met = vec![places.all.is_empty(); places.all.len()];
    if let Some(first) = met.first_mut() {
        *first = true;
    }
    for place in &places.all {
        for way in place.ways.iter().filter(|it| it.meets == Meets::Part) {
            if let Some(it) = met.get_mut(way.to) {
                *it = true;
            }
        }
    }
    let mut heaviest = vec![0.0_f64; inside.len()];
    for (knot, members) in inside.iter().enumerate() {
        let mut own = 0.0_f64;
        let mut below = 0.0_f64;
        for place in members {
            let fan = found.get(*place).map_or(0, |it| it.fan).min(MEETINGS_MAX);
            if fan > 1 && met.get(*place) == Some(&true) {
                own += f64::from(u32::try_from(fan).unwrap_or(u32::MAX)).log2();
            }
            for way in places.ways(*place).iter().filter(|it| it.meets != Meets::Nothing) {
                let to = knots.get(way.to).copied().unwrap_or_default();
                if to != knot {
                    below = below.max(heaviest.get(to).copied().unwrap_or_default());
                }
            }
        }
        let sum = own + below;
        if sum > FANS_LOG2_MAX {
            let pointer = members.first().map_or_else(String::new, |it| places.pointer(*it));
            let why = "alternatives within alternatives: the schemas that a payload is met with \
                       double from level to level";
            return Err(SchemaError::Refused { pointer, why: why.to_owned() });
        }
        if let Some(it) = heaviest.get_mut(knot) {
            *it = sum;
        }
    }
    Ok(())
}

/// The number of the knot that each place is in: places in one knot lead to each other (Tarjan). What a knot leads to has
/// smaller numbers.
fn knots_of(places: &Places<'_>) -> Vec<usize> {
    const UNSEEN: usize = usize::MAX;
    let count = places.all.len();
    let (mut order, mut low) = (vec![UNSEEN; count], vec![UNSEEN; count]);
    let (mut knot, mut waiting) = (vec![UNSEEN; count], Vec::new());
    let (mut orders, mut knots) = (0, 0);
    let at = |of: &[usize], place: usize| of.get(place).copied().unwrap_or(UNSEEN);
    let put = |of: &mut [usize], place: usize, value: usize| {
        if let Some(it) = of.get_mut(place) {
            *it = value;
        }
    };
    for start in 0..count {
        let mut stack = vec![(start, 0_usize)];
        while let Some((place, next)) = stack.pop() {
            if next == 0 {
                if at(&order, place) != UNSEEN {
                    continue;
                }
                put(&mut order, place, orders);
                put(&mut low, place, orders);
                orders += 1;
                waiting.push(place);
            }
            let ways = places.ways(place);
            if let Some(way) = next.checked_sub(1).and_then(|it| ways.get(it))
                && at(&knot, way.to) == UNSEEN
            {
                let lower = at(&low, place).min(at(&low, way.to));
                put(&mut low, place, lower);
            }
            if let Some(way) = ways.get(next) {
                stack.push((place, next + 1));
                if at(&order, way.to) == UNSEEN && way.meets != Meets::Nothing {
                    stack.push((way.to, 0));
                }
                continue;
            }
            if at(&low, place) == at(&order, place) {
                while let Some(member) = waiting.pop() {
                    put(&mut knot, member, knots);
                    if member == place {
                        break;
                    }
                }
                knots += 1;
            }
        }
    }
    knot
}
