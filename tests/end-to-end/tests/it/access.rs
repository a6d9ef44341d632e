//! What becomes of a token. Who may call what is in `access_matrix`.

use stowage_testkit::Kit;

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_logged_out_is_refused_at_once() {
    let kit = Kit::start().await;
    let customer = kit.site.customer("someone@example.com", "EUR").await;
    let facade = &kit.site.facade;
    facade.action("list_plans", &customer.token, &[]).await.success();
    let parameters = [("action", "logout"), ("token", customer.token.as_str())];
    facade.form("/auth.php", &parameters).await;
    let answer = facade.action("list_plans", &customer.token, &[]).await;
    assert_eq!(answer.status, http::StatusCode::UNAUTHORIZED);
    assert_eq!(answer.failure(), "invalid token");
    // The API key is still good for another.
    let token = kit.site.login(&customer.api_key).await;
    facade.action("list_plans", &token, &[]).await.success();
    kit.stop().await;
}
