//! SEPA credit transfers: ISO 20022 `pain.001.001.09`, one payment block.
//!
//! No unstructured address: since November 2026 banks refuse it. Town and country, or none. An
//! underscore is not in the SEPA character set, so ids are written `po-…`.

use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};
use quick_xml::writer::Writer;

use super::text::sepa;
use super::{FileError, FileHead, FileItem, total};
use crate::payout::method::iban::Iban;
use crate::payout::method::{HOLDER_MAX_CHARS, PayoutMethod, Route};

const NAMESPACE: &str = "urn:iso:std:iso:20022:tech:xsd:pain.001.001.09";
const PURPOSE_MAX_CHARS: usize = 140;

/// Writes the transfers.
pub(super) fn write(head: &FileHead, items: &[FileItem]) -> Result<Vec<u8>, FileError> {
    let payer = head.payer.as_ref().ok_or(FileError::NoPayer)?;
    let count = items.len().to_string();
    let sum = total(head.currency, items)?.to_decimal_string();
    // 32 characters: the batch's 29 and the part; the same at every writing.
    let message_id = format!("{}-{}", written_id(&head.batch_id.to_string()), head.part);
    let mut xml = Xml::new();
    xml.open("CstmrCdtTrfInitn");
    xml.open("GrpHdr");
    xml.text("MsgId", &message_id);
    xml.text("CreDtTm", &head.made_at.format("%Y-%m-%dT%H:%M:%S").to_string());
    xml.text("NbOfTxs", &count);
    xml.text("CtrlSum", &sum);
    xml.nested(&["InitgPty"], "Nm", &sepa(&payer.holder, HOLDER_MAX_CHARS));
    xml.close("GrpHdr");
    xml.open("PmtInf");
    xml.text("PmtInfId", &message_id);
    xml.text("PmtMtd", "TRF");
    xml.text("BtchBookg", "true");
    xml.text("NbOfTxs", &count);
    xml.text("CtrlSum", &sum);
    xml.nested(&["PmtTpInf", "SvcLvl"], "Cd", "SEPA");
    xml.nested(&["ReqdExctnDt"], "Dt", &head.execution_on.to_string());
    let (iban, bic) = xml.party("Dbtr", payer).ok_or(FileError::NoPayer)?;
    xml.nested(&["DbtrAcct", "Id"], "IBAN", iban.electronic());
    match bic {
        Some(bic) => xml.nested(&["DbtrAgt", "FinInstnId"], "BICFI", bic),
        // What the scheme wants where the bank is known by the account alone.
        None => xml.nested(&["DbtrAgt", "FinInstnId", "Othr"], "Id", "NOTPROVIDED"),
    }
    xml.text("ChrgBr", "SLEV");
    for item in items {
        xml.transfer(head, item)?;
    }
    xml.close("PmtInf");
    xml.close("CstmrCdtTrfInitn");
    Ok(xml.end())
}

/// Returns an id as SEPA may carry it; read back by [`read_id`].
pub fn written_id(id: &str) -> String {
    id.replacen('_', "-", 1)
}

/// Returns an id as it is known here.
pub fn read_id(id: &str) -> String {
    id.trim().replacen('-', "_", 1)
}

struct Xml(Writer<Vec<u8>>);

impl Xml {
    fn new() -> Self {
        let mut xml = Self(Writer::new_with_indent(Vec::new(), b' ', 2));
        xml.event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)));
        xml.event(Event::Start(
            BytesStart::new("Document").with_attributes([("xmlns", NAMESPACE)]),
        ));
        xml
    }

    fn event(&mut self, event: Event<'_>) {
        self.0.write_event(event).expect("writing to memory cannot fail");
    }

    fn open(&mut self, name: &str) {
        self.event(Event::Start(BytesStart::new(name)));
    }

    fn close(&mut self, name: &str) {
        self.event(Event::End(BytesEnd::new(name)));
    }

    fn text(&mut self, name: &str, text: &str) {
        self.open(name);
        self.event(Event::Text(BytesText::new(text)));
        self.close(name);
    }

    /// Writes a text inside elements that hold nothing else.
    fn nested(&mut self, around: &[&str], name: &str, text: &str) {
        around.iter().for_each(|outer| self.open(outer));
        self.text(name, text);
        around.iter().rev().for_each(|outer| self.close(outer));
    }

    /// Writes who somebody is and returns the account; none for another kind of method.
    fn party<'a>(
        &mut self,
        name: &str,
        method: &'a PayoutMethod,
    ) -> Option<(&'a Iban, Option<&'a str>)> {
        let Route::Sepa { iban, bic, town } = &method.route else { return None };
        self.open(name);
        self.text("Nm", &sepa(&method.holder, HOLDER_MAX_CHARS));
        if let Some((town, country)) = town {
            self.open("PstlAdr");
            self.text("TwnNm", &sepa(town, 35));
            self.text("Ctry", country);
            self.close("PstlAdr");
        }
        self.close(name);
        Some((iban, bic.as_deref()))
    }

    fn transfer(&mut self, head: &FileHead, item: &FileItem) -> Result<(), FileError> {
        let misplaced = FileError::Misplaced(item.payout_id);
        let Some(method) = &item.method else { return Err(misplaced) };
        let Route::Sepa { bic, .. } = &method.route else { return Err(misplaced) };
        let id = written_id(&item.payout_id.to_string());
        self.open("CdtTrfTxInf");
        self.open("PmtId");
        self.text("InstrId", &id);
        self.text("EndToEndId", &id);
        self.close("PmtId");
        self.open("Amt");
        let currency = [("Ccy", item.amount.currency.code())];
        self.event(Event::Start(BytesStart::new("InstdAmt").with_attributes(currency)));
        self.event(Event::Text(BytesText::new(&item.amount.to_decimal_string())));
        self.close("InstdAmt");
        self.close("Amt");
        if let Some(bic) = bic {
            self.nested(&["CdtrAgt", "FinInstnId"], "BICFI", bic);
        }
        let (iban, _) = self.party("Cdtr", method).ok_or(misplaced)?;
        self.nested(&["CdtrAcct", "Id"], "IBAN", iban.electronic());
        let document = item.document_no.as_deref().unwrap_or(&id);
        let purpose = format!("{document} {} {}", head.period, head.program);
        self.nested(&["RmtInf"], "Ustrd", &sepa(&purpose, PURPOSE_MAX_CHARS));
        self.close("CdtTrfTxInf");
        Ok(())
    }

    fn end(mut self) -> Vec<u8> {
        self.close("Document");
        let mut bytes = self.0.into_inner();
        bytes.push(b'\n');
        bytes
    }
}
