//! A private double of AWS for a test run, on a free port of 127.0.0.1, gone at the end.
//!
//! It is moto, which knows users, keys and policies of IAM and asks them at S3: signatures, actions
//! and resources. It does not know that a key is inactive, nor URLs that are signed beforehand, and
//! lists users in one page.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use super::daemon::{self, free_ports};
use crate::python;

/// What tests are told.
const URL: &str = "STOWAGE_TEST_AWS_URL";
const ACCESS_KEY: &str = "STOWAGE_TEST_AWS_ACCESS_KEY";
const SECRET_KEY: &str = "STOWAGE_TEST_AWS_SECRET_KEY";
/// Those that bring another S3, and need IAM alone.
const IAM_URL: &str = "STOWAGE_TEST_AWS_IAM_URL";
/// Name of the folder, below that of the run.
const FOLDER: &str = "moto";
/// Begins the names of what it says and of its number.
const NAME: &str = "double";
/// Says how many questions are answered whoever asks: those by which an administrator is made.
const OPEN_FOR: &str = "INITIAL_NO_AUTH_ACTION_COUNT";
/// These questions. The last one makes his key.
const FIRST: [&str; 3] = [
    "Action=CreateUser&UserName=administrator",
    "Action=PutUserPolicy&UserName=administrator&PolicyName=all&PolicyDocument=%7B%22Version%22%3A\
     %222012-10-17%22%2C%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C%22Action%22%3A%22*%22\
     %2C%22Resource%22%3A%22*%22%7D%5D%7D",
    "Action=CreateAccessKey&UserName=administrator",
];
/// Who asks them: by it the double knows that they are for IAM.
const NOBODY: &str = "AWS4-HMAC-SHA256 Credential=nobody/20260101/us-east-1/iam/aws4_request, \
    SignedHeaders=host, Signature=none";
/// How long it may take to start on a busy machine.
const STARTS_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);
/// How long an answer may take.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);

/// A double that runs until this is dropped.
pub(crate) struct Double {
    folder: PathBuf,
    port: u16,
    access_key: String,
    secret_key: String,
    child: Option<Child>,
}

impl Double {
    /// Starts one with its files below `folder`, and makes its administrator.
    pub(crate) fn start(folder: &Path) -> Result<Self, String> {
        Self::start_asking(folder, true)
    }

    /// Starts one that does whatever anybody asks: who has keys elsewhere is unknown here.
    pub(crate) fn start_open(folder: &Path) -> Result<Self, String> {
        Self::start_asking(folder, false)
    }

    fn start_asking(folder: &Path, asks_who: bool) -> Result<Self, String> {
        let begun = Instant::now();
        let [port] = free_ports()?;
        let folder = folder.join(FOLDER);
        let (access_key, secret_key) = (String::new(), String::new());
        let mut double = Self { folder, port, access_key, secret_key, child: None };
        fs::create_dir_all(&double.folder)
            .map_err(|error| format!("cannot create {}: {error}", double.folder.display()))?;
        let booted = double.spawn(asks_who).and_then(|()| double.wait());
        let booted = booted.and_then(|()| if asks_who { double.settle() } else { Ok(()) });
        booted.map_err(|why| {
            format!("{why}\n{}", daemon::last_words(&double.name().with_extension("out")))
        })?;
        println!("the double of AWS answers after {:.1} s", begun.elapsed().as_secs_f64());
        Ok(double)
    }

    /// Tells a command where it is, and who administers it.
    pub(crate) fn at<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.env(URL, format!("http://127.0.0.1:{}", self.port));
        command.env(ACCESS_KEY, &self.access_key).env(SECRET_KEY, &self.secret_key)
    }

    /// Tells a command where users are made.
    pub(crate) fn iam_at<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.env(IAM_URL, format!("http://127.0.0.1:{}", self.port))
    }

    fn name(&self) -> PathBuf {
        self.folder.join(NAME)
    }

    /// Starts it so that it is killed when this process ends, however it does.
    fn spawn(&mut self, asks_who: bool) -> Result<(), String> {
        let mut command = daemon::dying_with_us(python::MOTO.program("moto_server"));
        command.args(["-H", "127.0.0.1", "-p", &self.port.to_string()]);
        command.env_remove(OPEN_FOR).current_dir(&self.folder);
        if asks_who {
            command.env(OPEN_FOR, FIRST.len().to_string());
        }
        self.child = Some(daemon::spawn(&mut command, &self.name())?);
        Ok(())
    }

    fn wait(&mut self) -> Result<(), String> {
        let until = Instant::now() + STARTS_WITHIN;
        while Instant::now() < until {
            if daemon::answers(self.port, "/moto-api/data.json") {
                return Ok(());
            }
            if !self.child.as_mut().is_some_and(daemon::runs) {
                return Err("the double of AWS has ended by itself".to_owned());
            }
            thread::sleep(PAUSE);
        }
        Err(format!("the double of AWS is not ready after {STARTS_WITHIN:?}"))
    }

    /// Makes its administrator; from then on everybody is asked who he is.
    fn settle(&mut self) -> Result<(), String> {
        let mut answer = String::new();
        for form in FIRST {
            answer = self.ask(form).map_err(|error| format!("it does not answer: {error}"))?;
        }
        let key = |name| element(&answer, name).ok_or_else(|| format!("no key in: {answer}"));
        (self.access_key, self.secret_key) = (key("AccessKeyId")?, key("SecretAccessKey")?);
        Ok(())
    }

    fn ask(&self, form: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(ANSWERS_WITHIN))?;
        let body = format!("{form}&Version=2010-05-08");
        let head = format!(
            "POST / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: {NOBODY}\r\n\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            daemon::end(child);
        }
    }
}

/// What stands in an element of XML that has no others in it.
fn element(text: &str, name: &str) -> Option<String> {
    let (_, after) = text.split_once(&format!("<{name}>"))?;
    let (inner, _) = after.split_once(&format!("</{name}>"))?;
    Some(inner.to_owned())
}

/// Ends the double of a run that was killed, should it have outlived it.
pub(crate) fn stop_abandoned(folder: &Path) {
    let name = folder.join(FOLDER).join(NAME);
    daemon::kill_noted(&name.with_extension("pid"), &python::MOTO.program("moto_server"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_told_where_it_is_and_who_administers_it() {
        let (access_key, secret_key) = ("id".to_owned(), "hush".to_owned());
        let folder = PathBuf::from("/nowhere");
        let double = Double { folder, port: 1, access_key, secret_key, child: None };
        let mut command = Command::new("true");
        double.at(&mut command);
        let told = command.get_envs().filter(|(_, value)| value.is_some()).count();
        assert_eq!(told, 3);
    }

    #[test]
    fn a_key_is_read_from_its_answer() {
        let answer = "<AccessKey><AccessKeyId>AKIA1</AccessKeyId></AccessKey>";
        assert_eq!(element(answer, "AccessKeyId").as_deref(), Some("AKIA1"));
        assert_eq!(element(answer, "SecretAccessKey"), None);
    }
}
