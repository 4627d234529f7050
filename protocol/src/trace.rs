//! [`TraceContext`]: which trace something is part of, as the W3C recommendation Trace Context has it.

use std::fmt;
use std::str::FromStr;

/// A W3C trace context: what `traceparent` carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceContext {
    /// The trace's 16 bytes.
    pub trace_id: [u8; 16],
    /// The parent span's 8 bytes.
    pub span_id: [u8; 8],
    /// The flags byte.
    pub flags: u8,
}

/// A text that is no trace context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a W3C trace context: it has a version, trace id, span id, and flags")]
pub struct NoTraceContext;

impl TraceContext {
    /// What a `traceparent` of a request says. One that is not well-formed, as with digits in upper case,
    /// or has no trace or no span, says nothing: the recommendation has it ignored. A later version is read
    /// as far as it is known.
    pub fn of_request(traceparent: &str) -> Option<Self> {
        let later = !traceparent.starts_with("00-") && !traceparent.starts_with("ff-");
        let known = match traceparent.get(..LENGTH) {
            Some(known) if later && version_of(traceparent).is_some() => {
                let rest = traceparent.get(LENGTH..).unwrap_or_default();
                let ends = rest.is_empty() || rest.starts_with('-');
                parts_of(known).filter(|_| ends)
            }
            _ => traceparent.parse().ok(),
        };
        let is_lower = !traceparent.bytes().take(LENGTH).any(|byte| byte.is_ascii_uppercase());
        known.filter(|it| is_lower && it.trace_id != [0; 16] && it.span_id != [0; 8])
    }

    /// The id of the trace, as text.
    pub fn trace_id_text(&self) -> impl fmt::Display + use<> {
        Hex(self.trace_id)
    }
}

impl fmt::Display for TraceContext {
    /// Writes it as a `traceparent`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", Hex(self.trace_id), Hex(self.span_id), self.flags)
    }
}

impl FromStr for TraceContext {
    type Err = NoTraceContext;

    /// Reads what is written as text.
    fn from_str(text: &str) -> Result<Self, NoTraceContext> {
        let known = text.len() == LENGTH && text.starts_with("00-");
        parts_of(text).filter(|_| known).ok_or(NoTraceContext)
    }
}

/// Length of a `traceparent` of version 00.
const LENGTH: usize = 2 + 1 + 32 + 1 + 16 + 1 + 2;

fn version_of(text: &str) -> Option<[u8; 1]> {
    text.get(..2).and_then(hex)
}

fn parts_of(text: &str) -> Option<TraceContext> {
    let mut parts = text.split('-').skip(1);
    let trace_id = parts.next().and_then(hex)?;
    let span_id = parts.next().and_then(hex)?;
    let [flags] = parts.next().and_then(hex)?;
    parts.next().is_none().then_some(TraceContext { trace_id, span_id, flags })
}

fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(out)
}

struct Hex<const N: usize>([u8; N]);

impl<const N: usize> fmt::Display for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn what_is_written_is_read_again() {
        let read: TraceContext = GIVEN.parse().unwrap();
        assert_eq!(read.to_string(), GIVEN);
        assert_eq!(read.trace_id_text().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!((read.span_id[0], read.flags), (0xb7, 1));
        assert_eq!(TraceContext::of_request(GIVEN), Some(read));
    }

    #[test]
    fn what_is_none_is_refused() {
        let cut = &GIVEN[..54];
        let zeros = "00-00000000000000000000000000000000-b7ad6b7169203331-01";
        let (plus, longer) = (GIVEN.replace("-01", "-+1"), format!("{GIVEN}-x"));
        for text in ["", "00", "é", cut, &plus, &longer, "00-0-0-0"] {
            assert_eq!(text.parse::<TraceContext>(), Err(NoTraceContext), "{text}");
            assert_eq!(TraceContext::of_request(text), None, "{text}");
        }
        let upper = GIVEN.to_ascii_uppercase();
        for request in
            [upper.clone(), upper.replacen("00", "01", 1) + "-more", "CC".to_owned() + &GIVEN[2..]]
        {
            assert_eq!(TraceContext::of_request(&request), None, "{request}");
        }
        let later = GIVEN.replacen("00", "01", 1) + "-MORE";
        assert!(TraceContext::of_request(&later).is_some(), "what comes later may be anything");
        assert!(zeros.parse::<TraceContext>().is_ok(), "what is stored is exported, and imported");
        assert_eq!(TraceContext::of_request(zeros), None);
    }

    #[test]
    fn a_request_may_be_of_a_later_version() {
        let known = TraceContext::of_request(GIVEN);
        for later in [GIVEN.replacen("00", "cc", 1), GIVEN.replacen("00", "01", 1) + "-what-comes"]
        {
            assert_eq!(TraceContext::of_request(&later), known, "{later}");
            assert!(later.parse::<TraceContext>().is_err());
        }
        for none in [GIVEN.replacen("00", "ff", 1), GIVEN.replacen("00", "0x", 1)] {
            assert_eq!(TraceContext::of_request(&none), None, "{none}");
        }
        assert_eq!(TraceContext::of_request(&(GIVEN.replacen("00", "01", 1) + ".x")), None);
    }
}
