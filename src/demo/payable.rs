//! What nobody is paid without: where the money goes, and what tax law says.

use anyhow::bail;

use crate::account::audit_store::{self, Entry};
use crate::app::App;
use crate::clock::Timestamp;
use crate::db::DbTx;
use crate::ids::{PartnerId, UserId};
use crate::money::Bps;
use crate::payout::method::http::sealed_method;
use crate::payout::method::{MethodDocument, PayoutMethod, store};
use crate::payout::tax::{LegalType, TaxProfile, VatTreatment};

/// Sets the payout method of a partner, and the profile of an entrepreneur without VAT.
pub(crate) async fn make_payable(
    db: &mut DbTx,
    app: &App,
    (id, country): (PartnerId, &str),
    document: &MethodDocument,
    at: Timestamp,
) -> anyhow::Result<()> {
    let method = match PayoutMethod::read(document) {
        Ok(method) => method,
        Err(mistakes) => bail!("a payout method of the demo is wrong: {mistakes:?}"),
    };
    let by = UserId::new();
    let sealed = sealed_method(app, id, document, &method);
    store::put_method(db, id, &sealed, by, at).await?;
    let profile = TaxProfile {
        legal_type: LegalType::SoleTrader,
        tax_country: country.to_owned(),
        tax_id: None,
        vat_id: None,
        vat_treatment: VatTreatment::Unregistered,
        vat_rate: Bps(0),
        withholding: Bps(0),
        self_billing_agreed_at: None,
    };
    store::put_tax_profile(db, id, &profile, by, at).await?;
    for act in ["payout_method.set", "tax_profile.set"] {
        audit_store::record(db, Entry::by_system(act, id), at).await?;
    }
    Ok(())
}
