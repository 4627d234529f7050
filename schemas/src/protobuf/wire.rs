//! Protobuf's wire: numbers, tags, and what they are followed by.

/// What follows a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WireType {
    Varint,
    Eight,
    Length,
    GroupStart,
    GroupEnd,
    Four,
}

/// Bytes that are no such thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken(pub(super) &'static str);

/// Takes a number of 64 bits.
pub(super) fn varint(rest: &mut &[u8]) -> Result<u64, Broken> {
    let mut number = 0_u64;
    let mut left = *rest;
    for shift in (0..64).step_by(7) {
        let Some((byte, after)) = left.split_first() else {
            return Err(Broken("a number is cut off"));
        };
        left = after;
        // Of the tenth byte one bit is left.
        if shift == 63 && *byte > 1 {
            break;
        }
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            *rest = left;
            return Ok(number);
        }
    }
    Err(Broken("a number takes more than 64 bits"))
}

/// Takes the number of a field, and what follows.
pub(super) fn tag(rest: &mut &[u8]) -> Result<(u32, WireType), Broken> {
    let tag = u32::try_from(varint(rest)?).map_err(|_| Broken("a tag takes more than 32 bits"))?;
    let wire_type = match tag & 7 {
        0 => WireType::Varint,
        1 => WireType::Eight,
        2 => WireType::Length,
        3 => WireType::GroupStart,
        4 => WireType::GroupEnd,
        5 => WireType::Four,
        _ => return Err(Broken("a tag has a wire type that there is not")),
    };
    match tag >> 3 {
        0 => Err(Broken("a field has the number 0")),
        number => Ok((number, wire_type)),
    }
}

/// Takes so many bytes.
pub(super) fn take<'a>(rest: &mut &'a [u8], size: u64) -> Result<&'a [u8], Broken> {
    let split = usize::try_from(size).ok().and_then(|size| rest.split_at_checked(size));
    let (taken, left) = split.ok_or(Broken("a length is longer than what follows"))?;
    *rest = left;
    Ok(taken)
}

/// Takes bytes that follow their length.
pub(super) fn prefixed<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Broken> {
    let size = varint(rest)?;
    take(rest, size)
}

/// Takes what follows a tag, which is well-formed, and of no interest.
pub(super) fn skip(rest: &mut &[u8], number: u32, wire_type: WireType) -> Result<(), Broken> {
    match wire_type {
        WireType::Varint => varint(rest).map(drop),
        WireType::Eight => take(rest, 8).map(drop),
        WireType::Four => take(rest, 4).map(drop),
        WireType::Length => prefixed(rest).map(drop),
        WireType::GroupEnd => Ok(()),
        WireType::GroupStart => {
            let mut open = vec![number];
            while !open.is_empty() {
                match tag(rest)? {
                    (number, WireType::GroupStart) => open.push(number),
                    (_, WireType::GroupEnd) => {
                        open.pop();
                    }
                    (number, wire_type) => skip(rest, number, wire_type)?,
                }
            }
            Ok(())
        }
    }
}
