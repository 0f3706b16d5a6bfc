//! Mail to a real server.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test tells by panicking, and says when it is skipped"
)]

mod server;

use async_trait::async_trait;
use kiln::{
    BuildId, ErrorKind, Event, Outcome, Owner, Result, Secret, SecretRef, Seq, Status, StepId,
    Timestamp,
    memory::{MemoryIndex, MemorySecrets},
    port::{Index, Notice, Notifier},
};
use kiln_conformance::{
    Fresh,
    notifier::{self, Told},
    sample::summary,
};
use kiln_mail::{Mail, MailConfig, Security, When};
use server::{Server, is_here};
use std::sync::Arc;

fn config(server: &Server) -> MailConfig {
    to(server.port)
}

/// Mail in the open to a port of this machine.
fn to(port: u16) -> MailConfig {
    MailConfig {
        host: "localhost".into(),
        port: Some(port),
        security: Security::None,
        ca: None,
        username: None,
        password: None,
        from: "Kiln <kiln@acme.test>".into(),
        to: vec!["ann@acme.test".into()],
        owners: [(Owner::new("team").unwrap(), vec!["Bob <bob@acme.test>".into()])].into(),
        when: When::Always,
        target: None,
        timeout_seconds: 30,
        every_event: false,
    }
}

fn guarded(server: &Server) -> MailConfig {
    MailConfig {
        security: Security::StartTls,
        ca: Some(server.ca()),
        username: Some("kiln".into()),
        password: Some(SecretRef::new("mail").unwrap()),
        ..config(server)
    }
}

fn mail_with(config: MailConfig, password: &str, index: Arc<MemoryIndex>) -> Mail {
    let secrets = MemorySecrets::default();
    let name = SecretRef::new("mail").unwrap();
    secrets.set(Owner::local(), name, Secret::new(format!("{password}\n")));
    Mail::new(config, Arc::new(secrets), index).unwrap()
}

fn mail(config: MailConfig) -> Mail {
    mail_with(config, "s3cret", Arc::default())
}

/// How a build of a branch ended.
fn ended(name: &str, at: u64, outcome: Outcome) -> Notice {
    let mut build = summary(name, at);
    let labels = [("kiln.hook", "app"), ("kiln.repo", "acme/app"), ("kiln.branch", "main")];
    build.labels = labels.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    (build.outcome, build.phase) = (Some(outcome.clone()), kiln::Phase::Finished);
    build.finished_at = Some(Timestamp(at + 1));
    Notice { build, seq: Seq(9), event: Event::Finished { outcome } }
}

/// Mail of every event, and the server that takes it.
#[derive(Debug)]
struct Heard(Mail, Server);

#[async_trait]
impl Notifier for Heard {
    async fn notify(&self, notice: &Notice) -> Result<()> {
        self.0.notify(notice).await
    }
}

impl Told for Heard {
    fn told(&self) -> Vec<(BuildId, Seq)> {
        self.1.told()
    }
}

fn heard() -> Fresh<Heard> {
    let server = Server::start(false);
    let every = MailConfig { every_event: true, ..config(&server) };
    Fresh::new(Arc::new(Heard(mail(every), server)))
}

macro_rules! promises {
    ($($promise:ident)*) => { $(
        #[test]
        fn $promise() {
            if is_here(stringify!($promise)) {
                kiln_conformance::run(stringify!($promise), async {
                    notifier::$promise(heard()).await;
                });
            }
        }
    )* };
}

promises! {
    every_notice_is_delivered
    notices_may_be_told_twice_and_side_by_side
    a_cancelled_notice_harms_nobody
}

#[tokio::test]
async fn with_starttls_and_a_login_each_reader_gets_a_mail() {
    if !is_here("with_starttls_and_a_login_each_reader_gets_a_mail") {
        return;
    }
    let server = Server::start(true);
    let mut told = ended("b1", 5, Outcome::Succeeded);
    told.build.owner = Owner::new("team").unwrap();
    mail(guarded(&server)).notify(&told).await.unwrap();
    assert_eq!(server.readers(), ["ann@acme.test", "bob@acme.test"]);
    assert!(server.mails().iter().all(|m| m["tls"] == true && m["from"] == "kiln@acme.test"));
}

#[tokio::test]
async fn nothing_is_sent_to_a_server_that_is_not_who_it_says() {
    if !is_here("nothing_is_sent_to_a_server_that_is_not_who_it_says") {
        return;
    }
    let (server, other, open) = (Server::start(true), Server::start(true), Server::start(false));
    let unknown = MailConfig { ca: None, ..guarded(&server) };
    let another = MailConfig { ca: Some(other.ca()), ..guarded(&server) };
    let renamed = MailConfig { host: "127.0.0.1".into(), ..guarded(&server) };
    // Somebody between took the word STARTTLS out of the greeting.
    let stripped = MailConfig { port: Some(open.port), ..guarded(&server) };
    for config in [unknown, another, renamed, stripped] {
        let shown = format!("{config:?}");
        let error = mail(config).notify(&ended("b1", 5, Outcome::Succeeded)).await.unwrap_err();
        assert_eq!(error.retry_status(), Status::Temporary, "{shown}: {error:?}");
    }
    assert!(server.mails().is_empty() && open.mails().is_empty());
}

#[tokio::test]
async fn a_wrong_password_is_told_without_it() {
    if !is_here("a_wrong_password_is_told_without_it") {
        return;
    }
    let server = Server::start(true);
    let mail = mail_with(guarded(&server), "wr0ng", Arc::default());
    let error = mail.notify(&ended("b1", 5, Outcome::Succeeded)).await.unwrap_err();
    assert_eq!((error.kind(), error.retry_status()), (ErrorKind::Denied, Status::Temporary));
    let shown = format!("{error:?} {mail:?}");
    assert!(!shown.contains("wr0ng") && !shown.contains("d3IwbmcK"), "{shown}");
}

#[tokio::test]
async fn one_reader_who_is_unknown_keeps_nothing_from_the_others() {
    if !is_here("one_reader_who_is_unknown_keeps_nothing_from_the_others") {
        return;
    }
    let server = Server::start(false);
    let to = ["unknown@acme.test", "ann@acme.test"].map(str::to_owned).into();
    mail(MailConfig { to, ..config(&server) })
        .notify(&ended("b1", 5, Outcome::Succeeded))
        .await
        .unwrap();
    assert_eq!(server.readers(), ["ann@acme.test"]);
    let nobody = MailConfig { to: vec!["unknown@acme.test".into()], ..config(&server) };
    let error = mail(nobody).notify(&ended("b1", 5, Outcome::Succeeded)).await.unwrap_err();
    assert_eq!(error.retry_status(), Status::Permanent);
    let full = MailConfig { to: vec!["full@acme.test".into()], ..config(&server) };
    let full = mail(full);
    let error = full.notify(&ended("b1", 5, Outcome::Succeeded)).await.unwrap_err();
    assert_eq!(error.retry_status(), Status::Temporary);
    full.notify(&ended("b1", 5, Outcome::Succeeded)).await.unwrap();
}

#[tokio::test]
async fn only_changes_are_told_if_that_is_asked_for() {
    if !is_here("only_changes_are_told_if_that_is_asked_for") {
        return;
    }
    let (server, index) = (Server::start(false), Arc::new(MemoryIndex::default()));
    let config = MailConfig { when: When::Change, ..config(&server) };
    let mail = mail_with(config, "", index.clone());
    let failed = Outcome::Failed { step: StepId(0) };
    let mut mailed = Vec::new();
    for (i, outcome) in [
        Outcome::Succeeded,
        Outcome::Succeeded,
        failed.clone(),
        Outcome::Cancelled,
        Outcome::TimedOut,
        Outcome::Succeeded,
    ]
    .into_iter()
    .enumerate()
    {
        let told = ended(&format!("b{i}"), i as u64, outcome);
        index.put(&told.build).await.unwrap();
        let before = server.mails().len();
        mail.notify(&told).await.unwrap();
        mailed.push(server.mails().len() > before);
    }
    assert_eq!(mailed, [true, false, true, false, false, true]);
    // Another branch, and what was accepted later, say nothing of this one.
    let mut other = ended("other", 9, failed);
    other.build.labels.insert("kiln.branch".into(), "dev".into());
    index.put(&other.build).await.unwrap();
    let before = server.mails().len();
    mail.notify(&ended("b9", 10, Outcome::Succeeded)).await.unwrap();
    assert_eq!(server.mails().len(), before);
}

#[tokio::test]
async fn a_server_that_never_answers_is_not_waited_for_for_ever() {
    // The system takes the connection, and nobody ever says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let config = MailConfig { timeout_seconds: 1, ..to(silent.local_addr().unwrap().port()) };
    let error = mail(config).notify(&ended("b1", 5, Outcome::Succeeded)).await.unwrap_err();
    assert_eq!((error.kind(), error.retry_status()), (ErrorKind::Timeout, Status::Temporary));
}

#[tokio::test]
async fn nobody_there_is_worth_another_try() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = MailConfig { when: When::Failure, ..to(free.port()) };
    // A success is nothing to tell, so nobody is asked.
    mail(config.clone()).notify(&ended("b1", 5, Outcome::Succeeded)).await.unwrap();
    let error = mail(config.clone()).notify(&ended("b1", 5, Outcome::TimedOut)).await.unwrap_err();
    assert_eq!(error.retry_status(), Status::Temporary);
    let none = |f: &dyn Fn(&mut MailConfig)| {
        let mut bad = config.clone();
        f(&mut bad);
        let shown = format!("{bad:?}");
        let made =
            Mail::new(bad, Arc::new(MemorySecrets::default()), Arc::new(MemoryIndex::default()));
        assert_eq!(made.unwrap_err().kind(), ErrorKind::Invalid, "{shown}");
    };
    none(&|c| c.host = "mail.acme.test".into());
    none(&|c| (c.to, c.owners) = Default::default());
    none(&|c| c.username = Some("kiln".into()));
    none(&|c| c.to.push("ann@acme.test\r\nBcc: all@acme.test".into()));
    none(&|c| c.from = "nobody".into());
    none(&|c| {
        (c.security, c.ca) = (Security::Tls, Some("/nowhere".into()));
    });
}
