//! The way to the mail server, and who is told of what.

use crate::{
    config::{MailConfig, Security, When},
    error::{OP, invalid, smtp},
    letter::letter,
};
use async_trait::async_trait;
use kiln::{
    Error, ErrorKind, Event, Outcome, Owner, Phase, Result, Status,
    port::{BuildFilter, BuildSummary, Index, Notice, Notifier, Page, PageToken, Secrets},
};
use lettre::{
    AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::Mailbox,
    transport::smtp::{
        authentication::Credentials,
        client::{Certificate, Tls, TlsParameters},
    },
};
use std::{collections::BTreeMap, fmt, net::IpAddr, sync::Arc, time::Duration};

/// How many builds are looked back for the last one that says how it went.
const BACK: usize = 50;

/// Mails people. Each reader gets a mail of their own, so that nobody learns who else reads.
#[derive(Clone)]
pub struct Mail {
    config: MailConfig,
    from: Mailbox,
    to: Vec<Mailbox>,
    owners: BTreeMap<Owner, Vec<Mailbox>>,
    tls: Option<TlsParameters>,
    secrets: Arc<dyn Secrets>,
    index: Arc<dyn Index>,
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mail").field("host", &self.config.host).finish_non_exhaustive()
    }
}

fn mailbox(text: &String) -> Result<Mailbox> {
    text.parse().map_err(|_| invalid("that is no address of a mailbox").with("address", text))
}

fn is_here(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|a| a.is_loopback())
}

/// Whether a build says how a branch is: not if it was stopped.
fn verdict(outcome: &Outcome) -> Option<bool> {
    match outcome {
        Outcome::Succeeded => Some(true),
        Outcome::Cancelled => None,
        _ => Some(false),
    }
}

impl Mail {
    /// Checks the settings; `Invalid` says what is wrong. The password is asked for each time;
    /// the index tells how the build before went.
    pub fn new(
        config: MailConfig,
        secrets: Arc<dyn Secrets>,
        index: Arc<dyn Index>,
    ) -> Result<Self> {
        if config.security == Security::None && !is_here(&config.host) {
            return Err(invalid("mail to another machine has to be encrypted")
                .with("host", &config.host)
                .hint("Set `security` to `starttls` or `tls`."));
        }
        if config.username.is_some() != config.password.is_some() {
            return Err(invalid("`username` and `password` need each other"));
        }
        let from = mailbox(&config.from)?;
        let to = config.to.iter().map(mailbox).collect::<Result<Vec<_>>>()?;
        let of = |(owner, to): (&Owner, &Vec<String>)| {
            Ok((owner.clone(), to.iter().map(mailbox).collect::<Result<_>>()?))
        };
        let owners = config.owners.iter().map(of).collect::<Result<BTreeMap<_, Vec<_>>>>()?;
        if to.is_empty() && owners.values().all(Vec::is_empty) {
            return Err(invalid("nobody reads: name somebody in `to` or in `owners`"));
        }
        let tls = match config.security {
            Security::None => None,
            _ => Some(parameters(&config)?),
        };
        Ok(Self { config, from, to, owners, tls, secrets, index })
    }

    fn time(&self) -> Duration {
        Duration::from_secs(self.config.timeout_seconds.max(1))
    }

    /// Sends a mail within its time: a transport alone only looks at the time while it connects.
    async fn send(
        &self,
        transport: &AsyncSmtpTransport<Tokio1Executor>,
        letter: Message,
    ) -> Result<()> {
        match tokio::time::timeout(self.time(), transport.send(letter)).await {
            Ok(sent) => sent.map(drop).map_err(|e| smtp(&self.config.host, &e)),
            Err(_) => Err(Error::new(ErrorKind::Timeout, OP, "the mail server took too long")
                .with("host", &self.config.host)),
        }
    }

    async fn transport(&self) -> Result<AsyncSmtpTransport<Tokio1Executor>> {
        let (tls, port) = match (self.config.security, &self.tls) {
            (Security::StartTls, Some(tls)) => (Tls::Required(tls.clone()), 587),
            (Security::Tls, Some(tls)) => (Tls::Wrapper(tls.clone()), 465),
            _ => (Tls::None, 25),
        };
        // Its name does not say that it is without TLS, but that it does not choose by itself.
        let builder =
            AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(self.config.host.clone())
                .port(self.config.port.unwrap_or(port))
                .timeout(Some(self.time()))
                .tls(tls);
        let (Some(user), Some(name)) = (&self.config.username, &self.config.password) else {
            return Ok(builder.build());
        };
        let secret =
            self.secrets.reveal(&Owner::local(), name).await.map_err(|e| match e.kind() {
                ErrorKind::NotFound | ErrorKind::Denied => e.status(Status::Temporary),
                _ => e,
            })?;
        let password = secret.expose_str().ok_or_else(|| {
            invalid("the password is not text").status(Status::Temporary).with("secret", name)
        })?;
        let password = password.trim_end_matches(['\r', '\n']).to_owned();
        Ok(builder.credentials(Credentials::new(user.clone(), password)).build())
    }

    fn readers(&self, owner: &Owner) -> Vec<&Mailbox> {
        let mut readers: Vec<&Mailbox> = Vec::new();
        for reader in self.to.iter().chain(self.owners.get(owner).into_iter().flatten()) {
            if !readers.iter().any(|r| r.email == reader.email) {
                readers.push(reader);
            }
        }
        readers
    }

    /// Whether the readers want to know of this.
    async fn matters(&self, notice: &Notice) -> Result<bool> {
        let Event::Finished { outcome } = &notice.event else {
            return Ok(self.config.every_event);
        };
        match (self.config.when, verdict(outcome)) {
            (When::Always, _) => Ok(true),
            (When::Failure, now) => Ok(now != Some(true)),
            (When::Change, None) => Ok(false),
            (When::Change, Some(now)) => Ok(self.before(&notice.build).await? != Some(now)),
        }
    }

    /// How the branch of a build was before it, if a build told.
    async fn before(&self, build: &BuildSummary) -> Result<Option<bool>> {
        let mut labels = BTreeMap::new();
        for key in ["kiln.hook", "kiln.repo", "kiln.branch", "kiln.pull"] {
            if let Some(value) = build.labels.get(key) {
                labels.insert(key.to_owned(), value.clone());
            }
        }
        if labels.len() < 3 {
            return Ok(None);
        }
        let owner = Some(build.owner.clone());
        let filter =
            BuildFilter { owner, phase: Some(Phase::Finished), labels, ..BuildFilter::default() };
        let page = Page { max: BACK, after: Some(PageToken::after(build)) };
        let earlier = self.index.list(&filter, &page).await?;
        Ok(earlier.iter().find_map(|b| verdict(b.outcome.as_ref()?)))
    }
}

fn parameters(config: &MailConfig) -> Result<TlsParameters> {
    let mut builder = TlsParameters::builder(config.host.clone());
    if let Some(path) = &config.ca {
        let unreadable = |e: Box<dyn std::error::Error + Send + Sync>| {
            invalid("the certificate cannot be read").with("file", path.display()).source(e)
        };
        let pem = std::fs::read(path).map_err(|e| unreadable(e.into()))?;
        let certificate = Certificate::from_pem(&pem).map_err(|e| unreadable(e.into()))?;
        builder = builder.add_root_certificate(certificate);
    }
    builder
        .build_rustls()
        .map_err(|e| Error::new(ErrorKind::Unexpected, OP, "no TLS can be spoken").source(e))
}

#[async_trait]
impl Notifier for Mail {
    /// One reader that the server refuses keeps the others from nothing. If the server is to be
    /// tried again, those who have the mail get it again: it has the same `Message-ID`.
    async fn notify(&self, notice: &Notice) -> Result<()> {
        if !self.matters(notice).await? {
            return Ok(());
        }
        let readers = self.readers(&notice.build.owner);
        if readers.is_empty() {
            return Ok(());
        }
        let transport = self.transport().await?;
        let (mut reached, mut worst) = (0, None);
        for reader in &readers {
            let letter = letter(notice, &self.from, reader, self.config.target.as_deref())?;
            match self.send(&transport, letter).await {
                Ok(()) => reached += 1,
                Err(error) => {
                    tracing::warn!(build = %notice.build.build, ?error, "a reader was not reached");
                    if error.retry_status() != Status::Permanent || worst.is_none() {
                        worst = Some(error);
                    }
                }
            }
        }
        match worst {
            Some(e) if e.retry_status() != Status::Permanent || reached == 0 => Err(e),
            _ => Ok(()),
        }
    }

    fn wants(&self, event: &Event) -> bool {
        self.config.every_event || matches!(event, Event::Finished { .. })
    }
}
