//! A simulator to point any client at: `stowage-whmcs-simulator 127.0.0.1:8400`.

use std::sync::Arc;

use stowage_types::SystemClock;
use stowage_whmcs_simulator::{Cents, Settings, Simulator};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8400".to_owned());
    let settings = Settings::default();
    let who = format!("identifier={} secret={}", settings.identifier, settings.secret);
    let simulator = Simulator::start_at(&address, settings, Arc::new(SystemClock)).await?;
    {
        let mut state = simulator.state();
        let euro = state.add_currency("EUR");
        state.add_client("client@example.com", euro);
        state.add_product("Standard S3 Plan", &[(euro, "monthly", Cents(980))]);
    }
    println!("{}/includes/api.php {who}; client 1, product 1", simulator.url());
    std::future::pending().await
}
