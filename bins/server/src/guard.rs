//! What listeners ask of a request beside what their routes do.

use crate::tokens::Door;
use axum::{
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use kiln_api_native::{Access, Scope};
use std::sync::Arc;

/// Refuses requests without a token that allows to read: for metrics, which tell of everybody's
/// builds together and of nobody's apart.
pub(crate) async fn readers_only(
    State(access): State<Arc<dyn Access>>,
    request: Request,
    next: Next,
) -> Response {
    let header = request.headers().get(header::AUTHORIZATION).and_then(|h| h.to_str().ok());
    let token = header.and_then(|h| h.strip_prefix("Bearer "));
    match access.caller(token).await.and_then(|caller| caller.expect(Scope::Read)) {
        Ok(()) => next.run(request).await,
        Err(_) => {
            let ask = [(header::WWW_AUTHENTICATE, "Bearer")];
            (StatusCode::UNAUTHORIZED, ask, "metrics need a token that may read\n").into_response()
        }
    }
}

/// As long as no token is needed, refuses requests that a web page could have made in the browser
/// of somebody on this machine: those for another host name, which is how a foreign name is
/// pointed here, and those that say they come from another site.
pub(crate) async fn local_only(State(door): State<Door>, request: Request, next: Next) -> Response {
    // Where it cannot be told, whoever asks is refused below by the same trouble.
    if is_from_here(&request) || !door.is_open().unwrap_or(true) {
        return next.run(request).await;
    }
    let why = "this server has no tokens, so it answers this machine only\n";
    (StatusCode::FORBIDDEN, why).into_response()
}

fn is_from_here(request: &Request) -> bool {
    let header = |name| request.headers().get(name).map(|h| h.to_str().unwrap_or("?"));
    let host = header(header::HOST).or_else(|| request.uri().host());
    let origin = header(header::ORIGIN).map(|o| o.split_once("://").map_or("?", |(_, host)| host));
    host.is_none_or(is_local) && origin.is_none_or(is_local)
}

fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or(""),
        None => host.split(':').next().unwrap_or(""),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_names_of_this_machine_are_local() {
        for host in ["localhost", "localhost:7070", "127.0.0.1:7070", "[::1]:7070", "127.8.8.8"] {
            assert!(super::is_local(host), "{host}");
        }
        for host in ["evil.test", "localhost.evil.test", "10.0.0.1", "", "null", "127.0.0.1.nip.io"]
        {
            assert!(!super::is_local(host), "{host}");
        }
    }
}
