//! Which calls may be sent again when nobody knows whether they were executed.
//!
//! - One that changes nothing.
//! - One whose method names what makes a repeat harmless: a key of its own, or why it needs none.
//! - One that carries a request id: the role executes it once, and answers a repeat with the first
//!   answer. While the first attempt is under way the repeat is told so, and comes again.

use bytes::{Buf as _, Bytes};
use http::{Response, Uri};
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use stowage_proto::common::ErrorReason;
use tonic::Status;
use tonic::body::Body;

use crate::reason_of;

/// Bytes before a message: whether it is compressed, and its length.
const FRAME_HEAD_BYTES: usize = 5;
/// The key that callers choose.
const REQUEST_ID: &str = "request_id";

/// Whether a call may be sent again.
pub(crate) fn is_safe(uri: &Uri, body: &Bytes) -> bool {
    let method = stowage_proto::method(uri.path());
    method.is_some_and(|method| {
        !method.mutates
            || method.repeat_key != REQUEST_ID
            || has_text(method.repeat_field, body).unwrap_or(false)
    })
}

/// Whether an answer says that another attempt at the same request has not ended.
pub(crate) fn is_under_way(response: &Response<Body>) -> bool {
    Status::from_header_map(response.headers())
        .is_some_and(|status| reason_of(&status) == Some(ErrorReason::RequestInProgress))
}

/// Whether the message in a frame has a text in a field. `None`: it cannot be read.
fn has_text(field: u32, frame: &Bytes) -> Option<bool> {
    let is_compressed = *frame.first()? != 0;
    if is_compressed || frame.len() < FRAME_HEAD_BYTES {
        return None;
    }
    let mut message = frame.slice(FRAME_HEAD_BYTES..);
    while message.has_remaining() {
        let (tag, wire_type) = decode_key(&mut message).ok()?;
        if tag == field && wire_type == WireType::LengthDelimited {
            return Some(decode_varint(&mut message).ok()? > 0);
        }
        skip_field(wire_type, tag, &mut message, DecodeContext::default()).ok()?;
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use stowage_proto::accounts::{
        CreateCustomerRequest, Customer, GetCustomerRequest, LoginRequest,
    };
    use stowage_proto::metering::CloseMeterRequest;

    use super::*;

    fn framed(message: &impl Message) -> Bytes {
        let encoded = message.encode_to_vec();
        let mut frame = vec![0];
        frame.extend(u32::try_from(encoded.len()).unwrap().to_be_bytes());
        frame.extend(encoded);
        frame.into()
    }

    #[test]
    fn what_reads_or_is_named_may_be_repeated_and_nothing_else() {
        let customer = Some(Customer { email: "a@example.com".to_owned(), ..Default::default() });
        let named = CreateCustomerRequest { customer, request_id: "one".to_owned() };
        let unnamed = CreateCustomerRequest { request_id: String::new(), ..named.clone() };
        let create = "/stowage.accounts.v1.CustomerService/CreateCustomer";
        let get = "/stowage.accounts.v1.CustomerService/GetCustomer";
        let login = "/stowage.accounts.v1.SessionService/Login";
        let close = "/stowage.metering.v1.MeterService/CloseMeter";
        let mut compressed = framed(&named).to_vec();
        compressed[0] = 1;
        for (path, body, expected) in [
            (create, framed(&named), true),
            (create, framed(&unnamed), false),
            (create, compressed.into(), false),
            (create, framed(&named).slice(..8), false),
            (create, Bytes::new(), false),
            (get, framed(&GetCustomerRequest::default()), true),
            (login, framed(&LoginRequest::default()), true),
            (close, framed(&CloseMeterRequest::default()), true),
            ("/stowage.accounts.v1.CustomerService/Nothing", Bytes::new(), false),
        ] {
            let uri = Uri::from_static(path);
            assert_eq!(is_safe(&uri, &body), expected, "{path} {body:?}");
        }
    }
}
