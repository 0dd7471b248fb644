//! Where clients get their tokens, as registries' token services give them: by GET with a Basic header, or by POST with a
//! form (OAuth 2, password grant).

use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, HeaderValue};
use hyper::{Method, Request, StatusCode};

use super::refusal::{Code, Refusal};
use super::route::Query;
use super::upload::Receiver;
use super::{Answer, json};
use crate::auth::Access;

/// The endpoint, beside those of the specification.
pub(super) const PATH: &str = "/token";
/// A form holds names and scopes.
const FORM: u64 = 64 << 10;

pub(super) async fn answer(access: &Access, request: Request<Incoming>, patience: Duration) -> Answer {
    let (head, body) = request.into_parts();
    let scopes = |query: &Query| query.all("scope").map(str::to_owned).collect::<Vec<_>>();
    let token = match head.method {
        Method::GET => {
            let query = form(head.uri.query().unwrap_or_default());
            access.token(&head.headers, scopes(&query), None).await?
        }
        Method::POST => {
            let mut receiver = Receiver::new(body, FORM, patience);
            let mut text = Vec::new();
            while let Some(pieces) = receiver.next().await? {
                pieces.iter().for_each(|piece| text.extend_from_slice(piece));
            }
            if receiver.overflowed() {
                let refusal = Refusal::new(Code::SizeInvalid, "the form is too large");
                return Err(refusal.status(StatusCode::PAYLOAD_TOO_LARGE));
            }
            let query = form(&String::from_utf8_lossy(&text));
            let given = match (query.get("grant_type"), query.get("username"), query.get("password")) {
                (Some("password"), Some(user), Some(password)) => (user.to_owned(), password.to_owned()),
                // There are no refresh tokens; clients fall back to GET.
                _ => {
                    let why = "only grant_type=password with username and password is known";
                    return Err(Refusal::new(Code::Unauthorized, why));
                }
            };
            access.token(&head.headers, scopes(&query), Some(given)).await?
        }
        _ => {
            return Err(Refusal::new(Code::Unsupported, "allowed here: GET, POST")
                .header(ALLOW, HeaderValue::from_static("GET, POST")));
        }
    };
    let mut response = json(token);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// A form has a plus for a space.
fn form(text: &str) -> Query {
    Query::parse(Some(&text.replace('+', "%20")))
}
