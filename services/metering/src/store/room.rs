//! Room in the pages of tables whose rows change all the time, on PostgreSQL only.
//!
//! PostgreSQL writes a changed row anew. Where its page has room the indexes stay as they are;
//! where it has none, each index gets a further entry. Measured: a batch of 10,000 facts of 2,000
//! accounts takes two thirds of the time.

use stowage_db::{Args, Db, Error, args};

/// How full pages are made, of 100. More room would be of no use to days and hours that are over.
const FILL: i64 = 60;

/// Tables to which facts add.
const TABLES: [&str; 5] = ["account", "account_month", "bucket", "stored", "traffic"];

/// Sets it for tables that were never told otherwise. Pages that are there stay as they are.
pub(crate) async fn ensure(db: &Db) -> Result<(), Error> {
    if !db.is_postgres() {
        return Ok(());
    }
    for table in untold(db).await? {
        let mut tx = db.begin().await?;
        let sql = format!("ALTER TABLE {table} SET (fillfactor = {FILL})");
        tx.execute_built(sql, Args::new()).await?;
        tx.commit().await?;
    }
    Ok(())
}

async fn untold(db: &Db) -> Result<Vec<&'static str>, Error> {
    const SQL: &str = "SELECT EXISTS (SELECT 1 FROM pg_class WHERE oid = to_regclass($1) \
        AND NOT coalesce(array_to_string(reloptions, ' ') LIKE '%fillfactor=%', false))";
    let mut untold = Vec::new();
    for table in TABLES {
        let (is_untold,): (bool,) = db.fetch_one(SQL, args![table]).await?;
        if is_untold {
            untold.push(table);
        }
    }
    Ok(untold)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::Store;

    #[tokio::test]
    async fn what_was_set_by_others_stays() {
        let store = Store::start().await;
        ensure(&store.db).await.unwrap();
        if !store.db.is_postgres() {
            return;
        }
        assert_eq!(untold(&store.db).await.unwrap(), Vec::<&str>::new());
        let mut tx = store.db.begin().await.unwrap();
        tx.execute("ALTER TABLE traffic SET (fillfactor = 90)", args![]).await.unwrap();
        tx.execute("ALTER TABLE stored RESET (fillfactor)", args![]).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(untold(&store.db).await.unwrap(), ["stored"]);
        ensure(&store.db).await.unwrap();
        let set = "SELECT array_to_string(reloptions, ' ') FROM pg_class \
            WHERE oid = to_regclass('traffic')";
        let (set,): (String,) = store.db.fetch_one(set, args![]).await.unwrap();
        assert_eq!(set, "fillfactor=90");
    }
}
