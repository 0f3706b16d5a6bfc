//! What every [`LogSink`] with its [`LogReader`] must do.
//!
//! One type has to be both; where two types share a store, [`Both`] joins them:
//! `kiln_conformance::log_suite!(Fresh::new(Arc::new(Both(sink, reader))))`. A durable log adds
//! [`Fresh::reopen`](crate::Fresh::reopen).

mod at_close;
mod both;
mod reads;
mod writes;

pub use at_close::AtClose;
pub use both::Both;
pub use reads::*;
pub use writes::*;

use bytes::Bytes;
use kiln::{
    BuildId, StepId, Timestamp,
    port::{
        LogBody, LogPage, LogReader, LogRecord, LogSink, Offset, Progress, ProgressUnit, StepEnd,
        Stream,
    },
};
use std::time::Duration;

/// Makes a test of every promise of a log. The expression makes a `Fresh<L>` for some
/// `L: Log`.
#[macro_export]
macro_rules! log_suite {
    ($fresh:expr) => {
        $crate::tests_of! { log, $fresh,
            records_come_back_as_they_were
            an_append_of_nothing_moves_nothing
            records_that_do_not_follow_are_invalid
            a_stale_end_conflicts_and_keeps_nothing
            of_racing_appends_one_is_kept
            a_cancelled_append_keeps_all_or_nothing
            a_closed_log_takes_no_more
            closing_is_repeatable_and_makes_an_empty_log
            logs_are_apart
            a_forgotten_log_was_never_written
            a_reader_that_does_not_read_slows_nobody
            what_was_kept_outlives_the_process
            reading_on_shows_every_record_once
            a_page_is_about_as_large_as_asked
            from_inside_a_record_its_rest_comes
            a_page_holds_a_record_however_large
            a_log_nobody_wrote_is_empty_and_open
            beyond_the_end_is_invalid
            closed_is_told_at_the_end_only
            a_read_waits_for_an_append
            a_read_waits_for_the_end
            a_read_ends_with_patience
            a_dropped_read_harms_nobody
            what_was_read_never_changes
            a_follower_sees_all_and_ends
            a_long_log_is_read_whole
        }
    };
}

const LONG: Duration = Duration::from_secs(60);
const ALL: usize = 1 << 30;

/// A log under test: its sink and its reader.
pub trait Log: LogSink + LogReader {}

impl<T: LogSink + LogReader + ?Sized> Log for T {}

fn bytes(data: impl Into<Bytes>) -> LogBody {
    LogBody::Bytes { stream: Stream::Stdout, data: data.into() }
}

/// Records from an offset on, each at the end of the one before.
fn records(at: Offset, bodies: impl IntoIterator<Item = LogBody>) -> Vec<LogRecord> {
    let mut at = at;
    let record = |(i, body): (usize, LogBody)| {
        let record = LogRecord {
            at,
            time: Timestamp(i as u64),
            step: StepId(i as u16 % 3),
            attempt: 1,
            body,
        };
        at = record.end();
        record
    };
    bodies.into_iter().enumerate().map(record).collect()
}

/// One body of each kind, with bytes that are no text.
fn bodies() -> Vec<LogBody> {
    let progress = |total| {
        LogBody::Progress(Progress {
            item: "layer \u{1F525}".into(),
            action: crate::sample::TEXT.into(),
            done: u64::MAX >> 1,
            total,
            unit: if total.is_some() { ProgressUnit::Bytes } else { ProgressUnit::Objects },
        })
    };
    let on = |stream, data: &[u8]| LogBody::Bytes { stream, data: Bytes::copy_from_slice(data) };
    vec![
        LogBody::Started,
        on(Stream::Stdout, b"plain\n"),
        on(Stream::Stderr, b"\xff\x00\xfe\r\n\x1b[31m half a \xf0\x9f"),
        on(Stream::System, b"x"),
        progress(None),
        progress(Some(7)),
        LogBody::Gap { bytes: 1000, why: crate::sample::TEXT.into() },
        LogBody::Gap { bytes: 0, why: String::new() },
        LogBody::Ended(StepEnd::Failed),
        LogBody::Started,
        LogBody::Ended(StepEnd::Succeeded),
    ]
}

/// Appends one record of so many bytes; returns the new end.
async fn grow(log: &(impl LogSink + ?Sized), build: &BuildId, at: Offset, len: usize) -> Offset {
    let record = records(at, [bytes(vec![b'a' + (at.0 % 26) as u8; len])]);
    log.append(build, at, &record).await.expect("an append at the end")
}

async fn all(log: &(impl LogReader + ?Sized), build: &BuildId) -> LogPage {
    log.read(build, Offset(0), ALL, Duration::ZERO).await.expect("a read from the beginning")
}
