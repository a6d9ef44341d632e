//! How a request reaches the facade and what its answer looks like from outside: routes, methods,
//! places of parameters and tokens, bodies, headers.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use stowage_proto::accounts::ListAccountsRequest;
use stowage_proto::accounts::account_service_client::AccountServiceClient;
use stowage_testkit::{Account, Answer, Facade, Kit, Process};

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";
const MULTIPART: &str = "multipart/form-data; boundary=------x";
const MIB: usize = 1024 * 1024;

/// Actions that change something and take no GET.
const POST_ONLY: &[&str] = &[
    "create_order",
    "create_account",
    "create_bucket",
    "delete_bucket",
    "delete_file",
    "delete_account",
    "delete_payment_account",
    "update_traffic_info",
];

/// Actions that take both.
const GET_AND_POST: &[&str] = &[
    "list_plans",
    "get_files",
    "get_buckets_rmq",
    "get_buckets",
    "show_key",
    "get_users",
    "history",
    "cancel_payment_account_deletion",
    "get_available_locations",
];

/// Sends a request with a body of that type.
async fn send(facade: &Facade, (method, uri): (&str, &str), kind: &str, body: &str) -> Answer {
    let method = Method::from_bytes(method.as_bytes()).expect("a method");
    let mut request = Request::builder().method(method).uri(uri);
    if !kind.is_empty() {
        request = request.header("content-type", kind);
    }
    let request = request.body(Bytes::copy_from_slice(body.as_bytes()));
    facade.send(request.expect("a path makes a request")).await
}

/// Sends a GET with headers of the test's own.
async fn get_with(facade: &Facade, uri: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::get(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    facade.send(request.body(Bytes::new()).expect("a path makes a request")).await
}

fn multipart(parts: &[(&str, &str)]) -> String {
    let part = |(name, value): &(&str, &str)| {
        format!("--------x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    format!("{}--------x--\r\n", parts.iter().map(part).collect::<String>())
}

/// A customer with an account that holds two objects.
async fn shop(kit: &Kit) -> (String, Account) {
    let customer = kit.site.customer("buyer@example.com", "EUR").await;
    let (plan_id, _) = kit.site.plans().await;
    let account = kit.site.order(&customer.token, plan_id, "photos").await;
    for key in ["a.jpg", "b.jpg"] {
        let put = account.s3().put_object().bucket("photos").key(key);
        put.body(Bytes::from_static(b"x").into()).send().await.expect("an object is stored");
    }
    (customer.token, account)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_means_the_same_wherever_it_is_sent() {
    let kit = Kit::start().await;
    let (t, account) = shop(&kit).await;
    let id = account.s3uid;
    let number = kit.site.accounts(&t).await[0].account_id;
    let path = "/s3/get_files";
    let plain = format!("token={t}&s3uid={id}&bucket_name=photos&max_keys=1");
    let expected = send(&kit.site.facade, ("POST", path), FORM, &plain).await;
    assert_eq!(expected.success()["files"][0]["key"], "a.jpg");
    let query = |rest: &str| format!("{path}?{rest}");
    let other = format!("token={t}&s3uid={id}&bucket_name=other&max_keys=2");
    let fields =
        [("token", t.as_str()), ("s3uid", &id), ("bucket_name", "photos"), ("max_keys", "1")];
    let parts = multipart(&fields);
    let bracket_parts = multipart(&fields.map(|(name, value)| match name {
        "token" => ("params[token]", value),
        "s3uid" => ("params[s3uid]", value),
        "max_keys" => ("max_keys[]", value),
        _ => (name, value),
    }));
    let json = format!(
        r#"{{"token":"{t}","s3uid":"{id}","bucket_name":"photos","max_keys":"1","nobody":[{{}}]}}"#
    );
    let numbers = format!(r#"{{"token":"{t}","account_id":{number},"bucket":"photos","limit":1}}"#);
    let nested = format!(
        r#"{{"token":"{t}","params":{{"s3uid":"{id}","bucket_name":"photos","max_keys":1}}}}"#
    );
    let brackets = format!("params[token]={t}&params[s3uid]={id}&params[bucket_name]=photos")
        + "&params%5Bmax_keys%5D=1";
    let lists = format!("token={t}&s3uid[]={id}&bucket_name[0]=photos&max_keys[]=2&max_keys[]=1");
    let aliases = format!("token={t}&account_id={id}&bucket=photos&limit=1");
    let unknown = format!("{plain}&page_size=7&__proto__=1&a[b][c]=2&=3&&");
    let s3_php = format!("{plain}&action=get_files");
    for (name, request, kind, body) in [
        ("query of a GET", ("GET", query(&plain)), "", ""),
        ("query of a POST", ("POST", query(&plain)), "", ""),
        ("form of a GET", ("GET", path.into()), FORM, plain.as_str()),
        (
            "form with a charset",
            ("POST", path.into()),
            "Application/X-WWW-Form-Urlencoded; charset=UTF-8",
            &plain,
        ),
        ("multipart", ("POST", path.into()), MULTIPART, &parts),
        ("multipart brackets", ("POST", path.into()), MULTIPART, &bracket_parts),
        ("JSON", ("POST", path.into()), JSON, &json),
        ("JSON on a GET", ("GET", path.into()), "application/json; charset=utf-8", &json),
        ("JSON numbers and aliases", ("POST", path.into()), JSON, &numbers),
        ("JSON params", ("POST", path.into()), JSON, &nested),
        ("brackets", ("GET", query(&brackets)), "", ""),
        ("lists", ("POST", path.into()), FORM, &lists),
        ("aliases", ("POST", path.into()), FORM, &aliases),
        ("unknown ones", ("POST", path.into()), FORM, &unknown),
        ("form over query", ("POST", query(&other)), FORM, &plain),
        ("form over query on a GET", ("GET", query(&other)), FORM, &plain),
        ("multipart over query", ("POST", query(&other)), MULTIPART, &parts),
        ("JSON over query", ("POST", query(&other)), JSON, &json),
        ("/s3.php by query", ("GET", format!("/s3.php?{s3_php}")), "", ""),
        ("/s3.php by form", ("POST", "/s3.php".into()), FORM, &s3_php),
    ] {
        let (method, uri) = request;
        let answer = send(&kit.site.facade, (method, &uri), kind, body).await;
        assert_eq!(answer.text(), expected.text(), "{name}");
    }
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_path_decides_and_other_methods_are_405() {
    let kit = Kit::start().await;
    let (token, account) = shop(&kit).await;
    let facade = &kit.site.facade;
    for (action, named) in
        [("get_buckets_rmq", "get_user_info"), ("list_plans", "delete_account"), ("get_users", "")]
    {
        let parameters = [("token", token.as_str()), ("action", named)];
        let answer = facade.form(&format!("/s3/{action}"), &parameters).await.success();
        assert_eq!(answer["action"], action, "a differing action is ignored");
    }
    let parameters = [("token", token.as_str()), ("action", "get_user_info")];
    let info = facade.form("/s3.php", &parameters).await.success();
    assert_eq!(info["action"], "get_buckets_rmq");
    assert!(info["message"].is_array(), "{info}");
    assert_eq!(info["access_key"], account.access_key.as_str());

    let allowed = |answer: &Answer| {
        let value = answer.headers.get("allow").map(|value| value.as_bytes().to_vec());
        String::from_utf8(value.unwrap_or_default()).expect("a header is text")
    };
    let others = ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"];
    for (action, allow, methods) in POST_ONLY
        .iter()
        .map(|action| (*action, "POST", [&others[..], &["GET"]].concat()))
        .chain(GET_AND_POST.iter().map(|action| (*action, "GET, POST", others.to_vec())))
        .chain([("", "GET, POST", others.to_vec())])
    {
        for method in methods {
            for uri in match action {
                "" => vec!["/auth.php?action=info".to_owned()],
                _ => vec![format!("/s3/{action}"), format!("/s3.php?action={action}")],
            } {
                let answer = send(facade, (method, &uri), "", "").await;
                assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {uri}");
                assert_eq!(allowed(&answer), allow, "{method} {uri}");
                assert_eq!(answer.failure(), "method not allowed", "{method} {uri}");
            }
        }
    }
    // HEAD has no body to put an envelope into.
    let head = send(facade, ("HEAD", "/s3/list_plans"), "", "").await;
    assert_eq!((head.status, head.body.len()), (StatusCode::METHOD_NOT_ALLOWED, 0));
    for (uri, message) in [
        ("/s3", "action required"),
        ("/s3/", "action required"),
        ("/s3.php", "action required"),
        ("/auth.php", "action required"),
        ("/s3/List_Plans", "unknown action"),
        ("/s3/list_plans/all", "unknown action"),
        ("/s3/get_user_info", "unknown action"),
        ("/s3.php?action=drop_tables", "unknown action"),
        ("/auth.php?action=list_plans", "unknown action"),
    ] {
        let answer = send(facade, ("POST", uri), "", "").await;
        assert_eq!((answer.status, answer.failure()), (StatusCode::OK, message.into()), "{uri}");
    }
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_bounded_and_must_be_what_they_say() {
    let kit = Kit::start().await;
    let customer = kit.site.customer("buyer@example.com", "EUR").await;
    let facade = &kit.site.facade;
    let form = format!("token={}&pad=", customer.token);
    let padded = |bytes: usize| form.clone() + &"x".repeat(bytes - form.len());
    let largest = send(facade, ("POST", "/s3/list_plans"), FORM, &padded(MIB)).await;
    assert_eq!(largest.success()["action"], "list_plans");
    let too_large = send(facade, ("POST", "/s3/list_plans"), FORM, &padded(MIB + 1)).await;
    assert_eq!(too_large.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(too_large.failure(), "request body too large");
    for kind in ["text/plain", "application/xml", "application/octet-stream", "nonsense"] {
        let answer = send(facade, ("POST", "/s3/list_plans"), kind, &form).await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{kind}");
        assert_eq!(answer.failure(), "unsupported content type", "{kind}");
        let uri = format!("/s3/list_plans?token={}", customer.token);
        send(facade, ("GET", &uri), kind, "").await.success();
    }
    for (kind, body) in [
        (JSON, "{"),
        (JSON, "[1]"),
        (JSON, "\"text\""),
        (JSON, "{\"a\":1}x"),
        (MULTIPART, "no parts"),
        ("multipart/form-data", "no boundary"),
    ] {
        let uri = format!("/s3/list_plans?token={}", customer.token);
        let answer = send(facade, ("POST", &uri), kind, body).await;
        assert_eq!((answer.status, answer.failure().as_str()), (StatusCode::OK, "body invalid"));
        assert!(answer.value()["details"]["error"].is_string(), "{}", answer.text());
    }
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_taken_from_three_places_and_a_bad_one_is_401() {
    let kit = Kit::start().await;
    let (token, account) = shop(&kit).await;
    let facade = &kit.site.facade;
    let (good, bad) = (format!("Bearer {token}"), "f".repeat(64));
    let in_query = format!("/s3/list_plans?token={token}");
    let bad_in_query = format!("/s3/list_plans?token={bad}");
    let bad_bearer = format!("Bearer {bad}");
    for (uri, headers, is_good) in [
        (in_query.as_str(), vec![], true),
        ("/s3/list_plans", vec![("authorization", good.as_str())], true),
        ("/s3/list_plans", vec![("x-auth-token", token.as_str())], true),
        ("/s3/list_plans?token=", vec![("x-auth-token", token.as_str())], true),
        // The parameter is the reference's and wins.
        (in_query.as_str(), vec![("authorization", bad_bearer.as_str())], true),
        (bad_in_query.as_str(), vec![("authorization", good.as_str())], false),
        ("/s3/list_plans", vec![], false),
        ("/s3/list_plans?token=x", vec![], false),
        ("/s3/list_plans", vec![("authorization", "Basic eDp5")], false),
        ("/s3/list_plans", vec![("x-auth-token", bad.as_str())], false),
    ] {
        let answer = get_with(facade, uri, &headers).await;
        let expected = if is_good { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
        assert_eq!(answer.status, expected, "{uri} {headers:?}");
        if !is_good {
            assert_eq!(answer.failure(), "invalid token", "{uri} {headers:?}");
        }
    }
    // Whatever else is wrong or right: without a token nothing is told and nothing is done.
    for action in POST_ONLY.iter().chain(GET_AND_POST) {
        let parameters = [("s3uid", account.s3uid.as_str()), ("bucket_name", "photos")];
        let answer = facade.form(&format!("/s3/{action}"), &parameters).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{action}");
        assert_eq!(
            answer.text(),
            "401 Unauthorized {\"code\":-1,\"message\":\"invalid token\",\"result\":-1,\
             \"error\":\"invalid token\"}",
            "{action}"
        );
    }
    let accounts = kit.site.accounts(&token).await;
    assert_eq!((accounts.len(), &accounts[0].s3uid), (1, &account.s3uid), "nothing was done");
    kit.stop().await;
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_its_headers_and_no_origin_is_let_in() {
    let kit = Kit::start().await;
    let token = kit.site.customer("buyer@example.com", "EUR").await.token;
    let facade = &kit.site.facade;
    let uri = format!("/s3/list_plans?token={token}");
    for (method, uri, kind, status) in [
        ("GET", uri.as_str(), "", 200),
        ("GET", "/s3/nothing", "", 200),
        ("GET", "/s3/list_plans", "", 401),
        ("GET", "/s3/create_order", "", 405),
        ("GET", "/nowhere", "", 404),
        ("POST", "/s3/list_plans", "text/plain", 415),
    ] {
        let body = if kind.is_empty() { "" } else { "x" };
        let answer = send(facade, (method, uri), kind, body).await;
        assert_eq!(answer.status.as_u16(), status, "{uri}");
        let header = |name| header(&answer.headers, name);
        assert_eq!(header("content-type"), "application/json; charset=utf-8", "{uri}");
        assert_eq!(header("cache-control"), "no-store", "{uri}");
        assert!(!header("x-request-id").is_empty(), "{uri}");
    }
    let origin = "https://console.example";
    for (sent, is_echoed) in [("my-own/id:1", true), (&"x".repeat(64), true), ("", false)] {
        let headers = [("x-request-id", sent), ("origin", origin)];
        let answer = get_with(facade, &uri, &headers).await;
        assert_eq!(header(&answer.headers, "x-request-id") == sent, is_echoed, "{sent}");
        assert!(!answer.headers.contains_key("access-control-allow-origin"), "CORS is off");
    }
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_allow_origins_refuse_tokens_in_urls_and_hide_secrets() {
    let origin = "https://console.example";
    let kit = Kit::start_with(|config| {
        config.gateway.facade.cors_origins = vec![origin.to_owned()];
        config.gateway.facade.refuse_tokens_in_urls = true;
        config.gateway.facade.hide_secret_in_rmq = true;
    })
    .await;
    let (token, account) = shop(&kit).await;
    let facade = &kit.site.facade;
    for (sent, allowed) in [(origin, origin), ("https://other.example", "")] {
        let headers = [("x-auth-token", token.as_str()), ("origin", sent)];
        let answer = get_with(facade, "/s3/list_plans", &headers).await;
        assert_eq!(header(&answer.headers, "access-control-allow-origin"), allowed);
        answer.success();
    }
    for uri in [
        format!("/s3/list_plans?token={token}"),
        format!("/s3/list_plans?params[token]={token}"),
        format!("/s3.php?action=list_plans&token[]={token}"),
        format!("/auth.php?action=info&token={token}"),
    ] {
        let answer = get_with(facade, &uri, &[("x-auth-token", token.as_str())]).await;
        assert_eq!(answer.failure(), "token invalid", "{uri}");
        assert!(!answer.text().contains(&token));
    }
    let s3uid = [("s3uid", account.s3uid.as_str())];
    let rmq = facade.action("get_buckets_rmq", &token, &s3uid).await.success();
    assert_eq!(rmq.get("secret_key"), None, "{rmq}");
    assert_eq!(rmq["access_key"], account.access_key.as_str());
    let live = facade.action("get_buckets", &token, &s3uid).await.success();
    assert_eq!(live["secret_key"], account.secret_key.as_str(), "the setting is of the other one");
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_in_no_log_however_it_was_sent_and_acting_for_a_customer_is_in_it() {
    let settings = [("STOWAGE_LOG_LEVEL", "trace"), ("STOWAGE_LOG_FORMAT", "json")];
    let server = Process::start_with(&settings).await;
    let customer = server.site.customer("buyer@example.com", "EUR").await;
    let (facade, token) = (&server.site.facade, customer.token.as_str());
    let near = format!("{}0", &token[..token.len() - 1]);
    for token in [token, near.as_str()] {
        let query = format!("token={token}&s3uid=7&bucket_name=photos");
        for (method, uri, kind, body) in [
            ("GET", format!("/s3/get_files?{query}"), "", ""),
            ("PUT", format!("/s3/get_files?{query}"), "", ""),
            ("GET", format!("/s3/nothing?{query}"), "", ""),
            ("GET", format!("/nowhere?{query}"), "", ""),
            ("GET", format!("/s3.php?params[{query}]"), "", ""),
            ("POST", "/s3/list_plans".to_owned(), FORM, query.as_str()),
            ("POST", "/s3/list_plans".to_owned(), JSON, query.as_str()),
            ("POST", format!("/auth.php?action=info&{query}"), "", ""),
            ("GET", format!("/auth.php?action=login&key={}", customer.api_key), "", ""),
            ("POST", "/s3/get_files".to_owned(), "multipart/form-data; boundary=b", &query),
        ] {
            send(facade, (method, &uri), kind, body).await;
        }
        get_with(facade, "/s3/list_plans", &[("x-auth-token", token)]).await;
        get_with(facade, "/s3/list_plans", &[("authorization", &format!("Bearer {token}"))]).await;
    }
    server.site.accounts(token).await;
    let id = customer.id.to_string();
    let admin = server.site.admin_token.clone();
    facade.action("get_users", &admin, &[("id", &id)]).await.success();
    let mut request = tonic::Request::new(ListAccountsRequest::default());
    request.metadata_mut().insert("stowage-act-for", id.parse().expect("digits"));
    let mut accounts = AccountServiceClient::new(server.site.as_admin());
    accounts.list_accounts(request).await.expect("an administrator acts for a customer");
    let log = server.log();
    for secret in [token, near.as_str(), admin.as_str(), customer.api_key.as_str()] {
        assert!(!log.contains(secret), "a token is in the log");
    }
    for call in ["get_users", "AccountService/ListAccounts"] {
        let is_told = log.lines().any(|line| {
            ["acts for a customer", call, &id].into_iter().all(|part| line.contains(part))
        });
        assert!(is_told, "{call}: acting for a customer is in the log");
    }
}
