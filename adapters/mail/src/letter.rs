//! What a mail says. Every text that somebody chose is one line, whatever it holds.

use crate::error::{OP, invalid};
use kiln::{
    Error, ErrorKind, Event, Outcome, Result,
    port::{BuildSummary, Notice},
};
use lettre::{
    Message,
    message::{
        Mailbox,
        header::{ContentType, HeaderName, HeaderValue},
    },
};
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// How long a text from outside may be in one line.
const TEXT_MAX: usize = 200;

/// A text as part of one line: no line ends and no other control characters, and not for ever.
fn line(text: &str) -> String {
    let mut line: String =
        text.chars().take(TEXT_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(TEXT_MAX).is_some() {
        line.push('…');
    }
    line
}

fn label<'b>(build: &'b BuildSummary, key: &str) -> Option<&'b str> {
    build.labels.get(key).map(String::as_str)
}

/// What a build is of: its repository and branch, or its id.
fn of(build: &BuildSummary) -> String {
    let Some(repo) = label(build, "kiln.repo") else { return format!("build {}", build.build) };
    let name = ["kiln.branch", "kiln.tag"].iter().find_map(|key| label(build, key));
    match (name, label(build, "kiln.pull")) {
        (Some(name), _) => line(&format!("{repo} {name}")),
        (None, Some(number)) => line(&format!("{repo} #{number}")),
        (None, None) => line(repo),
    }
}

fn what(event: &Event) -> &'static str {
    match event {
        Event::Finished { outcome } => match outcome {
            Outcome::Succeeded => "succeeded",
            Outcome::Failed { .. } => "failed",
            Outcome::Errored { .. } => "could not be run",
            Outcome::TimedOut => "took too long",
            Outcome::Cancelled => "was cancelled",
        },
        Event::Accepted { .. } => "waits for its turn",
        Event::CancelRequested { .. } => "is to stop",
        _ => "goes on",
    }
}

fn text(notice: &Notice, target: Option<&str>) -> String {
    let build = &notice.build;
    let mut text = format!("Build {} {}.\n\n", build.build, what(&notice.event));
    let mut put = |name: &str, value: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name}: {}", line(value));
    };
    put("Owner", build.owner.as_str());
    if let Event::Finished { outcome } = &notice.event {
        put("Outcome", outcome.word());
        if let Outcome::Failed { step } | Outcome::Errored { step } = outcome {
            put("Step", &format!("{} of {}", step.0 + 1, build.steps));
        }
    }
    if let Some(ended) = build.finished_at {
        put("Took", &format!("{} s", ended.since(build.accepted_at).as_secs()));
    }
    for (key, value) in &build.labels {
        put(&line(key), value);
    }
    if let Some(target) = target {
        put("See", &target.replace("{build}", build.build.as_str()));
    }
    text
}

/// The key by which a mailbox can tell that it was told twice.
fn message_id(notice: &Notice, domain: &str) -> String {
    let hash = Sha256::digest(format!("{}/{}", notice.build.build, notice.seq));
    let hex: String = hash[..16].iter().map(|b| format!("{b:02x}")).collect();
    format!("<{hex}@{domain}>")
}

fn header(name: &'static str, value: String) -> Result<HeaderValue> {
    let name = HeaderName::new_from_ascii(name.to_owned())
        .map_err(|e| Error::new(ErrorKind::Unexpected, OP, e.to_string()))?;
    Ok(HeaderValue::new(name, value))
}

/// The mail to one reader.
pub(crate) fn letter(
    notice: &Notice,
    from: &Mailbox,
    to: &Mailbox,
    target: Option<&str>,
) -> Result<Message> {
    let build = &notice.build;
    let letter = Message::builder()
        .from(from.clone())
        .to(to.clone())
        .subject(format!("[kiln] {} {}", of(build), what(&notice.event)))
        .message_id(Some(message_id(notice, from.email.domain())))
        // So that no holiday answers.
        .raw_header(header("Auto-Submitted", "auto-generated".into())?)
        .raw_header(header("X-Kiln-Build", build.build.to_string())?)
        .raw_header(header("X-Kiln-Seq", notice.seq.to_string())?)
        .header(ContentType::TEXT_PLAIN)
        .body(text(notice, target));
    letter.map_err(|e| invalid("a mail cannot be written").source(e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln::{Seq, StepId};
    use kiln_conformance::sample::{TEXT, summary};

    fn notice(labels: &[(&str, &str)]) -> Notice {
        let mut build = summary("b1", 5);
        build.labels = labels.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let event = Event::Finished { outcome: Outcome::Failed { step: StepId(1) } };
        Notice { build, seq: Seq(7), event }
    }

    fn written(notice: &Notice) -> String {
        let from = "Kiln <kiln@acme.test>".parse().unwrap();
        let to = "ann@acme.test".parse().unwrap();
        let letter = letter(notice, &from, &to, Some("https://kiln.test/{build}")).unwrap();
        String::from_utf8(letter.formatted()).unwrap()
    }

    #[test]
    fn a_mail_says_what_of_and_where() {
        let of = [("kiln.repo", "acme/app"), ("kiln.branch", "main")];
        let mail = written(&notice(&of));
        for expected in [
            "Subject: [kiln] acme/app main failed\r\n",
            "From: Kiln <kiln@acme.test>\r\n",
            "To: ann@acme.test\r\n",
            "Auto-Submitted: auto-generated\r\n",
            "X-Kiln-Seq: 7\r\n",
            "\r\n\r\nBuild b1 failed.\r\n\r\nOwner: local\r\nOutcome: failed\r\nStep: 2 of 2\r\n",
            "See: https://kiln.test/b1\r\n",
        ] {
            assert!(mail.contains(expected), "{expected:?} is not in {mail:?}");
        }
        let id =
            |mail: &str| mail.lines().find(|l| l.starts_with("Message-ID: <")).map(str::to_owned);
        assert!(id(&mail).is_some() && id(&mail) == id(&written(&notice(&of))));
        let later = Notice { seq: Seq(8), ..notice(&of) };
        assert_ne!(id(&mail), id(&written(&later)));
    }

    #[test]
    fn no_label_makes_a_header_a_line_or_a_second_mail() {
        let evil = "x\r\nBcc: all@acme.test\r\n\r\n.\r\nMAIL FROM:<x>\u{2028}\u{85}";
        for text in [evil, TEXT, &"long ".repeat(1000), "größe \u{1F525}"] {
            let mail =
                written(&notice(&[("kiln.repo", text), ("kiln.branch", text), (text, text)]));
            let (head, body) = mail.split_once("\r\n\r\n").unwrap();
            assert!(mail.is_ascii(), "{mail}");
            assert!(!head.lines().any(|l| l.starts_with("Bcc")), "{head}");
            assert!(!body.lines().any(|l| l.starts_with("Bcc") || l == "."), "{body}");
            assert!(mail.lines().all(|l| l.len() <= 998), "{mail}");
            let names = head.lines().filter(|l| !l.starts_with(' ')).count();
            assert!(names <= 12, "{head}");
        }
    }
}
