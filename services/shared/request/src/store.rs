//! SQL of the table `request`.

use stowage_db::{Args, Error, Query, Tx, args};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::key::Key;

/// What is stored of a request.
pub(crate) struct Stored {
    pub(crate) digest: Vec<u8>,
    pub(crate) owner: Uuid,
    pub(crate) process: Uuid,
    pub(crate) lease_until: OffsetDateTime,
    pub(crate) made: String,
    pub(crate) answer: Option<Vec<u8>>,
}

/// An attempt that claims.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt {
    pub(crate) owner: Uuid,
    pub(crate) process: Uuid,
    pub(crate) lease_until: OffsetDateTime,
    pub(crate) expire: OffsetDateTime,
}

/// Claims an id that nobody has used; `false` if somebody has.
pub(crate) async fn insert(tx: &mut Tx, key: &Key, by: Attempt) -> Result<bool, Error> {
    const SQL: &str = "INSERT INTO request \
        (scope, request_id, method, digest, owner, process, lease_until, made, expire_time) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, '', $8) ON CONFLICT (scope, request_id) DO NOTHING";
    let mut args = args![&key.scope, &key.request_id, key.method, key.digest];
    args.extend([by.owner, by.process]);
    args.extend([by.lease_until, by.expire]);
    Ok(tx.execute(SQL, args).await? == 1)
}

pub(crate) async fn find(mut from: impl Query, key: &Key) -> Result<Option<Stored>, Error> {
    const SQL: &str = "SELECT digest, owner, process, lease_until, made, answer FROM request \
        WHERE scope = $1 AND request_id = $2";
    type Row = (Vec<u8>, Uuid, Uuid, OffsetDateTime, String, Option<Vec<u8>>);
    let row: Option<Row> = from.fetch_optional(SQL, args![&key.scope, &key.request_id]).await?;
    Ok(row.map(|(digest, owner, process, lease_until, made, answer)| Stored {
        digest,
        owner,
        process,
        lease_until,
        made,
        answer,
    }))
}

/// Takes over an unanswered request from the attempt `from`; `false` if another was faster.
pub(crate) async fn take_over(
    tx: &mut Tx,
    key: &Key,
    from: Uuid,
    by: Attempt,
) -> Result<bool, Error> {
    const SQL: &str = "UPDATE request \
        SET owner = $1, process = $2, lease_until = $3, expire_time = $4 \
        WHERE scope = $5 AND request_id = $6 AND owner = $7 AND answer IS NULL";
    let Attempt { owner, process, lease_until, expire } = by;
    let args = args![owner, process, lease_until, expire, &key.scope, &key.request_id, from];
    Ok(tx.execute(SQL, args).await? == 1)
}

/// Stores the answer of the attempt `owner`; `false` if it is not its request any more.
pub(crate) async fn answer(
    tx: &mut Tx,
    key: &Key,
    owner: Uuid,
    (answer, expire): (Vec<u8>, OffsetDateTime),
) -> Result<bool, Error> {
    const SQL: &str = "UPDATE request SET answer = $1, expire_time = $2 \
        WHERE scope = $3 AND request_id = $4 AND owner = $5 AND answer IS NULL";
    let args = args![answer, expire, &key.scope, &key.request_id, owner];
    Ok(tx.execute(SQL, args).await? == 1)
}

/// Notes what the attempt `owner` has begun to make; `false` as in [`answer`].
pub(crate) async fn set_made(
    tx: &mut Tx,
    key: &Key,
    owner: Uuid,
    made: &str,
) -> Result<bool, Error> {
    const SQL: &str = "UPDATE request SET made = $1 \
        WHERE scope = $2 AND request_id = $3 AND owner = $4 AND answer IS NULL";
    Ok(tx.execute(SQL, args![made, &key.scope, &key.request_id, owner]).await? == 1)
}

/// Ends the lease of the attempt `owner`: the next one may begin at once.
pub(crate) async fn let_go(
    tx: &mut Tx,
    key: &Key,
    owner: Uuid,
    now: OffsetDateTime,
) -> Result<(), Error> {
    const SQL: &str = "UPDATE request SET lease_until = $1 \
        WHERE scope = $2 AND request_id = $3 AND owner = $4 AND answer IS NULL";
    tx.execute(SQL, args![now, &key.scope, &key.request_id, owner]).await?;
    Ok(())
}

/// Takes a request from the attempt `owner` and gives it to nobody, unless the attempt has begun
/// to make something.
pub(crate) async fn free(
    tx: &mut Tx,
    key: &Key,
    (owner, nobody): (Uuid, Uuid),
) -> Result<bool, Error> {
    const SQL: &str = "UPDATE request SET owner = $1 WHERE scope = $2 AND request_id = $3 \
        AND owner = $4 AND answer IS NULL AND made = ''";
    Ok(tx.execute(SQL, args![nobody, &key.scope, &key.request_id, owner]).await? == 1)
}

/// Stores an answer whoever executes the request; `false` if it has one, or is another request by
/// now.
pub(crate) async fn answer_pending(
    tx: &mut Tx,
    (scope, request_id, digest): (&str, &str, [u8; 32]),
    (answer, expire): (Vec<u8>, OffsetDateTime),
) -> Result<bool, Error> {
    const SQL: &str = "UPDATE request SET answer = $1, expire_time = $2 \
        WHERE scope = $3 AND request_id = $4 AND digest = $5 AND answer IS NULL";
    Ok(tx.execute(SQL, args![answer, expire, scope, request_id, digest]).await? == 1)
}

/// Forgets some requests whose time is over.
pub(crate) async fn forget(tx: &mut Tx, now: OffsetDateTime, max: i64) -> Result<u64, Error> {
    const SQL: &str = "DELETE FROM request WHERE (scope, request_id) IN \
        (SELECT scope, request_id FROM request WHERE expire_time < $1 LIMIT $2)";
    tx.execute(SQL, args![now, max]).await
}

/// A sealed answer, and whose.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) scope: String,
    pub(crate) request_id: String,
    pub(crate) answer: Vec<u8>,
}

/// How many sealed answers begin in which way.
pub(crate) async fn count_sealed(
    mut from: impl Query,
    methods: &[&'static str],
) -> Result<Vec<(Vec<u8>, i64)>, Error> {
    let mut args = Args::new();
    let sql = format!(
        "SELECT substr(answer, 1, 5), count(*) FROM request \
         WHERE answer IS NOT NULL AND method IN ({}) GROUP BY substr(answer, 1, 5)",
        args.push_all(methods.iter().copied())
    );
    from.fetch_all_built(sql, args).await
}

/// Sealed answers that do not begin with `header`, those after the request `after`.
pub(crate) async fn list_sealed(
    mut from: impl Query,
    methods: &[&'static str],
    (header, after): (&[u8], (&str, &str)),
    max: i64,
) -> Result<Vec<Sealed>, Error> {
    let mut args = args![header, after.0, after.1, max];
    let sql = format!(
        "SELECT scope, request_id, answer FROM request \
         WHERE answer IS NOT NULL AND substr(answer, 1, 5) <> $1 \
         AND (scope, request_id) > ($2, $3) AND method IN ({}) \
         ORDER BY scope, request_id LIMIT $4",
        args.push_all(methods.iter().copied())
    );
    let rows: Vec<(String, String, Vec<u8>)> = from.fetch_all_built(sql, args).await?;
    let sealed = |(scope, request_id, answer)| Sealed { scope, request_id, answer };
    Ok(rows.into_iter().map(sealed).collect())
}

/// Replaces a sealed answer, if it is still the one that was read.
pub(crate) async fn replace_sealed(tx: &mut Tx, old: &Sealed, new: Vec<u8>) -> Result<bool, Error> {
    const SQL: &str = "UPDATE request SET answer = $1 \
        WHERE scope = $2 AND request_id = $3 AND answer = $4";
    Ok(tx.execute(SQL, args![new, &old.scope, &old.request_id, &old.answer]).await? == 1)
}
