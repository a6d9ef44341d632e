//! Loss of power at any moment: the real program, killed and started again.

use std::time::Duration;

use stowage_proto::accounts::AccountState;
use stowage_testkit::{Process, eventually};

use crate::walk::{Step, Walk, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_any_two_steps_loses_nothing() {
    let mut server = Process::start().await;
    let mut walk = Walk::with_kills();
    for step in Step::ALL {
        walk.run(&server.site, step).await;
        server.kill();
        server.restart().await;
        walk.check(&server.site).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_during_an_order_leaves_one_account_or_none() {
    let mut server = Process::start().await;
    let (plan_id, _) = server.site.plans().await;
    let plan = plan_id.to_string();
    let customer = server.site.customer("unlucky@example.com", "EUR").await;
    // Where in the order the kill falls differs from run to run; what must hold does not.
    for (round, delay_ms) in [0, 2, 4, 8, 12, 16, 24, 40].into_iter().enumerate() {
        let bucket = format!("unlucky-{round}");
        let before = server.site.accounts(&customer.token).await.len();
        let facade = server.site.facade.clone();
        let uri = "/s3/create_order";
        let fields = [("token", customer.token.as_str()), ("plan_id", &plan)];
        let body = [&fields[..], &[("bucket_name", bucket.as_str())]].concat();
        let body: Vec<String> =
            body.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = http::Request::post(uri)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body.join("&").into())
            .expect("a path makes a request");
        let mut order = tokio::spawn(async move { facade.try_send(request).await });
        let early = tokio::time::timeout(Duration::from_millis(delay_ms), &mut order).await;
        server.kill();
        let answer = match early {
            Ok(answer) => answer,
            Err(_) => order.await,
        };
        let answer = answer.expect("the client does not panic");
        server.restart().await;

        let site = &server.site;
        let limit = Duration::from_secs(60);
        let settled = eventually("the order ends either way", limit, async || {
            let accounts = site.accounts(&customer.token).await;
            let pending = AccountState::Pending as i32;
            match accounts.iter().find(|account| account.state == pending) {
                Some(account) => Err(format!("still pending: {account:?}")),
                None => Ok(accounts),
            }
        })
        .await;
        let active = settled.iter().filter(|a| a.state == AccountState::Active as i32).count();
        assert!(active <= before + 1, "round {round}: {settled:?}");
        if answer.is_ok_and(|answer| answer.value()["result"] == "OK") {
            assert_eq!(active, before + 1, "round {round}: what was answered is there");
        }
        // The client sends it again, as it would; there is one account in the end.
        let parameters = [("plan_id", plan.as_str()), ("bucket_name", bucket.as_str())];
        let again = site.facade.action("create_order", &customer.token, &parameters).await;
        let again = again.success();
        let accounts = site.accounts(&customer.token).await;
        assert_eq!(accounts.len(), before + 1, "round {round}: {accounts:?}");
        assert!(accounts.iter().any(|account| account.s3uid == text(&again, "s3uid")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_in_flight_ends_before_the_program_does() {
    let mut server = Process::start().await;
    let customer = server.site.customer("patient@example.com", "EUR").await;
    let (plan_id, _) = server.site.plans().await;
    let plan = plan_id.to_string();
    let orders: Vec<_> = (0..4)
        .map(|n| {
            let (facade, token) = (server.site.facade.clone(), customer.token.clone());
            let plan = plan.clone();
            tokio::spawn(async move {
                let bucket = format!("patient-{n}");
                let body = format!("token={token}&plan_id={plan}&bucket_name={bucket}");
                let request = http::Request::post("/s3/create_order")
                    .header("content-type", "application/x-www-form-urlencoded")
                    .body(body.into())
                    .expect("a path makes a request");
                facade.try_send(request).await
            })
        })
        .collect();
    let site = server.site.clone();
    eventually("an order has begun", Duration::from_secs(30), async || {
        let accounts = site.accounts(&customer.token).await.len();
        if accounts > 0 { Ok(()) } else { Err("none".to_owned()) }
    })
    .await;
    let status = server.stop("TERM").await;
    assert_eq!(status.code(), Some(0), "{}", server.log());
    let mut answered = 0;
    for order in orders {
        // A connection made after the signal is refused; what was answered must be there.
        let answer = order.await.expect("the client does not panic");
        answered += usize::from(answer.is_ok_and(|answer| answer.value()["result"] == "OK"));
    }
    server.restart().await;
    let accounts = server.site.accounts(&customer.token).await.len();
    assert!(accounts >= answered, "{answered} were answered, {accounts} are there");
}
