//! Calls of the remote API: who calls, how fast, how often, and what an answer is.

use std::time::Duration;

use bytes::Bytes;
use form_urlencoded::Serializer;
use http::header::CONTENT_TYPE;
use http::{Request, StatusCode};
use http_body_util::Full;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use std::sync::Arc;
use stowage_provider::BoxError;
use stowage_types::Random;

use crate::breaker::Breaker;
use crate::fault::Fault;
use crate::net::Net;
use crate::options::WhmcsOptions;
use crate::pace::Pace;

/// Path of the remote API below an installation.
const PATH: &str = "/includes/api.php";
const FORM: &str = "application/x-www-form-urlencoded";
/// What is kept of a text that is not ours, in characters.
const MESSAGE_MAX: usize = 300;
/// Times that a pause is doubled, at most.
const DOUBLINGS_MAX: u32 = 5;

/// Parameters of an action.
pub(crate) type Parameters<'p> = &'p [(&'p str, &'p str)];

/// A client of the remote API.
#[derive(Debug)]
pub(crate) struct Api {
    net: Net,
    url: String,
    identifier: String,
    secret: SecretString,
    access_key: Option<SecretString>,
    call_timeout: Duration,
    read_attempts: u32,
    read_pause: Duration,
    breaker: Breaker,
    pace: Pace,
    random: Arc<dyn Random>,
}

impl Api {
    pub(crate) fn new(options: &WhmcsOptions, random: Arc<dyn Random>) -> Result<Self, BoxError> {
        let faults = options.faults();
        if !faults.is_empty() {
            return Err(faults.join("; ").into());
        }
        Ok(Self {
            net: Net::new(options.ca.clone(), options.connect_timeout)?,
            url: format!("{}{PATH}", options.url.trim_end_matches('/')),
            identifier: options.identifier.clone(),
            secret: options.secret.clone(),
            access_key: options.access_key.clone(),
            call_timeout: options.call_timeout,
            read_attempts: options.read_attempts,
            read_pause: options.read_pause,
            breaker: Breaker::new(options.breaker_failures, options.breaker_pause),
            pace: Pace::new(options.calls_per_second),
            random,
        })
    }

    /// Carries out an action that changes nothing; what has no clear answer is asked again, with
    /// pauses that grow.
    pub(crate) async fn read(&self, action: &str, what: Parameters<'_>) -> Result<Value, Fault> {
        let mut attempt = 1;
        loop {
            let answer = self.call(action, what).await;
            let is_unclear = answer.as_ref().is_err_and(Fault::is_unclear);
            if !is_unclear || attempt >= self.read_attempts {
                return answer;
            }
            tokio::time::sleep(self.pause(attempt)).await;
            attempt += 1;
        }
    }

    /// Carries out an action once, whatever comes of it.
    pub(crate) async fn write(&self, action: &str, what: Parameters<'_>) -> Result<Value, Fault> {
        self.call(action, what).await
    }

    /// Between half and all of what is due: those who failed together shall not meet again.
    fn pause(&self, attempt: u32) -> Duration {
        let due = self.read_pause.saturating_mul(1 << (attempt - 1).min(DOUBLINGS_MAX));
        let mut byte = [0];
        self.random.fill(&mut byte);
        due / 2 + due / 2 * u32::from(byte[0]) / 255
    }

    async fn call(&self, action: &str, what: Parameters<'_>) -> Result<Value, Fault> {
        let request = self.request(action, what)?;
        if !self.pace.wait(self.call_timeout).await {
            return Err(Fault::away("too many calls wait for their turn"));
        }
        let pass = self.breaker.enter();
        let pass = pass.ok_or_else(|| Fault::away("it did not answer a moment ago"))?;
        let answer = self.net.ask(request, self.call_timeout).await;
        let answer = answer.and_then(|(status, body)| understood(status, &body));
        pass.tell(!answer.as_ref().is_err_and(Fault::is_unclear));
        if let Err(Fault::Denied { status, message }) = &answer {
            tracing::error!(action, %status, message, "WHMCS turned a call away");
        }
        answer
    }

    fn request(&self, action: &str, what: Parameters<'_>) -> Result<Request<Full<Bytes>>, Fault> {
        let mut form = Serializer::new(String::new());
        form.append_pair("action", action).append_pair("responsetype", "json");
        form.append_pair("identifier", &self.identifier);
        form.append_pair("secret", self.secret.expose_secret());
        if let Some(key) = &self.access_key {
            form.append_pair("accesskey", key.expose_secret());
        }
        form.extend_pairs(what);
        let request = Request::post(&self.url).header(CONTENT_TYPE, FORM);
        request.body(Full::from(form.finish())).map_err(Fault::away)
    }
}

/// What an answer says. `result` is success or error under status 200; AddBillableItem's `status`
/// repeats it.
fn understood(status: StatusCode, body: &[u8]) -> Result<Value, Fault> {
    let answer: Option<Value> = serde_json::from_slice(body).ok();
    let field = |name: &str| {
        let text = answer.as_ref().and_then(|answer| answer.get(name)).and_then(Value::as_str);
        text.map(|text| text.chars().take(MESSAGE_MAX).collect::<String>())
    };
    let message = field("message").unwrap_or_default();
    if status.is_client_error() {
        return Err(Fault::Denied { status, message });
    }
    if !status.is_success() {
        return Err(Fault::lost(format!("it answered {status}")));
    }
    match (field("result").as_deref(), answer) {
        (Some("success"), Some(answer)) => Ok(answer),
        (Some("error"), _) => Err(Fault::Refused { message }),
        // Neither is told what was there: it may be anything.
        (_, Some(_)) => Err(Fault::lost("an answer without a result")),
        (_, None) => Err(Fault::lost("an answer that is no JSON")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_success_only_if_it_says_so() {
        let kind = |status: u16, body: &str| {
            let status = StatusCode::from_u16(status).unwrap();
            match understood(status, body.as_bytes()) {
                Ok(_) => "done",
                Err(Fault::Denied { .. }) => "denied",
                Err(Fault::Refused { .. }) => "refused",
                Err(Fault::Lost(_)) => "lost",
                Err(Fault::Away(_)) => "away",
            }
        };
        for (status, body, expected) in [
            (200, r#"{"result":"success","orderid":1}"#, "done"),
            (200, r#"{"result":"error","message":"Client ID Not Found"}"#, "refused"),
            (200, r#"{"result":"error"}"#, "refused"),
            (200, r#"{"result":"succ"#, "lost"),
            (200, r#"{"orderid":1}"#, "lost"),
            (200, "", "lost"),
            (200, "result=success;orderid=1;", "lost"),
            (200, "[]", "lost"),
            (302, "", "lost"),
            (403, r#"{"result":"error","message":"Invalid IP 192.0.2.1"}"#, "denied"),
            (403, "Forbidden", "denied"),
            (404, "<html>", "denied"),
            (500, r#"{"result":"success"}"#, "lost"),
            (502, "<html>", "lost"),
        ] {
            assert_eq!(kind(status, body), expected, "{status} {body}");
        }
    }
}
