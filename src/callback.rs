//! PUTs the answer to its presigned address: exactly as it was signed, again where that may help.

use std::sync::OnceLock;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Client, StatusCode};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use crate::cloudformation::response::Response;

/// Longest a single attempt may take to connect and to be answered: a function in a VPC without a
/// way to S3 has to fail loudly while there is time.
const ATTEMPT: Duration = Duration::from_secs(10);

/// Why an answer did not get out. Never says where to: the address is a secret.
#[derive(Debug, thiserror::Error)]
pub enum Undelivered {
    /// The address refuses it: it has expired, or the answer is malformed.
    #[error("CloudFormation's address answered {0}")]
    Refused(StatusCode),
    /// No connection, no answer, or a broken one.
    #[error("CloudFormation's address did not answer")]
    Unreached(#[source] reqwest::Error),
    /// The time ran out.
    #[error("the answer did not get out in time: CloudFormation's address did not answer it")]
    OutOfTime,
}

impl Undelivered {
    /// Whether another attempt may succeed.
    fn is_transient(&self) -> bool {
        match self {
            Self::Refused(status) => {
                status.is_server_error()
                    || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(status)
            }
            Self::Unreached(_) => true,
            Self::OutOfTime => false,
        }
    }
}

/// The client that answers. It is made when the first request is there, as it takes the system's
/// certificates longer to be read than everything else to start.
#[derive(Debug, Default)]
pub struct Callback {
    client: OnceLock<Client>,
}

impl Callback {
    /// Gets ready to deliver, beside the work on what is to be delivered. What goes wrong is met
    /// again when that is done.
    pub async fn prepare(&self) {
        if self.client.get().is_none()
            && let Ok(Ok(client)) = spawn_blocking(client).await
        {
            self.client.get_or_init(|| client);
        }
    }

    /// Delivers an answer.
    ///
    /// # Errors
    /// It was refused for good, or there is no time left. The invocation has to fail then, so that
    /// Lambda tries it again.
    pub async fn deliver(&self, response: &Response, deadline: Instant) -> Result<(), Undelivered> {
        let url = response.envelope.response_url.expose();
        let body = response.body();
        let patience = ExponentialBuilder::new()
            .with_jitter()
            .with_min_delay(Duration::from_millis(200))
            .with_max_delay(Duration::from_secs(5))
            .without_max_times();
        let delivery = (|| self.put(url, &body))
            .retry(patience)
            .when(Undelivered::is_transient)
            .notify(|error, _| {
                tracing::warn!(error = error as &dyn std::error::Error, "answer not delivered yet");
            });
        timeout_at(deadline, delivery).await.unwrap_or(Err(Undelivered::OutOfTime))
    }

    async fn put(&self, url: &str, body: &str) -> Result<(), Undelivered> {
        // The signature covers an empty content type.
        let request = self
            .client()
            .map_err(Undelivered::Unreached)?
            .put(url)
            .header(CONTENT_TYPE, HeaderValue::from_static(""));
        let sent = request.body(body.to_owned()).send().await;
        let status = sent.map_err(|error| Undelivered::Unreached(error.without_url()))?.status();
        if status.is_success() { Ok(()) } else { Err(Undelivered::Refused(status)) }
    }

    fn client(&self) -> Result<&Client, reqwest::Error> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = client()?;
        Ok(self.client.get_or_init(|| client))
    }
}

/// A client that follows no redirect: the signature is for one address.
fn client() -> Result<Client, reqwest::Error> {
    let client = Client::builder().redirect(reqwest::redirect::Policy::none());
    client.connect_timeout(ATTEMPT).timeout(ATTEMPT).no_proxy().build()
}
