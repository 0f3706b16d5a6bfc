//! Whatever stands in front of an `@` reaches no error and no log.

use super::{
    open, run,
    server::{Rules, Server},
    step,
    submodules::parent,
};
use kiln::{Result, SourceSpec, port::Source};
use kiln_git::{GitConfig, GitSource, Proxies};
use proptest::prelude::*;

/// Everything that a fetch says.
async fn said(config: GitConfig, spec: &SourceSpec) -> String {
    let (mut step, _workspace) = step();
    let source = GitSource::new(config);
    let fetch = async {
        let revision = source.resolve(&step, spec).await?;
        source.fetch(&step, spec, &revision, &step.path("src")).await
    };
    let result: Result<()> = fetch.await;
    let e = result.expect_err("it leads nowhere");
    let chain = std::iter::successors(Some(&e as &dyn std::error::Error), |e| e.source());
    let chain: Vec<_> = chain.map(|e| format!("{e} {e:?}")).collect();
    format!("{} {:?} {}", chain.join(" "), e.hint_text(), step.text().await)
}

async fn check(secret: &str) {
    let gone = "127.0.0.1:1/r.git";
    let urls = [
        format!("https://{secret}@{gone}"),
        format!("http://{secret}@{gone}"),
        format!("ssh://{secret}@{gone}"),
        format!("https://u:{secret}@{gone}"),
        format!("https://{secret}:x@{gone}"),
        format!("ssh://u:{secret}@{gone}"),
        format!("https://{secret}@"),
        format!("git://{secret}@{gone}"),
        format!("x::https://{secret}@{gone}"),
        format!("https://{secret}@{gone}?q"),
        format!("https://{secret}@{gone}#a..b"),
    ];
    let mut all = Vec::new();
    for url in &urls {
        all.push((url.clone(), said(open(), &SourceSpec::new(url)).await));
    }
    let leaf = "12".repeat(20);
    for url in &urls[..6] {
        // As a submodule, as the end of a redirect and as a proxy.
        let top = parent(&[("leaf", url, &leaf)]);
        let location = format!("{url}/info/refs?service=git-upload-pack");
        let rules = Rules::serve("top.git", top.bare());
        let redirects = [("moved".to_owned(), location)].into();
        let server = Server::start(Rules { redirects, ..rules }).await;
        let spec = SourceSpec { submodules: true, ..SourceSpec::new(server.url("top.git")) };
        all.push((format!("submodule {url}"), said(open(), &spec).await));
        let spec = SourceSpec::new(server.url("moved"));
        all.push((format!("redirect {url}"), said(open(), &spec).await));
        let config = GitConfig { proxies: Proxies::none().http(url), ..open() };
        all.push((format!("proxy {url}"), said(config, &SourceSpec::new(server.url("x"))).await));
    }
    for (what, said) in all {
        assert!(!said.contains(secret), "{what} is told: {said}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_user_of_an_address_is_told(secret in "[a-zA-Z][a-zA-Z0-9]{7,40}") {
        run("no_user_of_an_address_is_told", check(&secret));
    }
}
