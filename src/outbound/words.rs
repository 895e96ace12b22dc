//! The words of the daily mail, in the languages that it is written in.

use crate::outbound::digest::Locale;

/// Returns "3 partners".
pub(super) fn partners(n: usize, locale: Locale) -> String {
    match locale {
        Locale::En if n == 1 => "1 partner".to_owned(),
        Locale::En => format!("{n} partners"),
        // Genitive, as after «у»: 1 and 21, but not 11, are singular.
        Locale::Ru if n % 10 == 1 && n % 100 != 11 => format!("{n} партнёра"),
        Locale::Ru => format!("{n} партнёров"),
    }
}

/// Returns the words of a code of severity or cause; one that is not known stands for itself.
pub(super) fn code(code: &str, locale: Locale) -> &str {
    let (en, ru) = match code {
        "watch" => ("watch", "наблюдать"),
        "warning" => ("warning", "предупреждение"),
        "critical" => ("critical", "критично"),
        "silent" => ("silent", "замолчал"),
        "local_market" => ("local market", "местный рынок"),
        "organization" => ("organization", "организация работы"),
        "loss_of_interest" => ("loss of interest", "потеря интереса"),
        "content_marketing" => ("content and marketing", "контент и маркетинг"),
        "technical" => ("technical", "техническая"),
        "unknown" => ("unknown", "неизвестна"),
        other => (other, other),
    };
    match locale {
        Locale::En => en,
        Locale::Ru => ru,
    }
}

/// Returns the advice for a cause: the detector's own in English.
pub(super) fn remedy<'a>(cause: &str, own: &'a str, locale: Locale) -> &'a str {
    if locale == Locale::En {
        return own;
    }
    match cause {
        "local_market" => {
            "Попросите партнёра описать регион: уровень автоматизации, любимые продукты \
             конкурентов, почему клиенты хотят или не хотят ваш; приспособьте предложение."
        }
        "organization" => {
            "Предложите простую организацию для начала (колл-центр, удалённая команда, график) и \
             поделитесь сервисами, которыми пользуетесь сами."
        }
        "loss_of_interest" => {
            "Пусть поддержка сама консультирует партнёра: отдельный чат или линия обратного \
             звонка во все рабочие часы его часового пояса."
        }
        "content_marketing" => {
            "Отправьте правила маркетинга, тексты, фирменные изображения; познакомьте со \
             специалистами; пригласите на вебинары."
        }
        "technical" => {
            "Исправьте названные ссылки или страницы, затем сообщите партнёру; до этого не \
             просите его об активности."
        }
        "unknown" => "Спросите партнёра, что изменилось, и запишите ответ как причину.",
        _ => own,
    }
}
