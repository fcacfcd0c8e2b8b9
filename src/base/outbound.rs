//! HTTP to neighbours: which URLs can be asked, and the one kind of client that asks them.
//!
//! Plain HTTP alone: the TLS libraries of Rust bring C. Knows no request; reading history, the push and whoever else asks owns its
//! own patience.

use anyhow::{Context as _, bail};
use reqwest::header::RETRY_AFTER;
use reqwest::{ClientBuilder, RequestBuilder, Response, Url};

/// Time for which an idle connection is used again: the server may have closed older ones.
const REUSE: std::time::Duration = std::time::Duration::from_secs(10);

/// Bytes of an error's text that are shown.
const TEXT_BYTES_MAX: usize = 500;

/// The URL in `text`, perhaps with a user and password, which reqwest turns into a header.
///
/// # Errors
/// It is none, or wants TLS. Says what to write instead; `example` is one that makes sense.
pub fn url(text: &str, example: &str) -> anyhow::Result<Url> {
    let url: Url = text
        .parse()
        .with_context(|| format!("`{text}` is no URL: write it as {example}, with the path prefix if there is one"))?;
    let shown = shown(&url);
    match url.scheme() {
        "http" if url.has_host() => Ok(url),
        "https" => bail!("{shown}: https isn't supported yet; use a proxy on this machine that adds TLS, or http"),
        _ => bail!("{shown}: the URL must start with http://"),
    }
}

/// The URL without user and password.
#[must_use]
pub fn shown(url: &Url) -> String {
    let mut shown = url.clone();
    // These fail only for URLs that cannot have a host.
    let _ = (shown.set_username(""), shown.set_password(None));
    shown.as_str().trim_end_matches('/').to_owned()
}

/// A client to which timeouts are still to be given.
pub fn client() -> ClientBuilder {
    reqwest::Client::builder()
        .pool_idle_timeout(REUSE)
        .user_agent(concat!("outlierd/", env!("CARGO_PKG_VERSION")))
        // What a proxy of the environment would do to a server nearby is a surprise to everyone.
        .no_proxy()
        // A POST would become a GET without what was asked for.
        .redirect(reqwest::redirect::Policy::none())
}

/// Outcome of a request that tells something.
#[derive(Debug, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// It was taken.
    Taken,
    /// The same request can never succeed.
    Refused {
        /// Status.
        code: String,
        /// Answer of the receiver.
        said: String,
    },
    /// It may go well later.
    Failed {
        /// Status, `timeout` or `connection`.
        code: String,
        /// Answer of the receiver, or of the network.
        said: String,
        /// When the receiver wants it again.
        retry_after: Option<String>,
    },
}

/// Sends `request` once.
pub async fn deliver(request: RequestBuilder) -> DeliveryOutcome {
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) => {
            let code = if error.is_timeout() { "timeout" } else { "connection" }.to_owned();
            let said = format!("{:#}", anyhow::anyhow!(error.without_url()));
            return DeliveryOutcome::Failed { code, said, retry_after: None };
        }
    };
    let status = answer.status();
    if status.is_success() {
        return DeliveryOutcome::Taken;
    }
    let code = status.as_str().to_owned();
    let retry_after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let said = error_excerpt(answer).await;
    if status.as_u16() == 429 || status.is_server_error() {
        DeliveryOutcome::Failed { code, said, retry_after }
    } else {
        DeliveryOutcome::Refused { code, said }
    }
}

/// Returns what the body of an error says, shortened.
pub async fn error_excerpt(mut response: Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < TEXT_BYTES_MAX {
        let Ok(Some(piece)) = response.chunk().await else { break };
        bytes.extend_from_slice(&piece);
    }
    bytes.truncate(TEXT_BYTES_MAX);
    // It goes to a terminal.
    String::from_utf8_lossy(&bytes).trim().replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_asked() {
        let check = |text: &str, expected: &str| {
            let said = url(text, "http://host:1").map_or_else(|error| error.to_string(), |url| shown(&url));
            assert_eq!(said, expected);
        };
        check("http://vm:8428", "http://vm:8428");
        check("http://user:secret@vm:8428/a/?b=c", "http://vm:8428/a/?b=c");
        check("vm:8428", "vm:8428: the URL must start with http://");
        check("vm", "`vm` is no URL: write it as http://host:1, with the path prefix if there is one");
        check("http://", "`http://` is no URL: write it as http://host:1, with the path prefix if there is one");
        check(
            "https://u:secret@vm/",
            "https://vm: https isn't supported yet; use a proxy on this machine that adds TLS, or http",
        );
    }
}
