//! [`CsvWriter`]: documents as a table, for spreadsheets and whoever reads tables: RFC 4180, with a head.
//!
//! The first column is the key, the others are fields. Texts stand as they are, numbers and truths as JSON has them, lists
//! and objects as JSON, and what has no value is empty. A spreadsheet takes a text for a formula that begins with one of
//! [`FORMULA`], whoever has written it into an event: before such a text a `'` is put, which spreadsheets leave out. So a
//! table is not for those who need each text as it is: they take JSON, a document a line.

use serde_json::{Map, Value};

use super::SearchAnswer;

/// What a text begins with that a spreadsheet would work out.
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];
/// How the column with keys is called, and how where a field is called so.
const KEY: [&str; 2] = ["key", "_key"];

/// Writes documents as rows of a table, page by page.
#[derive(Clone, Debug, Default)]
pub struct CsvWriter {
    /// The columns behind the key; `None`: nothing is written yet.
    fields: Option<Vec<String>>,
}

/// The documents of a page have other fields than those before: another version answers by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the documents have other fields by now, and no place in this table: begin again")]
pub struct OtherFields;

impl CsvWriter {
    /// The documents of a page as rows; above the first page it is written how the columns are called.
    ///
    /// # Errors
    /// [`OtherFields`] where the columns are not those of the first page.
    pub fn page(&mut self, found: &SearchAnswer) -> Result<String, OtherFields> {
        let mut out = String::new();
        match &self.fields {
            None => write_head(&mut out, &found.fields),
            Some(fields) if *fields == found.fields => {}
            Some(_) => return Err(OtherFields),
        }
        let fields = self.fields.get_or_insert_with(|| found.fields.clone());
        for hit in &found.hits {
            write_text(&mut out, &hit.key);
            for field in fields.iter() {
                out.push(',');
                write_value(&mut out, &hit.document, field);
            }
            out.push_str("\r\n");
        }
        Ok(out)
    }
}

fn write_head(out: &mut String, fields: &[String]) {
    let [key, other] = KEY;
    out.push_str(if fields.iter().any(|field| field == key) { other } else { key });
    for field in fields {
        out.push(',');
        write_cell(out, field);
    }
    out.push_str("\r\n");
}

fn write_value(out: &mut String, document: &Map<String, Value>, field: &str) {
    match document.get(field) {
        None | Some(Value::Null) => {}
        Some(Value::String(text)) => write_text(out, text),
        Some(value @ (Value::Bool(_) | Value::Number(_))) => out.push_str(&value.to_string()),
        Some(value) => write_cell(out, &value.to_string()),
    }
}

/// Writes a text that somebody has written.
fn write_text(out: &mut String, text: &str) {
    match text.starts_with(FORMULA) {
        true => write_cell(out, &format!("'{text}")),
        false => write_cell(out, text),
    }
}

/// Writes what a cell holds, in quotes where it would be read as something else.
fn write_cell(out: &mut String, text: &str) {
    if !text.contains(['"', ',', '\r', '\n']) {
        return out.push_str(text);
    }
    out.push('"');
    out.push_str(&text.replace('"', "\"\""));
    out.push('"');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::SearchHit;
    use super::*;

    fn hit(key: &str, document: Value) -> SearchHit {
        let Value::Object(document) = document else { panic!("it is an object") };
        SearchHit { key: key.to_owned(), score: None, document, highlight: Map::new() }
    }

    fn answer(fields: &[&str], hits: &[SearchHit]) -> SearchAnswer {
        SearchAnswer {
            hits: hits.to_vec(),
            fields: fields.iter().map(|it| (*it).to_owned()).collect(),
            total: 0,
            next: None,
            aggs: None,
            as_of_position: None,
            lag_events: 0,
            parked: 0,
        }
    }

    fn written(fields: &[&str], hits: &[SearchHit]) -> String {
        CsvWriter::default().page(&answer(fields, hits)).unwrap()
    }

    #[test]
    fn pages_are_one_table_as_long_as_their_fields_are_the_same() {
        let mut writer = CsvWriter::default();
        let page = |key: &str| answer(&["n"], &[hit(key, json!({ "n": 1 }))]);
        assert_eq!(writer.page(&page("a")).unwrap(), "key,n\r\na,1\r\n");
        assert_eq!(writer.page(&page("b")).unwrap(), "b,1\r\n");
        assert_eq!(writer.page(&answer(&["n", "m"], &[])), Err(OtherFields));
        assert_eq!(writer.page(&page("c")).unwrap(), "c,1\r\n");
    }

    #[test]
    fn documents_are_rows_under_the_names_of_their_fields() {
        let hits = [
            hit("a", json!({ "n": -1.5, "open": true, "other": 7 })),
            hit("b,c", json!({ "title": "say \"hi\",\nü", "list": ["x", 1], "n": null })),
            hit("", json!({ "title": "", "list": { "a": 1 } })),
        ];
        let wanted = "key,title,n,open,list\r\n\
                      a,,-1.5,true,\r\n\
                      \"b,c\",\"say \"\"hi\"\",\nü\",,,\"[\"\"x\"\",1]\"\r\n\
                      ,,,,\"{\"\"a\"\":1}\"\r\n";
        assert_eq!(written(&["title", "n", "open", "list"], &hits), wanted);
        assert_eq!(written(&[], &[]), "key\r\n");
        // No two columns are called the same.
        assert_eq!(written(&["a", "key"], &[]), "_key,a,key\r\n");
    }

    #[test]
    fn no_text_is_a_formula() {
        for text in ["=1+1", "+49 30", "-", "@sum", "\tx", "\r=1", "=\"a\",b"] {
            let table = written(&["t"], &[hit(text, json!({ "t": text }))]);
            let row = table.strip_prefix("key,t\r\n").unwrap();
            assert!(row.starts_with('\'') || row.starts_with("\"'"), "{row:?}");
            let cell = row.split_at(row.len() / 2).1;
            assert!(cell.contains('\''), "{row:?}");
        }
        // Numbers are none, nor are texts that only have such signs somewhere.
        let hits = [hit("a", json!({ "t": "1=1" })), hit("b", json!({ "t": -7 }))];
        assert_eq!(written(&["t"], &hits), "key,t\r\na,1=1\r\nb,-7\r\n");
    }
}
