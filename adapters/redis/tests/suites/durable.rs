//! What servers keep, and whether it is enough.

use crate::server::{PASSWORD, Server};
use kiln::{ErrorKind, port::Queue};
use kiln_conformance::run;
use kiln_redis::{Level, RedisConfig, RedisDb, Require};

#[test]
fn a_server_that_keeps_too_little_is_refused() {
    let evicts = ["--maxmemory", "1gb", "--maxmemory-policy", "allkeys-lru"];
    let on = |fsync| vec!["--appendonly", "yes", "--appendfsync", fsync];
    let with = |mut first: Vec<&'static str>, more: &[&'static str]| {
        first.extend(more);
        first
    };
    let volatile = ["--maxmemory", "1gb", "--maxmemory-policy", "volatile-lru"];
    let rewrite = ["--no-appendfsync-on-rewrite", "yes"];
    // What a server is told, what it keeps, and whether that is enough to require all, one second
    // less, or nothing.
    let cases = [
        (on("always"), Level::Always, false, [true, true, true]),
        (on("everysec"), Level::EverySecond, false, [false, true, true]),
        (on("no"), Level::Earlier, false, [false, false, true]),
        (with(on("always"), &rewrite), Level::Earlier, false, [false, false, true]),
        (with(on("always"), &evicts), Level::Always, true, [false, false, true]),
        (with(on("always"), &volatile), Level::Always, false, [true, true, true]),
        (vec!["--appendonly", "no"], Level::Nothing, false, [false, false, true]),
        (vec!["--save", "60", "1"], Level::Earlier, false, [false, false, true]),
    ];
    for (settings, level, evicts, enough) in cases {
        let Some(server) = Server::start(&settings) else { return };
        run("a_server_that_keeps_too_little_is_refused", async {
            let requires = [Require::Always, Require::EverySecond, Require::Nothing];
            for (require, enough) in requires.into_iter().zip(enough) {
                let config = server.config().require(require);
                let db = RedisDb::connect(config).await.unwrap();
                let found = db.durability();
                assert_eq!((found.level, found.evicts), (level, evicts), "{settings:?}");
                let lossless = level == Level::Always && !evicts;
                assert_eq!(found.warnings.is_empty(), lossless, "{settings:?}: {found:?}");
                let store = db.store();
                assert_eq!(store.is_ok(), enough, "{settings:?} for {require:?}: {store:?}");
                assert!(store.err().is_none_or(|e| e.kind() == ErrorKind::Unsupported));
            }
            // The rest needs no such promise.
            let db = server.connect().await;
            db.queue().push(crate::common::job("x", "o")).await.unwrap();
        });
    }
}

/// Who may not ask for settings gets what the server tells everybody, or nothing.
#[test]
fn a_server_that_does_not_tell_is_unknown() {
    for (forbidden, appendonly, level) in [
        (vec!["-config"], "yes", Level::Unknown),
        (vec!["-config"], "no", Level::Unknown),
        (vec!["-config", "-info"], "yes", Level::Unknown),
    ] {
        let Some(server) = Server::start(&["--appendonly", appendonly]) else { return };
        run("a_server_that_does_not_tell_is_unknown", async {
            let mut user = redis::cmd("ACL");
            user.arg("SETUSER").arg("ann").arg("on").arg(format!(">{PASSWORD}"));
            user.arg("~*").arg("&*").arg("+@all").arg(&forbidden);
            user.query::<()>(&mut server.raw()).unwrap();
            let config = RedisConfig::new(&server.url().replace("//:", "//ann:")).unwrap();
            let db = RedisDb::connect(config.clone()).await.unwrap();
            assert_eq!(db.durability().level, level, "{forbidden:?}");
            let refused = db.store().unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Unsupported);
            assert!(refused.hint_text().unwrap().contains("CONFIG"), "{:?}", refused.hint_text());
            let db = RedisDb::connect(config.require(Require::Nothing)).await.unwrap();
            db.store().unwrap();
        });
    }
}

/// A server that comes back may keep less than it did.
#[test]
fn what_a_server_keeps_is_asked_again_when_it_comes_back() {
    let Some(mut server) = Server::start(crate::server::DURABLE) else { return };
    run("what_a_server_keeps_is_asked_again_when_it_comes_back", async {
        let db = server.connect().await;
        assert_eq!(db.durability().level, Level::Always);
        server.kill();
        server.restart_with(&["--appendonly", "no"]);
        let start = std::time::Instant::now();
        while db.durability().level != Level::Nothing {
            assert!(start.elapsed() < std::time::Duration::from_secs(60), "{:?}", db.durability());
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        assert_eq!(db.store().unwrap_err().kind(), ErrorKind::Unsupported);
    });
}
