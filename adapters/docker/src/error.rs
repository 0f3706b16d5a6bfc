//! From the engine's errors to Kiln's: once, here.

use crate::wire::WireError;
use bollard::errors::Error as Vendor;
use kiln::{Error, ErrorKind};
use std::error::Error as _;

/// Translates an error of the client.
pub(crate) fn translate(op: &'static str, e: Vendor) -> Error {
    match e {
        // An engine always says something; a proxy on the way to it may not.
        Vendor::DockerResponseServerError { status_code, message } if message.trim().is_empty() => {
            let message = "what answered without a word is most likely no Docker engine";
            Error::new(ErrorKind::Unavailable, op, message).with("status", status_code)
        }
        Vendor::DockerResponseServerError { status_code, message } => {
            // A status that says what it is counts more than words, which may quote a name.
            let kind = match status_code {
                401 | 403 => ErrorKind::Denied,
                404 => ErrorKind::NotFound,
                409 => ErrorKind::Conflict,
                429 => ErrorKind::RateLimited,
                400 => return said(op, &message, ErrorKind::Invalid),
                503 => return said(op, &message, ErrorKind::Unavailable),
                _ => return said(op, &message, ErrorKind::Unexpected),
            };
            Error::new(kind, op, message.trim())
        }
        Vendor::DockerStreamError { error } => said(op, &error, ErrorKind::Unexpected),
        Vendor::RequestTimeoutError => {
            Error::new(ErrorKind::Unavailable, op, "the Docker engine did not answer in time")
        }
        Vendor::IOError { err } => io(op, &err),
        other => {
            let mut cause = other.source();
            while let Some(inner) = cause {
                if let Some(e) = inner.downcast_ref::<std::io::Error>() {
                    return io(op, e);
                }
                cause = inner.source();
            }
            let text = other.to_string();
            let broke = matches!(other, Vendor::HyperResponseError { .. });
            let kind = if broke { ErrorKind::Unavailable } else { ErrorKind::Unexpected };
            Error::new(kind, op, "the Docker engine could not be used").source(text)
        }
    }
}

/// Whether an engine means that a path of a container goes on below a file: it calls that its own
/// fault, and not that the path is not there.
pub(crate) fn is_below_a_file(e: &Vendor) -> bool {
    match e {
        Vendor::DockerResponseServerError { status_code: 500, message } => {
            message.trim_end().ends_with(": not a directory")
        }
        _ => false,
    }
}

fn io(op: &'static str, e: &std::io::Error) -> Error {
    let inner = e.get_ref();
    if let Some(e) = inner.and_then(|i| i.downcast_ref::<rustls::Error>()) {
        return tls(op, e);
    }
    match inner.and_then(|i| i.downcast_ref::<WireError>()) {
        Some(wire @ WireError::Files { path, .. }) => {
            return Error::new(ErrorKind::Invalid, op, wire.to_string())
                .with("file", path.display())
                .hint("Check DOCKER_CERT_PATH or the Docker context: ca.pem, and cert.pem with key.pem.");
        }
        Some(wire @ WireError::Slow) => {
            return Error::new(ErrorKind::Unavailable, op, wire.to_string());
        }
        None => {}
    }
    match e.kind() {
        std::io::ErrorKind::PermissionDenied => {
            Error::new(ErrorKind::Denied, op, "this user may not talk to the Docker engine")
                .hint("Add your user to the group `docker` and log in again, or run as root.")
        }
        std::io::ErrorKind::NotFound => {
            Error::new(ErrorKind::Unavailable, op, "there is no Docker engine at this socket")
        }
        _ => Error::new(ErrorKind::Unavailable, op, "the Docker engine cannot be reached")
            .source(e.to_string()),
    }
}

/// What went wrong with TLS to the engine. None of it passes by itself.
fn tls(op: &'static str, e: &rustls::Error) -> Error {
    use rustls::{AlertDescription as Alert, CertificateError as Bad, Error as Tls};
    let (kind, what, hint) = match e {
        Tls::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => (
            ErrorKind::Unavailable,
            "the certificate of the Docker engine has expired",
            "Renew it, and check the clock of this machine.",
        ),
        Tls::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => (
            ErrorKind::Unavailable,
            "the certificate of the Docker engine is for another host",
            "Write the host in DOCKER_HOST as its certificate names it.",
        ),
        Tls::InvalidCertificate(_) => (
            ErrorKind::Unavailable,
            "the certificate of the Docker engine is not signed by the authority that is trusted",
            "Check that ca.pem in DOCKER_CERT_PATH is the authority of this engine.",
        ),
        Tls::AlertReceived(
            Alert::CertificateRequired
            | Alert::BadCertificate
            | Alert::CertificateExpired
            | Alert::CertificateRevoked
            | Alert::CertificateUnknown
            | Alert::UnsupportedCertificate
            | Alert::UnknownCA
            | Alert::AccessDenied
            | Alert::DecryptError,
        ) => (
            ErrorKind::Denied,
            "the Docker engine wants a certificate of this client, and one it trusts",
            "Put cert.pem and key.pem, signed by the engine's authority, into DOCKER_CERT_PATH.",
        ),
        Tls::InvalidMessage(_) => (
            ErrorKind::Unavailable,
            "what listens there does not speak TLS",
            "Use the engine's TLS port, usually 2376, or unset DOCKER_TLS_VERIFY.",
        ),
        _ => (
            ErrorKind::Unavailable,
            "TLS with the Docker engine failed",
            "Check DOCKER_HOST and the certificates in DOCKER_CERT_PATH.",
        ),
    };
    Error::new(kind, op, what).source(e.clone()).hint(hint).status(kiln::Status::Permanent)
}

/// The words of a registry that does not let us in.
const REFUSED: [&str; 7] = [
    "unauthorized",
    "authentication required",
    "no basic auth",
    "denied:",
    "access denied",
    "is denied",
    "forbidden",
];

/// The words of an engine that cannot reach a registry.
const UNREACHED: [&str; 10] = [
    "connection refused",
    "no such host",
    "i/o timeout",
    "no route to host",
    "deadline",
    "connection reset",
    ": eof",
    "temporary failure",
    "server misbehaving",
    "service unavailable",
];

/// What BuildKit says of a failure, without the words that tell nothing.
pub(crate) fn tidy(text: &str) -> String {
    let mut text = text;
    for words in [
        "failed to solve with frontend dockerfile.v0: ",
        "failed to solve: ",
        "rpc error: code = Unknown desc = ",
        "failed to create LLB definition: ",
    ] {
        text = text.strip_prefix(words).unwrap_or(text);
    }
    text.strip_prefix("executor failed running ")
        .map_or_else(|| text.to_owned(), |t| format!("the instruction failed: {t}"))
}

/// An error that the engine only tells in words. This is the one place that reads them.
pub(crate) fn said(op: &'static str, text: &str, otherwise: ErrorKind) -> Error {
    let text = text.trim();
    let lower = text.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|w| lower.contains(w));
    if let Some(code) = exit_code(&lower) {
        return Error::new(ErrorKind::Failed, op, text).exit_code(code);
    }
    if uncopied(&lower) {
        return Error::new(ErrorKind::Failed, op, text).hint(
            "Check the path; it is relative to the context, and .dockerignore may leave it out.",
        );
    }
    if has(&["no space left on device", "disk quota exceeded"]) {
        return Error::new(ErrorKind::Exhausted, op, text)
            .hint("Free disk space on the host of the Docker engine, for example with `docker system prune`.");
    }
    if has(&["http request to an https server"]) {
        return Error::new(ErrorKind::Unavailable, op, "the Docker engine wants TLS")
            .status(kiln::Status::Permanent)
            .hint("Set DOCKER_TLS_VERIFY=1, and DOCKER_CERT_PATH to where the certificates are.");
    }
    // BuildKit stumbles over one instruction that two builds begin together; another try helps.
    if lower.starts_with("duplicate output") {
        return Error::new(ErrorKind::Unavailable, op, text).hint("Build again.");
    }
    if let Some(e) = registry_said(op, text, &lower) {
        return e;
    }
    if has(&[
        "dockerfile parse error",
        "unknown instruction",
        "failed to parse dockerfile",
        "syntax error",
        "no build stage in current context",
        "file with no instructions",
    ]) {
        return Error::new(ErrorKind::Invalid, op, text)
            .hint("Mend the Dockerfile at the line named.");
    }
    if has(&["unable to find user", "unable to find group"]) {
        return Error::new(ErrorKind::Invalid, op, text)
            .hint("Name a user of the image, or a number.");
    }
    if has(&["not found", "no such", "manifest unknown", "does not exist"]) {
        return Error::new(ErrorKind::NotFound, op, text);
    }
    if has(&[
        "forbidden path outside the build context",
        "invalid",
        "failed to compute cache key",
        "failed to solve",
    ]) {
        return Error::new(ErrorKind::Invalid, op, text);
    }
    Error::new(otherwise, op, text)
}

/// What a registry said through the engine, or the engine of a registry.
fn registry_said(op: &'static str, text: &str, lower: &str) -> Option<Error> {
    let has = |words: &[&str]| words.iter().any(|w| lower.contains(w));
    let error = |kind| Error::new(kind, op, text);
    // Nobody's settings change by themselves.
    let wrong_tls = || error(ErrorKind::Unavailable).status(kiln::Status::Permanent);
    if has(&["gave http response to https", "server gave http"]) {
        return Some(wrong_tls().hint(
            "The registry speaks plain HTTP: list it under `insecure-registries` in the engine's daemon.json.",
        ));
    }
    if has(&["x509: ", "certificate signed by", "certificate is not valid", "tls: "]) {
        return Some(wrong_tls().hint(
            "Give the engine the registry's authority in /etc/docker/certs.d/HOST:PORT/ca.crt.",
        ));
    }
    if has(&REFUSED) {
        return Some(
            error(ErrorKind::Denied).hint(
                "Log in with `docker login REGISTRY`; check that the name is right and yours.",
            ),
        );
    }
    if has(&UNREACHED) {
        return Some(
            error(ErrorKind::Unavailable).hint(
                "Check that the registry runs and that the Docker engine's host can reach it.",
            ),
        );
    }
    // A registry that is in trouble, or whose storage two uploads of one layer confused.
    if has(&["unexpected http status: 5", "blob unknown to registry", "match uploaded content"]) {
        return Some(
            error(ErrorKind::Unavailable)
                .hint("Try again; if it stays, see the registry's own log."),
        );
    }
    None
}

/// Whether a `COPY` or `ADD` names what is not in the context, in the words of both builders.
fn uncopied(lower: &str) -> bool {
    let kit = ["failed to compute cache key", "failed to calculate checksum"];
    lower.starts_with("copy failed: ")
        || lower.starts_with("add failed: ")
        || (kit.iter().any(|words| lower.contains(words))
            && ((lower.contains("\"/") && lower.ends_with("not found"))
                || (lower.contains("failed to walk ")
                    && lower.ends_with("no such file or directory"))))
}

/// The line of the Dockerfile that an error is about, in the words of both builders.
pub(crate) fn line_of(text: &str) -> Option<usize> {
    let lower = text.to_lowercase();
    ["parse error line ", "parse error on line "].iter().find_map(|words| {
        let rest = &lower[lower.find(words)? + words.len()..];
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    })
}

/// Whether a credential helper says that it has no login, and not that something is wrong. The
/// protocol has these words for it.
pub(crate) fn has_no_login(helper_said: &str) -> bool {
    helper_said.trim().starts_with("credentials not found in native keychain")
}

/// The exit code in the words of the classic builder, BuildKit and Podman.
fn exit_code(lower: &str) -> Option<i64> {
    ["non-zero code: ", "exit code: ", "exit status "].iter().find_map(|words| {
        let rest = &lower[lower.find(words)? + words.len()..];
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_engine_become_kinds() {
        let kind = |text| said("x", text, ErrorKind::Unexpected).kind();
        let classic = said(
            "x",
            "The command '/bin/sh -c false' returned a non-zero code: 37",
            ErrorKind::Unexpected,
        );
        assert_eq!((classic.kind(), classic.code()), (ErrorKind::Failed, Some(37)));
        let kit = said(
            "x",
            "process \"/bin/sh -c exit 3\" did not complete successfully: exit code: 3",
            ErrorKind::Unexpected,
        );
        assert_eq!((kit.kind(), kit.code()), (ErrorKind::Failed, Some(3)));
        assert_eq!(kind("write /x: no space left on device"), ErrorKind::Exhausted);
        assert_eq!(
            kind("dial tcp 127.0.0.1:1: connect: connection refused"),
            ErrorKind::Unavailable
        );
        assert_eq!(kind("unauthorized: authentication required"), ErrorKind::Denied);
        let stumble = "errors:\ndigest invalid: provided digest did not match uploaded content";
        assert_eq!(kind(stumble), ErrorKind::Unavailable);
        assert_eq!(kind("http: server gave HTTP response to HTTPS client"), ErrorKind::Unavailable);
        assert_eq!(
            kind("Dockerfile parse error line 2: unknown instruction: RUM"),
            ErrorKind::Invalid
        );
        assert_eq!(kind("manifest for busybox:x not found"), ErrorKind::NotFound);
        assert_eq!(kind("strange"), ErrorKind::Unexpected);
        assert_eq!(kind("duplicate output 0"), ErrorKind::Unavailable);
        for uncopied in [
            "failed to compute cache key: \"/denied: x\" not found: not found",
            "failed to compute cache key: failed to calculate checksum of ref a::b: \"/x\": not found",
            "COPY failed: file not found in build context or excluded by .dockerignore: stat x: file does not exist",
        ] {
            assert_eq!(kind(uncopied), ErrorKind::Failed, "{uncopied}");
        }
        assert_eq!(line_of("dockerfile parse error line 12: unknown instruction: X"), Some(12));
        assert_eq!(line_of("dockerfile parse error on line 3: unknown instruction: X"), Some(3));
        assert_eq!(line_of("line 3"), None);
        let wordy =
            "failed to solve with frontend dockerfile.v0: failed to create LLB definition: x";
        assert_eq!(tidy(wordy), "x");
        let message = "No such image: acme/certificate-denied:1".to_owned();
        let absent = Vendor::DockerResponseServerError { status_code: 404, message };
        assert_eq!(translate("x", absent).kind(), ErrorKind::NotFound);
        let named = "manifest for acme/certificate-manager:1 not found";
        assert_eq!(kind(named), ErrorKind::NotFound);
    }

    #[test]
    fn an_answer_without_words_is_told_in_words() {
        let silent = Vendor::DockerResponseServerError { status_code: 403, message: " ".into() };
        let e = translate("x", silent);
        assert_eq!((e.kind(), e.message().is_empty()), (ErrorKind::Unavailable, false));
        assert!(e.to_string().ends_with("(status: 403)"), "{e}");
    }
}
