//! Many rows, put with few statements.

use sqlx::postgres::PgArguments;
use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

use super::{On, Tx, run_deferred};
use crate::args::{Args, Value, columns_for_postgres};
use crate::db::Row;
use crate::error::Error;
use crate::trace;

/// Rows that are made at once, while the database puts those before: enough that a statement is
/// little of what they cost.
const AHEAD: usize = 1_000;
/// How many rows one statement puts where they go as a list of values: the largest of these that
/// there are, so that few texts stay prepared. More are hardly faster, and their text is long.
const SIZES: [usize; 3] = [200, 64, 16];
/// Fewer rows have arguments with names: `$1`, `$2`, … To find the name of one SQLite walks through
/// all names before it, so that many cost their square.
const NAMED: usize = 16;

/// Rows on their way to the database.
enum Rows {
    /// Arrays of as many columns as said here, for PostgreSQL, which reads them several times
    /// faster than lists of values.
    Columns(usize, PgArguments),
    Values(Vec<Vec<Value>>),
}

impl Rows {
    /// The next ones; `None`: there are no more.
    fn next(
        rows: &mut impl Iterator<Item = Vec<Value>>,
        on_postgres: bool,
    ) -> Result<Option<Self>, Error> {
        let rows: Vec<_> = rows.take(AHEAD).collect();
        if rows.is_empty() {
            return Ok(None);
        }
        if on_postgres
            && rows.len() >= NAMED
            && let Some(columns) = columns_for_postgres(&rows)?
        {
            return Ok(Some(Self::Columns(rows[0].len(), columns)));
        }
        Ok(Some(Self::Values(rows)))
    }
}

impl Tx {
    /// Puts rows with few statements: `head VALUES (…), (…) tail`. Each statement is a trip to the
    /// database, which is most of what a small one costs. All rows have the same columns. Many rows
    /// go to PostgreSQL as arrays: `head SELECT * FROM unnest(…) tail`. Rows are made while those
    /// before them are put.
    ///
    /// # Errors
    /// As [`Tx::execute`].
    pub async fn put_rows(
        &mut self,
        head: &'static str,
        rows: impl IntoIterator<Item = Vec<Value>, IntoIter: Send>,
        tail: &'static str,
    ) -> Result<(), Error> {
        let _nothing: Vec<()> = self.put_rows_returning(head, rows, tail).await?;
        Ok(())
    }

    /// As [`Tx::put_rows`], with a tail that returns something of each row.
    ///
    /// # Errors
    /// As [`Tx::execute`].
    pub async fn put_rows_returning<T: Row>(
        &mut self,
        head: &'static str,
        rows: impl IntoIterator<Item = Vec<Value>, IntoIter: Send>,
        tail: &'static str,
    ) -> Result<Vec<T>, Error> {
        let mut rows = rows.into_iter();
        let on_postgres = self.is_postgres();
        let mut returned = Vec::new();
        let mut next = Rows::next(&mut rows, on_postgres);
        loop {
            let put = match next {
                Ok(Some(rows)) => self.put(head, rows, tail),
                Ok(None) => return Ok(returned),
                Err(error) => {
                    self.is_spoilt = true;
                    return Err(error);
                }
            };
            // The rows are on their way before the first of the next is looked at.
            let after = async { Rows::next(&mut rows, on_postgres) };
            let (put, after) = tokio::join!(biased; put, after);
            returned.extend(put?);
            next = after;
        }
    }

    async fn put<T: Row>(
        &mut self,
        head: &'static str,
        rows: Rows,
        tail: &'static str,
    ) -> Result<Vec<T>, Error> {
        match rows {
            Rows::Columns(width, columns) => self.put_columns(head, (width, columns), tail).await,
            Rows::Values(rows) => self.put_values(head, rows, tail).await,
        }
    }

    async fn put_columns<T: Row>(
        &mut self,
        head: &'static str,
        (width, columns): (usize, PgArguments),
        tail: &'static str,
    ) -> Result<Vec<T>, Error> {
        let places: Vec<_> = (1..=width).map(|place| format!("${place}")).collect();
        let sql = format!("{head} SELECT * FROM unnest({}){tail}", places.join(", "));
        let span = trace::statement(self.on.system(), &sql);
        let put = self.put_columns_now(AssertSqlSafe(sql).into_sql_str(), columns).await;
        trace::ended(span, put)
    }

    async fn put_columns_now<T: Row>(
        &mut self,
        sql: SqlStr,
        columns: PgArguments,
    ) -> Result<Vec<T>, Error> {
        self.check()?;
        self.is_spoilt = true;
        let On::Postgres(session) = &mut self.on else {
            return Err(Error::Other { source: "SQLite has no arrays".into() });
        };
        run_deferred(session, &mut self.deferred).await?;
        let put = session.fetch_with(sql, columns).await?;
        self.is_spoilt = false;
        Ok(put)
    }

    async fn put_values<T: Row>(
        &mut self,
        head: &'static str,
        mut rows: Vec<Vec<Value>>,
        tail: &'static str,
    ) -> Result<Vec<T>, Error> {
        let mut returned = Vec::new();
        while !rows.is_empty() {
            let size = SIZES.into_iter().find(|size| *size <= rows.len());
            let rest = rows.split_off(size.unwrap_or(rows.len()));
            let of_rows = match size {
                Some(_) if !self.is_postgres() => self.put_positional(head, rows, tail).await?,
                _ => self.put_named(head, rows, tail).await?,
            };
            returned.extend(of_rows);
            rows = rest;
        }
        Ok(returned)
    }

    /// Puts few rows, together with what was deferred.
    async fn put_named<T: Row>(
        &mut self,
        head: &'static str,
        rows: Vec<Vec<Value>>,
        tail: &'static str,
    ) -> Result<Vec<T>, Error> {
        let mut args = Args::new();
        let places = rows.into_iter().map(|row| format!("({})", args.push_row(row)));
        let places = places.collect::<Vec<_>>().join(", ");
        self.fetch_all_built(format!("{head} VALUES {places}{tail}"), args).await
    }

    /// Puts many rows at once with arguments that have places and no names.
    async fn put_positional<T: Row>(
        &mut self,
        head: &'static str,
        rows: Vec<Vec<Value>>,
        tail: &'static str,
    ) -> Result<Vec<T>, Error> {
        // Places count anew in each statement of a text, names do not.
        self.run_all_deferred().await?;
        let row = format!("({})", vec!["?"; rows[0].len()].join(", "));
        let sql = format!("{head} VALUES {}{tail}", vec![row.as_str(); rows.len()].join(", "));
        let args = Args::from(rows.into_iter().flatten().collect::<Vec<_>>());
        let span = trace::statement(self.on.system(), &sql);
        let put = self.fetch_unchecked(AssertSqlSafe(sql).into_sql_str(), args).await;
        trace::ended(span, put)
    }
}
