//! From PostgreSQL's errors to Kiln's: once, here.

use deadpool_postgres::PoolError;
use kiln::{Error, ErrorKind};
use std::time::Duration;
use tokio_postgres::error::{DbError, SqlState};

/// How long anything may take, the way to a connection included.
pub(crate) const CALL_MAX: Duration = Duration::from_secs(30);

/// Why a call ended without a value.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The server, or the way to it, failed.
    Db(tokio_postgres::Error),
    /// There was no connection to be had.
    Line(PoolError),
    /// It took longer than [`CALL_MAX`].
    Late,
    /// The task that writes is gone.
    Ended,
}

impl From<tokio_postgres::Error> for Fault {
    fn from(e: tokio_postgres::Error) -> Self {
        Self::Db(e)
    }
}

impl From<PoolError> for Fault {
    fn from(e: PoolError) -> Self {
        match e {
            PoolError::Backend(e) => Self::Db(e),
            e => Self::Line(e),
        }
    }
}

impl Fault {
    /// Whether the server refused one statement, and undid its transaction, as opposed to having gone
    /// away or being full.
    pub(crate) fn is_of_a_statement(&self) -> bool {
        let Self::Db(e) = self else { return false };
        e.as_db_error().is_some_and(|e| {
            // A lock that another held for long, or a deadlock, is one statement's trouble too.
            let class = e.code().code().get(..2).unwrap_or_default();
            kind(e).0 == ErrorKind::Unexpected || matches!(class, "40" | "55")
        })
    }

    /// What the caller of a port is told.
    pub(crate) fn told(&self, op: &'static str) -> Error {
        match self {
            Self::Db(e) => translate(op, e),
            Self::Line(PoolError::Timeout(_)) | Self::Late => {
                Error::new(ErrorKind::Timeout, op, "PostgreSQL did not answer in time")
                    .with("seconds", CALL_MAX.as_secs())
            }
            Self::Line(e) => unreachable_(op).source(e.to_string()),
            Self::Ended => {
                Error::new(ErrorKind::Unexpected, op, "the task that writes to PostgreSQL ended")
            }
        }
    }
}

type Told = (ErrorKind, &'static str, &'static str);

fn unreachable_(op: &'static str) -> Error {
    Error::new(ErrorKind::Unavailable, op, "PostgreSQL cannot be reached")
        .hint("Check that the server runs and that its address is right.")
}

/// What an error of the server is, by its code: never by its words, which come in many languages.
fn kind(e: &DbError) -> Told {
    let code = e.code();
    match code.code().get(..2).unwrap_or_default() {
        _ if *code == SqlState::DISK_FULL => {
            (ErrorKind::Exhausted, "the disk of PostgreSQL is full", "Free space on the server.")
        }
        _ if *code == SqlState::TOO_MANY_CONNECTIONS => (
            ErrorKind::Unavailable,
            "PostgreSQL has no connection left",
            "Raise its `max_connections`, or let fewer others connect.",
        ),
        _ if *code == SqlState::QUERY_CANCELED => {
            (ErrorKind::Timeout, "PostgreSQL gave up on a statement", "")
        }
        _ if *code == SqlState::READ_ONLY_SQL_TRANSACTION => (
            ErrorKind::Unavailable,
            "this PostgreSQL can only be read",
            "It may be a standby: name the primary, or all hosts, in the address.",
        ),
        _ if *code == SqlState::INSUFFICIENT_PRIVILEGE => (
            ErrorKind::Denied,
            "PostgreSQL does not let this user do that",
            "The user has to own the schema, or a DBA has to make it; see docs/postgres.md.",
        ),
        _ if *code == SqlState::DATA_CORRUPTED || *code == SqlState::INDEX_CORRUPTED => {
            (ErrorKind::Corrupt, "PostgreSQL says that its data is damaged", "Restore a backup.")
        }
        "08" | "57" | "55" | "40" => (ErrorKind::Unavailable, "PostgreSQL is not ready", ""),
        "28" => (
            ErrorKind::Denied,
            "PostgreSQL does not let this user in",
            "Check the user, the password and the server's `pg_hba.conf`.",
        ),
        "3D" => (ErrorKind::Invalid, "there is no such database", "Make it with `createdb`."),
        "53" | "54" => (ErrorKind::Exhausted, "PostgreSQL is at one of its limits", ""),
        "42" | "3F" => (
            ErrorKind::Invalid,
            "the tables are not those that Kiln made",
            "Name a schema that nobody else uses.",
        ),
        _ => (ErrorKind::Unexpected, "PostgreSQL failed", ""),
    }
}

/// An error of the client library or of the server. The server's detail is left out, since it may
/// tell what was to be stored.
pub(crate) fn translate(op: &'static str, e: &tokio_postgres::Error) -> Error {
    let Some(db) = e.as_db_error() else { return of_the_library(op, e) };
    let (kind, message, hint) = kind(db);
    let source = format!("{} ({})", db.message(), db.code().code());
    let error = Error::new(kind, op, message).source(source);
    if hint.is_empty() { error } else { error.hint(hint) }
}

/// An error that the server did not send. The library has no other word for its kind than this text.
fn of_the_library(op: &'static str, e: &tokio_postgres::Error) -> Error {
    let cause = std::error::Error::source(e);
    let why = cause.map_or_else(|| e.to_string(), ToString::to_string);
    let io = cause.and_then(|e| e.downcast_ref::<std::io::Error>());
    let refused = io.is_none_or(|e| e.get_ref().is_some_and(|e| e.is::<rustls::Error>()));
    let told = match e.to_string().as_str() {
        // The certificate, or a server without TLS; a connection that broke meanwhile is another thing.
        "error performing TLS handshake" if refused => {
            Error::new(ErrorKind::Denied, op, "PostgreSQL cannot be trusted: TLS failed").hint(
                "Name the authority of its certificate with `sslrootcert`, or say \
                 `sslmode=disable` where nobody stands between.",
            )
        }
        "authentication error" => {
            Error::new(ErrorKind::Denied, op, "PostgreSQL does not let this user in")
                .hint("Check the user and the password.")
        }
        _ if cause.is_none() || io.is_some() => unreachable_(op),
        _ => Error::new(ErrorKind::Unexpected, op, "PostgreSQL was not understood"),
    };
    told.source(why)
}

/// The error for a stored text that does not say what it should.
pub(crate) fn unreadable(op: &'static str, what: &'static str, e: impl ToString) -> Error {
    Error::new(ErrorKind::Corrupt, op, what)
        .hint("A newer version of Kiln may have written it.")
        .source(e.to_string())
}

/// The stored form of a value.
pub(crate) fn json(op: &'static str, value: &impl serde::Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|e| Error::new(ErrorKind::Unexpected, op, e.to_string()))
}

/// A number as PostgreSQL keeps it. A time that is later than it can say is 292 million years away.
pub(crate) fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A stored number; none is below 0.
pub(crate) fn told(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plans;
    use kiln::Status;

    /// Every code that matters, raised by a real server, in words that nobody reads.
    #[tokio::test]
    async fn errors_are_told_apart_by_their_codes() {
        let Some((client, config)) = plans::session("errors_are_told_apart_by_their_codes").await
        else {
            return;
        };
        for (code, kind) in [
            ("53100", ErrorKind::Exhausted),
            ("53200", ErrorKind::Exhausted),
            ("53300", ErrorKind::Unavailable),
            ("54000", ErrorKind::Exhausted),
            ("57014", ErrorKind::Timeout),
            ("57P01", ErrorKind::Unavailable),
            ("57P03", ErrorKind::Unavailable),
            ("08006", ErrorKind::Unavailable),
            ("25006", ErrorKind::Unavailable),
            ("40001", ErrorKind::Unavailable),
            ("40P01", ErrorKind::Unavailable),
            ("55P03", ErrorKind::Unavailable),
            ("28P01", ErrorKind::Denied),
            ("42501", ErrorKind::Denied),
            ("42P01", ErrorKind::Invalid),
            ("3D000", ErrorKind::Invalid),
            ("XX001", ErrorKind::Corrupt),
            ("22003", ErrorKind::Unexpected),
        ] {
            let raise = format!(
                "DO $$ BEGIN RAISE 'disk full' USING ERRCODE = '{code}', DETAIL = 'geheim'; END $$"
            );
            let e = client.batch_execute(&raise).await.unwrap_err();
            let told = translate("Store::append", &e);
            assert_eq!(told.kind(), kind, "{code}");
            let passes = matches!(kind, ErrorKind::Unavailable | ErrorKind::Timeout);
            assert_eq!(told.retry_status() == Status::Temporary, passes, "{code}");
            assert!(!format!("{told:?}").contains("geheim"), "{told:?}");
            let alone = Fault::Db(e).is_of_a_statement();
            let expected = matches!(code, "22003" | "40001" | "40P01" | "55P03");
            assert_eq!(alone, expected, "{code}");
        }
        plans::remove(&client, &config).await;
    }
}
