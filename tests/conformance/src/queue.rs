//! What every [`Queue`] must do.
//!
//! The expression makes a `Fresh<Q>` whose [`Time`](crate::Time) is the one by which leases expire:
//! `Fresh::new(Arc::new(MyQueue::with_clock(clock))).time(clock.into())` with a
//! [`VirtualClock`](kiln::memory::VirtualClock), or real time.

mod leases;
mod turns;

pub use leases::*;
pub use turns::*;

use kiln::port::{Lease, Node, Queue};
use std::time::Duration;

/// Makes a test of every promise of a queue. The expression makes a `Fresh<Q>` for some `Q: Queue`.
#[macro_export]
macro_rules! queue_suite {
    ($fresh:expr) => {
        $crate::tests_of! { queue, $fresh,
            a_job_comes_back_as_it_was
            a_job_is_leased_to_one_node_at_a_time
            of_racing_nodes_each_job_goes_to_one
            a_job_that_is_there_stays_as_it_is
            an_expired_lease_makes_its_job_free
            a_renewed_lease_does_not_expire
            an_expired_lease_can_be_renewed_until_another_has_it
            an_older_holder_can_neither_renew_nor_settle
            a_token_never_comes_again
            a_token_that_was_never_given_is_refused
            a_settled_job_is_gone
            a_job_given_back_waits_for_its_time
            a_removed_job_is_gone_and_its_holder_learns_it
            with_no_patience_a_lease_returns_at_once
            a_lease_waits_for_a_job
            a_lease_waits_for_a_time_to_come
            a_lease_waits_for_another_to_expire
            a_lease_ends_with_patience
            a_cancelled_lease_costs_nothing_for_long
            of_one_owner_the_highest_priority_goes_first
            of_one_priority_the_oldest_goes_first
            the_owner_with_the_fewest_leases_goes_first
            a_job_that_does_not_fit_holds_up_nobody
            a_job_goes_where_its_placement_says
            a_node_has_no_more_leases_than_slots
            a_node_gives_no_more_than_it_has
            a_drained_node_gets_nothing
            no_group_has_more_leases_than_a_job_allows
            jobs_outlive_the_process
        }
    };
}

const LONG: Duration = Duration::from_secs(60);
const NONE: Duration = Duration::ZERO;
/// How long the leases of the suite last where they are to expire.
const TTL: Duration = Duration::from_millis(400);

/// What a node gets now, with a lease that lasts.
async fn now(queue: &(impl Queue + ?Sized), node: &Node) -> Option<Lease> {
    queue.lease(node, LONG, NONE).await.expect("a lease")
}

/// The names of the jobs that a node gets one after the other.
async fn turns(queue: &(impl Queue + ?Sized), node: &Node) -> String {
    let mut names = Vec::new();
    while let Some(lease) = now(queue, node).await {
        names.push(lease.job.build.to_string());
    }
    names.join(" ")
}
