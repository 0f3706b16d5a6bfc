//! `cargo xtask services`: real servers for tests, on this machine only.

mod book;
mod container;
mod engine;
mod postgres;
mod redis;
mod registry;
mod s3;
mod start;

use crate::error::{Context, Failure, Result};
use crate::layout::Layout;
use crate::process::lock;
use std::fs;
use std::time::Instant;

pub(crate) use book::{Book, Entry};
pub(crate) use engine::{docker, engine_url};
use start::Place;
pub(crate) use start::empty;

/// A server that can be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Docker,
    Registry,
    RegistryAuth,
    RegistryTls,
    Postgres,
    Redis,
    S3,
}

impl Service {
    /// All of them, in the order in which they start.
    pub(crate) const ALL: [Self; 7] = [
        Self::Docker,
        Self::Registry,
        Self::RegistryAuth,
        Self::RegistryTls,
        Self::Postgres,
        Self::Redis,
        Self::S3,
    ];

    /// What the tests need today.
    pub(crate) const TESTED: [Self; 7] = Self::ALL;

    /// Its name on the command line and in `services.json`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Registry => "registry",
            Self::RegistryAuth => "registry-auth",
            Self::RegistryTls => "registry-tls",
            Self::Postgres => "postgres",
            Self::Redis => "redis",
            Self::S3 => "s3",
        }
    }

    fn start(self, place: &Place<'_>) -> Result<Entry> {
        match self {
            Self::Docker => engine::start(place),
            Self::Registry => registry::plain(place),
            Self::RegistryAuth => registry::with_password(place),
            Self::RegistryTls => registry::with_certificate(place),
            Self::Postgres => postgres::start(place),
            Self::Redis => redis::start(place),
            Self::S3 => s3::start(place),
        }
    }
}

/// `services up|down|status`.
pub(crate) fn run(layout: &Layout, args: &[String]) -> Result<()> {
    let (verb, names) = match args.split_first() {
        Some((verb, names)) => (verb.as_str(), names),
        None => return Err(Failure::Usage("services: say up, down or status".into())),
    };
    match verb {
        "up" => up(layout, &choose(names, &Service::TESTED)?).map(|_| ()),
        "down" => down(layout, &choose(names, &Service::ALL)?),
        "status" if names.is_empty() => status(layout),
        "status" => Err(Failure::Usage("services status takes no name".into())),
        other => Err(Failure::Usage(format!("services: `{other}` is not up, down or status"))),
    }
}

fn choose(names: &[String], otherwise: &[Service]) -> Result<Vec<Service>> {
    if names.is_empty() {
        return Ok(otherwise.to_vec());
    }
    if names == ["all"] {
        return Ok(Service::ALL.to_vec());
    }
    let find = |name: &String| {
        Service::ALL.into_iter().find(|service| service.name() == name).ok_or_else(|| {
            let known: Vec<_> = Service::ALL.iter().map(|service| service.name()).collect();
            Failure::Usage(format!("no service `{name}`; there are {}, all", known.join(", ")))
        })
    };
    names.iter().map(find).collect()
}

/// Starts what does not run yet. What did start stays up if a later one fails.
pub(crate) fn up(layout: &Layout, services: &[Service]) -> Result<Book> {
    let dir = layout.services();
    fs::create_dir_all(&dir).context(format!("cannot create {}", dir.display()))?;
    let _lock = lock(&dir.join("lock"))?;
    let mut book = Book::read(layout)?;
    for service in services {
        let name = service.name();
        if book.get(name).is_some_and(Entry::is_alive) {
            println!("{name:<14} up already: {}", book.summary(name));
            continue;
        }
        if let Some(stale) = book.remove(name) {
            stale.stop()?;
        }
        let begin = Instant::now();
        let place = Place::new(layout, &book, *service)?;
        let entry = service
            .start(&place)
            .map_err(|e| Failure::task(format!("{name} does not start: {e}")))?;
        book.insert(name, entry);
        book.write()?;
        println!("{name:<14} up in {:.1?}: {}", begin.elapsed(), book.summary(name));
    }
    book.write()?;
    Ok(book)
}

/// What runs now.
pub(crate) fn running(layout: &Layout) -> Result<Vec<Service>> {
    let book = Book::read(layout)?;
    let alive = |service: &Service| book.get(service.name()).is_some_and(Entry::is_alive);
    Ok(Service::ALL.into_iter().filter(alive).collect())
}

/// Stops what was started here.
pub(crate) fn down(layout: &Layout, services: &[Service]) -> Result<()> {
    let dir = layout.services();
    if !dir.exists() {
        println!("nothing was started");
        return Ok(());
    }
    let _lock = lock(&dir.join("lock"))?;
    let mut book = Book::read(layout)?;
    let mut failed = Vec::new();
    // The engine last: a service may run in it.
    for service in services.iter().rev() {
        let name = service.name();
        let Some(entry) = book.get(name) else { continue };
        let stopped = entry.stop();
        match stopped {
            Ok(how) => {
                println!("{name:<14} {how}");
                book.remove(name);
                book.write()?;
            }
            Err(error) => failed.push(format!("{name}: {error}")),
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(Failure::task(failed.join("; "))) }
}

fn status(layout: &Layout) -> Result<()> {
    let book = Book::read(layout)?;
    for service in Service::ALL {
        let name = service.name();
        match book.get(name) {
            Some(entry) if entry.is_alive() => println!("{name:<14} up    {}", book.summary(name)),
            Some(_) => println!("{name:<14} dead  its process ended; read {}", book.log(name)),
            None => println!("{name:<14} down"),
        }
    }
    println!("\n{}", book.path().display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        let names = |names: &[&str]| -> Vec<String> { names.iter().map(|&n| n.into()).collect() };
        assert_eq!(choose(&[], &Service::TESTED).expect("the default"), Service::TESTED);
        assert_eq!(choose(&names(&["all"]), &[]).expect("all"), Service::ALL);
        assert_eq!(choose(&names(&["s3"]), &[]).expect("one"), [Service::S3]);
        assert!(matches!(choose(&names(&["s3", "s4"]), &[]), Err(Failure::Usage(_))));
    }
}
