//! Events out of WHMCS: what the file `hook/stowage.php` in an installation sends.
//!
//! A message is JSON, signed. What it says is a hint to look, and never the truth: a message may be
//! lost, and come in any order.

use serde_json::Value;
use stowage_provider::Hint;
use stowage_provider::signed::{Disbelief, SignedMessage};

use crate::{NAME, Whmcs, loose};

impl Whmcs {
    /// Reads a message that the installation has sent, if it is to be believed.
    pub(crate) fn read(
        &self,
        installation: &str,
        message: SignedMessage<'_>,
    ) -> Result<Hint, Disbelief> {
        let verifier = self.verifier.as_ref().filter(|_| installation == NAME);
        verifier.ok_or(Disbelief::NoSecret)?.verify(message)?;
        hint_of(message.body)
    }
}

fn hint_of(body: &[u8]) -> Result<Hint, Disbelief> {
    let body: Value = serde_json::from_slice(body)
        .map_err(|_| Disbelief::Malformed { field: "body", why: "must be JSON" })?;
    let event = body["event"].as_str().filter(|name| !name.is_empty());
    let event = event.ok_or(Disbelief::Malformed { field: "event", why: "must be a text" })?;
    let id = |name: &str| loose::id(&body[name]);
    Ok(Hint {
        event: event.to_owned(),
        invoice_id: id("invoiceid"),
        order_id: id("orderid"),
        service_id: id("serviceid"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_what_it_is_about() {
        let body = br#"{"event":"OrderPaid","nonce":"a","orderid":3,"invoiceid":"2","userid":1}"#;
        let hint = hint_of(body).unwrap();
        assert_eq!((hint.order_id, hint.invoice_id, hint.service_id), (Some(3), Some(2), None));
        for (body, expected) in [
            (b"".as_slice(), "body"),
            (b"event=InvoicePaid", "body"),
            (b"{}", "event"),
            (b"[]", "event"),
            (br#"{"event":""}"#, "event"),
            (br#"{"event":7}"#, "event"),
        ] {
            match hint_of(body) {
                Err(Disbelief::Malformed { field, .. }) => assert_eq!(field, expected),
                other => panic!("{other:?}"),
            }
        }
    }
}
