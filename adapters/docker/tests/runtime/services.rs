//! Services beside a box.

use crate::parts::{Bench, bench, beside, busybox, name};
use kiln::{BoxSpec, Command, ErrorKind, ImageRef, ServiceSpec, SessionName, port::Runtime};
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

const DYING: &str =
    "echo starting; until [ -e /die ]; do sleep 0.1; done; echo out of pages >&2; exit 4";

/// Lets a service die.
async fn kill(bench: &Bench, step: &TestStep, service: &str) {
    let label = format!("dev.kiln.build={}", step.key.build);
    for id in bench.labelled(&label).await {
        let found = bench.docker.inspect_container(&id, None).await.unwrap();
        let labels = found.config.and_then(|c| c.labels).unwrap_or_default();
        if labels["dev.kiln.service"] == service {
            let mut tar = tar::Builder::new(Vec::new());
            let mut header = tar::Header::new_gnu();
            header.set_size(0);
            header.set_mode(0o644);
            tar.append_data(&mut header, "die", std::io::empty()).unwrap();
            let options = bollard::query_parameters::UploadToContainerOptions {
                path: "/".to_owned(),
                ..Default::default()
            };
            let body = bollard::body_full(tar.into_inner().unwrap().into());
            bench.docker.upload_to_container(&id, Some(options), body).await.unwrap();
            return;
        }
    }
    panic!("there is no service {service}");
}

const TOLD: &str =
    "warning: the service db ended with exit code 4\ndb | starting\ndb | out of pages\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_dies_during_a_command_is_told_once() {
    let Some(bench) = bench("a_service_that_dies_during_a_command_is_told_once").await else {
        return;
    };
    let live = service(&bench.shell, "sleep 1000");
    let spec = with(&bench, [("db", service(&bench.shell, DYING)), ("idle", live)]);
    let mut first = TestStep::new();
    let in_box = bench.start(&first, &spec).await;
    assert_eq!(bench.says(&first, &in_box, "echo well").await, "well\n");
    // The command goes on until the end of the service is in its log.
    let waits = Command::script("until [ -e /tmp/told ]; do sleep 0.1; done; echo end");
    let cx = first.cx().clone();
    let (ended, ()) = tokio::join!(bench.runtime.exec(&cx, &in_box, &waits), async {
        kill(&bench, &first, "db").await;
        let patience = Instant::now() + Duration::from_secs(60);
        while !first.text().await.contains("out of pages") {
            assert!(Instant::now() < patience, "nothing was told");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bench.says(&first, &in_box, "touch /tmp/told").await;
    });
    assert_eq!(ended.unwrap().code, 0);
    let text = first.text().await;
    assert!(text.ends_with(&format!("{TOLD}end\n")), "{text}");
    let mut later = beside(&first, 78);
    bench.start(&later, &spec).await;
    let exit = bench.runtime.exec(later.cx(), &in_box, &Command::script("exit 1")).await.unwrap();
    assert_eq!(exit.code, 1);
    let text = later.text().await;
    assert!(!text.contains("warning"), "{text}");
}

/// What fails for want of a service says so, by another process too, and in a session.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_fails_tells_of_a_service_that_died() {
    let Some(bench) = bench("a_command_that_fails_tells_of_a_service_that_died").await else {
        return;
    };
    let spec = with(&bench, [("db", service(&bench.shell, DYING))]);
    let step = TestStep::new();
    let in_box = bench.start(&step, &spec).await;
    kill(&bench, &step, "db").await;
    let mut plain = beside(&step, 5);
    // Its name is known as long as it runs.
    let script =
        Command::script("while nc -z -w 9 db 9 2>&1 | grep refused; do sleep 0.1; done; exit 1");
    let exit = bench.runtime.exec(plain.cx(), &in_box, &script).await.unwrap();
    assert_eq!(exit.code, 1);
    let text = plain.text().await;
    assert!(text.contains(TOLD), "{text}");
    let another = bench.another();
    let mut session = beside(&step, 6);
    another.start(session.cx(), &name("main"), &spec).await.unwrap();
    let command = Command::in_session(SessionName::new("main").unwrap(), "false");
    another.exec(session.cx(), &in_box, &command).await.unwrap();
    let text = session.text().await;
    assert!(text.contains(TOLD), "{text}");
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
