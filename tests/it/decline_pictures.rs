//! A program in which one partner stopped and one doubled, as people look at it: pages, pictures,
//! workbooks.

use serde_json::Value;

use crate::harness::TestApp;

const SVG: &str = "image/svg+xml; charset=utf-8";

/// Thirty partners with 8 to 16 clicks a day over 400 days until yesterday, in two countries and on
/// two links. Number 1 stops 20 days ago, its second link a month before; number 2 doubles.
async fn seed(app: &TestApp) {
    let mut db = app.owner().await;
    let statements = [
        "insert into partners (partner_id, name, slug, kind, created_at, updated_at)
         select ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid,
                'Partner <' || n || '>', 'seeded-' || n, 'webmaster', now(), now()
         from generate_series(1, 30) n",
        "insert into enrollments (program_id, partner_id, owner, created_at, updated_at)
         select g.program_id, p.partner_id, 'Ada', now(), now()
         from partners p, programs g where p.slug like 'seeded-%'",
        "insert into click_hours (program_id, hour, partner_id, link_number, class, country,
                                  n_clicks, n_unique)
         select g.program_id, timestamptz '2026-11-22 06:00+00' - d * interval '1 day',
                p.partner_id, l, 0, (array ['DE', 'PL'])[l],
                1, (case when n = 2 and d <= 30 then 2 else 1 end)
                   * (4 + (n * 7 + d * 13 + l * 5) % 5)
         from generate_series(1, 30) n
         join partners p on p.slug = 'seeded-' || n
         cross join programs g
         cross join generate_series(1, 400) d
         cross join generate_series(1, 2) l
         where not (n = 1 and (d <= 20 or l = 2 and d <= 50))",
    ];
    for statement in statements {
        sqlx::query(statement).execute(&mut db).await.unwrap();
    }
}

fn row_of<'a>(report: &'a Value, name: &str) -> &'a Value {
    let rows = report["rows"].as_array().unwrap();
    rows.iter().find(|row| row["partner_name"] == name).unwrap_or_else(|| panic!("{report}"))
}

#[actix_web::test]
async fn a_decline_is_seen_on_a_page_in_a_chart_and_in_a_workbook() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    seed(&app).await;
    let path = |report: &str, rest: &str| {
        format!("/v1/reports/{report}?program_id={}{rest}", scene.program_id)
    };
    let report = app.get(&app.manager_key, &path("activity-decline", "")).await.expect(200);
    let stopped = row_of(&report, "Partner <1>");
    assert_eq!((&stopped["severity"], &stopped["since"]), (&"silent".into(), &"2026-11-02".into()));
    assert_eq!((&stopped["links_live"], &stopped["links_dead"]), (&1.into(), &1.into()));

    // The pictures that the row names.
    for which in ["chart", "sparkline"] {
        let picture = app.get(&app.manager_key, stopped[which].as_str().unwrap()).await;
        assert_eq!((picture.status, picture.header("content-type")), (200, SVG));
        let policy = picture.header("content-security-policy");
        assert_eq!(policy, "default-src 'none'; style-src 'unsafe-inline'");
        assert!(picture.text().contains("<title>Partner &lt;1&gt;: clicks a "), "{which}");
        assert!(picture.text().contains("Declined since 2026-11-02"), "{}", picture.text());
        keep(&format!("{which}.svg"), &picture.body);
    }
    let chart = stopped["chart"].as_str().unwrap();
    app.get(&app.manager_key, &format!("{chart}&days=13"))
        .await
        .expect_problem(422, "invalid-field");
    let nobody = chart.replace("00000000001", "99999999999");
    assert_ne!(nobody, chart);
    app.get(&app.manager_key, &nobody).await.expect_problem(404, "not-found");
    // Before the fall there was none.
    let before = app.get(&app.manager_key, &format!("{chart}&day=2026-09-20&days=60")).await;
    assert!(before.text().contains("No decline is listed."), "{}", before.text());

    // The page.
    let page = app.get(&app.manager_key, &path("activity-decline", "&format=html")).await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    assert!(page.header("content-security-policy").starts_with("default-src 'none';"));
    let text = page.text();
    assert!(
        text.contains("Partner &lt;1&gt;") && !text.contains("<1>") && !text.contains("<script")
    );
    assert_eq!(text.matches("role=\"img\"").count(), report["rows"].as_array().unwrap().len());
    keep("page.html", &page.body);
    let other = app.get(&app.manager_key, &path("traffic", "&format=html")).await;
    other.expect_problem(422, "invalid-field");

    // The workbook: a zip archive with a name of its own.
    let book = app.get(&app.manager_key, &path("activity-decline", "&format=xlsx")).await;
    assert_eq!(&book.body[..4], b"PK\x03\x04");
    let name = "attachment; filename=\"tributary_activity-decline_2026-11-01_2026-11-23_EUR.xlsx\"";
    assert_eq!(book.header("content-disposition"), name);

    // Who rises.
    let rising = app.get(&app.manager_key, &path("activity-rising", "")).await.expect(200);
    assert_eq!(rising["rows"].as_array().unwrap().len(), 1, "{rising}");
    let doubled = row_of(&rising, "Partner <2>");
    let gained = doubled["share_gained_percent"].as_i64().unwrap();
    assert!((85..115).contains(&gained), "{doubled}");
}

/// Keeps a picture for those who want to look at it.
fn keep(name: &str, body: &[u8]) {
    let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("decline-pictures");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join(name), body).unwrap();
}
