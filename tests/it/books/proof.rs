//! What must hold after a year of business, whatever happened in it.

use std::collections::BTreeMap;

use serde_json::Value;
use tributary::clock::Timestamp;
use tributary::ledger::Code;

use super::year::{Business, CURRENCIES};

impl Business {
    pub(super) async fn prove(&self, closed: &[String]) {
        let mut balances: BTreeMap<String, (Value, Value)> = BTreeMap::new();
        let mut n_late = 0;
        for month in closed {
            for currency in CURRENCIES {
                self.prove_reconciliation(month, currency).await;
            }
            // What a month ends with the next one begins with, for each partner and currency.
            for statement in self.statements(month).await {
                let id = statement["id"].as_str().unwrap();
                let whole =
                    self.app.get(&self.app.finance_key, &format!("/v1/statements/{id}")).await;
                assert_eq!(whole.header("x-document-sha-256"), statement["sha256"]);
                let whole = whole.expect(200);
                let late =
                    whole["entries"].as_array().unwrap().iter().filter(|e| e["late"] == true);
                n_late += late.count();
                let key = format!("{} {}", statement["partner_id"], statement["currency"]);
                let ends = (whole["pending_closing"].clone(), whole["closing"].clone());
                if let Some(begins) = balances.insert(key.clone(), ends) {
                    let found = (whole["pending_opening"].clone(), whole["opening"].clone());
                    assert_eq!(found, begins, "{month} {key}");
                } else {
                    assert_eq!(whole["opening"], "0.00", "{month} {key}");
                }
            }
        }
        assert!(n_late > 20, "the year had {n_late} late items");
        self.prove_that_all_happened().await;
        self.prove_that_what_is_closed_is_fixed().await;
        self.prove_taxes().await;
        self.prove_balances_at_any_time().await;
        // Nothing but the story of January came after: the last statements are the ledger's balances.
        let partners: std::collections::BTreeSet<_> =
            balances.keys().map(|key| key.split(' ').next().unwrap().trim_matches('"')).collect();
        assert_eq!(partners.len(), self.partners.len(), "{balances:?}");
        for partner in partners {
            let path = format!(
                "/v1/ledger/accounts?program_id={}&partner_id={partner}&as_of=2027-01-01T00:00:00Z",
                self.scene.program_id
            );
            let accounts = self.app.get(&self.app.finance_key, &path).await.expect(200);
            for account in accounts["data"].as_array().unwrap() {
                let key = format!("\"{partner}\" {}", account["currency"]);
                let (pending, payable) = &balances[&key];
                let is_payable = account["path"].as_str().unwrap().ends_with(":payable");
                assert_eq!(
                    account["balance"],
                    *if is_payable { payable } else { pending },
                    "{key}"
                );
            }
        }
    }

    async fn statements(&self, month: &str) -> Vec<Value> {
        let path =
            format!("/v1/statements?program_id={}&period={month}&limit=200", self.scene.program_id);
        let list = self.app.get(&self.app.finance_key, &path).await.expect(200);
        list["data"].as_array().unwrap().clone()
    }

    async fn prove_reconciliation(&self, month: &str, currency: &str) {
        let from: chrono::NaiveDate = format!("{month}-01").parse().unwrap();
        let to = from.checked_add_months(chrono::Months::new(1)).unwrap();
        let path = format!(
            "/v1/reports/reconciliation?program_id={}&from={from}&to={to}&currency={currency}",
            self.scene.program_id
        );
        let report = self.app.get(&self.app.finance_key, &path).await.expect(200);
        for row in report["rows"].as_array().unwrap() {
            assert_eq!(row["difference"], "0.00", "{month} {currency} {row}");
        }
        assert_eq!(report["summary"]["partners_with_difference"], 0);
        assert_eq!(report["summary"]["in_transit_residue"], "0.00");
    }

    /// A year without one of the postings would prove less than it says.
    async fn prove_that_all_happened(&self) {
        let codes = "select distinct code from ledger_transactions order by code";
        let mut all = Code::ALL.map(Code::text);
        all.sort_unstable();
        assert_eq!(self.app.figures(codes).await, all);
        let capped = "select count(*) from commissions where kind = 'earned' and amount_minor = 0";
        assert!(self.app.count(capped).await > 0, "no cap cut anything off");
        let reasons = "select distinct reason from payout_carried_forward order by reason";
        let found = self.app.figures(reasons).await;
        assert_eq!(
            found,
            ["below_minimum", "method_other_currency", "method_returned", "negative_balance"]
        );
    }

    /// After its close no commission of a month was reckoned again.
    async fn prove_that_what_is_closed_is_fixed(&self) {
        let moved = "select count(*)
            from commission_history h
            join commissions c
              on c.program_id = h.program_id and c.commission_id = h.commission_id
            join closed_periods q on q.program_id = c.program_id
            where h.rule = 'period_revalued' and c.occurred_at < q.ends_at and h.at > q.closed_at";
        assert_eq!(self.app.count(moved).await, 0);
        let reckoned = "select count(*) from commission_history where rule = 'period_revalued'";
        assert!(self.app.count(reckoned).await > 20, "nothing was reckoned again");
    }

    /// A balance at a time is the sum of what took effect before it, at the edge of a day or within.
    async fn prove_balances_at_any_time(&self) {
        let mut db = self.app.owner().await;
        let sum = "select a.path,
                case when a.path like 'liability:%' then -1 else 1 end
                * coalesce(sum(e.amount_minor), 0)::bigint
            from ledger_accounts a
            left join ledger_entries e
              on e.program_id = a.program_id and e.account_id = a.account_id
             and e.effective_at < $1
            where a.currency = 'EUR'
            group by a.path order by a.path";
        let mut n_different = std::collections::BTreeSet::new();
        for (n, time) in
            (0..).zip(["00:00:00", "09:00:00", "09:00:00.000001", "23:59:59"].repeat(12))
        {
            let day = chrono::NaiveDate::from_yo_opt(2026, 1 + n * 7).unwrap();
            let at: Timestamp = format!("{day}T{time}Z").parse().unwrap();
            let expected: Vec<(String, i64)> =
                sqlx::query_as(sum).bind(at).fetch_all(&mut db).await.unwrap();
            let path = format!(
                "/v1/ledger/accounts?program_id={}&currency=EUR&limit=200&as_of={day}T{time}Z",
                self.scene.program_id
            );
            let told = self.app.get(&self.app.finance_key, &path).await.expect(200);
            let cents = |text: &str| text.replace('.', "").parse::<i64>().unwrap();
            let mut found: Vec<(String, i64)> = told["data"]
                .as_array()
                .unwrap()
                .iter()
                .map(|row| {
                    let text = |name: &str| row[name].as_str().unwrap();
                    (text("path").to_owned(), cents(text("balance")))
                })
                .collect();
            found.sort();
            assert_eq!(found, expected, "{at}");
            n_different.insert(format!("{found:?}"));
        }
        assert!(n_different.len() > 30, "the times tell {} balances apart", n_different.len());
    }

    /// What the ledger says of VAT and of tax withheld is what the payouts that stand say.
    async fn prove_taxes(&self) {
        let of_ledger = "select a.currency || ' ' || sum(b.balance_minor)
            from ledger_accounts a
            join ledger_balances b on b.program_id = a.program_id and b.account_id = a.account_id
            where a.path like '%:vat_input' or a.path like '%:withheld'
            group by a.currency, split_part(a.path, ':', 1) order by 1";
        let of_payouts = "select x.line from (
                select currency || ' ' || sum(vat_minor) as line from payouts
                where status in ('draft', 'approved', 'processing', 'paid') group by currency
                union all
                select currency || ' ' || -sum(withheld_minor) from payouts
                where status in ('draft', 'approved', 'processing', 'paid') group by currency) x
            order by 1";
        let found = self.app.figures(of_ledger).await;
        assert_eq!(found, self.app.figures(of_payouts).await);
        assert_eq!(found.len(), 4, "VAT and withholding in both currencies: {found:?}");
    }
}
