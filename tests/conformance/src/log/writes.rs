use super::{LONG, Log, all, bodies, bytes, grow, records};
use crate::{
    Fresh,
    helpers::{expect_kind, soon},
    poll_times,
    sample::build,
};
use futures::future::join_all;
use kiln::{
    ErrorKind, Result,
    port::{LogBody, LogRecord, Offset, RECORD_BYTES_MAX},
};

/// Every kind of record comes back as it was, in its place, and the new end is told.
pub async fn records_come_back_as_they_were<L: Log + ?Sized>(log: Fresh<L>) {
    let b = build("b");
    let first = records(Offset(0), bodies());
    let end = first.last().unwrap().end();
    assert_eq!(log.append(&b, Offset(0), &first).await.unwrap(), end);
    assert_eq!(log.end(&b).await.unwrap(), end);
    let second = records(end, bodies());
    let new_end = second.last().unwrap().end();
    assert_eq!(log.append(&b, end, &second).await.unwrap(), new_end);
    let page = all(&*log, &b).await;
    assert_eq!(page.records, [first, second].concat());
    assert_eq!((page.next, page.closed), (new_end, false));
}

/// An append of no records at the end changes nothing.
pub async fn an_append_of_nothing_moves_nothing<L: Log + ?Sized>(log: Fresh<L>) {
    let b = build("b");
    assert_eq!(log.append(&b, Offset(0), &[]).await.unwrap(), Offset(0));
    let end = grow(&*log, &b, Offset(0), 7).await;
    assert_eq!(log.append(&b, end, &[]).await.unwrap(), end);
    assert_eq!(all(&*log, &b).await.records.len(), 1);
}

/// Records that do not stand at the end of the one before, or hold no bytes or too many, are
/// refused as a whole.
pub async fn records_that_do_not_follow_are_invalid<L: Log + ?Sized>(log: Fresh<L>) {
    let b = build("b");
    let end = grow(&*log, &b, Offset(0), 10).await;
    let good = || records(end, [bytes("one"), bytes("two"), LogBody::Started]);
    let bent = |f: fn(&mut Vec<LogRecord>)| {
        let mut all = good();
        f(&mut all);
        all
    };
    let cases = [
        ("a hole", bent(|r| drop(r.remove(1)))),
        ("an overlap", bent(|r| r[1].at.0 -= 1)),
        ("a first record elsewhere", bent(|r| r[0].at.0 += 1)),
        ("another order", bent(|r| r.swap(0, 1))),
        ("a record without bytes", records(end, [bytes("x"), bytes("")])),
        ("a record too long", records(end, [bytes(vec![0; RECORD_BYTES_MAX + 1])])),
    ];
    for (what, case) in cases {
        expect_kind(log.append(&b, end, &case).await, ErrorKind::Invalid, what);
        assert_eq!(log.end(&b).await.unwrap(), end, "{what} was kept in part");
    }
    log.append(&b, end, &good()).await.unwrap();
}

/// An append that is not at the end keeps nothing and is a conflict, whoever wrote meanwhile.
pub async fn a_stale_end_conflicts_and_keeps_nothing<L: Log + ?Sized>(log: Fresh<L>) {
    let b = build("b");
    let end = grow(&*log, &b, Offset(0), 10).await;
    for stale in [0, 1, 9, 11, 1 << 40] {
        let at = Offset(stale);
        let result = log.append(&b, at, &records(at, [bytes("late")])).await;
        expect_kind(result, ErrorKind::Conflict, "an append that is not at the end");
    }
    assert_eq!(log.end(&b).await.unwrap(), end);
    let new = build("new");
    let result = log.append(&new, Offset(3), &records(Offset(3), [bytes("late")])).await;
    expect_kind(result, ErrorKind::Conflict, "an append behind the end of a log nobody wrote");
}

/// Of appends that race for one place exactly one is kept.
pub async fn of_racing_appends_one_is_kept<L: Log + ?Sized>(log: Fresh<L>) {
    let (b, mut end) = (build("b"), Offset(0));
    for round in 0..10 {
        let racers = (0..6_usize).map(|i| {
            let (log, b) = (log.port(), b.clone());
            let mine = records(end, [bytes(vec![b'0' + i as u8; 5]), bytes("end")]);
            tokio::spawn(async move { log.append(&b, end, &mine).await })
        });
        let ended: Vec<Result<Offset>> =
            join_all(racers).await.into_iter().map(|r| r.unwrap()).collect();
        assert_eq!(ended.iter().filter(|r| r.is_ok()).count(), 1, "round {round}: {ended:?}");
        for lost in ended.into_iter().filter(|r| r.is_err()) {
            expect_kind(lost, ErrorKind::Conflict, "a racer that lost");
        }
        end = Offset(end.0 + 8);
        assert_eq!(log.end(&b).await.unwrap(), end);
    }
}

/// A call that is dropped half-way has kept all of its records or none, and the log goes on.
pub async fn a_cancelled_append_keeps_all_or_nothing<L: Log + ?Sized>(log: Fresh<L>) {
    for polls in 0..12 {
        let b = build(&format!("b{polls}"));
        let batch = records(Offset(0), (0..50).map(|_| bytes("twelve bytes")));
        poll_times(log.append(&b, Offset(0), &batch), polls).await;
        // It may still arrive, so the next one may have to look again.
        loop {
            let end = log.end(&b).await.unwrap();
            assert!([0, 600].contains(&end.0), "{end:?} of 600 after {polls} polls");
            match log.append(&b, end, &records(end, [bytes("next")])).await {
                Ok(new) => break assert_eq!(new.0, end.0 + 4),
                Err(e) => assert_eq!(e.kind(), ErrorKind::Conflict, "{e:?}"),
            }
        }
        let page = all(&*log, &b).await;
        assert!([1, 51].contains(&page.records.len()), "{} records", page.records.len());
    }
}

/// A closed log takes no more.
pub async fn a_closed_log_takes_no_more<L: Log + ?Sized>(log: Fresh<L>) {
    let b = build("b");
    let end = grow(&*log, &b, Offset(0), 10).await;
    log.close(&b).await.unwrap();
    let result = log.append(&b, end, &records(end, [bytes("late")])).await;
    expect_kind(result, ErrorKind::Conflict, "an append to a closed log");
    assert_eq!(log.end(&b).await.unwrap(), end);
    let page = all(&*log, &b).await;
    assert_eq!((page.records.len(), page.closed), (1, true));
}

/// Closing twice succeeds, and a log nobody wrote is closed and empty then.
pub async fn closing_is_repeatable_and_makes_an_empty_log<L: Log + ?Sized>(log: Fresh<L>) {
    let b = build("b");
    for _ in 0..2 {
        log.close(&b).await.unwrap();
        let page = soon("a closed log", log.read(&b, Offset(0), 1, LONG)).await.unwrap();
        assert_eq!((page.records, page.next, page.closed), (vec![], Offset(0), true));
    }
    let result = log.append(&b, Offset(0), &records(Offset(0), [bytes("late")])).await;
    expect_kind(result, ErrorKind::Conflict, "an append to a closed log");
}

/// Builds whose ids are alike do not mix.
pub async fn logs_are_apart<L: Log + ?Sized>(log: Fresh<L>) {
    let names = ["a", "A", "a.b", "a_b", "a-b", "ab"];
    for (i, name) in names.iter().enumerate() {
        grow(&*log, &build(name), Offset(0), i + 1).await;
    }
    log.close(&build("a")).await.unwrap();
    for (i, name) in names.iter().enumerate() {
        let page = all(&*log, &build(name)).await;
        assert_eq!((page.next.0, page.closed), (i as u64 + 1, *name == "a"), "{name}");
    }
}

/// A forgotten log is empty and open again, and forgetting it twice succeeds.
pub async fn a_forgotten_log_was_never_written<L: Log + ?Sized>(log: Fresh<L>) {
    let (b, other) = (build("b"), build("other"));
    grow(&*log, &b, Offset(0), 10).await;
    grow(&*log, &other, Offset(0), 10).await;
    log.close(&b).await.unwrap();
    for _ in 0..2 {
        log.forget(&b).await.unwrap();
        assert_eq!(log.end(&b).await.unwrap(), Offset(0));
        let page = all(&*log, &b).await;
        assert_eq!((page.records, page.next, page.closed), (vec![], Offset(0), false));
    }
    grow(&*log, &b, Offset(0), 3).await;
    assert_eq!(log.end(&other).await.unwrap(), Offset(10));
}

/// Readers that wait, or stopped reading, hold up no append.
pub async fn a_reader_that_does_not_read_slows_nobody<L: Log + ?Sized>(log: Fresh<L>) {
    let b = build("b");
    let mut stuck: Vec<_> = (0..20).map(|_| Box::pin(log.read(&b, Offset(0), 1, LONG))).collect();
    for read in &mut stuck {
        poll_times(read, 1).await;
    }
    let mut at = Offset(0);
    for _ in 0..100 {
        at = soon("an append", grow(&*log, &b, at, 1000)).await;
    }
    for read in stuck {
        assert_eq!(soon("a read", read).await.unwrap().next, Offset(1000));
    }
}

/// For durable logs: what was kept is there when the log is opened again, the log goes on where it
/// ended, and a closed one stays closed.
pub async fn what_was_kept_outlives_the_process<L: Log + ?Sized>(log: Fresh<L>) {
    let (b, over) = (build("b"), build("over"));
    let first = records(Offset(0), bodies());
    let end = log.append(&b, Offset(0), &first).await.unwrap();
    grow(&*log, &over, Offset(0), 100).await;
    log.close(&over).await.unwrap();
    let Some(again) = log.opened_again().await else { return };
    assert_eq!(again.end(&b).await.unwrap(), end);
    let page = all(&*again, &b).await;
    assert_eq!((page.records, page.closed), (first, false));
    let page = all(&*again, &over).await;
    assert_eq!((page.next, page.closed), (Offset(100), true));
    let result = again.append(&over, Offset(100), &records(Offset(100), [bytes("x")])).await;
    expect_kind(result, ErrorKind::Conflict, "an append to a log that was closed before");
    grow(&*again, &b, end, 5).await;
    assert_eq!(all(&*again, &b).await.next.0, end.0 + 5);
}
