//! Buckets: their names, and what becomes of them.

use super::Asker;

const INVALID: (u16, &str) = (400, "InvalidBucketName");
const FINE: (u16, &str) = (200, "");

#[tokio::test]
async fn bucket_names_are_taken_or_refused_by_the_rules() {
    let asker = Asker::start(&[]).await;
    // Source: Amazon S3 User Guide, "General purpose bucket naming rules".
    let long = |length: usize| "b".repeat(length);
    for (name, expected) in [
        ("abc", FINE),
        ("a1c", FINE),
        ("0abc", FINE),
        ("123", FINE),
        ("a.b", FINE),
        ("a-b", FINE),
        ("a.b-c.d", FINE),
        ("alpha.beta.gamma", FINE),
        (&long(60), FINE),
        (&long(61), FINE),
        (&long(62), FINE),
        (&long(63), FINE),
        (&long(64), INVALID),
        (&long(255), INVALID),
        ("a", INVALID),
        ("ab", INVALID),
        ("Abc", INVALID),
        ("aBc", INVALID),
        ("_abc", INVALID),
        ("a_b", INVALID),
        ("abc_", INVALID),
        ("-abc", INVALID),
        ("abc-", INVALID),
        (".abc", INVALID),
        ("abc.", INVALID),
        ("a..b", INVALID),
        ("192.168.5.123", INVALID),
        ("xn--abc", INVALID),
        ("sthree-abc", INVALID),
        ("abc-s3alias", INVALID),
        ("a%20b", INVALID),
        ("a+b", INVALID),
        ("%C3%BCber", INVALID),
    ] {
        let found = asker.ask(&format!("PUT /{name}"), &[], b"").await;
        let (status, code) = expected;
        assert_eq!(found.outcome(), (status, code.to_owned()), "{name}: {found:?}");
    }
}

#[tokio::test]
async fn buckets_are_made_found_emptied_and_deleted() {
    let asker = Asker::start(&["kept"]).await;
    let xml = "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
               <LocationConstraint>eu-test-1</LocationConstraint></CreateBucketConfiguration>";
    asker
        .expect(&[
            ("PUT /made", &[], "", 200, ""),
            // Amazon's oldest region and Ceph's gateway take it again from the same account.
            ("PUT /made", &[], "", 200, ""),
            ("PUT /made-there", &[], xml, 200, ""),
            ("PUT /bad-xml", &[], "<CreateBucketConfiguration>", 400, "MalformedXML"),
            ("PUT /made", &[("x-amz-acl", "private")], "", 200, ""),
            ("PUT /public", &[("x-amz-acl", "public-read")], "", 501, "NotImplemented"),
            (
                "PUT /locked",
                &[("x-amz-bucket-object-lock-enabled", "true")],
                "",
                501,
                "NotImplemented",
            ),
            ("HEAD /made", &[], "", 200, ""),
            ("HEAD /absent", &[], "", 404, ""),
            ("GET /made", &[], "", 200, ""),
            ("GET /absent", &[], "", 404, "NoSuchBucket"),
            ("GET /absent?list-type=2", &[], "", 404, "NoSuchBucket"),
            ("GET /absent?uploads", &[], "", 404, "NoSuchBucket"),
            ("GET /absent?location", &[], "", 404, "NoSuchBucket"),
            ("PUT /absent/key", &[], "x", 404, "NoSuchBucket"),
            ("GET /absent/key", &[], "", 404, "NoSuchBucket"),
            ("HEAD /absent/key", &[], "", 404, ""),
            ("DELETE /absent/key", &[], "", 404, "NoSuchBucket"),
            ("POST /absent/key?uploads", &[], "", 404, "NoSuchBucket"),
            ("DELETE /absent", &[], "", 404, "NoSuchBucket"),
            ("PUT /made/key", &[], "x", 200, ""),
            ("DELETE /made", &[], "", 409, "BucketNotEmpty"),
            ("GET /made/key", &[], "", 200, ""),
            ("DELETE /made/key", &[], "", 204, ""),
            ("DELETE /made", &[], "", 204, ""),
            ("DELETE /made", &[], "", 404, "NoSuchBucket"),
            ("GET /made/key", &[], "", 404, "NoSuchBucket"),
            ("PUT /made", &[], "", 200, ""),
            ("GET /made/key", &[], "", 404, "NoSuchKey"),
            // An upload that was never finished keeps nobody from deleting.
            ("POST /made/part?uploads", &[], "", 200, ""),
            ("DELETE /made", &[], "", 204, ""),
        ])
        .await;
}

#[tokio::test]
async fn a_bucket_tells_where_and_whose_it_is() {
    let asker = Asker::start(&["told"]).await;
    let location = asker.ask("GET /told?location", &[], b"").await;
    assert!(location.text().contains(">eu-test-1</LocationConstraint>"), "{location:?}");
    let versioning = asker.ask("GET /told?versioning", &[], b"").await;
    assert_eq!((versioning.status, versioning.element("Status")), (200, None));
    let head = asker.ask("HEAD /told", &[], b"").await;
    assert_eq!(head.header("x-amz-bucket-region"), Some("eu-test-1"));
    let acl = asker.ask("GET /told?acl", &[], b"").await;
    assert_eq!(acl.elements("Permission"), ["FULL_CONTROL"], "{acl:?}");
    let uid = asker.account.uid.as_str();
    assert_eq!(acl.elements("ID"), [uid, uid]);
    // What is not there is said to be lacking, never made up.
    for what in ["policy", "lifecycle", "cors", "website", "tagging", "versions", "replication"] {
        let found = asker.ask(&format!("GET /told?{what}"), &[], b"").await;
        assert_eq!(found.outcome(), (501, "NotImplemented".to_owned()), "{what}");
    }
}

#[tokio::test]
async fn buckets_are_listed_by_name_in_pages() {
    let asker = Asker::start(&["b-two", "b-one", "c-three"]).await;
    for (query, names, more) in [
        ("", &["b-one", "b-two", "c-three"][..], false),
        ("?max-buckets=1", &["b-one"], true),
        ("?max-buckets=2", &["b-one", "b-two"], true),
        ("?max-buckets=3", &["b-one", "b-two", "c-three"], false),
        ("?prefix=b-", &["b-one", "b-two"], false),
        ("?prefix=b-&max-buckets=1", &["b-one"], true),
        ("?prefix=z", &[], false),
    ] {
        let page = asker.ask(&format!("GET /{query}"), &[], b"").await;
        assert_eq!(page.elements("Name"), names, "{query}");
        assert_eq!(page.element("ContinuationToken").is_some(), more, "{query}: {page:?}");
        assert_eq!(page.elements("ID"), [asker.account.uid.as_str()], "{query}");
        let times = page.elements("CreationDate");
        assert!(times.len() == names.len() && times.iter().all(|time| time.ends_with('Z')));
    }
    let (mut seen, mut token) = (Vec::new(), None::<String>);
    for _ in 0..4 {
        let more = token.as_ref().map(|token| format!("&continuation-token={token}"));
        let query = format!("GET /?max-buckets=1{}", more.unwrap_or_default());
        let page = asker.ask(&query, &[], b"").await;
        seen.extend(page.elements("Name"));
        token = page.element("ContinuationToken");
        if token.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["b-one", "b-two", "c-three"]);
}

#[tokio::test]
async fn another_account_gets_nowhere() {
    let asker = Asker::start(&["mine"]).await;
    asker.store("/mine/key", b"mine").await;
    let other = Asker { account: asker.kit.account(2).await, kit: asker.kit };
    other
        .expect(&[
            ("PUT /mine", &[], "", 409, "BucketAlreadyExists"),
            ("HEAD /mine", &[], "", 403, ""),
            ("GET /mine", &[], "", 403, "AccessDenied"),
            ("GET /mine?list-type=2", &[], "", 403, "AccessDenied"),
            ("GET /mine?acl", &[], "", 403, "AccessDenied"),
            ("GET /mine?uploads", &[], "", 403, "AccessDenied"),
            ("DELETE /mine", &[], "", 403, "AccessDenied"),
            ("GET /mine/key", &[], "", 403, "AccessDenied"),
            ("GET /mine/absent", &[], "", 403, "AccessDenied"),
            ("GET /mine/key?acl", &[], "", 403, "AccessDenied"),
            ("GET /mine/key?tagging", &[], "", 403, "AccessDenied"),
            ("HEAD /mine/key", &[], "", 403, ""),
            ("PUT /mine/key", &[], "theirs", 403, "AccessDenied"),
            ("DELETE /mine/key", &[], "", 403, "AccessDenied"),
            ("POST /mine/key?uploads", &[], "", 403, "AccessDenied"),
            (
                "POST /mine?delete",
                &[],
                "<Delete><Object><Key>key</Key></Object></Delete>",
                403,
                "AccessDenied",
            ),
        ])
        .await;
    let listed = other.ask("GET /", &[], b"").await;
    assert_eq!(listed.elements("Name"), [""; 0], "{listed:?}");
}
