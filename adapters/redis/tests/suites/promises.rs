//! The adapters of this crate keep the promises of their ports, each test on a server of its own.

use crate::server::{DURABLE, PROGRAM, Server, program, skipped};
use kiln::memory::VirtualClock;
use kiln_conformance::Fresh;
use kiln_redis::{RedisDb, RedisFleet, RedisIndex, RedisLogs, RedisQueue, RedisStore};
use std::{process::Command, sync::Arc};

/// Ends a test that has no server.
macro_rules! fresh {
    ($fresh:expr) => {
        match $fresh.await {
            Some(fresh) => fresh,
            None => return,
        }
    };
}

async fn db() -> Option<(Server, RedisDb)> {
    let server = Server::start(DURABLE)?;
    let db = server.connect().await;
    Some((server, db))
}

mod store {
    use super::*;

    async fn fresh() -> Option<Fresh<RedisStore>> {
        let (server, db) = db().await?;
        let config = server.config();
        let again = move || {
            let config = config.clone();
            async move { Arc::new(RedisDb::connect(config).await.unwrap().store().unwrap()) }
        };
        Some(Fresh::new(Arc::new(db.store().unwrap())).reopen(again).keep(server))
    }
    kiln_conformance::store_suite!(fresh!(fresh()));
}

mod log {
    use super::*;

    async fn fresh() -> Option<Fresh<RedisLogs>> {
        let (server, db) = db().await?;
        let config = server.config();
        let again = move || {
            let config = config.clone();
            async move { Arc::new(RedisDb::connect(config).await.unwrap().logs()) }
        };
        Some(Fresh::new(Arc::new(db.logs())).reopen(again).keep(server))
    }
    kiln_conformance::log_suite!(fresh!(fresh()));
}

mod index {
    use super::*;

    async fn fresh() -> Option<Fresh<RedisIndex>> {
        let (server, db) = db().await?;
        Some(Fresh::new(Arc::new(db.index())).keep(server))
    }
    kiln_conformance::index_suite!(fresh!(fresh()));
}

/// By a clock that the suite moves: a server that is slow for a moment makes no lease expire.
mod queue {
    use super::*;

    async fn fresh() -> Option<Fresh<RedisQueue>> {
        let (server, db) = db().await?;
        let clock = VirtualClock::at(kiln::Timestamp(1_000_000));
        let (first, again) = (Arc::new(clock.clone()), Arc::new(clock.clone()));
        let config = server.config();
        let again = move || {
            let (config, again) = (config.clone(), again.clone());
            async move {
                let db = RedisDb::connect(config).await.unwrap();
                Arc::new(RedisQueue::with_clock(&db, again))
            }
        };
        let queue = RedisQueue::with_clock(&db, first);
        Some(Fresh::new(Arc::new(queue)).time(clock.into()).reopen(again).keep(server))
    }
    kiln_conformance::queue_suite!(fresh!(fresh()));
}

/// By the server's own clock, those promises that a slow machine cannot break.
mod queue_of_the_server {
    use super::*;

    async fn fresh() -> Option<Fresh<RedisQueue>> {
        let (server, db) = db().await?;
        let config = server.config();
        let again = move || {
            let config = config.clone();
            async move { Arc::new(RedisDb::connect(config).await.unwrap().queue()) }
        };
        Some(Fresh::new(Arc::new(db.queue())).reopen(again).keep(server))
    }
    kiln_conformance::tests_of! { queue, fresh!(fresh()),
        a_job_comes_back_as_it_was
        a_token_never_comes_again
        an_expired_lease_can_be_renewed_until_another_has_it
        an_older_holder_can_neither_renew_nor_settle
        a_removed_job_is_gone_and_its_holder_learns_it
        a_lease_waits_for_a_job
        a_lease_waits_for_a_time_to_come
        a_lease_waits_for_another_to_expire
        a_lease_ends_with_patience
        jobs_outlive_the_process
    }
}

mod fleet {
    use super::*;

    async fn fresh() -> Option<Fresh<RedisFleet>> {
        let (server, db) = db().await?;
        Some(Fresh::new(Arc::new(db.fleet())).keep(server))
    }
    kiln_conformance::fleet_suite!(fresh!(fresh()));
}

/// All tests of this program on Valkey, where there is one.
#[test]
fn valkey_keeps_all_promises() {
    if std::env::var_os(PROGRAM).is_some() {
        return;
    }
    if program("valkey-server").is_none() {
        skipped("promises::valkey_keeps_all_promises", "release: there is no valkey-server");
        return;
    }
    let own = std::env::current_exe().unwrap();
    let mut command = Command::new(own);
    command.args(["--test-threads=2"]).env(PROGRAM, "valkey-server");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("SKIPPED"), "{said}");
}
