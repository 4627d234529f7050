//! Rows, their bytes, and every way in which a CSV can be bad.

use super::*;

fn mapping(stream: &str, occurred_at: Option<&str>, tags: &[&str]) -> Mapping {
    Mapping {
        stream: Template::parse("--stream", stream).unwrap(),
        event_type: Template::parse("--type", "{kind}").unwrap(),
        occurred_at: occurred_at.map(|t| Template::parse("--occurred-at", t).unwrap()),
        tags: tags.iter().map(|t| Template::parse_tag("--tag", t).unwrap()).collect(),
    }
}

fn rows_of(input: &[u8], mapping: &Mapping) -> Vec<Result<Row, BadRow>> {
    match CsvRows::open(input, mapping, 1024 * 1024) {
        Ok(rows) => rows.collect(),
        Err(error) => vec![Err(error)],
    }
}

fn orders() -> Mapping {
    mapping("order-{id}", Some("{at}"), &["g:{g}"])
}

const HEADER: &str = "id,kind,at,g\n";
const AT: &str = "2011-10-11 13:45:40.276000+02:00";

#[test]
fn a_row_becomes_an_event_with_its_cells_in_order() {
    let input = format!("{HEADER}7,Placed,{AT},\"a \"\"b\"\",\"\n8,Paid,{AT},\n");
    let rows: Vec<_> =
        rows_of(input.as_bytes(), &orders()).into_iter().map(Result::unwrap).collect();
    let [first, second] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!((first.line, first.stream.as_str()), (2, "order-7"));
    assert_eq!(first.event.event_type, "Placed");
    assert_eq!(first.event.content_type, "application/json");
    assert_eq!(
        str::from_utf8(&first.event.data).unwrap(),
        format!(r#"{{"id":"7","kind":"Placed","at":"{AT}","g":"a \"b\","}}"#)
    );
    assert_eq!(first.event.tags, ["g:a \"b\","]);
    assert_eq!(first.event.occurred_at.unwrap().as_micros(), 1_318_333_540_276_000);
    assert_eq!(first.event.id, Some(first.id));
    assert_eq!(second.line, 3);
    assert!(second.event.tags.is_empty(), "an empty value leaves the tag out");
}

#[test]
fn ids_are_made_from_the_rows_bytes_without_line_end() {
    let lines = ["1,A,\"x\ny\"", "1,A,\"x\ny\"", "2,A,\"\"", "1,B,é"];
    let mapping = mapping("s-{id}", None, &[]);
    let mut expected = RowIds::default();
    let ids: Vec<_> = lines
        .iter()
        .map(|line| expected.next(&format!("s-{}", &line[..1]), line.as_bytes()))
        .collect();
    for (header, end, last) in [
        ("id,kind,x", "\n", "\n"),
        ("id,kind,x", "\r\n", "\r\n"),
        ("\u{feff}id,kind,x", "\n\n", ""),
        ("id,kind,x", "\r", ""),
        ("id,kind,x", "\r\n\r\n", ""),
    ] {
        let input = [&[header], lines.as_slice()].concat().join(end) + last;
        let rows = rows_of(input.as_bytes(), &mapping);
        let rows: Vec<_> = rows.into_iter().map(Result::unwrap).collect();
        assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), ids, "{input:?}");
        if end.trim_matches(['\r', '\n']).is_empty() && end != "\n\n" && end != "\r\n\r\n" {
            let at: Vec<_> = rows.iter().map(|row| row.line).collect();
            assert_eq!(at, [2, 4, 6, 7], "{input:?}");
        }
    }
}

/// A reader that gives one byte at a time: what is read ahead must not matter.
struct Dribble<'b>(&'b [u8]);

impl Read for Dribble<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.len().min(buffer.len()).min(1);
        let (now, later) = self.0.split_at(count);
        buffer[..count].copy_from_slice(now);
        self.0 = later;
        Ok(count)
    }
}

#[test]
fn what_is_read_ahead_does_not_matter() {
    let mut input = HEADER.to_owned();
    for row in 0..3_000 {
        input += &format!("{row},\"K\n{}\",{AT},{}\r\n", row % 7, "x".repeat(row % 200));
    }
    let mapping = mapping("order-{id}", Some("{at}"), &["k:{g}"]);
    let mapping = Mapping { event_type: Template::parse("--type", "T").unwrap(), ..mapping };
    let at_once = rows_of(input.as_bytes(), &mapping);
    let dribbled: Vec<_> =
        CsvRows::open(Dribble(input.as_bytes()), &mapping, 1 << 20).unwrap().collect();
    assert_eq!(at_once.len(), 3_000);
    for (row, other) in at_once.iter().zip(&dribbled) {
        assert_eq!(row, other);
    }
}

#[test]
fn a_mark_of_utf8_that_comes_in_pieces_is_passed_over() {
    let mapping = mapping("s-{id}", None, &[]);
    let input = "\u{feff}id,kind\n1,A\n";
    let at_once = rows_of(input.as_bytes(), &mapping);
    let dribbled: Vec<_> =
        CsvRows::open(Dribble(input.as_bytes()), &mapping, 1 << 20).unwrap().collect();
    assert!(at_once.len() == 1 && at_once[0].is_ok());
    assert_eq!(dribbled, at_once);
    assert!(CsvRows::open(Dribble("i".as_bytes()), &mapping, 1 << 20).is_err(), "it ends before");
}

#[test]
fn a_bad_row_stops_it_and_says_where() {
    let check = |rows: &str, before: usize, parts: &[&str]| {
        let mut found = rows_of(&[HEADER.as_bytes(), rows.as_bytes()].concat(), &orders());
        let error = found.pop().unwrap().unwrap_err().to_string();
        assert_eq!(found.iter().filter(|row| row.is_ok()).count(), before, "{error}");
        assert_eq!(found.len(), before);
        parts.iter().for_each(|part| assert!(error.contains(part), "{part:?} in {error}"));
    };
    let good = format!("1,A,{AT},\n");
    check(&format!("{good}1,A,{AT}\n{good}"), 1, &["line 3: ", "3 cells", "header has 4"]);
    check(&format!("1,A,{AT},,\n"), 0, &["line 2: ", "5 cells"]);
    check(
        &format!("{good}{good}1,A,yesterday,\n"),
        2,
        &["line 4, column 3 (\"at\"): \"yesterday\" is not a time: write RFC 3339 with an offset"],
    );
    check("1,A,2011-10-11 13:45:40,\n", 0, &["line 2, column 3", "offset"]);
    check("1,A,,\n", 0, &["line 2, column 3", "\"\" is not a time"]);
    check(&format!("1,,{AT},\n"), 0, &["line 2: event type \"\" is empty", "--type '{kind}'"]);
    check(&format!("\"a\nb\",A,{AT},\n"), 0, &["line 2: stream name", "control character"]);
    check(&format!("{},A,{AT},\n", "x".repeat(507)), 0, &["line 2", "513 bytes", "512"]);
    check(&format!("1,{},{AT},\n", "x".repeat(257)), 0, &["line 2", "257 bytes", "256"]);
    check(&format!("1,A,{AT},a\u{7}\n"), 0, &["line 2: tag", "control", "--tag 'g:{g}'"]);
    check(&format!("{good}1,A,{AT},\"abc\n1,A\n"), 1, &["line 3: a quoted cell is never closed"]);
}

#[test]
fn broken_utf8_is_named_by_line_column_and_byte() {
    let input = [HEADER.as_bytes(), b"1,A,x,ab\xff\n"].concat();
    let error = rows_of(&input, &orders()).pop().unwrap().unwrap_err();
    let error = error.to_string();
    assert_eq!(error, "line 2, column 4 (\"g\"): byte 3 is not UTF-8: write the file as UTF-8");
    let error = rows_of(b"id,ki\xffnd\n", &orders()).pop().unwrap().unwrap_err().to_string();
    assert!(error.starts_with("line 1, column 2: byte 3 is not UTF-8"), "{error}");
}

#[test]
fn a_header_that_is_not_one_is_refused() {
    let check = |input: &str, part: &str| {
        let error = rows_of(input.as_bytes(), &orders()).pop().unwrap().unwrap_err().to_string();
        assert!(error.contains(part), "{part:?} in {error}");
    };
    check("", "line 1: the input is empty: its first line must name the columns");
    check("\n\n", "must name the columns");
    check("id,kind,at,id\n", "line 1, column 4 (\"id\"): the header names this column twice");
    check(
        "id,kind,time\n1,A,x\n",
        "line 1: --occurred-at \"{at}\" names column \"at\", which is not there; there are: id, \
         kind, time",
    );
    assert!(rows_of(HEADER.as_bytes(), &orders()).is_empty(), "no rows are no error");
}

#[test]
fn large_cells_and_rows_are_refused_in_bounded_memory() {
    let check = |cell_bytes: usize, parts: &[&str]| {
        let cell = "x".repeat(cell_bytes);
        let input = format!("{HEADER}1,A,{AT},\n2,A,{AT},{cell}\n");
        let mut rows = rows_of(input.as_bytes(), &mapping("order-{id}", None, &[]));
        let error = rows.pop().unwrap().unwrap_err().to_string();
        assert_eq!(rows.len(), 1, "the row before stays");
        parts.iter().for_each(|part| assert!(error.contains(part), "{part:?} in {error}"));
    };
    check(10 << 20, &["line 3, column 4 (\"g\")", "10485760 bytes", "1048576"]);
    // The cell is small enough, the row's data is not.
    check((1 << 20) - 20, &["line 3: data of one event, in bytes", "limit of 1048576"]);
    // An open quote swallows the rest of the input: it ends at the longest row, not at the end.
    let endless = io::repeat(b'x').take(1 << 40);
    let input = format!("{HEADER}1,A,{AT},\n2,A,{AT},\"");
    let input = input.as_bytes().chain(endless);
    let mut rows: Vec<_> = CsvRows::open(input, &orders(), 1 << 20).unwrap().collect();
    let error = rows.pop().unwrap().unwrap_err().to_string();
    assert_eq!(rows.len(), 1);
    assert!(error.starts_with("line 3: the row has more than"), "{error}");
}

#[test]
fn the_end_of_quotes_is_found_as_the_parser_finds_it() {
    for (row, open) in [
        ("a,b", false),
        ("\"a", true),
        ("\"a\"", false),
        ("\"a\"\"", true),
        ("\"a\"\"\"", false),
        ("a\"b", false),
        ("x,\"a,b", true),
        ("\"a\"b\"", false),
        ("\"\"", false),
        ("\"\",\"", true),
    ] {
        assert_eq!(ends_inside_quotes(row.as_bytes()), open, "{row}");
    }
}
