//! From Redis's errors to Kiln's: once, here.

use kiln::{Error, ErrorKind, Status};
use redis::{ErrorKind as Theirs, RedisError, ServerErrorKind as Server};

type Told = (ErrorKind, &'static str, &'static str);

/// What a caller of a port is told of an error of the client or the server.
pub(crate) fn translate(op: &'static str, e: &RedisError) -> Error {
    let (kind, message, hint) = told(e);
    let error = Error::new(kind, op, message);
    // No second try mends a certificate.
    let distrusts = e.kind() == Theirs::InvalidClientConfig;
    let error = if distrusts { error.status(Status::Permanent) } else { error };
    let error = if hint.is_empty() { error } else { error.hint(hint) };
    match e.kind() {
        // Their words quote the answer, and so what is stored.
        Theirs::Parse | Theirs::UnexpectedReturnType => error,
        _ => error.source(e.to_string()),
    }
}

fn told(e: &RedisError) -> Told {
    if e.is_timeout() {
        return (ErrorKind::Timeout, "Redis did not answer in time", "Look how busy it is.");
    }
    match e.kind() {
        Theirs::AuthenticationFailed => denied(),
        Theirs::InvalidClientConfig => (
            ErrorKind::Unavailable,
            "no TLS connection to Redis can be made",
            "Check its certificate, and which authorities to trust.",
        ),
        Theirs::Io => (
            ErrorKind::Unavailable,
            "Redis cannot be reached, or the connection broke",
            "Check that the server runs and where.",
        ),
        Theirs::Server(Server::Moved | Server::Ask | Server::CrossSlot | Server::ClusterDown) => {
            cluster()
        }
        Theirs::Server(Server::NoPerm) => denied(),
        Theirs::Server(Server::BusyLoading | Server::MasterDown | Server::TryAgain) => {
            (ErrorKind::Unavailable, "Redis is not ready", "It may be loading its data.")
        }
        Theirs::Server(Server::ReadOnly) => (
            ErrorKind::Unavailable,
            "this Redis is a replica and takes no writes",
            "Name the primary, or wait until it is one.",
        ),
        Theirs::RESP3NotSupported => old(),
        _ => coded(e),
    }
}

/// Errors whose first word the client has no name for.
fn coded(e: &RedisError) -> Told {
    match e.code() {
        Some("OOM") => (
            ErrorKind::Exhausted,
            "Redis is out of memory",
            "Raise `maxmemory`, or have old logs and builds removed.",
        ),
        Some("WRONGTYPE") => (
            ErrorKind::Corrupt,
            "a key in Redis is not of its type",
            "Another program may use the same prefix of keys.",
        ),
        Some("WRONGPASS" | "NOAUTH" | "DENIED") => denied(),
        Some("MISCONF") => (
            ErrorKind::Unavailable,
            "Redis cannot write to its disk",
            "Look into its log, and whether the disk is full.",
        ),
        Some("NOREPLICAS" | "BUSY" | "UNKILLABLE" | "NOGOODSLAVE") => {
            (ErrorKind::Unavailable, "Redis takes no writes now", "Look into its log.")
        }
        Some("NOPROTO") => old(),
        _ => worded(e.detail().unwrap_or_default()),
    }
}

/// Errors that have only words.
fn worded(words: &str) -> Told {
    if words.contains("max number of clients") {
        let hint = "Raise `maxclients`.";
        return (ErrorKind::Unavailable, "Redis has too many clients", hint);
    }
    // The first is Redis 7.0's, the second that of later ones and of Valkey.
    if words.contains("user executing the script") || words.contains("ACL failure") {
        return denied();
    }
    if words.contains("DB index is out of range") {
        return (ErrorKind::Invalid, "Redis has no database of that number", "Use another one.");
    }
    if words.contains("unknown command") || words.contains("unknown subcommand") {
        return (
            ErrorKind::Unsupported,
            "Redis does not have a command",
            "Its owner may forbid it.",
        );
    }
    (ErrorKind::Unexpected, "Redis answered what was not expected", "")
}

fn denied() -> Told {
    (
        ErrorKind::Denied,
        "Redis refuses the user, the password or the command",
        "Check both, and what the user may do.",
    )
}

fn old() -> Told {
    (ErrorKind::Unsupported, "this Redis is too old", "Use Redis 7 or newer, or Valkey.")
}

/// What clusters are told, since scripts touch keys of many slots.
pub(crate) fn cluster() -> Told {
    (ErrorKind::Unsupported, "Redis runs as a cluster", "Use a server that is none.")
}

/// The error of a connection that could not be made for another reason than the server's.
pub(crate) fn unreachable(e: std::io::Error) -> RedisError {
    RedisError::from(e)
}

/// The error of TLS that was not agreed on, unless it is the connection that broke.
pub(crate) fn handshake(e: std::io::Error) -> RedisError {
    match e.kind() {
        std::io::ErrorKind::InvalidData => {
            RedisError::from((Theirs::InvalidClientConfig, "TLS failed", e.to_string()))
        }
        _ => unreachable(e),
    }
}

/// The error for something stored that does not say what it should.
pub(crate) fn unreadable(op: &'static str, what: &'static str, e: impl ToString) -> Error {
    Error::new(ErrorKind::Corrupt, op, what)
        .hint("A newer version of Kiln may have written it.")
        .source(e.to_string())
}

/// The stored form of a value.
pub(crate) fn json(op: &'static str, value: &impl serde::Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|e| Error::new(ErrorKind::Unexpected, op, e.to_string()))
}

/// An error that a certificate or a key makes, which no second try mends.
pub(crate) fn untrusted(op: &'static str, e: impl ToString) -> Error {
    Error::new(ErrorKind::Invalid, op, "the certificate authorities cannot be used")
        .status(Status::Permanent)
        .source(e.to_string())
}

/// The same error once more, for another of those who share a call.
pub(crate) fn copied(e: &Error) -> Error {
    let copy = Error::new(e.kind(), e.operation(), e.to_string()).status(e.retry_status());
    let copy = match e.hint_text() {
        Some(hint) => copy.hint(hint),
        None => copy,
    };
    match std::error::Error::source(e) {
        Some(source) => copy.source(source.to_string()),
        None => copy,
    }
}
