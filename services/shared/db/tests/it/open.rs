//! What may be opened, and that what must not be touched is not touched.

use crate::{Kit, NEW, OLD};
use std::fs;
use stowage_db::{Db, Error, OpenError, args};
use tempfile::TempDir;

#[tokio::test]
async fn a_database_of_a_newer_program_is_refused_untouched() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("role.db");
    Db::open(&path, &NEW).await.unwrap().close().await;
    let before = fs::read(&path).unwrap();
    assert!(matches!(Db::check(&path, &OLD).await, Err(OpenError::Newer { .. })));
    Db::check(&folder.path().join("absent.db"), &OLD).await.unwrap();
    assert!(!folder.path().join("absent.db").exists());
    match Db::open(&path, &OLD).await {
        Err(OpenError::Newer { version: 2, known: 1, .. }) => {}
        other => panic!("{other:?}"),
    }
    assert!(before == fs::read(&path).unwrap());
    Db::open(&path, &NEW).await.unwrap();
}

#[tokio::test]
async fn an_older_database_is_brought_up_to_date_with_its_data() {
    let kit = Kit::start().await;
    let mut tx = kit.db.begin().await.unwrap();
    tx.execute("INSERT INTO purse (id, cents) VALUES (1, 5)", args![]).await.unwrap();
    tx.commit().await.unwrap();
    kit.db.close().await;
    let db = Db::open(&kit.path(), &NEW).await.unwrap();
    let sql = "SELECT cents, (SELECT count(*) FROM later) FROM purse";
    let row: (i64, i64) = db.fetch_one(sql, args![]).await.unwrap();
    assert_eq!(row, (5, 0));
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_untouched() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("role.db");
    let text = "This is a letter to my aunt. ".repeat(100);
    fs::write(&path, &text).unwrap();
    let refused = Db::open(&path, &OLD).await;
    assert!(matches!(refused, Err(OpenError::NotADatabase { .. })), "{refused:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn a_place_that_cannot_be_written_is_named() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.join("role.db"), folder.path().join("absent/role.db"), folder.path().into()] {
        let refused = Db::open(&path, &OLD).await;
        assert!(matches!(refused, Err(OpenError::NotWritable { .. })), "{refused:?}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn others_cannot_read_the_files() {
    use std::os::unix::fs::PermissionsExt;
    let kit = Kit::start().await;
    for entry in fs::read_dir(kit.folder.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{entry:?}");
    }
}

#[tokio::test]
async fn after_close_nothing_is_left_open_and_calls_fail() {
    let kit = Kit::start().await;
    let mut tx = kit.db.begin().await.unwrap();
    tx.execute("INSERT INTO purse (id, cents) VALUES (1, 5)", args![]).await.unwrap();
    tx.commit().await.unwrap();
    kit.db.close().await;
    assert!(matches!(kit.db.begin().await, Err(Error::Unavailable { .. })));
    assert!(matches!(kit.db.ping().await, Err(Error::Unavailable { .. })));
    let files = fs::read_dir(kit.folder.path()).unwrap().count();
    assert_eq!(files, 1, "the log was written back");
    Db::open(&kit.path(), &OLD).await.unwrap().ping().await.unwrap();
}
