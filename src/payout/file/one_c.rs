//! Payment orders for Russian banks: the exchange format 1C client-bank 1.03, in windows-1251.

use std::fmt::Write as _;

use deunicode::deunicode_char;
use encoding_rs::WINDOWS_1251;

use super::text::one_line;
use super::{FileError, FileHead, FileItem};
use crate::payout::method::{PayoutMethod, Route, RuAccount};

/// Longest purpose that a payment order holds, in characters (Bank of Russia, 762-P).
const PURPOSE_MAX_CHARS: usize = 210;
const NAME_MAX_CHARS: usize = 160;

/// Writes the payment orders. Each is numbered by its place in the batch.
pub(super) fn write(head: &FileHead, items: &[FileItem]) -> Result<Vec<u8>, FileError> {
    let payer = head.payer.as_ref().ok_or(FileError::NoPayer)?;
    let Route::RuBank(from) = &payer.route else { return Err(FileError::NoPayer) };
    let day = head.execution_on.format("%d.%m.%Y").to_string();
    let mut lines = Lines(String::new());
    lines.bare("1CClientBankExchange");
    lines.add("ВерсияФормата", "1.03");
    lines.add("Кодировка", "Windows");
    lines.add("Отправитель", "Tributary");
    lines.add("Получатель", "");
    lines.add("ДатаСоздания", &head.made_at.format("%d.%m.%Y").to_string());
    lines.add("ВремяСоздания", &head.made_at.format("%H:%M:%S").to_string());
    lines.add("ДатаНачала", &day);
    lines.add("ДатаКонца", &day);
    lines.add("РасчСчет", &from.account);
    lines.add("Документ", "Платежное поручение");
    let first = (head.part - 1) * super::FileFormat::OneC.rows_max();
    for (number, item) in (first + 1..).zip(items) {
        let misplaced = || FileError::Misplaced(item.payout_id);
        let method = item.method.as_ref().ok_or_else(misplaced)?;
        let Route::RuBank(to) = &method.route else { return Err(misplaced()) };
        lines.add("СекцияДокумент", "Платежное поручение");
        lines.add("Номер", &number.to_string());
        lines.add("Дата", &day);
        lines.add("Сумма", &item.amount.to_decimal_string());
        lines.party("Плательщик", payer, from);
        lines.party("Получатель", method, to);
        lines.add("ВидОплаты", "01");
        lines.add("Очередность", "5");
        lines.add("НазначениеПлатежа", &purpose(head, item));
        lines.bare("КонецДокумента");
    }
    lines.bare("КонецФайла");
    Ok(encode(&lines.0))
}

/// Says what the payment is for. The payout's id comes first, so that no limit cuts it off; that of
/// VAT must be said either way.
fn purpose(head: &FileHead, item: &FileItem) -> String {
    let vat = if item.vat.is_positive() {
        format!("В том числе НДС {}", item.vat.to_decimal_string())
    } else {
        "НДС не облагается".to_owned()
    };
    let id = item.payout_id;
    let period = &head.period;
    one_line(
        &format!("{id} Вознаграждение по партнерской программе за {period}. {vat}."),
        PURPOSE_MAX_CHARS,
    )
}

struct Lines(String);

impl Lines {
    fn bare(&mut self, text: &str) {
        write!(self.0, "{text}\r\n").expect("writing to memory cannot fail");
    }

    fn add(&mut self, name: &str, value: &str) {
        self.bare(&format!("{name}={value}"));
    }

    fn party(&mut self, who: &str, method: &PayoutMethod, ru: &RuAccount) {
        let name = one_line(&method.holder, NAME_MAX_CHARS);
        self.add(&format!("{who}Счет"), &ru.account);
        self.add(who, &format!("ИНН {} {name}", ru.inn));
        self.add(&format!("{who}ИНН"), &ru.inn);
        if let Some(kpp) = &ru.kpp {
            self.add(&format!("{who}КПП"), kpp);
        }
        self.add(&format!("{who}1"), &name);
        self.add(&format!("{who}РасчСчет"), &ru.account);
        self.add(&format!("{who}Банк1"), &one_line(&ru.bank, NAME_MAX_CHARS));
        self.add(&format!("{who}БИК"), &ru.bik);
        self.add(&format!("{who}Корсчет"), &ru.corr_account);
    }
}

/// Encodes as windows-1251; what it does not have is transliterated, or becomes a question mark.
fn encode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut buffer = [0; 4];
    for c in text.chars() {
        let (encoded, _, is_lost) = WINDOWS_1251.encode(c.encode_utf8(&mut buffer));
        if is_lost {
            bytes.extend_from_slice(deunicode_char(c).unwrap_or("?").as_bytes());
        } else {
            bytes.extend_from_slice(&encoded);
        }
    }
    bytes
}
