//! Connecting: who is there, and which version its keys have.

use crate::{config::RedisConfig, durability::forbidden, error::cluster, wire::Line};
use kiln::{Error, ErrorKind, Result};

const OP: &str = "Redis::connect";
/// The version of the keys that this Kiln writes; `docs/redis.md` describes it.
pub(crate) const VERSION: u32 = 1;
/// The oldest major version of Redis whose scripts can say what they need.
const OLDEST: u32 = 7;

/// Checks the server, and marks it with our version if nobody has.
pub(crate) async fn check(line: &mut Line, config: &RedisConfig) -> Result<()> {
    let about: String = match line.ask(OP, redis::cmd("INFO").arg("server").arg("cluster")).await {
        Ok(about) => about,
        // Who does not tell is asked nothing more: what it cannot do, it says when it is to do it.
        Err(e) if forbidden(&e) => return mark(line, config).await,
        Err(e) => return Err(e),
    };
    let says = |field: &str| {
        about.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).map(str::trim)
    };
    let version = says("redis_version").unwrap_or_default();
    let major: u32 = version.split('.').next().and_then(|n| n.parse().ok()).unwrap_or(0);
    if !version.is_empty() && major < OLDEST {
        return Err(Error::new(ErrorKind::Unsupported, OP, "this Redis is too old")
            .with("version", version)
            .hint("Use Redis 7 or newer, or Valkey."));
    }
    if says("cluster_enabled") == Some("1") {
        let (kind, message, hint) = cluster();
        return Err(Error::new(kind, OP, message).hint(hint));
    }
    mark(line, config).await
}

async fn mark(line: &mut Line, config: &RedisConfig) -> Result<()> {
    let key = format!("{}version", config.prefix);
    let mut set = redis::cmd("SET");
    let old: Option<String> = line.ask(OP, set.arg(&key).arg(VERSION).arg("NX").arg("GET")).await?;
    let Some(old) = old else { return Ok(()) };
    match old.parse::<u32>() {
        Ok(version) if (1..=VERSION).contains(&version) => Ok(()),
        Ok(version) if version > VERSION => {
            let message = "a newer version of Kiln keeps its keys there";
            Err(Error::new(ErrorKind::Unsupported, OP, message)
                .with("version", version)
                .with("known", VERSION)
                .hint("Use that version, or another prefix of keys."))
        }
        _ => Err(Error::new(ErrorKind::Invalid, OP, "the keys are another program's")
            .with("key", key)
            .hint("Use another prefix of keys.")),
    }
}
