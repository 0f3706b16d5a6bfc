//! Keeping the data directory small: `prune`.

use crate::{
    args::{Exit, PruneArgs, now},
    home::{Home, short},
    print, text,
};
use kiln::{
    CacheLimits, KeptCache, Phase, Result,
    port::{BuildFilter, BuildSummary, Page, PageToken, Runtime},
};
use kiln_docker::Leftover;
use std::{path::Path, time::Duration};

/// How old a build is before it is forgotten where nothing else is asked for.
const AGE: Duration = Duration::from_secs(30 * 86_400);

pub(crate) async fn prune(home: &Home, args: PruneArgs) -> Result<Exit> {
    let age = match (args.older_than, args.keep, args.all) {
        (Some(age), _, _) => age,
        (None, None, false) => AGE,
        _ => Duration::ZERO,
    };
    let keep = args.keep.unwrap_or(0);
    let finished = finished(home).await?;
    let is_old =
        |build: &&BuildSummary| now().since(build.finished_at.unwrap_or(build.accepted_at)) >= age;
    let old: Vec<_> = finished.iter().skip(keep).filter(is_old).collect();
    let before = bytes_below(&home.dir);
    for build in &old {
        if !args.dry_run {
            home.engine.forget(&build.build).await?;
        }
        if args.json {
            let forgotten = !args.dry_run;
            let line = serde_json::json!({ "build": build.build, "forgotten": forgotten });
            print::json("pruned", line);
        } else {
            print::result(format!(
                "{}  {}",
                short(&build.build),
                text::plain(build.labels.get("kiln.what").map(String::as_str).unwrap_or_default())
            ));
        }
    }
    let caches = caches(home, &args).await?;
    if !args.dry_run {
        home.sweep().await?;
    }
    let left = leftovers(home, &args).await.unwrap_or_else(|e| {
        // What is here is forgotten all the same.
        print::note(format!("warning: the engine was not swept: {e}"));
        0
    });
    let freed = before.saturating_sub(bytes_below(&home.dir));
    if args.json {
        let line = serde_json::json!({
            "builds": old.len(), "of": finished.len(), "caches": caches, "leftovers": left,
            "freed_bytes": freed, "dry_run": args.dry_run,
        });
        print::json("total", line);
    } else {
        let word = if args.dry_run { "would forget" } else { "forgot" };
        let freed = match args.dry_run {
            true => String::new(),
            false => format!(", {} freed", text::bytes(freed)),
        };
        let caches = match caches {
            0 => String::new(),
            1 => " and a cache".to_owned(),
            n => format!(" and {n} caches"),
        };
        let (old, all) = (old.len(), finished.len());
        print::note(format!("{word} {old} of {all} finished builds{caches}{freed}"));
    }
    Ok(Exit::Fine)
}

/// Forgets caches that nobody uses or that there is no room for; returns how many.
async fn caches(home: &Home, args: &PruneArgs) -> Result<usize> {
    let limits = match args.caches {
        true => CacheLimits { unused_max: Duration::ZERO, bytes_max: 0 },
        false => CacheLimits::default(),
    };
    let caches = match args.dry_run {
        true => home.engine.surplus_caches(&limits).await?,
        false => home.engine.prune_caches(&limits).await?,
    };
    for KeptCache { id, named, bytes, used_at } in &caches {
        let name = named.as_ref().map(|(_, name)| name.as_str());
        if args.json {
            let line = serde_json::json!({
                "cache": id, "name": name, "bytes": bytes, "used_at": used_at,
                "forgotten": !args.dry_run,
            });
            print::json("cache", line);
        } else {
            let name = text::plain(name.unwrap_or(id.as_str()));
            print::result(format!("cache  {name}  {}", text::bytes(*bytes)));
        }
    }
    Ok(caches.len())
}

/// Sweeps what builds that are over, or that nobody knows any more, left in the engine; returns of
/// how many.
async fn leftovers(home: &Home, args: &PruneArgs) -> Result<usize> {
    let Some(runtime) = &home.runtime else { return Ok(0) };
    // In this order: what is found was made for a build that was accepted before.
    let mut left = runtime.leftovers(None).await?;
    let unfinished = home.engine.unfinished().await?;
    left.retain(|leftover| !unfinished.contains(&leftover.build));
    for leftover in &left {
        if !args.dry_run {
            runtime.sweep(&leftover.build).await?;
        }
        tell(leftover, args);
    }
    Ok(left.len())
}

fn tell(leftover: &Leftover, args: &PruneArgs) {
    let Leftover { build, containers, networks, volumes, .. } = leftover;
    if args.json {
        let line = serde_json::json!({
            "build": build, "containers": containers, "networks": networks, "volumes": volumes,
            "removed": !args.dry_run,
        });
        print::json("leftover", line);
    } else {
        let what = format!("containers: {containers}, networks: {networks}, volumes: {volumes}");
        print::result(format!("{}  left in the engine: {what}", short(build)));
    }
}

/// All finished builds, latest first.
async fn finished(home: &Home) -> Result<Vec<BuildSummary>> {
    let filter = BuildFilter { phase: Some(Phase::Finished), ..BuildFilter::default() };
    let (mut all, mut after) = (Vec::new(), None::<PageToken>);
    loop {
        let page = home.engine.list(&filter, &Page { max: 500, after: after.clone() }).await?;
        let Some(last) = page.last() else { return Ok(all) };
        after = Some(PageToken::after(last));
        all.extend(page);
    }
}

/// The bytes of all files below a directory; what cannot be read counts nothing.
fn bytes_below(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => bytes_below(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    };
    entries.map(size).sum()
}
