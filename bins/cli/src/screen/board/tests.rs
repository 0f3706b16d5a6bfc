use super::*;
use bytes::Bytes;
use kiln::{
    StepId, Timestamp,
    port::{Offset, Progress, ProgressUnit},
};

const LOOK: Look = Look { colours: false, unicode: true };

fn board(names: &[&str]) -> Board {
    Board::new(LOOK, "build 3f2a".into(), names.iter().map(|n| (*n).to_owned()).collect())
}

/// Gives a board records at times in milliseconds; returns the lines that stay.
fn play(board: &mut Board, records: &[(u64, u16, LogBody)]) -> Vec<String> {
    let mut out = Vec::new();
    for (ms, step, body) in records {
        let (at, time, step, body) = (Offset(0), Timestamp(*ms), StepId(*step), body.clone());
        let record = LogRecord { at, time, step, attempt: 1, body };
        out.extend(board.take(&record, Duration::from_millis(*ms), 79));
    }
    out
}

fn said(stream: Stream, text: &str) -> LogBody {
    LogBody::Bytes { stream, data: Bytes::copy_from_slice(text.as_bytes()) }
}

fn system(text: &str) -> LogBody {
    said(Stream::System, text)
}

#[test]
fn instructions_go_by_and_what_runs_stays() {
    let mut board = board(&["fetch", "build", "push"]);
    let stayed = play(
        &mut board,
        &[
            (0, 0, LogBody::Started),
            (1200, 0, LogBody::Ended(StepEnd::Succeeded)),
            (1200, 1, LogBody::Started),
            (1300, 1, system("#1 [internal] load metadata\n#1 DONE 0.1s\n#2 [1/3] FROM base\n")),
            (1300, 1, system("#2 CACHED\n#3 [2/3] RUN make\n")),
            (2300, 1, system("#3 DONE 1.0s\n#4 [3/3] RUN test\n")),
            (2400, 1, said(Stream::Stdout, "cc a.c\ncc b.c\n")),
        ],
    );
    assert_eq!(
        stayed,
        [
            "✓    1.2s  fetch",
            "✓  cached  build  [1/3] FROM base",
            "✓    1.0s  build  [2/3] RUN make"
        ]
    );
    assert_eq!(
        board.frame(Duration::from_millis(3000), 79, 23),
        [
            "⠋    0.7s  build  [3/3] RUN test",
            "           │ cc a.c",
            "           │ cc b.c",
            "  waiting  push",
            "     3.0s  build 3f2a",
        ]
    );
}

#[test]
fn a_failure_shows_what_was_said_last() {
    let mut board = board(&["build"]);
    let stayed = play(
        &mut board,
        &[
            (0, 0, LogBody::Started),
            (0, 0, system("#1 [2/2] RUN false\n")),
            (0, 0, said(Stream::Stderr, "no such \u{1b}[2Jluck")),
            (500, 0, system("#1 ERROR: exit code: 1\n")),
            (600, 0, LogBody::Ended(StepEnd::Failed)),
        ],
    );
    assert_eq!(
        stayed,
        [
            "✗    0.5s  build  [2/2] RUN false",
            "           │ no such luck",
            "✗    0.6s  build  failed"
        ]
    );
    assert_eq!(board.frame(Duration::from_secs(1), 79, 23).len(), 1);
}

#[test]
fn a_frame_fits_whatever_the_size() {
    let names: Vec<String> = (0..40).map(|i| format!("step-{i}-日本語")).collect();
    let mut board = Board::new(LOOK, "build 3f2a".into(), names);
    let mut records = Vec::new();
    for step in 0..30 {
        records.push((0, step, LogBody::Started));
        records.push((0, step, said(Stream::Stdout, &"wide 語 ".repeat(50))));
        let (item, action) = ("layer".repeat(20), "Pulling".to_owned());
        let progress =
            Progress { item, action, done: 1, total: Some(9), unit: ProgressUnit::Bytes };
        records.push((0, step, LogBody::Progress(progress)));
    }
    play(&mut board, &records);
    for (columns, lines) in [(79, 23), (199, 49), (39, 9), (9, 1), (1, 1), (79, 500)] {
        let frame = board.frame(Duration::from_secs(1), columns, lines);
        assert!(frame.len() <= lines, "{columns}x{lines}: {} lines", frame.len());
        for line in &frame {
            let width = console::measure_text_width(line);
            assert!(width <= columns, "{columns}x{lines}: {width} in {line:?}");
        }
    }
    let frame = board.frame(Duration::from_secs(1), 79, 500);
    assert!(frame.contains(&"           and 7 more".to_owned()), "{frame:#?}");
}

#[test]
fn bars_of_an_instruction_end_with_it() {
    let mut board = board(&["build"]);
    let bar = |item: &str| {
        let (item, action) = (item.into(), "Pulling".into());
        LogBody::Progress(Progress {
            item,
            action,
            done: 1,
            total: None,
            unit: ProgressUnit::Bytes,
        })
    };
    play(
        &mut board,
        &[
            (0, 0, LogBody::Started),
            (0, 0, system("#1 [1/2] FROM base\n#11 exporting\n")),
            (0, 0, bar("#1 layer")),
            (0, 0, bar("#11 image")),
        ],
    );
    assert_eq!(board.frame(Duration::ZERO, 79, 23).len(), 5);
    play(&mut board, &[(0, 0, system("#1 DONE 0.1s\n"))]);
    let frame = board.frame(Duration::ZERO, 79, 23);
    assert!(frame.len() == 3 && frame[1].ends_with("Pulling image"), "{frame:#?}");
}

#[test]
fn what_was_stopped_did_not_fail() {
    let mut board = board(&["build"]);
    play(&mut board, &[(0, 0, LogBody::Started), (0, 0, said(Stream::Stdout, "a\n"))]);
    board.stop();
    let stayed = play(&mut board, &[(500, 0, LogBody::Ended(StepEnd::Failed))]);
    assert_eq!(stayed, ["✗    0.5s  build  stopped"]);
}

#[test]
fn output_of_an_earlier_instruction_goes() {
    let mut board = board(&["build"]);
    play(
        &mut board,
        &[
            (0, 0, LogBody::Started),
            (0, 0, system("#1 [1/2] RUN a\n")),
            (0, 0, said(Stream::Stdout, "of a\n")),
            (0, 0, system("#1 DONE 1.0s\n#2 [2/2] RUN b\n")),
        ],
    );
    let frame = board.frame(Duration::ZERO, 79, 23).join("\n");
    assert!(frame.contains("RUN b") && !frame.contains("of a"), "{frame}");
}

#[test]
fn output_can_stay_below_the_names_of_steps_that_come_late() {
    let mut board = board(&["plan"]).with_logs();
    let first = play(
        &mut board,
        &[
            (0, 0, LogBody::Started),
            (100, 0, system("step wercker/x@1.0.0\n")),
            (100, 0, LogBody::Ended(StepEnd::Succeeded)),
        ],
    );
    assert_eq!(first, ["▸          plan", "           │ step wercker/x@1.0.0", "✓    0.1s  plan"]);
    board.name(["plan", "a", "b"].map(String::from).into());
    assert!(board.frame(Duration::ZERO, 79, 9)[0].contains("waiting  a"));
    let stayed = play(
        &mut board,
        &[
            (200, 1, LogBody::Started),
            (200, 1, said(Stream::Stdout, "one\ntw")),
            (200, 2, LogBody::Started),
            (300, 2, said(Stream::Stderr, "other\n")),
            (400, 1, said(Stream::Stdout, "o\nthree")),
            (1200, 1, LogBody::Ended(StepEnd::Failed)),
            (1200, 2, LogBody::Ended(StepEnd::Succeeded)),
        ],
    );
    let expected = [
        "▸          a",
        "           │ one",
        "▸          b",
        "           │ other",
        "▸          a",
        "           │ two",
        "           │ three",
        "✗    1.0s  a  failed",
        "✓    1.0s  b",
    ];
    assert_eq!(stayed, expected);
    // It is above already.
    assert_eq!(board.frame(Duration::from_secs(2), 79, 9).len(), 1);
}
