//! What the double does not do: pages, throttling, and answers that are none. A server of a few
//! lines gives them.

use std::sync::{Arc, Mutex};

use stowage_engine::{Engine as _, Error};
use stowage_types::S3uid;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::kit::{engine_with, options};

/// Status, and what is answered.
type Answer = (u16, String);

/// Answers each question by its form.
struct Server {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
    _serving: JoinSet<()>,
}

impl Server {
    async fn start(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (asked, answer) = (Arc::<Mutex<Vec<String>>>::default(), Arc::new(answer));
        let (seen, mut serving) = (Arc::clone(&asked), JoinSet::new());
        serving.spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (answer, seen) = (Arc::clone(&answer), Arc::clone(&seen));
                tokio::spawn(async move {
                    let mut question = vec![0; 65_536];
                    let mut length = 0;
                    // A question ends with its form.
                    let form = loop {
                        let Ok(read @ 1..) = stream.read(&mut question[length..]).await else {
                            return;
                        };
                        length += read;
                        let text = String::from_utf8_lossy(&question[..length]).into_owned();
                        if let Some((_, form)) = text.split_once("\r\n\r\n")
                            && form.contains("Version=2010-05-08")
                        {
                            break form.to_owned();
                        }
                    };
                    seen.lock().unwrap().push(form.clone());
                    let (status, body) = answer(&form);
                    let text = format!(
                        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                        body.len()
                    );
                    let _ = stream.write_all(format!("{text}{body}").as_bytes()).await;
                });
            }
        });
        Self { url, asked, _serving: serving }
    }

    fn engine(&self) -> stowage_engine_aws::Aws {
        let mut options = options();
        options.iam_endpoint = self.url.clone();
        engine_with(options)
    }
}

fn refusal(code: &str) -> String {
    format!("<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code></Error></ErrorResponse>")
}

fn users(uids: &[S3uid], marker: Option<&str>) -> String {
    let member =
        |uid: &S3uid| format!("<member><Path>/stowage/</Path><UserName>{uid}</UserName></member>");
    let members: String = uids.iter().map(member).collect();
    let marker = marker.map(|text| format!("<Marker>{text}</Marker>")).unwrap_or_default();
    format!(
        "<ListUsersResponse><ListUsersResult><Users>{members}</Users><IsTruncated>{}</IsTruncated>\
         {marker}</ListUsersResult></ListUsersResponse>",
        !marker.is_empty()
    )
}

fn uid(number: u32) -> S3uid {
    S3uid::parse(&format!("{number:032x}")).unwrap()
}

const POLICY: &str = "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%7B%22Sid%22%3A\
    %22StowageV1S%22%2C%22Effect%22%3A%22Deny%22%2C%22Action%22%3A%5B%22s3%3A%2A%22%5D%2C%22\
    Resource%22%3A%5B%22arn%3Aaws%3As3%3A%3A%3A%2A%22%5D%7D%5D%7D";

/// Three pages of two users, in no order.
fn pages(form: &str) -> Answer {
    let body = if form.contains("Action=ListUsers") {
        match form {
            _ if form.contains("Marker=a%2F%3D") => users(&[uid(1), uid(6)], Some("b")),
            _ if form.contains("Marker=b") => users(&[uid(2), uid(3)], None),
            _ => users(&[uid(5), uid(4)], Some("a/=")),
        }
    } else if form.contains("Action=GetUserPolicy") {
        format!(
            "<GetUserPolicyResponse><GetUserPolicyResult><PolicyDocument>{POLICY}\
             </PolicyDocument></GetUserPolicyResult></GetUserPolicyResponse>"
        )
    } else if form.contains("Action=GetUser") {
        "<GetUserResponse><GetUserResult><User><Path>/stowage/</Path><UserName>x</UserName></User>\
         </GetUserResult></GetUserResponse>"
            .to_owned()
    } else {
        "<ListAccessKeysResponse><ListAccessKeysResult><AccessKeyMetadata/></ListAccessKeysResult>\
         </ListAccessKeysResponse>"
            .to_owned()
    };
    (200, body)
}

#[tokio::test]
async fn users_are_listed_over_several_pages_of_iam() {
    let server = Server::start(pages).await;
    let engine = server.engine();
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = engine.list_accounts(after.as_ref(), 4).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.uid.clone());
        seen.extend(page.into_iter().map(|info| info.uid));
    }
    assert_eq!(seen, (1..=6).map(uid).collect::<Vec<_>>());
    let asked = server.asked.lock().unwrap();
    let prefix = asked.iter().filter(|form| form.contains("PathPrefix=%2Fstowage%2F"));
    assert!(prefix.count() >= 3, "{asked:?}");
}

#[tokio::test]
async fn pages_without_an_end_are_given_up() {
    let server = Server::start(|_| (200, users(&[], Some("again")))).await;
    let endless = server.engine().list_accounts(None, 1).await;
    assert!(matches!(endless, Err(Error::Unsupported)), "{endless:?}");
    assert!(server.asked.lock().unwrap().len() <= 100);
}

#[tokio::test]
async fn odd_answers_are_unavailable_and_refusals_mean_what_they_say() {
    type Expected = fn(&Error) -> bool;
    let is_away: Expected = |error| matches!(error, Error::Unavailable { .. });
    let table: Vec<(Answer, Expected)> = vec![
        ((200, String::new()), is_away),
        ((200, "<html>".to_owned()), is_away),
        (
            (200, "<A><ListUsersResult><Users><member/></Users></ListUsersResult></A>".to_owned()),
            is_away,
        ),
        ((502, "<html>bad gateway</html>".to_owned()), is_away),
        ((400, refusal("Throttling")), is_away),
        ((503, refusal("ServiceUnavailable")), is_away),
        ((403, refusal("AccessDenied")), |error| matches!(error, Error::Denied)),
        ((403, refusal("SignatureDoesNotMatch")), |error| matches!(error, Error::Denied)),
        ((400, refusal("ValidationError")), |error| matches!(error, Error::Invalid { .. })),
    ];
    for (answer, expected) in table {
        let told = answer.clone();
        let server = Server::start(move |_| answer.clone()).await;
        let error = server.engine().health().await.unwrap_err();
        assert!(expected(&error), "{told:?}: {error:?}");
    }
}

#[tokio::test]
async fn a_key_of_nobody_is_told_from_questions_that_are_forbidden() {
    // AWS denies questions about keys of others, as if they were forbidden.
    let own = options().access_key;
    let may = Server::start(move |form| match form.contains(&own) {
        true => (
            200,
            "<R><GetAccessKeyLastUsedResult><UserName>us</UserName>\
             </GetAccessKeyLastUsedResult></R>"
                .to_owned(),
        ),
        false => (403, refusal("AccessDenied")),
    })
    .await;
    let nobodys = may.engine().key_owner("AKIA0000000000000000").await;
    assert!(matches!(nobodys, Ok(None)), "{nobodys:?}");
    let may_not = Server::start(|_| (403, refusal("AccessDenied"))).await;
    let denied = may_not.engine().key_owner("AKIA0000000000000000").await;
    assert!(matches!(denied, Err(Error::Denied)), "{denied:?}");
}
