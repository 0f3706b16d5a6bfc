//! From SMTP to `kiln::Error`. What a server said is not told: it may repeat what it was sent.

use kiln::{Error, ErrorKind, Status};
use lettre::transport::smtp::Error as SmtpError;

pub(crate) const OP: &str = "Notifier::notify";

pub(crate) fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, OP, message)
}

/// What went wrong with the server. What it says of one reader for good is permanent; all else an
/// operator can mend, or passes.
pub(crate) fn smtp(host: &str, error: &SmtpError) -> Error {
    let code = error.status().map(|c| c.to_string());
    let refused_login = matches!(code.as_deref(), Some("530" | "534" | "535" | "538"));
    let (kind, message) = if error.is_timeout() {
        (ErrorKind::Timeout, "the mail server took too long")
    } else if error.is_tls() {
        (ErrorKind::Denied, "the way to the mail server cannot be encrypted")
    } else if refused_login {
        (ErrorKind::Denied, "the mail server does not let us in")
    } else if error.is_permanent() {
        (ErrorKind::Invalid, "the mail server will not take this")
    } else {
        (ErrorKind::Unavailable, "the mail server did not take it")
    };
    let status = match kind {
        ErrorKind::Invalid => Status::Permanent,
        _ => Status::Temporary,
    };
    let error = Error::new(kind, OP, message).status(status).with("host", host);
    match code {
        Some(code) => error.with("code", code),
        None => error,
    }
}
