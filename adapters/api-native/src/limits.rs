//! How many requests a caller may make, and how many bad tokens a peer may show.

use crate::{access::Caller, settings::Settings};
use axum::{extract::ConnectInfo, http::Extensions};
use kiln::Timestamp;
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeSet, HashMap},
    net::{IpAddr, SocketAddr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// How many names are told apart; those beyond share one.
const NAMES_MAX: usize = 10_000;
/// How many tokens that were good are remembered.
const GOOD_MAX: usize = 1_000;
/// What one request costs: a bucket gets `per_minute` of it each millisecond.
const COST: u64 = 60_000;

/// So many at once, and so many more each minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many may come at once after a pause.
    pub burst: u32,
    /// How many may come in a minute in the long run.
    pub per_minute: u32,
}

/// Token buckets, one for each name.
#[derive(Debug)]
pub(crate) struct Buckets {
    rate: Rate,
    left: Mutex<HashMap<String, (u64, Timestamp)>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Buckets {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, left: Mutex::default() }
    }

    fn full(&self) -> u64 {
        u64::from(self.rate.burst) * COST
    }

    fn now(&self, (left, at): (u64, Timestamp), now: Timestamp) -> u64 {
        let earned = now.0.saturating_sub(at.0).saturating_mul(self.rate.per_minute.into());
        left.saturating_add(earned).min(self.full())
    }

    fn wait(&self, left: u64) -> Duration {
        let rate = u64::from(self.rate.per_minute.max(1));
        Duration::from_millis(COST.saturating_sub(left).div_ceil(rate))
    }

    /// How long a name has to wait for its next one; none if it has one.
    pub(crate) fn must_wait(&self, name: &str, now: Timestamp) -> Option<Duration> {
        let left = lock(&self.left).get(name).map_or(self.full(), |b| self.now(*b, now));
        (left < COST).then(|| self.wait(left))
    }

    /// Takes one, or says how long to wait for it.
    pub(crate) fn take(&self, name: &str, now: Timestamp) -> Result<(), Duration> {
        let mut all = lock(&self.left);
        if all.len() >= NAMES_MAX && !all.contains_key(name) {
            // A full bucket is as good as none.
            all.retain(|_, bucket| self.now(*bucket, now) < self.full());
        }
        let name = if all.len() < NAMES_MAX || all.contains_key(name) { name } else { "others" };
        let left = all.get(name).map_or(self.full(), |b| self.now(*b, now));
        if left < COST {
            return Err(self.wait(left));
        }
        all.insert(name.to_owned(), (left - COST, now));
        Ok(())
    }
}

/// Who is at the other end of a connection: an address, or the network of an IPv6 one, of which
/// anybody has plenty.
pub(crate) fn peer(extensions: &Extensions) -> String {
    match extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_canonical()) {
        None => "local".to_owned(),
        Some(IpAddr::V4(ip)) => ip.to_string(),
        Some(IpAddr::V6(ip)) => {
            let [a, b, c, d, ..] = ip.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

/// The limits of an API.
#[derive(Debug)]
pub(crate) struct Limits {
    requests: Buckets,
    failures: Buckets,
    good: Mutex<BTreeSet<[u8; 32]>>,
}

impl Limits {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            requests: Buckets::new(settings.requests),
            failures: Buckets::new(settings.failures),
            good: Mutex::default(),
        }
    }

    /// Before a token is looked at: how long a peer that showed too many bad ones has to wait. One
    /// that was good before is looked at all the same, so that nobody locks out his neighbours.
    pub(crate) fn knock(
        &self,
        peer: &str,
        token: Option<&str>,
        now: Timestamp,
    ) -> Result<(), Duration> {
        let Some(wait) = self.failures.must_wait(peer, now) else { return Ok(()) };
        let known = token.is_some_and(|t| lock(&self.good).contains(&hash(t)));
        if known { Ok(()) } else { Err(wait) }
    }

    /// A peer showed a bad token, or none.
    pub(crate) fn failed(&self, peer: &str, now: Timestamp) {
        // It will be told when it knocks again.
        let _ = self.failures.take(peer, now);
    }

    /// A token was good: may this caller make another request?
    pub(crate) fn request(
        &self,
        caller: &Caller,
        token: Option<&str>,
        now: Timestamp,
    ) -> Result<(), Duration> {
        let Some(token) = token else { return Ok(()) };
        let mut good = lock(&self.good);
        if good.len() >= GOOD_MAX {
            good.clear();
        }
        good.insert(hash(token));
        drop(good);
        let name = caller.name.as_deref().unwrap_or_default();
        self.requests.take(&format!("{}/{name}", caller.owner), now)
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(burst: u32, per_minute: u32) -> Buckets {
        Buckets::new(Rate { burst, per_minute })
    }

    #[test]
    fn a_bucket_holds_a_burst_and_fills_again() {
        let (b, at) = (buckets(3, 60), Timestamp);
        for _ in 0..3 {
            assert_eq!(b.take("a", at(0)), Ok(()));
        }
        assert_eq!(b.take("a", at(0)), Err(Duration::from_secs(1)));
        assert_eq!(b.take("b", at(0)), Ok(()), "another name");
        assert_eq!(b.take("a", at(999)), Err(Duration::from_millis(1)));
        assert_eq!(b.take("a", at(1_000)), Ok(()));
        assert_eq!(b.take("a", at(1_000)), Err(Duration::from_secs(1)));
        // It fills up to a burst and no further; a clock that goes back gives nothing.
        assert!((0..4).map(|_| b.take("a", at(900_000)).is_ok()).eq([true, true, true, false]));
        assert!(b.take("a", at(0)).is_err());
    }

    #[test]
    fn names_are_bounded() {
        let b = buckets(1, 1);
        for i in 0..NAMES_MAX {
            b.take(&i.to_string(), Timestamp(0)).unwrap();
        }
        b.take("one more", Timestamp(0)).unwrap();
        assert!(b.take("and one more", Timestamp(0)).is_err(), "they share one");
        assert!(lock(&b.left).len() <= NAMES_MAX + 1);
        b.take("later", Timestamp(60_000)).unwrap();
        assert_eq!(lock(&b.left).len(), 1);
    }

    #[test]
    fn peers_are_told_apart_by_what_costs_them() {
        let of = |ip: &str| {
            let mut extensions = Extensions::new();
            extensions.insert(ConnectInfo(SocketAddr::new(ip.parse().unwrap(), 9)));
            peer(&extensions)
        };
        assert_eq!(of("10.0.0.1"), "10.0.0.1");
        assert_eq!(of("::ffff:10.0.0.1"), "10.0.0.1");
        assert_eq!(of("2001:db8:1:2:3::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(peer(&Extensions::new()), "local");
    }
}
