//! A client that puts, overwrites, copies, deletes, reads and uploads in parts, as fast as it is
//! answered, on keys that all clients share.

use std::sync::{Arc, Mutex, MutexGuard};

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, Delete, ObjectIdentifier};

use super::super::random::Random;
use super::BUCKET;
use super::model::{Content, End, Model, Upload, bytes_of};

/// Keys that are written; so few that each is written by several clients at once.
const KEYS: u64 = 40;
/// Sizes of objects: in the index, at its bound, in files, in several chunks.
const SIZES: [usize; 6] = [100, 3_000, 16_384, 16_385, 150_000, 1_200_000];
/// Unfinished uploads at once.
const UPLOADS_MAX: usize = 12;
/// Smallest part of an upload but the last.
const PART_BYTES: usize = 5 * 1024 * 1024;
/// Digest of nothing, which no body here has.
const WRONG_MD5: &str = "1B2M2Y8AsgTpgAmY7PhCfg==";

/// Objects that copies are made of, written once before the first kill.
pub(super) const SOURCES: [(&str, usize); 3] =
    [("source/a", 700), ("source/b", 60_000), ("source/c", 900_000)];

/// What all clients did, so that a run that did nothing does not pass.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) acknowledged: u64,
    pub(super) refused: u64,
    pub(super) over_quota: u64,
    pub(super) cut_off: u64,
    pub(super) read: u64,
    pub(super) completed: u64,
}

/// What the clients share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) model: Model,
    pub(super) tally: Tally,
}

pub(super) struct Worker {
    pub(super) s3: Client,
    pub(super) shared: Arc<Mutex<Shared>>,
    pub(super) random: Random,
}

/// How an answer ended, and its refusal if it is one.
enum Answer<T> {
    Good(T),
    Refused(String),
    CutOff,
}

impl Worker {
    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("no client has panicked")
    }

    /// Sorts an answer. A fault of the server's is one of the product.
    fn sort<T, E: ProvideErrorMetadata + std::fmt::Debug>(
        &self,
        answer: Result<T, SdkError<E>>,
    ) -> Answer<T> {
        let error = match answer {
            Ok(good) => return Answer::Good(good),
            Err(error) => error,
        };
        let status = error.raw_response().map_or(0, |response| response.status().as_u16());
        assert!(status < 500, "the server has a fault: {error:?}");
        let mut shared = self.shared();
        if status < 400 {
            shared.tally.cut_off += 1;
            return Answer::CutOff;
        }
        let code = error.code().unwrap_or_default().to_owned();
        shared.tally.refused += 1;
        shared.tally.over_quota += u64::from(code == "QuotaExceeded");
        Answer::Refused(code)
    }

    /// Notes how the write of a content ended; answers whether it was answered.
    fn note<T>(&self, answer: &Answer<T>, key: &str, begun: u64, content: Option<Content>) -> bool {
        let mut shared = self.shared();
        let end = match answer {
            Answer::Good(_) => End::Acknowledged,
            Answer::CutOff => End::Unknown,
            Answer::Refused(_) => {
                if let Some(content) = &content {
                    shared.model.refuse(content);
                }
                return true;
            }
        };
        shared.tally.acknowledged += u64::from(end == End::Acknowledged);
        shared.model.wrote(key, begun, end, content);
        end == End::Acknowledged
    }

    fn key(&mut self) -> String {
        format!("k{:02} ü", self.random.below(KEYS))
    }

    fn content(&mut self) -> Content {
        let size = SIZES[usize::try_from(self.random.below(SIZES.len() as u64)).unwrap_or(0)];
        vec![self.shared().model.piece(size)]
    }

    /// Asks once; answers whether it was answered.
    pub(super) async fn step(&mut self) -> bool {
        match self.random.below(100) {
            0..32 => self.put().await,
            32..42 => self.put_that_may_be_refused().await,
            42..52 => self.copy().await,
            52..62 => self.delete().await,
            62..66 => self.delete_many().await,
            66..74 => self.read().await,
            _ => self.upload().await,
        }
    }

    async fn put(&mut self) -> bool {
        let (key, content) = (self.key(), self.content());
        let begun = self.shared().model.begin(Some(&content));
        let put = self.s3.put_object().bucket(BUCKET).key(&key);
        let answer = put.body(ByteStream::from(bytes_of(&content))).send().await;
        let answer = self.sort(answer);
        self.note(&answer, &key, begun, Some(content))
    }

    /// With a digest that is wrong, or only where nothing is.
    async fn put_that_may_be_refused(&mut self) -> bool {
        let (key, content) = (self.key(), self.content());
        let begun = self.shared().model.begin(Some(&content));
        let put = self.s3.put_object().bucket(BUCKET).key(&key);
        let is_wrong = self.random.below(2) == 0;
        let put = if is_wrong { put.content_md5(WRONG_MD5) } else { put.if_none_match("*") };
        let answer = put.body(ByteStream::from(bytes_of(&content))).send().await;
        let answer = self.sort(answer);
        assert!(!is_wrong || !matches!(answer, Answer::Good(_)), "{key}: a wrong digest was taken");
        self.note(&answer, &key, begun, Some(content))
    }

    async fn copy(&mut self) -> bool {
        let key = self.key();
        let source = SOURCES[usize::try_from(self.random.below(3)).unwrap_or(0)].0;
        // Sources are settled, so all know what they hold.
        let content = self.shared().model.content_of(source);
        let begun = self.shared().model.begin(Some(&content));
        let copy = self.s3.copy_object().bucket(BUCKET).key(&key);
        let answer = self.sort(copy.copy_source(format!("{BUCKET}/{source}")).send().await);
        if let Answer::Refused(_) = answer {
            // The content is good elsewhere.
            return true;
        }
        self.note(&answer, &key, begun, Some(content))
    }

    async fn delete(&mut self) -> bool {
        let key = self.key();
        let begun = self.shared().model.begin(None);
        let answer = self.sort(self.s3.delete_object().bucket(BUCKET).key(&key).send().await);
        self.note(&answer, &key, begun, None)
    }

    async fn delete_many(&mut self) -> bool {
        let mut keys: Vec<String> = (0..4).map(|_| self.key()).collect();
        keys.sort();
        keys.dedup();
        let object = |key: &String| ObjectIdentifier::builder().key(key).build();
        let objects: Result<Vec<_>, _> = keys.iter().map(object).collect();
        let delete = Delete::builder().set_objects(objects.ok()).build().expect("there are keys");
        let begun = self.shared().model.begin(None);
        let answer = self.s3.delete_objects().bucket(BUCKET).delete(delete).send().await;
        let answer = self.sort(answer);
        // Each is noted, however the first ended.
        let noted: Vec<bool> =
            keys.iter().map(|key| self.note(&answer, key, begun, None)).collect();
        noted.into_iter().all(|is_answered| is_answered)
    }

    async fn read(&mut self) -> bool {
        let key = self.key();
        let got = match self.sort(self.s3.get_object().bucket(BUCKET).key(&key).send().await) {
            Answer::Good(got) => got,
            Answer::Refused(_) => return true,
            Answer::CutOff => return false,
        };
        let Ok(body) = got.body.collect().await else { return false };
        let mut shared = self.shared();
        shared.model.check_read(&key, &body.to_vec());
        shared.tally.read += 1;
        true
    }

    /// Goes on with an unfinished upload, or begins one.
    async fn upload(&mut self) -> bool {
        let taken = self.shared().model.uploads.pop_first();
        match taken {
            Some((id, upload)) if self.is_enough() => self.go_on(id, upload).await,
            Some((id, upload)) => {
                self.shared().model.uploads.insert(id, upload);
                self.begin().await
            }
            None => self.begin().await,
        }
    }

    /// Whether to go on with an upload and not to begin another.
    fn is_enough(&mut self) -> bool {
        let is_full = self.shared().model.uploads.len() >= UPLOADS_MAX;
        is_full || self.random.below(3) > 0
    }

    async fn begin(&mut self) -> bool {
        let key = self.key();
        let begin = self.s3.create_multipart_upload().bucket(BUCKET).key(&key).send().await;
        let answer = self.sort(begin);
        let mut shared = self.shared();
        match answer {
            Answer::Good(begun) => {
                let id = begun.upload_id.expect("an upload has an id");
                let upload = Upload { key, parts: [].into(), is_ending: false };
                shared.model.uploads.insert(id, upload);
                true
            }
            Answer::Refused(_) => true,
            Answer::CutOff => {
                shared.model.nameless += 1;
                false
            }
        }
    }

    /// Does the next thing with an upload that nobody else has in hand, and puts it back.
    async fn go_on(&mut self, id: String, upload: Upload) -> bool {
        // What was cut off is looked at before it is used again.
        let is_sure = !upload.is_ending && upload.parts.values().all(|(_, etag)| etag.is_some());
        match self.random.below(6) {
            _ if !is_sure => {
                self.shared().model.uploads.insert(id, upload);
                true
            }
            0 => self.abort(id, upload).await,
            1 | 2 if upload.parts.len() < 2 => self.part(id, upload).await,
            _ if upload.parts.is_empty() => self.part(id, upload).await,
            _ => self.complete(id, upload).await,
        }
    }

    async fn part(&mut self, id: String, mut upload: Upload) -> bool {
        // A second part may follow only on a large one.
        let is_large = self.random.below(6) == 0;
        let size = if is_large { PART_BYTES } else { 20_000 };
        let piece = self.shared().model.piece(size);
        let number = upload.parts.keys().next_back().map_or(1, |last| last + 1);
        let part = self.s3.upload_part().bucket(BUCKET).key(&upload.key).upload_id(&id);
        let part = part.part_number(number).body(ByteStream::from(piece.bytes()));
        let answer = self.sort(part.send().await);
        let is_answered = !matches!(answer, Answer::CutOff);
        match answer {
            Answer::Good(part) => {
                let etag = part.e_tag.expect("a part has an entity tag");
                upload.parts.insert(number, (piece, Some(etag)));
            }
            Answer::CutOff => drop(upload.parts.insert(number, (piece, None))),
            Answer::Refused(code) => assert_eq!(code, "QuotaExceeded", "part of {id}"),
        }
        self.shared().model.uploads.insert(id, upload);
        is_answered
    }

    async fn abort(&mut self, id: String, mut upload: Upload) -> bool {
        let abort = self.s3.abort_multipart_upload().bucket(BUCKET).key(&upload.key);
        let answer = self.sort(abort.upload_id(&id).send().await);
        match answer {
            Answer::Good(_) => true,
            Answer::Refused(code) => panic!("upload {id} is lost: {code}"),
            Answer::CutOff => {
                upload.is_ending = true;
                self.shared().model.uploads.insert(id, upload);
                false
            }
        }
    }

    async fn complete(&mut self, id: String, mut upload: Upload) -> bool {
        let parts = upload.parts.iter().map(|(number, (_, etag))| {
            CompletedPart::builder().part_number(*number).set_e_tag(etag.clone()).build()
        });
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.collect())).build();
        let content: Content = upload.parts.values().map(|(piece, _)| *piece).collect();
        let begun = self.shared().model.begin(Some(&content));
        let complete = self.s3.complete_multipart_upload().bucket(BUCKET).key(&upload.key);
        let complete = complete.upload_id(&id).multipart_upload(parts);
        let answer = self.sort(complete.send().await);
        match &answer {
            Answer::Good(_) => self.shared().tally.completed += 1,
            Answer::Refused(code) => {
                let is_small = content.len() > 1 && content[0].size < PART_BYTES;
                let is_expected = (is_small && code == "EntityTooSmall") || code == "QuotaExceeded";
                assert!(is_expected, "upload {id} is lost: {code}");
                // Its parts are as they were; as it is it will never be an object.
                return self.abort(id, upload).await;
            }
            Answer::CutOff => {
                upload.is_ending = true;
                let key = upload.key.clone();
                self.shared().model.uploads.insert(id, upload);
                return self.note(&answer, &key, begun, Some(content));
            }
        }
        self.note(&answer, &upload.key, begun, Some(content))
    }
}
