//! What an open listener, one without tokens, still asks of a request.

use axum::{
    extract::Request,
    http::{StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

/// Refuses requests that a web page could have made in the browser of somebody on this machine:
/// those for another host name, which is how a foreign name is pointed here, and those that say
/// they come from another site.
pub(crate) async fn local_only(request: Request, next: Next) -> Response {
    if is_from_here(&request) {
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
