//! Conversions in a CSV file: a header that names the columns, one message a line.
//!
//! The columns are the fields of the webhook; a column that we do not know is kept as metadata. A
//! line that is wrong is refused alone, with its field, the reason and the fix. Comma or semicolon,
//! as the header shows; UTF-8, with or without a byte order mark.

use std::collections::{HashMap, VecDeque};
use std::io::{self, BufRead as _, BufReader, Read};

use csv::{ByteRecord, Reader, ReaderBuilder};
use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::conversion::webhook::{ConversionData, WebhookMessage, read_report, split_path};
use crate::conversion::{MessageType, Report};
use crate::signing::Key;

/// Columns that mean something.
pub const COLUMNS: [&str; 17] = [
    "type",
    "event",
    "order_id",
    "click_id",
    "click_ids",
    "amount",
    "currency",
    "tax",
    "shipping",
    "discount",
    "coupon_code",
    "customer_ref",
    "occurred_at",
    "refund_id",
    "refund_amount",
    "reason",
    "test",
];
/// Columns of a file, at most.
const COLUMNS_MAX: usize = 200;
/// Lines of a file, at most: what 50 MB of the shortest lines would hold.
const LINES_MAX: usize = 5_000_000;

/// Why a line, or the whole file, is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}; {fix}")]
pub struct SheetRefusal {
    /// The column; `line` for the line as a whole, `header` for the file.
    pub field: String,
    /// What is wrong.
    pub reason: String,
    /// How to mend it.
    pub fix: String,
}

/// Why a file cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum SheetError {
    /// Its header is wrong.
    #[error(transparent)]
    Header(#[from] SheetRefusal),
    /// Its bytes ended too early or could not be read.
    #[error("the file cannot be read")]
    Bytes(#[from] io::Error),
}

/// A line of the file.
#[derive(Debug)]
pub struct Line {
    /// Its number in the file; the header is line 1.
    pub number: i32,
    /// The order that it names, also where it is refused.
    pub order_id: Option<String>,
    /// What it says, or what is wrong.
    pub report: Result<Report, SheetRefusal>,
}

/// A file that is being read.
pub struct Sheet<R> {
    reader: Reader<BufReader<Newlines<R>>>,
    columns: Vec<String>,
    customer_key: Key,
    now: Timestamp,
    seen: HashMap<String, (i32, [u8; 32])>,
    n_lines: usize,
    last_number: i32,
    /// Line breaks before the last line of the record that was read last.
    n_breaks: i32,
}

impl<R: Read> Sheet<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// A header without the columns that every file needs.
    pub fn open(bytes: R, customer_key: Key, now: Timestamp) -> Result<Self, SheetError> {
        let mut bytes = BufReader::new(Newlines { inner: bytes, n_read: 0, at: VecDeque::new() });
        let head = bytes.fill_buf()?;
        let line = head.split(|b| *b == b'\n').next().unwrap_or_default();
        let count = |mark| line.iter().filter(|b| **b == mark).count();
        let delimiter = if count(b';') > count(b',') { b';' } else { b',' };
        let mut reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(delimiter)
            .from_reader(bytes);
        let mut record = ByteRecord::new();
        read_record(&mut reader, &mut record)?;
        let columns = read_header(&record)?;
        Ok(Self {
            reader,
            columns,
            customer_key,
            now,
            seen: HashMap::new(),
            n_lines: 0,
            last_number: 1,
            n_breaks: 0,
        })
    }

    /// Reads the next line; none at the end.
    ///
    /// # Errors
    /// Bytes that cannot be read.
    pub fn next_line(&mut self) -> Result<Option<Line>, SheetError> {
        let mut record = ByteRecord::new();
        if !read_record(&mut self.reader, &mut record)? {
            return Ok(None);
        }
        self.n_lines += 1;
        if self.n_lines > LINES_MAX {
            let reason = format!("the file has more than {LINES_MAX} lines");
            return Err(refuse("line", reason, "split the file").into());
        }
        // A lone carriage return ends a record and no line: numbers stay apart.
        let number = self.line_of(&record).max(self.last_number + 1);
        self.last_number = number;
        let order_id = self.cell(&record, "order_id").map(|text| text.chars().take(64).collect());
        let report = self.read_cells(&record, number);
        Ok(Some(Line { number, order_id, report }))
    }

    /// Returns what the bytes came from.
    pub fn into_inner(self) -> R {
        self.reader.into_inner().into_inner().inner
    }

    /// Returns the line on which a record that was just read begins, blank lines counted: the
    /// reader itself skips them uncounted.
    fn line_of(&mut self, record: &ByteRecord) -> i32 {
        let end = self.reader.position().byte();
        let breaks = &mut self.reader.get_mut().get_mut().at;
        // The line break that ends the record belongs to its last line.
        while breaks.front().is_some_and(|at| *at + 1 < end) {
            breaks.pop_front();
            self.n_breaks += 1;
        }
        let inside = record.iter().flatten().filter(|byte| **byte == b'\n').count();
        self.n_breaks.saturating_add(1).saturating_sub(i32::try_from(inside).unwrap_or(0))
    }

    fn cell(&self, record: &ByteRecord, column: &str) -> Option<String> {
        let at = self.columns.iter().position(|c| c == column)?;
        let text = std::str::from_utf8(record.get(at)?).ok()?.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    fn read_cells(&mut self, record: &ByteRecord, number: i32) -> Result<Report, SheetRefusal> {
        if record.len() != self.columns.len() {
            let reason =
                format!("has {} cells, the header has {}", record.len(), self.columns.len());
            return Err(refuse("line", reason, "quote cells that hold the separator"));
        }
        if record.iter().any(|cell| std::str::from_utf8(cell).is_err()) {
            return Err(refuse("line", "is not UTF-8", "save the file as CSV UTF-8"));
        }
        let report = read_report(self.message(record)?, &self.customer_key, self.now)
            .map_err(|wrong| first_of(wrong.into_iter().map(|w| (w.pointer, w.detail))))?;
        self.check_repeated(&report, number)?;
        Ok(report)
    }

    fn message(&self, record: &ByteRecord) -> Result<WebhookMessage, SheetRefusal> {
        let cell = |column| self.cell(record, column);
        let amount = |column| cell(column).map(Value::from);
        let kind = cell("type").unwrap_or_else(|| MessageType::Created.as_str().to_owned());
        let kind = if kind.contains('.') { kind } else { format!("conversion.{kind}") };
        let test = match cell("test").as_deref() {
            None | Some("0" | "false") => false,
            Some("1" | "true") => true,
            Some(_) => return Err(refuse("test", "is neither 1 nor 0", "write 1 for a trial run")),
        };
        let mut metadata = Map::new();
        for (column, bytes) in self.columns.iter().zip(record.iter()) {
            let is_known = COLUMNS.contains(&column.as_str());
            if let (false, Ok(text)) = (is_known, std::str::from_utf8(bytes)) {
                metadata.insert(column.clone(), Value::from(text));
            }
        }
        Ok(WebhookMessage {
            r#type: kind,
            timestamp: self.now.to_rfc3339(),
            data: ConversionData {
                event: cell("event").unwrap_or_default(),
                order_id: cell("order_id"),
                click_id: cell("click_id"),
                click_ids: cell("click_ids").map(|text| split_path(&text)),
                amount: amount("amount"),
                currency: cell("currency"),
                tax: amount("tax"),
                shipping: amount("shipping"),
                discount: amount("discount"),
                coupon_code: cell("coupon_code"),
                customer_ref: cell("customer_ref"),
                occurred_at: cell("occurred_at"),
                refund_id: cell("refund_id"),
                refund_amount: amount("refund_amount"),
                reason: cell("reason"),
                test,
                metadata,
            },
        })
    }

    /// Refuses a new conversion that an earlier line reports: which of the two is meant would be a
    /// guess where they differ, and the second says nothing where they do not.
    fn check_repeated(&mut self, report: &Report, number: i32) -> Result<(), SheetRefusal> {
        if report.message_type != MessageType::Created {
            return Ok(());
        }
        let key = format!("{}\n{}", report.event, report.dedup_ref());
        let content = report.content_hash();
        match self.seen.get(&key) {
            Some((line, known)) => {
                let how = if *known == content { "the same" } else { "other" };
                let reason = format!("line {line} reports this order with {how} content");
                Err(refuse("order_id", reason, "keep one of the lines"))
            }
            None => {
                self.seen.insert(key, (number, content));
                Ok(())
            }
        }
    }
}

/// Bytes that remember where their line breaks are, until these are counted.
struct Newlines<R> {
    inner: R,
    n_read: u64,
    at: VecDeque<u64>,
}

impl<R: Read> Read for Newlines<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(to)?;
        let breaks = (self.n_read..).zip(&to[..n]).filter(|(_, byte)| **byte == b'\n');
        self.at.extend(breaks.map(|(at, _)| at));
        self.n_read += n as u64;
        Ok(n)
    }
}

fn refuse(field: &str, reason: impl Into<String>, fix: impl Into<String>) -> SheetRefusal {
    SheetRefusal { field: field.to_owned(), reason: reason.into(), fix: fix.into() }
}

fn read_record<R: Read>(
    reader: &mut Reader<R>,
    record: &mut ByteRecord,
) -> Result<bool, io::Error> {
    reader.read_byte_record(record).map_err(io::Error::from)
}

fn read_header(record: &ByteRecord) -> Result<Vec<String>, SheetRefusal> {
    let wrong = |reason: &str| {
        let known = COLUMNS.join(", ");
        Err(refuse("header", reason, format!("name the columns in the first line: {known}")))
    };
    let mut columns: Vec<String> = Vec::new();
    for (n, bytes) in record.iter().enumerate() {
        let Ok(text) = std::str::from_utf8(bytes) else { return wrong("is not UTF-8") };
        let text = if n == 0 { text.trim_start_matches('\u{feff}') } else { text };
        let name = text.trim().to_owned();
        if name.is_empty() || columns.contains(&name) {
            return wrong("has a column without a name, or a name twice");
        }
        columns.push(name);
    }
    if columns.len() > COLUMNS_MAX {
        return wrong("has more than 200 columns");
    }
    let has = |name: &str| columns.iter().any(|c| c == name);
    if has("event") && ["order_id", "click_id", "click_ids"].into_iter().any(has) {
        Ok(columns)
    } else {
        wrong("needs event, and order_id or click_id")
    }
}

fn first_of(mut wrong: impl Iterator<Item = (&'static str, String)>) -> SheetRefusal {
    let Some((pointer, detail)) = wrong.next() else {
        return refuse("line", "cannot be read", "compare it with the documented columns");
    };
    let field = pointer.trim_start_matches("/data").trim_start_matches('/');
    let fix = match field {
        "amount" | "tax" | "shipping" | "discount" | "refund_amount" => {
            "write a decimal with a dot, like 149.90"
        }
        "currency" => "write an ISO 4217 code, like EUR",
        "occurred_at" => "write a time like 2026-11-22T10:15:04Z",
        "click_ids" => "write at most 20 click ids with spaces between them, the oldest first",
        "event" => "write one of the events that the reason lists",
        _ => "correct the cell",
    };
    refuse(field, detail, fix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stands_in_one_cell() {
        let now = "2026-11-22T10:15:10Z".parse().unwrap();
        let file = "event;click_ids\nlead;a b,c\nlead;\"a\tb\"\n";
        let mut sheet = Sheet::open(file.as_bytes(), Key::new([7; 32]), now).unwrap();
        let report = sheet.next_line().unwrap().unwrap().report.unwrap();
        assert_eq!(report.click_ids, ["a", "b", "c"]);
        assert_eq!(report.dedup_ref(), "click:c");
        let report = sheet.next_line().unwrap().unwrap().report.unwrap();
        assert_eq!(report.click_ids, ["a", "b"]);
    }

    fn lines(file: impl AsRef<[u8]>) -> Result<Vec<String>, SheetError> {
        let now = "2026-11-22T10:15:10Z".parse().unwrap();
        let mut sheet = Sheet::open(file.as_ref(), Key::new([7; 32]), now)?;
        let mut told = Vec::new();
        while let Some(line) = sheet.next_line()? {
            told.push(match line.report {
                Ok(r) => {
                    let amount = r.amount.map_or_else(|| "-".to_owned(), |m| m.to_string());
                    format!("{} {} {} {amount}", line.number, r.event, r.dedup_ref())
                }
                Err(refusal) => format!("{} {}", line.number, refusal.field),
            });
        }
        Ok(told)
    }

    #[test]
    fn each_line_is_read_or_refused_alone() {
        let file = "event,order_id,amount,currency,note\r\n\
            sale,A-1,149.90,EUR,\"a, b\"\r\n\
            sale,A-2,\"1,5\",EUR,\r\n\
            \r\n\
            sale,A-3,1.00\r\n\
            order,A-4,1.00,EUR,\r\n\
            lead,A-1,,,\r\n\
            sale,A-1,149.90,EUR,again\r\n\
            sale,,1.00,EUR,\r\n";
        assert_eq!(
            lines(file).unwrap(),
            [
                "2 sale A-1 149.90 EUR",
                "3 amount",
                "5 line",
                "6 event",
                "7 lead A-1 -",
                "8 order_id",
                "9 order_id"
            ]
        );
    }

    #[test]
    fn a_file_of_a_spreadsheet_is_understood() {
        let file = "\u{feff}type;event;order_id;amount;currency;reason\n\
            rejected;sale;A-1;;;returned\n;sale;\"A\n2\";1;JPY;\n;sale;A-3;1;JPY;\n";
        let expected = ["2 sale A-1 -", "3 order_id", "5 sale A-3 1 JPY"];
        assert_eq!(lines(file).unwrap(), expected);
        assert_eq!(lines(b"event,order_id\nlead,\xff\n").unwrap(), ["2 line"]);
    }

    #[test]
    fn a_header_that_says_too_little_refuses_the_file() {
        for header in
            ["", "sale,A-1,1.00,EUR", "event,amount", "event,order_id,order_id", "event,,order_id"]
        {
            let error = lines(header).unwrap_err();
            assert!(
                matches!(&error, SheetError::Header(r) if r.field == "header"),
                "{header}: {error}"
            );
        }
    }
}
