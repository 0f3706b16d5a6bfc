//! Services beside a box.

use crate::parts::{Bench, bench, busybox, name};
use kiln::{BoxSpec, ErrorKind, ImageRef, ServiceSpec, port::Runtime};
use kiln_conformance::step::TestStep;
use std::time::{Duration, Instant};

fn service(image: &ImageRef, script: &str) -> ServiceSpec {
    ServiceSpec {
        argv: ["sh", "-c", script].map(str::to_owned).to_vec(),
        ..ServiceSpec::new(image.clone())
    }
}

fn with(bench: &Bench, services: impl IntoIterator<Item = (&'static str, ServiceSpec)>) -> BoxSpec {
    let services = services.into_iter().map(|(n, s)| (name(n), s)).collect();
    BoxSpec { services, ..bench.spec() }
}

const SLOW: &str = "sleep 1; mkdir /w; echo hello >/w/index.html; httpd -f -p 8080 -h /w";

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_reached_by_its_name_at_once() {
    let Some(bench) = bench("a_service_is_reached_by_its_name_at_once").await else { return };
    let image = bench.image(busybox(), &["EXPOSE 8080"]).await;
    let plain = service(&bench.shell, "sleep 100");
    let spec = with(&bench, [("web", service(&image, SLOW)), ("idle", plain)]);
    let step = TestStep::new();
    let begun = Instant::now();
    let in_box = bench.start(&step, &spec).await;
    println!("a box with two services starts in {:?}", begun.elapsed());
    assert_eq!(bench.says(&step, &in_box, "wget -q -O - http://web:8080/").await, "hello\n");
    // Another box of the build, with a service of the same name, has its own.
    let other = with(&bench, [("web", service(&bench.shell, "sleep 100"))]);
    let other = bench.runtime.start(step.cx(), &name("other"), &other).await.unwrap();
    let said = bench.says(&step, &other, "wget -T 2 -q -O - http://web:8080/ || echo none").await;
    assert_eq!(said, "none\n");
    // A box that runs is found with its services, by another process too.
    let found = bench.another().start(step.cx(), &name("main"), &spec).await.unwrap();
    assert_eq!(found, in_box);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_health_check_is_waited_for() {
    let Some(bench) = bench("a_health_check_is_waited_for").await else { return };
    let check = "HEALTHCHECK --interval=1s --retries=30 CMD test -e /ready";
    let image = bench.image(busybox(), &[check]).await;
    let script = "sleep 1; touch /ready; httpd -f -p 80";
    let step = TestStep::new();
    let begun = Instant::now();
    let spec = with(&bench, [("slow", service(&image, script))]);
    bench.start(&step, &spec).await;
    assert!(begun.elapsed() > Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_dies_is_quoted() {
    let Some(bench) = bench("a_service_that_dies_is_quoted").await else { return };
    let image = bench.image(busybox(), &["EXPOSE 8080"]).await;
    let script = "echo no space for tables >&2; sleep 0.5; echo giving up; exit 3";
    let mut step = TestStep::new();
    let spec = with(&bench, [("db", service(&image, script))]);
    let e = bench.runtime.start(step.cx(), &name("main"), &spec).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Failed, "{e:?}");
    let told = e.to_string();
    assert!(told.contains("service: db") && told.contains("exit code 3"), "{told}");
    let text = step.text().await;
    assert!(text.contains("db | no space for tables\ndb | giving up\n"), "{text}");
}

/// Images expose ports that they open only as they are configured.
#[tokio::test(flavor = "multi_thread")]
async fn ports_that_stay_closed_do_not_hold_up_a_box_for_ever() {
    const TEST: &str = "ports_that_stay_closed_do_not_hold_up_a_box_for_ever";
    let Some(bench) = bench(TEST).await else { return };
    let image = bench.image(busybox(), &["EXPOSE 8080 8443"]).await;
    let step = TestStep::new();
    let spec = with(&bench, [("web", service(&image, SLOW))]);
    let begun = Instant::now();
    let in_box = bench.start(&step, &spec).await;
    assert!(begun.elapsed() < Duration::from_secs(100), "{:?}", begun.elapsed());
    assert_eq!(bench.says(&step, &in_box, "wget -q -O - http://web:8080/").await, "hello\n");
}
