//! Commits of boxes and of other containers.

use crate::parts::{Bench, bench, busybox, name};
use kiln::{BoxSpec, BuildId, CommitSpec, ContainerRef, ErrorKind, ImageRef, port::Containers};
use kiln_conformance::step::TestStep;

fn main_box() -> ContainerRef {
    ContainerRef::Box(name("main"))
}

fn fresh_name(bench: &Bench) -> ImageRef {
    let name = format!("kiln-test/{}:1", BuildId::random());
    bench.remove_later(&name);
    ImageRef::parse(&name).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_of_a_box_shows_nothing_of_kiln() {
    let Some(bench) = bench("a_commit_of_a_box_shows_nothing_of_kiln").await else { return };
    let plain = bench.image(busybox(), &[]).await;
    let rich = ["USER joe", "WORKDIR /tmp", "ENTRYPOINT [\"/bin/env\"]", "CMD [\"a=b\"]"];
    let rich = bench.image(busybox(), &rich).await;
    for image in [plain, rich] {
        let step = TestStep::new();
        let mut spec = BoxSpec::new(image.clone());
        spec.env.insert("OF_BOX".into(), "1".into());
        spec.cwd = Some("/tmp/deep".into());
        let in_box = bench.start(&step, &spec).await;
        bench.says(&step, &in_box, "echo made >/tmp/made").await;
        let tag = fresh_name(&bench);
        let spec = CommitSpec { tags: vec![tag.clone()], ..CommitSpec::default() };
        let made = bench.containers.commit(step.cx(), &main_box(), &spec).await.unwrap();
        let before = bench.docker.inspect_image(&image.to_string()).await.unwrap().config.unwrap();
        let after = bench.docker.inspect_image(&made.id).await.unwrap();
        assert_eq!(after.size.map(|s| s as u64), Some(made.bytes));
        let after = after.config.unwrap();
        let list = |l: &Option<Vec<String>>| l.clone().unwrap_or_default();
        assert_eq!(list(&after.entrypoint), list(&before.entrypoint));
        assert_eq!(list(&after.cmd), list(&before.cmd));
        assert_eq!(after.env, before.env);
        assert_eq!(after.user.unwrap_or_default(), before.user.unwrap_or_default());
        let directory = |d: Option<String>| d.filter(|d| !d.is_empty()).unwrap_or("/".into());
        assert_eq!(directory(after.working_dir), directory(before.working_dir));
        let labels = after.labels.unwrap_or_default();
        let ours =
            labels.iter().filter(|(k, _)| k.starts_with("dev.kiln.") && !k.ends_with("test"));
        assert!(ours.clone().all(|(_, v)| v.is_empty()), "{labels:?}");
        let again = TestStep::new();
        let in_box = bench.start(&again, &BoxSpec::new(tag)).await;
        let said =
            bench.says(&again, &in_box, "cat /tmp/made; ls -a /dev/.kiln | grep -c 0-1; true");
        assert_eq!(said.await, "made\n0\n");
        let changes = bench.docker.container_changes(&bench.container(&step).await).await.unwrap();
        let changes = format!("{changes:?}");
        assert!(!changes.contains("kiln") && !changes.contains("init"), "{changes}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_takes_changes_and_words() {
    let Some(bench) = bench("a_commit_takes_changes_and_words").await else { return };
    let step = TestStep::new();
    bench.start(&step, &bench.spec()).await;
    let (one, two) = (fresh_name(&bench), fresh_name(&bench));
    let spec = CommitSpec {
        tags: vec![one.clone(), two.clone()],
        author: Some("Bob <b@b>".into()),
        message: Some("a word".into()),
        changes: vec!["ENV A=1".into(), "CMD [\"/bin/id\"]".into(), "LABEL x=\"y z\"".into()],
        without_pause: true,
    };
    let made = bench.containers.commit(step.cx(), &main_box(), &spec).await.unwrap();
    for tag in [one, two] {
        let image = bench.docker.inspect_image(&tag.to_string()).await.unwrap();
        assert_eq!(image.id.as_ref(), Some(&made.id));
        assert_eq!(image.author.as_deref(), Some("Bob <b@b>"));
        assert_eq!(image.comment.as_deref(), Some("a word"));
        let config = image.config.unwrap();
        assert_eq!(config.cmd, Some(vec!["/bin/id".to_owned()]));
        assert!(config.env.unwrap().contains(&"A=1".to_owned()));
        assert_eq!(config.labels.unwrap()["x"], "y z");
    }
    let bad = CommitSpec { changes: vec!["RUN rm -rf /".into()], ..CommitSpec::default() };
    let e = bench.containers.commit(step.cx(), &main_box(), &bad).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Invalid, "{e:?}");
}

/// A name that the engine refuses, after one that it took from another image.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_has_all_names_or_none() {
    let Some(bench) = bench("a_commit_has_all_names_or_none").await else { return };
    let step = TestStep::new();
    bench.start(&step, &bench.spec()).await;
    let taken = bench.image(busybox(), &[]).await;
    let fresh = fresh_name(&bench);
    let id_of = async |name: &ImageRef| {
        bench.docker.inspect_image(&name.to_string()).await.ok().and_then(|i| i.id)
    };
    let before = id_of(&taken).await;
    // Too long for any engine, or an address that old ones do not know.
    let names = [format!("kiln-test/{}:1", "a".repeat(250)), "[::1]:5000/x:1".to_owned()];
    let refused = names.iter().find_map(|name| ImageRef::parse(name).ok()).unwrap();
    let count = async || {
        let filters = [("dangling".to_owned(), vec!["true".to_owned()])].into();
        let options = bollard::query_parameters::ListImagesOptions {
            filters: Some(filters),
            ..Default::default()
        };
        let all = bench.docker.list_images(Some(options)).await.unwrap();
        all.into_iter().filter(|i| i.labels.contains_key("dev.kiln.home")).count()
    };
    let tags = vec![taken.clone(), fresh.clone(), refused];
    let spec = CommitSpec { tags, ..CommitSpec::default() };
    let left = count().await;
    bench.containers.commit(step.cx(), &main_box(), &spec).await.unwrap_err();
    assert_eq!(id_of(&taken).await, before);
    assert_eq!(id_of(&fresh).await, None);
    assert!(count().await <= left, "the image is left without a name");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_name_or_path_is_refused() {
    let Some(bench) = bench("what_is_no_name_or_path_is_refused").await else { return };
    let step = TestStep::new();
    bench.start(&step, &bench.spec()).await;
    let build = &step.key.build;
    for name in ["", "../images", "a/json?x=", "a%2e"] {
        let e = bench.containers.measure(build, &ContainerRef::Container(name.into())).await;
        assert_eq!(e.unwrap_err().kind(), ErrorKind::NotFound, "{name}");
    }
    let read = async |path: &str| {
        bench.containers.read(build, &main_box(), path).await.map(drop).unwrap_err().kind()
    };
    assert_eq!(read("/no/such/file").await, ErrorKind::NotFound);
    assert_eq!(read("/a/../etc").await, ErrorKind::Invalid);
    assert_eq!(read("etc").await, ErrorKind::Invalid);
    let other = bench.containers.measure(&BuildId::random(), &main_box()).await;
    assert_eq!(other.unwrap_err().kind(), ErrorKind::NotFound, "the box of another build");
}
