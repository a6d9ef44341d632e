//! One request and its answer.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{CONTENT_TYPE, EXPECT};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version, request};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::{Error, ResponseFuture};
use stowage_runtime::PortRequest;

use crate::counts::Signer;
use crate::download::{Download, Passed};
use crate::headers;
use crate::meter::{Meter, Why};
use crate::naming::{Signature, bucket_of, host_of, in_host, makes_bucket};
use crate::refusal::Refusal;
use crate::serve::Inner;
use crate::upload::{Upload, UploadControl};

/// How long a request stays at the engine whose client went away before it was answered. Servers
/// hold a refusal back for some seconds where more of the body is to come.
pub const GRACE: Duration = Duration::from_secs(5);
/// How many such requests are waited for at once.
pub const LINGERING_MAX: usize = 256;

/// How long the engine may take to want a body that the client holds back. Not all engines say so.
///
/// Source: RFC 9110, 10.1.1: a client should not wait for ever either.
const CONTINUE_MAX: Duration = Duration::from_secs(1);
/// Longest head of a request, in bytes. Metadata of an object are 2 KiB; S3 takes 8 KiB in all.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Answers a request by what the engine answers.
pub(crate) async fn answer(front: &Arc<Inner>, request: PortRequest) -> Response<Download> {
    pass(front, request)
        .await
        .unwrap_or_else(|refusal| refusal.answer().map(|text| Download::Own(Full::new(text))))
}

async fn pass(front: &Arc<Inner>, request: PortRequest) -> Result<Response<Download>, Refusal> {
    let (mut head, body) = request.into_parts();
    check(&head)?;
    let query = head.uri.query().unwrap_or_default();
    let signature = Signature::of(&head.headers, query).map_err(|_| Refusal::SignedTwice)?;
    headers::strip_request(&mut head.headers, &signature);
    // What is left is what the engine sees: a key that was taken out signs nothing.
    let signature = Signature::of(&head.headers, query).map_err(|_| Refusal::SignedTwice)?;
    let bucket = bucket(front, &head);
    let signer = signature.access_key.map(|access_key| Signer { access_key, bucket });
    let meter = Arc::new(Meter::new(Arc::clone(&front.counts), signer, &head.method));
    head.uri = target(front, &head.uri)?;
    head.version = Version::HTTP_11;
    let method = head.method.clone();
    let waits = head.headers.contains_key(EXPECT);
    let (upload, control) = Upload::new(body, Arc::clone(&meter), waits);
    let mut request = Request::from_parts(head, upload);
    request.extensions_mut().clear();
    if waits {
        let control = control.clone();
        hyper::ext::on_informational(&mut request, move |told| {
            if told.status() == StatusCode::CONTINUE {
                control.release();
            }
        });
    }
    let answer = Some(front.client.request(request));
    let parts = (Arc::clone(front), method, meter, control);
    let mut waiting = Waiting { answer, parts };
    let answered = waiting.answer().await?;
    Ok(waiting.passed(answered))
}

/// The bucket that a request is for.
fn bucket(front: &Inner, head: &request::Parts) -> Option<String> {
    let (host, domain) = (host_of(&head.uri, &head.headers), front.options.domain.as_deref());
    let is_in_host = in_host(host, domain).is_some();
    let bucket = bucket_of(host, head.uri.path(), domain);
    bucket.filter(|_| !makes_bucket(&head.method, &head.uri, is_in_host))
}

fn check(head: &request::Parts) -> Result<(), Refusal> {
    if head.method == Method::CONNECT {
        return Err(Refusal::Method);
    }
    let of_fields = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        name.as_str().len() + value.len() + ": \r\n".len()
    };
    let fields: usize = head.headers.iter().map(of_fields).sum();
    let target = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if fields + target > HEAD_BYTES_MAX {
        return Err(Refusal::HeadersTooLong);
    }
    if head.method == Method::POST && is_form(&head.headers) {
        return Err(Refusal::Form);
    }
    Ok(())
}

fn is_form(headers: &HeaderMap) -> bool {
    let form = b"multipart/form-data";
    headers.get_all(CONTENT_TYPE).iter().any(|kind| {
        let kind = kind.as_bytes().trim_ascii_start();
        kind.get(..form.len()).is_some_and(|start| start.eq_ignore_ascii_case(form))
    })
}

/// The same path and query at the engine, byte for byte.
fn target(front: &Inner, uri: &Uri) -> Result<Uri, Refusal> {
    let mut parts = front.base.clone().into_parts();
    parts.path_and_query = Some(uri.path_and_query().cloned().ok_or(Refusal::Target)?);
    Uri::from_parts(parts).map_err(|_| Refusal::Target)
}

type Parts = (Arc<Inner>, Method, Arc<Meter>, UploadControl);

/// A request at the engine. Dropped before it is known who pays, it stays there for a moment.
struct Waiting {
    /// Taken once it is there.
    answer: Option<ResponseFuture>,
    parts: Parts,
}

impl Waiting {
    /// Waits for the head of the answer, as long as the client is there and something moves.
    async fn answer(&mut self) -> Result<Response<Incoming>, Refusal> {
        let (front, _, meter, upload) = self.parts.clone();
        let answered = tokio::select! {
            answered = &mut *self => answered,
            () = upload.gone() => return Err(Refusal::Incomplete),
            refusal = watch(&front, &upload) => {
                if refusal == Refusal::Silent {
                    meter.charge_nobody(Why::Failed);
                }
                return Err(refusal);
            }
        };
        answered.map_err(|error| {
            meter.charge_nobody(Why::Failed);
            upload.let_go();
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, location = &**front.counts.location(), "the engine is away");
            Refusal::Away
        })
    }

    /// The answer as the client gets it.
    fn passed(self, answered: Response<Incoming>) -> Response<Download> {
        let (front, method, meter, upload) = &self.parts;
        meter.answered(method, answered.status());
        if !answered.status().is_success() && !upload.is_done() {
            upload.let_go();
        }
        let (mut head, body) = answered.into_parts();
        headers::strip_answer(&mut head.headers);
        head.extensions.clear();
        let idle_max = front.options.idle_timeout;
        let body = Passed::new(body, Arc::clone(meter), upload.clone(), idle_max);
        Response::from_parts(head, Download::Passed(body))
    }
}

impl Future for Waiting {
    type Output = Result<Response<Incoming>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(answer) = &mut self.answer else { return Poll::Pending };
        let answered = std::task::ready!(Pin::new(answer).poll(cx));
        self.answer = None;
        Poll::Ready(answered)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let (front, method, meter, upload) = self.parts.clone();
        let Some(answer) = self.answer.take() else { return };
        upload.let_go();
        if !meter.is_open() {
            return upload.cut();
        }
        let Ok(place) = Arc::clone(&front.lingering).try_acquire_owned() else {
            meter.charge_nobody(Why::Unproven);
            return upload.cut();
        };
        tokio::spawn(async move {
            let answer = tokio::time::timeout(GRACE, answer);
            match front.ending.run_until_cancelled(answer).await {
                Some(Ok(Ok(answered))) => meter.answered(&method, answered.status()),
                Some(Ok(Err(_))) => meter.charge_nobody(Why::Failed),
                Some(Err(_)) => meter.charge(),
                None => meter.charge_nobody(Why::Unproven),
            }
            upload.cut();
            drop(place);
        });
    }
}

/// Waits until nothing has moved for too long, and says what that is.
async fn watch(front: &Inner, upload: &UploadControl) -> Refusal {
    if upload.is_held() {
        tokio::time::sleep(CONTINUE_MAX).await;
        upload.release();
    }
    loop {
        let is_whole = upload.is_done();
        let options = &front.options;
        let most = if is_whole { options.answer_timeout } else { options.idle_timeout };
        let Some(left) = most.checked_sub(upload.idle()).filter(|left| !left.is_zero()) else {
            return if is_whole { Refusal::Silent } else { Refusal::Stalled };
        };
        tokio::time::sleep(left).await;
    }
}
