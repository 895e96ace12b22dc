//! Messages of ISO 20022, element by element: names without their namespace, texts without entities.

use quick_xml::Reader;
use quick_xml::escape::unescape;
use quick_xml::events::Event;

use super::UnreadableFile;

/// What is met on the way through a message.
pub(super) enum Part<'a> {
    /// An element begins.
    Begin(&'a str),
    /// An element ends; `around` are the elements that it stands in, the outermost first.
    End { name: &'a str, text: &'a str, around: &'a [String] },
}

/// Goes through a message and tells each element.
pub(super) fn walk(bytes: &[u8], mut tell: impl FnMut(Part<'_>)) -> Result<(), UnreadableFile> {
    let text = std::str::from_utf8(bytes).map_err(|_| UnreadableFile::NotText)?;
    let mut reader = Reader::from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    let bad = |why: String| UnreadableFile::BadLine { line: 1, why };
    let mut open: Vec<String> = Vec::new();
    let mut value = String::new();
    loop {
        match reader.read_event().map_err(|e| bad(e.to_string()))? {
            Event::Start(tag) => {
                let name = tag.local_name().as_ref().to_owned();
                tell(Part::Begin(&name));
                open.push(name);
                value.clear();
            }
            Event::Text(part) => value.push_str(&part),
            Event::GeneralRef(name) => {
                let text = format!("&{};", &*name);
                value.push_str(&unescape(&text).map_err(|e| bad(e.to_string()))?);
            }
            Event::End(_) => {
                let name = open.pop().unwrap_or_default();
                tell(Part::End { name: &name, text: value.trim(), around: &open });
                value.clear();
            }
            Event::Eof if open.is_empty() => return Ok(()),
            Event::Eof => return Err(bad("it ends too early".to_owned())),
            Event::Empty(_)
            | Event::CData(_)
            | Event::Comment(_)
            | Event::Decl(_)
            | Event::PI(_)
            | Event::DocType(_) => {}
        }
    }
}
