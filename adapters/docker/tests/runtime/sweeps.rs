//! What is removed, and what is not.

use crate::parts::{Bench, bench, beside, name};
use bollard::{
    models::{ContainerCreateBody, NetworkCreateRequest, VolumeCreateRequest},
    query_parameters::{CreateContainerOptions, RemoveContainerOptions},
};
use kiln::{BuildId, ErrorKind, ServiceSpec, Timestamp, port::Runtime};
use kiln_conformance::step::TestStep;
use std::collections::HashMap;

fn labels(home: &str, build: &BuildId) -> HashMap<String, String> {
    [("dev.kiln.home", home), ("dev.kiln.build", build.as_str()), ("dev.kiln.box", "main")]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into()
}

async fn foreign(bench: &Bench, name: &str, labels: HashMap<String, String>) -> String {
    let body = ContainerCreateBody {
        image: Some(bench.shell.to_string()),
        labels: Some(labels),
        cmd: Some(vec!["true".to_owned()]),
        ..ContainerCreateBody::default()
    };
    let name = Some(name.to_owned());
    let options = CreateContainerOptions { name, ..CreateContainerOptions::default() };
    bench.docker.create_container(Some(options), body).await.unwrap().id
}

async fn forget(bench: &Bench, container: &str) {
    let options = RemoveContainerOptions { force: true, v: true, link: false };
    bench.docker.remove_container(container, Some(options)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_takes_what_is_ours_and_nothing_else() {
    let Some(bench) = bench("a_sweep_takes_what_is_ours_and_nothing_else").await else { return };
    let step = TestStep::new();
    let build = &step.key.build;
    let idle = ServiceSpec {
        argv: ["sleep", "100"].map(str::to_owned).to_vec(),
        ..ServiceSpec::new(bench.shell.clone())
    };
    let mut spec = bench.spec();
    spec.services = [(name("idle"), idle)].into();
    bench.start(&step, &spec).await;
    // The same build of another home.
    let stranger = bench.stranger();
    stranger.start(step.cx(), &name("main"), &bench.spec()).await.unwrap();
    // Somebody's container of an image that was made of a box and has its labels.
    let imposter =
        foreign(&bench, &format!("somebody-{build}"), labels(bench.home.as_str(), build)).await;
    let left = bench.runtime.leftovers(None).await.unwrap();
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!((&left[0].build, left[0].containers, left[0].networks), (build, 2, 1));
    assert_eq!(left[0].volumes, 1, "the volume of the box");
    for _ in 0..2 {
        bench.runtime.sweep(build).await.unwrap();
        assert_eq!(bench.runtime.leftovers(None).await.unwrap(), []);
    }
    let kept = bench.labelled(&format!("dev.kiln.build={build}")).await;
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert!(kept.contains(&imposter));
    forget(&bench, &imposter).await;
    stranger.sweep(build).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_half_made_is_swept() {
    let Some(bench) = bench("what_was_half_made_is_swept").await else { return };
    let step = TestStep::new();
    let build = &step.key.build;
    let labels = labels(bench.home.as_str(), build);
    let volume = VolumeCreateRequest { labels: Some(labels.clone()), ..Default::default() };
    bench.docker.create_volume(volume).await.unwrap();
    let name = format!("kiln-test-{build}");
    let network = NetworkCreateRequest { name, labels: Some(labels), ..Default::default() };
    bench.docker.create_network(network).await.unwrap();
    let left = bench.runtime.leftovers(None).await.unwrap();
    assert_eq!((left[0].networks, left[0].volumes, left[0].containers), (1, 1, 0));
    bench.runtime.sweep(build).await.unwrap();
    assert_eq!(bench.runtime.leftovers(None).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn leftovers_are_told_by_age() {
    let Some(bench) = bench("leftovers_are_told_by_age").await else { return };
    let step = TestStep::new();
    bench.start(&step, &bench.spec()).await;
    let left = bench.runtime.leftovers(None).await.unwrap();
    let made = left[0].created_at;
    assert!(made > Timestamp(1_600_000_000_000), "{made:?}");
    assert_eq!(bench.runtime.leftovers(Some(made)).await.unwrap(), []);
    let later = made.plus(std::time::Duration::from_secs(60));
    assert_eq!(bench.runtime.leftovers(Some(later)).await.unwrap(), left);
}

/// A box whose maker was killed between its creation and its start is started and used.
#[tokio::test(flavor = "multi_thread")]
async fn a_box_that_was_not_started_is_adopted() {
    let Some(bench) = bench("a_box_that_was_not_started_is_adopted").await else { return };
    let step = TestStep::new();
    bench.start(&step, &bench.spec()).await;
    let id = bench.container(&step).await;
    bench.docker.kill_container(&id, None).await.unwrap();
    let in_box = bench.another().start(step.cx(), &name("main"), &bench.spec()).await.unwrap();
    assert_eq!(bench.container(&step).await, id);
    assert_eq!(bench.says(&step, &in_box, "echo on").await, "on\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_somebody_took_is_not_touched() {
    let Some(bench) = bench("a_name_that_somebody_took_is_not_touched").await else { return };
    let step = TestStep::new();
    bench.start(&step, &bench.spec()).await;
    let id = bench.container(&step).await;
    let name_of = bench.docker.inspect_container(&id, None).await.unwrap().name.unwrap();
    bench.runtime.sweep(&step.key.build).await.unwrap();
    let taken = foreign(&bench, name_of.trim_start_matches('/'), HashMap::new()).await;
    let again = beside(&step, 1);
    let e = bench.runtime.start(again.cx(), &name("main"), &bench.spec()).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::AlreadyExists, "{e:?}");
    bench.runtime.sweep(&step.key.build).await.unwrap();
    forget(&bench, &taken).await;
}
