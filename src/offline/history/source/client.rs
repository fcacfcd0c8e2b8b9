//! Requests to a database: authentication, patience, and errors that say what to do.
//!
//! Knows no format of an answer. What it reads is bounded by who reads.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use reqwest::{RequestBuilder, Response, StatusCode, Url};

use crate::base::outbound;

/// Until a connection stands, and between two pieces of an answer: a database may think for long before it answers.
const CONNECT: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_secs(120);

/// Why there is no answer.
#[derive(Debug)]
pub enum Failure {
    /// Unreachable or overloaded: the same may go well later.
    Busy(anyhow::Error),
    /// The answer broke off: it may go well later, or in smaller pieces.
    Cut(anyhow::Error),
    /// The answer is larger than the server or we allow: ask for less.
    TooLarge(anyhow::Error),
    /// The server has no such path.
    NoSuchPath(anyhow::Error),
    /// Asking again makes no difference.
    Fatal(anyhow::Error),
}

impl Failure {
    /// Returns the error to tell the user.
    pub fn into_error(self) -> anyhow::Error {
        let (Self::Busy(e) | Self::Cut(e) | Self::TooLarge(e) | Self::NoSuchPath(e) | Self::Fatal(e)) = self;
        e
    }
}

/// Location of a database and the way that it is asked.
#[derive(Debug, Clone)]
pub struct Address {
    /// `http://host:port/prefix`, perhaps with a user and password.
    pub url: String,
    /// A file that holds a bearer token; read once.
    pub bearer_token_file: Option<PathBuf>,
    /// Number of attempts at a request that fails in a way that may pass; at least 1.
    pub attempts: u32,
    /// The first pause between two attempts; each further one is twice as long.
    pub pause: Duration,
}

impl Address {
    /// Asks `url` with the patience that suits a person who waits.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self { url: url.to_owned(), bearer_token_file: None, attempts: 5, pause: Duration::from_millis(500) }
    }
}

/// Asks one database.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    /// With the user and password, which reqwest turns into a header.
    base: Url,
    /// Without them.
    shown: String,
    token: Option<String>,
    attempts: u32,
    pause: Duration,
    /// Ends waiting.
    cancelled: Arc<AtomicBool>,
}

impl Client {
    /// # Errors
    /// The URL is none, or wants TLS; the token cannot be read.
    pub fn new(address: &Address, cancelled: Arc<AtomicBool>) -> anyhow::Result<Self> {
        let base = outbound::url(&address.url, "http://host:8428")?;
        let shown = outbound::shown(&base);
        let token = address.bearer_token_file.as_deref().map(read_token).transpose()?;
        let http = outbound::client()
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .build()
            .context("cannot make a client")?;
        let (attempts, pause) = (address.attempts, address.pause);
        Ok(Self { http, base, shown, token, attempts, pause, cancelled })
    }

    /// The URL without secrets.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// `GET prefix/path?query`.
    pub fn get(&self, path: &str, query: &[(&str, &str)]) -> RequestBuilder {
        let mut url = self.url(path);
        url.query_pairs_mut().extend_pairs(query);
        self.http.get(url)
    }

    /// `POST prefix/path` with a form.
    pub fn post_form(&self, path: &str, form: &[(&str, &str)]) -> RequestBuilder {
        // The form's text is a query's text.
        let mut url = self.base.clone();
        url.set_query(None);
        url.query_pairs_mut().extend_pairs(form);
        let body = url.query().unwrap_or_default().to_owned();
        self.post(path, "application/x-www-form-urlencoded", body.into())
    }

    /// `POST prefix/path`.
    pub fn post(&self, path: &str, content_type: &'static str, body: Bytes) -> RequestBuilder {
        self.http.post(self.url(path)).header("content-type", content_type).body(body)
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        let path = format!("{}/{path}", url.path().trim_end_matches('/'));
        url.set_path(&path);
        url.set_query(None);
        url.set_fragment(None);
        url
    }

    /// Does `ask` until it goes well, fails for good, or has failed too often.
    pub async fn persist<T>(&self, ask: impl AsyncFn() -> Result<T, Failure>) -> Result<T, Failure> {
        let mut pause = self.pause;
        let mut left = self.attempts;
        loop {
            left = left.saturating_sub(1);
            let failure = match ask().await {
                Err(failure @ Failure::Busy(_)) => failure,
                // Once more: it may have taken minutes, and asking for less is what helps.
                Err(failure @ Failure::Cut(_)) => {
                    left = left.min(1);
                    failure
                }
                other => return other,
            };
            if left == 0 || self.cancelled.load(Ordering::Relaxed) {
                return Err(failure);
            }
            tracing::debug!(left, ?failure, "asking again");
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }

    /// Sends a request; the answer is one with status 200.
    pub async fn send(&self, request: RequestBuilder) -> Result<Answer, Failure> {
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let response = request.send().await.map_err(|error| {
            let is_timeout = error.is_timeout() && !error.is_connect();
            let error = anyhow!(error.without_url()).context(if is_timeout {
                format!("{} did not answer within {} s", self.shown, SILENCE.as_secs())
            } else {
                format!("cannot reach {}: is it running, and are host and port right?", self.shown)
            });
            if is_timeout { Failure::Cut(error) } else { Failure::Busy(error) }
        })?;
        match response.status() {
            StatusCode::OK => Ok(Answer { response, shown: self.shown.clone() }),
            status => {
                let path = response.url().path().to_owned();
                let location = response.headers().get("location").and_then(|value| value.to_str().ok());
                let location = location.map_or_else(String::new, |location| format!(" (to {location})"));
                Err(self.refusal(status, &path, &format!("{}{location}", outbound::error_excerpt(response).await)))
            }
        }
    }

    fn refusal(&self, status: StatusCode, path: &str, text: &str) -> Failure {
        let shown = &self.shown;
        let said = anyhow!("{shown}: {path} answered {status}: {}", if text.is_empty() { "nothing" } else { text });
        let is_about_size =
            ["too many", "exceed", "limit", "timed out", "timeout", "memory"].iter().any(|word| text.contains(word));
        match status.as_u16() {
            401 | 403 => Failure::Fatal(said.context(
                "the database refused: give a user as http://user:password@host, or a token with --bearer-token-file",
            )),
            404 | 405 | 501 => no_such_path(said),
            400 if text.contains("unsupported path") || text.contains("missing route") => no_such_path(said),
            400 | 413 | 422 | 503 | 504 if is_about_size => Failure::TooLarge(said),
            429 | 500.. => Failure::Busy(said),
            300..=399 => Failure::Fatal(said.context("give the URL that it redirects to")),
            _ => Failure::Fatal(said),
        }
    }
}

/// An answer that is being read.
#[derive(Debug)]
pub struct Answer {
    response: Response,
    shown: String,
}

impl Answer {
    /// The header `content-type`; empty where there is none.
    pub fn content_type(&self) -> &str {
        self.response.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The next piece, decompressed.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let next = self.response.chunk().await;
        next.map_err(|error| {
            Failure::Cut(anyhow!(error.without_url()).context(format!("the answer of {} broke off", self.shown)))
        })
    }

    /// All of it, up to `bytes_max`.
    pub async fn whole(mut self, bytes_max: usize) -> Result<Vec<u8>, Failure> {
        let mut whole = Vec::new();
        while let Some(piece) = self.next().await? {
            if whole.len() + piece.len() > bytes_max {
                let shown = &self.shown;
                return Err(Failure::TooLarge(anyhow!("an answer of {shown} is larger than {bytes_max} bytes")));
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole)
    }
}

fn no_such_path(said: anyhow::Error) -> Failure {
    Failure::NoSuchPath(said.context("no such path; are the URL's prefix and --from-type right?"))
}

fn read_token(path: &Path) -> anyhow::Result<String> {
    let token = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(token.trim().to_owned())
}
