use super::{ALL, LONG, Log, all, bodies, bytes, grow, records};
use crate::{
    Fresh,
    helpers::{expect_kind, soon, waits},
    poll_times,
    sample::build,
};
use futures::{StreamExt, TryStreamExt};
use kiln::{
    ErrorKind,
    port::{LogBody, LogReaderExt, LogRecord, Offset, RECORD_BYTES_MAX},
};
use std::time::Duration;

/// Whoever reads on from `next` gets every record once, whatever the size of the pages.
pub async fn reading_on_shows_every_record_once<L: Log + ?Sized>(log: Fresh<L>) {
    let b = build("b");
    let written = records(Offset(0), (0..5).flat_map(|_| bodies()));
    log.append(&b, Offset(0), &written).await.unwrap();
    log.close(&b).await.unwrap();
    for bytes_max in [1, 5, 17, 1000, 1024, ALL] {
        let (mut read, mut at, mut closed) = (Vec::new(), Offset(0), false);
        while !closed {
            let page = soon("a page", log.read(&b, at, bytes_max, LONG)).await.unwrap();
            assert!(page.closed || page.next > at, "a page of nothing at {at:?}");
            (at, closed) = (page.next, page.closed);
            read.extend(page.records);
        }
        assert_eq!(read, written, "pages of {bytes_max} bytes");
    }
}

/// A page is not much larger than asked for, nor much smaller while there is more.
pub async fn a_page_is_about_as_large_as_asked<L: Log + ?Sized>(log: Fresh<L>) {
    let b = build("b");
    let written = records(Offset(0), (0..200).map(|_| bytes(vec![b'x'; 1000])));
    log.append(&b, Offset(0), &written).await.unwrap();
    for bytes_max in [10_000, 50_000] {
        let page = log.read(&b, Offset(0), bytes_max, Duration::ZERO).await.unwrap();
        let bytes = page.next.0 as usize;
        assert!((bytes_max / 2..=bytes_max * 2).contains(&bytes), "{bytes} for {bytes_max}");
    }
}

/// From an offset inside a record its rest comes, and what follows.
pub async fn from_inside_a_record_its_rest_comes<L: Log + ?Sized>(log: Fresh<L>) {
    let b = build("b");
    let gap = LogBody::Gap { bytes: 9, why: "full".into() };
    let written =
        records(Offset(0), [bytes("hello"), gap, bytes("wor"), bytes("ld"), LogBody::Started]);
    let end = log.append(&b, Offset(0), &written).await.unwrap();
    for from in 0..=end.0 {
        let expected: Vec<LogRecord> = written
            .iter()
            .filter(|r| r.end().0 > from)
            .map(|r| r.clone().tail(Offset(from)))
            .collect();
        let page = log.read(&b, Offset(from), ALL, Duration::ZERO).await.unwrap();
        assert_eq!((page.records, page.next), (expected, end), "from {from}");
    }
}

/// A page holds at least one record, however large it is and however little was asked for.
pub async fn a_page_holds_a_record_however_large<L: Log + ?Sized>(log: Fresh<L>) {
    let b = build("b");
    let end = grow(&*log, &b, Offset(0), RECORD_BYTES_MAX).await;
    grow(&*log, &b, end, 10).await;
    for bytes_max in [0, 1, 100] {
        let page = log.read(&b, Offset(0), bytes_max, Duration::ZERO).await.unwrap();
        assert_eq!((page.records.len(), page.next), (1, end), "{bytes_max} bytes asked for");
    }
}

/// A log nobody wrote is empty and open, and stays unknown.
pub async fn a_log_nobody_wrote_is_empty_and_open<L: Log + ?Sized>(log: Fresh<L>) {
    let b = build("b");
    assert_eq!(log.end(&b).await.unwrap(), Offset(0));
    let page = soon("no patience", log.read(&b, Offset(0), ALL, Duration::ZERO)).await.unwrap();
    assert_eq!((page.records, page.next, page.closed), (vec![], Offset(0), false));
}

/// An offset beyond the end is `Invalid`, also when the log is closed; the end itself is not.
pub async fn beyond_the_end_is_invalid<L: Log + ?Sized>(log: Fresh<L>) {
    let b = build("b");
    let beyond = soon("a read", log.read(&b, Offset(1), ALL, LONG)).await;
    expect_kind(beyond, ErrorKind::Invalid, "beyond the end of a log nobody wrote");
    let end = grow(&*log, &b, Offset(0), 10).await;
    for closed in [false, true] {
        let beyond = soon("a read", log.read(&b, Offset(11), ALL, LONG)).await;
        expect_kind(beyond, ErrorKind::Invalid, "beyond the end");
        let page = log.read(&b, end, ALL, Duration::ZERO).await.unwrap();
        assert_eq!((page.records, page.next, page.closed), (vec![], end, closed));
        log.close(&b).await.unwrap();
    }
}

/// A page says that the log is closed only if nothing comes after it.
pub async fn closed_is_told_at_the_end_only<L: Log + ?Sized>(log: Fresh<L>) {
    let b = build("b");
    let end = grow(&*log, &b, Offset(0), 100).await;
    let end = grow(&*log, &b, end, 100).await;
    log.close(&b).await.unwrap();
    let page = log.read(&b, Offset(0), 1, LONG).await.unwrap();
    assert_eq!((page.next, page.closed), (Offset(100), false));
    let page = log.read(&b, page.next, 1, LONG).await.unwrap();
    assert_eq!((page.records.len(), page.next, page.closed), (1, end, true));
}

/// A read with nothing to show waits, and returns as soon as something comes.
pub async fn a_read_waits_for_an_append<L: Log + ?Sized>(log: Fresh<L>) {
    let (b, other) = (build("b"), build("other"));
    let mut at = Offset(0);
    for _ in 0..3 {
        let mut read = Box::pin(log.read(&b, at, ALL, LONG));
        waits("at the end of an open log", &mut read).await;
        grow(&*log, &other, at, 5).await;
        waits("after an append to another log", &mut read).await;
        grow(&*log, &b, at, 5).await;
        let page = soon("after an append", read).await.unwrap();
        assert_eq!((page.records.len(), page.next.0), (1, at.0 + 5));
        at = page.next;
    }
}

/// A read with nothing to show returns as soon as the log is closed.
pub async fn a_read_waits_for_the_end<L: Log + ?Sized>(log: Fresh<L>) {
    let (b, empty) = (build("b"), build("empty"));
    let end = grow(&*log, &b, Offset(0), 5).await;
    for (b, end) in [(b, end), (empty, Offset(0))] {
        let mut read = Box::pin(log.read(&b, end, ALL, LONG));
        waits("at the end of an open log", &mut read).await;
        log.close(&b).await.unwrap();
        let page = soon("after the log was closed", read).await.unwrap();
        assert_eq!((page.records, page.next, page.closed), (vec![], end, true));
    }
}

/// A read of what does not come ends when patience is over, and not before.
pub async fn a_read_ends_with_patience<L: Log + ?Sized>(log: Fresh<L>) {
    let (b, patience) = (build("b"), Duration::from_millis(300));
    let end = grow(&*log, &b, Offset(0), 5).await;
    let start = log.clock().now();
    let read = log.clock().hurry(log.read(&b, end, ALL, patience));
    let page = soon("patience", read).await.unwrap();
    assert_eq!((page.records, page.next, page.closed), (vec![], end, false));
    // Times are whole milliseconds, cut off.
    assert!(log.clock().now().since(start) + Duration::from_millis(1) >= patience);
}

/// Reads that are given up leave others alone, and lose nothing.
pub async fn a_dropped_read_harms_nobody<L: Log + ?Sized>(log: Fresh<L>) {
    let b = build("b");
    for polls in 0..6 {
        assert!(poll_times(log.read(&b, Offset(0), ALL, LONG), polls).await.is_none());
    }
    let mut read = Box::pin(log.read(&b, Offset(0), ALL, LONG));
    waits("for a record", &mut read).await;
    poll_times(log.read(&b, Offset(0), ALL, LONG), 3).await;
    grow(&*log, &b, Offset(0), 5).await;
    assert_eq!(soon("after an append", read).await.unwrap().next, Offset(5));
}

/// What was read once is read again just so, whatever came after it.
pub async fn what_was_read_never_changes<L: Log + ?Sized>(log: Fresh<L>) {
    let b = build("b");
    let end = log.append(&b, Offset(0), &records(Offset(0), bodies())).await.unwrap();
    let before = all(&*log, &b).await.records;
    let end = log.append(&b, end, &records(end, bodies())).await.unwrap();
    assert_eq!(all(&*log, &b).await.records[..before.len()], before);
    grow(&*log, &b, end, 5).await;
    log.close(&b).await.unwrap();
    assert_eq!(all(&*log, &b).await.records[..before.len()], before);
}

/// A follower sees every record once while they are written, from any place, and ends with the log.
pub async fn a_follower_sees_all_and_ends<L: Log + ?Sized>(log: Fresh<L>) {
    let b = build("b");
    let (port, of) = (log.port(), b.clone());
    let writing = tokio::spawn(async move {
        let mut at = Offset(0);
        for i in 0..100 {
            at = grow(&*port, &of, at, 1 + i % 7).await;
            if i % 5 == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        port.close(&of).await.unwrap();
    });
    let port = log.port();
    let read: Vec<_> = soon("the end", port.follow(&b, Offset(0)).try_collect()).await.unwrap();
    writing.await.unwrap();
    assert_eq!(read, all(&*log, &b).await.records);
    assert_eq!(read.len(), 100);
    let rest = port.follow(&b, read[50].at).count().await;
    assert_eq!(rest, 50);
}

/// Tens of megabytes are read whole, byte for byte.
pub async fn a_long_log_is_read_whole<L: Log + ?Sized>(log: Fresh<L>) {
    let (b, mut at) = (build("b"), Offset(0));
    for i in 0..50_u64 {
        let batch = (0..6).map(|j| bytes(vec![(i * 6 + j) as u8; RECORD_BYTES_MAX]));
        at = log.append(&b, at, &records(at, batch)).await.unwrap();
    }
    log.close(&b).await.unwrap();
    let (mut next, mut closed) = (Offset(0), false);
    while !closed {
        let page = log.read(&b, next, 1 << 20, Duration::ZERO).await.unwrap();
        for record in &page.records {
            assert_eq!(record.at, next);
            let LogBody::Bytes { data, .. } = &record.body else { panic!("{record:?}") };
            let number = (record.at.0 / RECORD_BYTES_MAX as u64) as u8;
            assert!(data.iter().all(|byte| *byte == number), "wrong bytes at {next:?}");
            next = record.end();
        }
        assert_eq!(page.next, next);
        closed = page.closed;
    }
    assert_eq!(next, at);
}
