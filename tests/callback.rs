//! The answer on the wire: as it was signed, again where that may help, and never printed.

use std::time::Duration;

use ica_storage::callback::{Callback, Undelivered};
use ica_storage::cloudformation::request::Request;
use ica_storage::cloudformation::response::{Outcome, Reason, Response};
use ica_storage::domain::identity::PhysicalId;
use ica_storage::domain::refusal::Code;
use serde_json::{Value, json};
use tokio::time::Instant;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

const SECRET: &str = "X-Amz-Signature=5ec4e7";

/// As CloudFormation signs it: with escapes that must arrive as they are.
fn signed(host: &str) -> String {
    format!(
        "{host}/arn%3Aaws%3Acloudformation%3Aus-east-1%3A1%3Astack%2Flab%7CConnection%7C7?X-Amz-Credential=a%2Fb&{SECRET}"
    )
}

fn response(url: &str) -> Response {
    let event = json!({
        "RequestType": "Delete", "ResponseURL": url, "StackId": "stack", "RequestId": "request",
        "LogicalResourceId": "Connection",
    });
    Response {
        envelope: Request::read(event, true).unwrap().envelope,
        physical_id: PhysicalId::received("id").unwrap(),
        outcome: Outcome::Failed(Reason::new(
            Code::InternalFailure,
            "InternalFailure: é; try again",
        )),
    }
}

async fn server(statuses: &[u16]) -> MockServer {
    let server = MockServer::start().await;
    for status in statuses {
        let mock = Mock::given(method("PUT")).respond_with(ResponseTemplate::new(*status));
        mock.up_to_n_times(1).mount(&server).await;
    }
    server
}

async fn deliver(url: &str, patience: Duration) -> Result<(), Undelivered> {
    Callback::default().deliver(&response(url), Instant::now() + patience).await
}

#[tokio::test]
async fn it_is_put_as_it_was_signed() {
    let server = server(&[200]).await;
    deliver(&signed(&server.uri()), Duration::from_secs(5)).await.unwrap();
    let requests = server.received_requests().await.unwrap();
    let [request] = requests.as_slice() else { panic!("one request, not {}", requests.len()) };
    let target = signed("");
    assert_eq!(format!("{}?{}", request.url.path(), request.url.query().unwrap()), target);
    assert_eq!(request.headers["content-type"], "");
    assert_eq!(request.headers["content-length"], request.body.len().to_string().as_str());
    for absent in ["transfer-encoding", "authorization"] {
        assert!(!request.headers.contains_key(absent), "{absent}");
    }
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(body["Reason"], "InternalFailure: é; try again");
}

#[tokio::test]
async fn it_is_put_again_after_what_may_pass() {
    for statuses in [[500, 503, 200], [408, 429, 204]] {
        let server = server(&statuses).await;
        deliver(&signed(&server.uri()), Duration::from_secs(10)).await.unwrap();
        assert_eq!(server.received_requests().await.unwrap().len(), 3);
    }
}

#[tokio::test]
async fn it_is_not_put_again_after_a_refusal() {
    for status in [400, 403, 404, 307] {
        let server = server(&[status]).await;
        let error = deliver(&signed(&server.uri()), Duration::from_secs(5)).await.unwrap_err();
        assert!(matches!(error, Undelivered::Refused(_)), "{error}");
        assert_eq!(server.received_requests().await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn it_gives_up_at_the_deadline() {
    let server = MockServer::start().await;
    let hang = ResponseTemplate::new(200).set_delay(Duration::from_mins(1));
    Mock::given(path("/")).respond_with(hang).mount(&server).await;
    let error = deliver(&format!("{}/?{SECRET}", server.uri()), Duration::from_millis(300)).await;
    assert!(matches!(error, Err(Undelivered::OutOfTime)));
}

#[tokio::test]
async fn a_connection_that_cannot_be_made_is_tried_until_the_deadline() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let started = Instant::now();
    let error = deliver(&signed(&format!("http://{closed}")), Duration::from_millis(900)).await;
    assert!(matches!(error, Err(Undelivered::OutOfTime)));
    assert!(started.elapsed() >= Duration::from_millis(900));
}

/// The error's own text and everything below it: `reqwest` would print the address.
#[tokio::test]
async fn no_error_prints_the_address() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = signed(&format!("http://{closed}"));
    let refused = server(&[403]).await;
    for error in [
        deliver(&url, Duration::from_millis(100)).await.unwrap_err(),
        deliver(&signed(&refused.uri()), Duration::from_secs(5)).await.unwrap_err(),
    ] {
        let mut text = format!("{error:?} {error}");
        let mut source = std::error::Error::source(&error);
        while let Some(error) = source {
            text = format!("{text} {error:?} {error}");
            source = error.source();
        }
        assert!(!text.contains("Signature") && !text.contains("5ec4e7"), "{text}");
    }
    assert!(!format!("{:?}", response(&url)).contains("5ec4e7"));
}
