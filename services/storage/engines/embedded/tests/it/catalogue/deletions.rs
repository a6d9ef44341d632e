//! Many objects deleted by one request.

use super::Asker;

fn list(keys: &[String], quiet: bool) -> String {
    let objects: String =
        keys.iter().map(|key| format!("<Object><Key>{key}</Key></Object>")).collect();
    let quiet = if quiet { "<Quiet>true</Quiet>" } else { "" };
    format!("<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{quiet}{objects}</Delete>")
}

#[tokio::test]
async fn what_is_named_is_gone_and_nothing_else() {
    let asker = Asker::start(&["many"]).await;
    let keys: Vec<String> = ["key0", "key1", "a&lt;b&amp;c", "sub/dir/"].map(str::to_owned).into();
    for quiet in [false, true] {
        for target in ["key0", "key1", "a%3Cb%26c", "sub/dir/", "kept"] {
            asker.store(&format!("/many/{target}"), b"x").await;
        }
        let body = list(&keys, quiet);
        let done = asker.ask("POST /many?delete", &[], body.as_bytes()).await;
        assert_eq!(done.status, 200, "{done:?}");
        let told: &[&str] = if quiet { &[] } else { &["key0", "key1", "a<b&c", "sub/dir/"] };
        assert_eq!(done.elements("Key"), told);
        let left = asker.ask("GET /many?list-type=2", &[], b"").await;
        assert_eq!(left.elements("Key"), ["kept"]);
        // What is gone already is deleted again without a word against it.
        let again = asker.ask("POST /many?delete", &[], body.as_bytes()).await;
        assert_eq!((again.status, again.elements("Error").len()), (200, 0), "{again:?}");
        assert_eq!(again.elements("Key"), told);
    }
}

#[tokio::test]
async fn a_list_has_a_bound_and_a_form() {
    let asker = Asker::start(&["list"]).await;
    let keys: Vec<String> = (0..1001).map(|n| format!("key{n}")).collect();
    let full = list(&keys[..1000], true);
    let over = list(&keys, true);
    asker
        .expect(&[
            ("POST /list?delete", &[], &full, 200, ""),
            ("POST /list?delete", &[], &over, 400, "MalformedXML"),
            ("POST /list?delete", &[], &list(&[], false), 400, "MalformedXML"),
            ("POST /list?delete", &[], "<Delete><Object></Object></Delete>", 400, "MalformedXML"),
            ("POST /list?delete", &[], "<Delete><Object>", 400, "MalformedXML"),
            ("POST /list?delete", &[], "no XML", 400, "MalformedXML"),
            ("POST /list?delete", &[], "", 400, "MissingRequestBodyError"),
            ("POST /absent?delete", &[], &full, 404, "NoSuchBucket"),
        ])
        .await;
}

#[tokio::test]
async fn each_may_have_a_condition_of_its_own() {
    let asker = Asker::start(&["each"]).await;
    let etag = asker.store("/each/good", b"x").await;
    for key in ["bad", "sized", "plain"] {
        asker.store(&format!("/each/{key}"), b"x").await;
    }
    let etag = etag.replace('"', "&quot;");
    let body = format!(
        "<Delete><Object><Key>good</Key><ETag>{etag}</ETag></Object>\
         <Object><Key>bad</Key><ETag>&quot;ABCORZ&quot;</ETag></Object>\
         <Object><Key>sized</Key><Size>1</Size></Object>\
         <Object><Key>plain</Key></Object>\
         <Object><Key>other</Key><VersionId>1</VersionId></Object></Delete>"
    );
    let done = asker.ask("POST /each?delete", &[], body.as_bytes()).await;
    assert_eq!(done.status, 200, "{done:?}");
    assert_eq!(done.elements("Code"), ["PreconditionFailed", "NotImplemented"], "{done:?}");
    assert_eq!(done.elements("Deleted").len(), 3, "{done:?}");
    let left = asker.ask("GET /each?list-type=2", &[], b"").await;
    assert_eq!(left.elements("Key"), ["bad", "sized"]);
}
