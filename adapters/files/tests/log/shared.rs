use super::{all, build, record, segments};
use kiln::{
    BuildId, ErrorKind, Result,
    port::{LogBody, LogReader, LogSink, Offset, Progress, ProgressUnit, RECORD_BYTES_MAX},
};
use kiln_files::FileLogs;
use std::{fs, time::Duration};

fn kind(result: Result<Offset>) -> ErrorKind {
    result.expect_err("it is refused").kind()
}

#[test]
fn a_log_that_somebody_else_closed_or_forgot_is_not_begun_again() {
    kiln_conformance::run("closed elsewhere", async {
        let dir = tempfile::tempdir().unwrap();
        let open = || FileLogs::open(dir.path()).unwrap();
        let (one, other) = (open(), open());
        let end = one.append(&build(), Offset(0), &[record(Offset(0), "x")]).await.unwrap();
        other.close(&build()).await.unwrap();
        let late = one.append(&build(), end, &[record(end, "late")]).await;
        assert_eq!(kind(late), ErrorKind::Conflict);
        assert_eq!(one.end(&build()).await.unwrap(), end);
        let page = all(&one).await.unwrap();
        assert_eq!((page.records.len(), page.closed), (1, true));
        assert_eq!(segments(dir.path()).0, [""; 0], "a plain segment of a packed log");

        other.forget(&build()).await.unwrap();
        for logs in [&one, &open()] {
            let late = logs.append(&build(), end, &[record(end, "late")]).await;
            assert_eq!(kind(late), ErrorKind::Conflict);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "something was made");
        // From the beginning it is a new log, for both.
        one.append(&build(), Offset(0), &[record(Offset(0), "new")]).await.unwrap();
        assert_eq!(other.end(&build()).await.unwrap(), Offset(3));
    });
}

#[test]
fn a_log_that_was_forgotten_and_begun_again_is_another_one() {
    kiln_conformance::run("begun again", async {
        let dir = tempfile::tempdir().unwrap();
        let open = || FileLogs::open(dir.path()).unwrap();
        let (one, other) = (open(), open());
        let text = [record(Offset(0), "four"), record(Offset(4), "more")];
        one.append(&build(), Offset(0), &text).await.unwrap();
        // The reader remembers where 4 and 8 stand.
        assert_eq!(one.read(&build(), Offset(0), 1, Duration::ZERO).await.unwrap().next, Offset(4));
        assert_eq!(one.read(&build(), Offset(4), 1, Duration::ZERO).await.unwrap().next, Offset(8));
        other.forget(&build()).await.unwrap();
        let text = [record(Offset(0), "eightfold"), record(Offset(9), "end")];
        other.append(&build(), Offset(0), &text).await.unwrap();
        for from in 0..12 {
            let page = one.read(&build(), Offset(from), 1, Duration::ZERO).await.unwrap();
            let expected = text.iter().find(|r| r.end().0 > from).unwrap();
            assert_eq!(page.records, [expected.clone().tail(Offset(from))], "from {from}");
        }
        let late = one.append(&build(), Offset(8), &[record(Offset(8), "late")]).await;
        assert_eq!(kind(late), ErrorKind::Conflict);
    });
}

#[test]
fn no_record_says_more_than_can_be_read_again() {
    kiln_conformance::run("too long", async {
        let dir = tempfile::tempdir().unwrap();
        let logs = FileLogs::open(dir.path()).unwrap();
        let progress = |len| {
            let (item, action) = ("i".repeat(len), "Downloading".to_owned());
            let unit = ProgressUnit::Bytes;
            let body = LogBody::Progress(Progress { item, action, done: 0, total: None, unit });
            kiln::port::LogRecord { body, ..record(Offset(0), "") }
        };
        let late = logs.append(&build(), Offset(0), &[progress(RECORD_BYTES_MAX)]).await;
        assert_eq!(kind(late), ErrorKind::Invalid);
        let why = "\u{1F4BE}".repeat(100_000);
        let gap = LogBody::Gap { bytes: u64::MAX, why: why.clone() };
        let gap = |at| kiln::port::LogRecord { body: gap.clone(), ..record(Offset(at), "") };
        assert_eq!(kind(logs.append(&build(), Offset(1), &[gap(1)]).await), ErrorKind::Invalid);
        let (one, two) = (progress(RECORD_BYTES_MAX - 1000), gap(1));
        assert_eq!(one.end(), Offset(1));
        logs.append(&build(), Offset(0), std::slice::from_ref(&one)).await.unwrap();
        let two = kiln::port::LogRecord { body: LogBody::Gap { bytes: 1 << 40, why }, ..two };
        logs.append(&build(), Offset(1), &[two]).await.unwrap();
        let page = all(&logs).await.unwrap();
        assert_eq!((&page.records[0], page.next), (&one, Offset(1 + (1 << 40))));
    });
}

#[test]
fn what_is_appended_while_another_closes_is_kept_or_refused() {
    kiln_conformance::run("closing", async {
        let dir = tempfile::tempdir().unwrap();
        for round in 0..60 {
            let id = BuildId::new(format!("b{round}")).unwrap();
            let (one, other) = [(); 2].map(|()| FileLogs::open(dir.path()).unwrap()).into();
            let first = vec![b'x'; 30_000];
            let at = one.append(&id, Offset(0), &[record(Offset(0), first)]).await.unwrap();
            let of = id.clone();
            let appending = tokio::spawn(async move {
                let mut at = at;
                loop {
                    match one.append(&of, at, &[record(at, "more")]).await {
                        Ok(end) => at = end,
                        Err(e) if e.kind() == ErrorKind::Conflict => return at,
                        Err(e) => panic!("{e:?}"),
                    }
                }
            });
            tokio::time::sleep(Duration::from_micros(100 * (round % 10))).await;
            other.close(&id).await.unwrap();
            let end = appending.await.unwrap();
            let page = other.read(&id, Offset(0), 1 << 20, Duration::ZERO).await.unwrap();
            assert_eq!((page.next, page.closed), (end, true), "round {round}");
            assert_eq!(other.end(&id).await.unwrap(), end);
            let left = fs::read_dir(dir.path().join(format!("{id}.log"))).unwrap();
            let names: Vec<_> = left.map(|e| e.unwrap().file_name()).collect();
            assert_eq!(names.len(), 2, "the lock and one segment: {names:?}");
        }
    });
}
