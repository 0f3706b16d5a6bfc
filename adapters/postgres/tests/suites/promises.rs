//! The adapters of this crate keep the promises of their ports, on a real server.

use crate::common::Place;
use kiln::memory::VirtualClock;
use kiln_conformance::Fresh;
use kiln_postgres::{PgFleet, PgIndex, PgLogs, PgQueue, PgStore};
use std::sync::Arc;

/// Skips where there is no server.
macro_rules! or_skip {
    ($fresh:expr) => {
        match $fresh.await {
            Some(fresh) => fresh,
            None => return,
        }
    };
}

mod store {
    use super::*;

    async fn fresh() -> Option<Fresh<PgStore>> {
        let place = Place::new("the suite of the store")?;
        let (store, config) = (place.db().await.store(), place.config());
        let again = move || {
            let config = config.clone();
            async move { Arc::new(kiln_postgres::PgDb::connect(&config).await.unwrap().store()) }
        };
        Some(Fresh::new(Arc::new(store)).reopen(again).keep(place))
    }
    kiln_conformance::store_suite!(or_skip!(fresh()));
}

mod index {
    use super::*;

    async fn fresh() -> Option<Fresh<PgIndex>> {
        let place = Place::new("the suite of the index")?;
        Some(Fresh::new(Arc::new(place.db().await.index())).keep(place))
    }
    kiln_conformance::index_suite!(or_skip!(fresh()));
}

/// By a clock that the suite moves: a server that is slow for a moment makes no lease expire.
mod queue {
    use super::*;

    async fn fresh() -> Option<Fresh<PgQueue>> {
        let place = Place::new("the suite of the queue")?;
        let clock = VirtualClock::at(kiln::Timestamp(1_000_000));
        let queue = PgQueue::with_clock(&place.db().await, Arc::new(clock.clone()));
        let (config, time) = (place.config(), clock.clone());
        let again = move || {
            let (config, clock) = (config.clone(), time.clone());
            async move {
                let db = kiln_postgres::PgDb::connect(&config).await.unwrap();
                Arc::new(PgQueue::with_clock(&db, Arc::new(clock)))
            }
        };
        Some(Fresh::new(Arc::new(queue)).time(clock.into()).reopen(again).keep(place))
    }
    kiln_conformance::queue_suite!(or_skip!(fresh()));
}

/// By the server's clock, as it is outside of tests: those promises that a slow machine cannot break.
mod queue_by_the_server {
    use super::*;

    async fn fresh() -> Option<Fresh<PgQueue>> {
        let place = Place::new("the suite of the queue, by the server's clock")?;
        Some(Fresh::new(Arc::new(place.db().await.queue())).keep(place))
    }
    kiln_conformance::tests_of! { queue, or_skip!(fresh()),
        a_job_comes_back_as_it_was
        of_racing_nodes_each_job_goes_to_one
        a_token_never_comes_again
        an_expired_lease_can_be_renewed_until_another_has_it
        an_older_holder_can_neither_renew_nor_settle
        a_removed_job_is_gone_and_its_holder_learns_it
        a_lease_waits_for_a_job
        a_lease_waits_for_another_to_expire
        a_lease_ends_with_patience
    }
}

mod fleet {
    use super::*;

    async fn fresh() -> Option<Fresh<PgFleet>> {
        let place = Place::new("the suite of the fleet")?;
        Some(Fresh::new(Arc::new(place.db().await.fleet())).keep(place))
    }
    kiln_conformance::fleet_suite!(or_skip!(fresh()));
}

mod logs {
    use super::*;

    async fn fresh() -> Option<Fresh<PgLogs>> {
        let place = Place::new("the suite of logs")?;
        let (logs, config) = (place.db().await.logs(), place.config());
        let again = move || {
            let config = config.clone();
            async move { Arc::new(kiln_postgres::PgDb::connect(&config).await.unwrap().logs()) }
        };
        Some(Fresh::new(Arc::new(logs)).reopen(again).keep(place))
    }
    kiln_conformance::log_suite!(or_skip!(fresh()));
}
