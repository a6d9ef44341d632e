//! The files: notes, a request as it goes over the wire, and the answer.

/// Between the request and the answer.
const ANSWER: &str = "\n=== answer ===\n";

/// Something that is done before the request is sent.
#[derive(Debug)]
pub(crate) enum Step {
    /// `put <key> <secret> bucket key bytes`: stores an object over S3.
    Put { access_key: String, secret_key: String, bucket: String, key: String, bytes: usize },
}

/// One case.
#[derive(Debug)]
pub(crate) struct Case {
    /// All before the answer, to be written back as it is.
    head: String,
    notes: Vec<String>,
    pub(crate) steps: Vec<Step>,
    /// Whether the answer is waited for, since figures travel.
    pub(crate) is_eventual: bool,
    /// Whether the body that the head announces is never sent.
    pub(crate) is_head_only: bool,
    pub(crate) request: String,
    /// Status line, headers worth a look, body with one value a line.
    pub(crate) answer: String,
}

impl Case {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (head, answer) = text.split_once(ANSWER).ok_or("has no line `=== answer ===`")?;
        let mut case = Self {
            head: head.to_owned(),
            notes: Vec::new(),
            steps: Vec::new(),
            is_eventual: false,
            is_head_only: false,
            request: String::new(),
            answer: answer.to_owned(),
        };
        let mut rest = head;
        while let Some(line) = rest.strip_prefix('#') {
            let (line, after) = line.split_once('\n').ok_or("has no request")?;
            match line.strip_prefix('!') {
                Some(directive) => case.direct(directive.trim())?,
                None => case.notes.push(line.trim().to_owned()),
            }
            rest = after;
        }
        if case.notes.is_empty() {
            return Err("does not say what it is about".to_owned());
        }
        case.request = rest.trim_start_matches('\n').to_owned();
        Ok(case)
    }

    fn direct(&mut self, directive: &str) -> Result<(), String> {
        let words: Vec<&str> = directive.split(' ').collect();
        match words.as_slice() {
            ["eventually"] => self.is_eventual = true,
            ["head-only"] => self.is_head_only = true,
            ["put", access_key, secret_key, bucket, key, bytes] => self.steps.push(Step::Put {
                access_key: (*access_key).to_owned(),
                secret_key: (*secret_key).to_owned(),
                bucket: (*bucket).to_owned(),
                key: (*key).to_owned(),
                bytes: bytes.parse().map_err(|_| format!("{bytes} is no number"))?,
            }),
            _ => return Err(format!("`#! {directive}` is no directive")),
        }
        Ok(())
    }

    /// What it is about.
    pub(crate) fn why(&self) -> String {
        self.notes.join(" ")
    }

    /// The file with another answer.
    pub(crate) fn with_answer(&self, answer: &str) -> String {
        format!("{}{ANSWER}{answer}", self.head)
    }

    /// Method and path, without the query.
    pub(crate) fn target(&self) -> (String, String) {
        target(&self.request)
    }
}

/// Method and path of a request, without the query.
pub(crate) fn target(request: &str) -> (String, String) {
    let mut words = request.split([' ', '\n']);
    let method = words.next().unwrap_or_default().to_owned();
    let uri = words.next().unwrap_or_default();
    (method, uri.split('?').next().unwrap_or_default().to_owned())
}

/// The request as it goes over the wire: lines of the head, and of multipart, end with CR LF; the
/// length is counted unless it is said.
pub(crate) fn to_bytes(request: &str, is_head_only: bool) -> Vec<u8> {
    let (head, body) = request.split_once("\n\n").unwrap_or((request.trim_end(), ""));
    let lower = head.to_ascii_lowercase();
    let is_multipart = lower.contains("content-type: multipart/");
    let body = if is_multipart { body.replace('\n', "\r\n") } else { body.to_owned() };
    let mut text = head.replace('\n', "\r\n");
    text.push_str("\r\nHost: stowage.test\r\nConnection: close\r\n");
    if !lower.contains("content-length:") && !body.is_empty() {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    if !is_head_only {
        text.push_str(&body);
    }
    text.into_bytes()
}

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    /// `200 OK`.
    pub(crate) status: String,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8(bytes.to_vec()).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        let (first, rest) = head.split_once("\r\n")?;
        let headers = rest.split("\r\n").filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        });
        Some(Self {
            status: first.strip_prefix("HTTP/1.1 ")?.to_owned(),
            headers: headers.collect(),
            body: body.to_owned(),
        })
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

#[test]
fn a_file_is_read_and_sent_as_it_says() {
    let text = "# Why.\n#! head-only\nPOST /s3/x?a=1 HTTP/1.1\nContent-Type: a/b\n\na=b\n\
                === answer ===\n200 OK\n";
    let case = Case::parse(text).expect("it is a case");
    assert_eq!((case.why().as_str(), case.answer.as_str()), ("Why.", "200 OK\n"));
    assert_eq!(case.target(), ("POST".to_owned(), "/s3/x".to_owned()));
    assert_eq!(case.with_answer("no\n"), text.replace("200 OK", "no"));
    let sent = String::from_utf8(to_bytes(&case.request, false)).expect("it is text");
    let expected = "POST /s3/x?a=1 HTTP/1.1\r\nContent-Type: a/b\r\nHost: stowage.test\r\n\
                    Connection: close\r\nContent-Length: 3\r\n\r\na=b";
    assert_eq!(sent, expected);
}
