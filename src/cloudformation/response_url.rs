//! The presigned address an answer is PUT to. It is a secret: whoever has it can answer.

use std::fmt;
use std::time::{Duration, SystemTime};

use time::PrimitiveDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

/// `X-Amz-Date` of a presigned address (S3 API reference, *Authenticating requests: query parameters*).
const DATE: &[BorrowedFormatItem<'_>] =
    format_description!("[year][month][day]T[hour][minute][second]Z");

/// An address that prints as nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct ResponseUrl(String);

impl ResponseUrl {
    /// Takes an `https` address, an `http` one too if `allow_http`. Any host: partitions differ.
    ///
    /// # Errors
    /// What is wrong, without the address.
    pub fn parse(url: &str, allow_http: bool) -> Result<Self, &'static str> {
        let rest = match url.strip_prefix("https://") {
            Some(rest) => rest,
            None if url.is_empty() => return Err("it is missing"),
            None => match url.strip_prefix("http://").filter(|_| allow_http) {
                Some(rest) => rest,
                None => return Err("it is not https"),
            },
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.is_empty() || url.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err("it is no address");
        }
        if authority.contains('@') {
            return Err("it carries credentials of its own");
        }
        Ok(Self(url.to_owned()))
    }

    /// The address itself, for the one who PUTs to it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether the address no longer takes an answer. One that does not say is taken to.
    pub fn has_expired(&self, now: SystemTime) -> bool {
        self.expiry().is_some_and(|expiry| expiry <= now)
    }

    fn expiry(&self) -> Option<SystemTime> {
        if let Some(expires) = self.parameter("Expires") {
            return SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(expires.parse().ok()?));
        }
        let date = PrimitiveDateTime::parse(self.parameter("X-Amz-Date")?, DATE).ok()?.assume_utc();
        let lifetime = self.parameter("X-Amz-Expires")?.parse().ok()?;
        SystemTime::from(date).checked_add(Duration::from_secs(lifetime))
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        let (_, query) = self.0.split_once('?')?;
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|pair| pair.0 == name)
            .map(|pair| pair.1)
    }
}

impl fmt::Debug for ResponseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseUrl(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_prints_as_nothing() {
        let url = ResponseUrl::parse("https://example.com/?X-Amz-Signature=secret", false).unwrap();
        assert_eq!(format!("{url:?}"), "ResponseUrl(…)");
    }

    #[test]
    fn http_is_for_a_local_stand_in() {
        assert!(ResponseUrl::parse("http://127.0.0.1/x", true).is_ok());
        for url in [
            "http://127.0.0.1/x",
            "",
            "ftp://x/",
            "https://",
            "https://user:pass@example.com/",
            "https://a b/",
        ] {
            assert!(ResponseUrl::parse(url, false).is_err(), "{url}");
        }
    }

    #[test]
    fn it_expires_as_it_says() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let url =
            "https://example.com/?X-Amz-Date=20260101T000000Z&X-Amz-Expires=7200&X-Amz-Signature=x";
        let url = ResponseUrl::parse(url, false).unwrap();
        let issued = 1_767_225_600;
        assert!(!url.has_expired(at(issued + 7199)));
        assert!(url.has_expired(at(issued + 7200)));
        let url = ResponseUrl::parse("https://example.com/?AWSAccessKeyId=x&Expires=1000", false)
            .unwrap();
        assert!(!url.has_expired(at(999)) && url.has_expired(at(1000)));
        let url =
            ResponseUrl::parse("https://example.com/?X-Amz-Date=rubbish&X-Amz-Expires=1", false)
                .unwrap();
        assert!(!url.has_expired(SystemTime::now()));
    }
}
