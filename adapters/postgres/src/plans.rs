//! What questions cost, on a real server with many rows: the pages of tables and indexes that the
//! server looks at.

use crate::{
    PgConfig, PgDb,
    index::{Query, query},
    lines::{Param, plain},
    queue::LEASE,
    tls,
};
use kiln::{
    BuildId, Owner, Timestamp,
    port::{BuildFilter, Page, PageToken},
    state::Phase,
};
use std::collections::BTreeMap;
use tokio_postgres::{Client, types::Type};

/// A session as the adapter has it, in a schema of its own; says so if there is no server.
pub(crate) async fn session(test: &str) -> Option<(Client, PgConfig)> {
    let services = std::env::var_os("KILN_TEST_REAL")
        .filter(|v| v == "1")
        .and_then(|_| std::fs::read(std::env::var_os("KILN_TEST_SERVICES")?).ok());
    let services: Option<serde_json::Value> =
        services.map(|text| serde_json::from_slice(&text).unwrap());
    let url = services.as_ref().and_then(|s| s["services"]["postgres"]["url"].as_str());
    let Some(url) = url else {
        println!("SKIPPED: {test}: there is no PostgreSQL");
        return None;
    };
    let schema = format!("t_{}", &BuildId::random().as_str()[..16]);
    let config = PgConfig::new(url).unwrap().schema(&schema).unwrap();
    PgDb::connect(&config).await.unwrap();
    let connector = tls::connector(&config).unwrap();
    let (client, connection) = config.session().connect(connector).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    Some((client, config))
}

pub(crate) async fn remove(client: &Client, config: &PgConfig) {
    client.batch_execute(&format!("DROP SCHEMA {} CASCADE", config.schema)).await.unwrap();
}

/// How many pages a question looks at, and what the server plans.
async fn pages(client: &Client, sql: &str, params: &[(Param, Type)]) -> (u64, String) {
    let params: Vec<_> = params.iter().map(|(p, t)| (plain(p), t.clone())).collect();
    let sql = format!("EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF) {sql}");
    let rows = client.query_typed(&sql, &params).await.unwrap();
    let lines: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    // The first line of this kind is of the whole plan: `Buffers: shared hit=12 read=3`.
    let buffers = lines.iter().find(|l| l.trim().starts_with("Buffers: shared")).unwrap();
    let counts = buffers.split_whitespace().filter_map(|part| {
        let (what, count) = part.split_once('=')?;
        matches!(what, "hit" | "read").then(|| count.parse::<u64>().ok())?
    });
    (counts.sum(), lines.join("\n"))
}

fn lease_of(node: &str) -> [(Param, Type); 8] {
    [
        (Box::new(node.to_owned()), Type::TEXT),
        (Box::new(vec!["os=linux".to_owned()]), Type::TEXT_ARRAY),
        (Box::new(100_000_i64), Type::INT8),
        (Box::new(i64::MAX), Type::INT8),
        (Box::new(i64::MAX), Type::INT8),
        (Box::new(60_000_i64), Type::INT8),
        (Box::new(None::<i64>), Type::INT8),
        (Box::new(i64::MAX), Type::INT8),
    ]
}

/// With 100,000 jobs in a few lanes, most of them of one owner, and as many that are delayed, a
/// lease looks at few pages, also before the server knows how many there are.
#[tokio::test]
async fn a_lease_reads_the_heads_of_lanes_only() {
    let test = "a_lease_reads_the_heads_of_lanes_only";
    let Some((client, config)) = session(test).await else { return };
    // A plan that is made while there is nothing has to do later too.
    for _ in 0..8 {
        pages(&client, LEASE, &lease_of("early")).await;
    }
    let fill = "INSERT INTO job (build, owner, priority, not_before, asks, shape, labels,
            cpu_millis, memory_bytes, groups, maxima, wakes)
        SELECT 'b' || n, CASE WHEN n % 50 = 0 THEN 'ann' ELSE 'bob' END, n % 7, 0, '{}',
            sha256(convert_to((n % 3)::text, 'UTF8')), '{}', 0, 0,
            CASE WHEN n % 3 = 0 THEN ARRAY['g'] ELSE ARRAY[]::text[] END,
            CASE WHEN n % 3 = 0 THEN ARRAY[5::bigint] ELSE ARRAY[]::bigint[] END,
            CASE WHEN n > 100000 THEN now_millis() + 1000000 + n END
        FROM generate_series(1, 200000) n";
    client.batch_execute(fill).await.unwrap();
    for analyzed in [false, true] {
        for i in 0..40 {
            let (count, plan) = pages(&client, LEASE, &lease_of("n")).await;
            // 6 lanes, and their heads; and what is leased already, of which there is more each time.
            assert!(count < 900, "lease {i} of {count} pages, analyzed: {analyzed}\n{plan}");
        }
        client.batch_execute("ANALYZE job").await.unwrap();
    }
    let row = client.query_one("SELECT count(*) FROM job WHERE held", &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 80);
    remove(&client, &config).await;
}

/// With 1,000,000 builds no list reads more than it has to.
#[tokio::test]
async fn no_list_reads_more_than_it_has_to() {
    let test = "no_list_reads_more_than_it_has_to";
    let Some((client, config)) = session(test).await else { return };
    let fill = "INSERT INTO summary
            (build, seq, accepted_at, owner, phase, outcome, labels, summary)
        SELECT md5(n::text), 1, n / 3, CASE WHEN n % 10 = 0 THEN 'ann' ELSE 'bob' END,
            CASE WHEN n % 1000 = 7 THEN 'running' ELSE 'finished' END, 'succeeded', '{}', '{}'
        FROM generate_series(1, 1000000) n";
    client.batch_execute(fill).await.unwrap();
    let labels = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
    let label = crate::index::label("a", "1");
    let fill = "INSERT INTO label (label, accepted_at, build)
        SELECT $1, accepted_at, build FROM summary WHERE accepted_at % 20 = 0";
    client.execute(fill, &[&label]).await.unwrap();
    let f = BuildFilter::default;
    for analyzed in [false, true] {
        let build = BuildId::new("8").unwrap();
        for after in [None, Some(PageToken { accepted_at: Timestamp(100_000), build })] {
            let page = Page { max: 10, after };
            for filter in [
                f(),
                BuildFilter { id_prefix: Some("8f14e45f".into()), ..f() },
                BuildFilter { id_prefix: Some("8f".into()), ..f() },
                BuildFilter { owner: Owner::new("ann").ok(), ..f() },
                BuildFilter { phase: Some(Phase::Running), ..f() },
                BuildFilter { phase: Some(Phase::Finished), ..f() },
                BuildFilter { labels: labels.clone(), ..f() },
                BuildFilter { owner: Owner::new("ann").ok(), labels: labels.clone(), ..f() },
            ] {
                let short = filter.id_prefix.as_ref().is_some_and(|p| p.len() < 8);
                if filter.id_prefix.is_some() && !analyzed {
                    // By time or by id: which is shorter the server only knows once it has counted.
                    continue;
                }
                let Query { sql, args } = query(&filter, &page);
                let (count, plan) = pages(&client, &sql, &args).await;
                let most = if short { 6000 } else { 800 };
                assert!(count < most, "{count} pages for {filter:?} {page:?}\n{plan}");
            }
        }
        client.batch_execute("ANALYZE summary; ANALYZE label").await.unwrap();
    }
    remove(&client, &config).await;
}
