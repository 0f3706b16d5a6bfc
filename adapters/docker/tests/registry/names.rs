//! A push changes no name on the host: not beside another push, and not when it is killed.

use crate::parts::{
    TestImage, docker, holder, lent, plain_registry, push, real, registry, silent, step, target,
};
use bollard::query_parameters::{ListImagesOptions, RemoveImageOptions};
use kiln::{BuildId, ErrorKind, ImageRef, StepId, StepKey, StopReason, port::Registry};
use kiln_conformance::{run, step::TestStep};
use std::process::{Command, Stdio};

/// The names that note what is lent, of the builds given.
async fn notes(builds: &[&BuildId]) -> Vec<String> {
    let images = docker().list_images(None::<ListImagesOptions>).await.unwrap();
    let names = images.into_iter().flat_map(|i| i.repo_tags);
    names.filter(|n| builds.iter().any(|b| n.ends_with(b.as_str()))).collect()
}

#[test]
fn a_name_is_lent_and_put_back() {
    let test = "a_name_is_lent_and_put_back";
    let Some(host) = plain_registry(test) else { return };
    run(test, async {
        let (image, old, step) = (TestImage::new(10).await, TestImage::new(10).await, step());
        let to = target(&host);
        let digest = registry().push(step.cx(), &push(&image.name, &to)).await.unwrap();
        assert!(image.more_names().await.is_empty());

        // The user's own name goes back to what it meant.
        old.tag(&to).await;
        let again = registry().push(step.cx(), &push(&image.id, &to)).await.unwrap();
        assert_eq!((again, holder(&to).await), (digest.clone(), Some(old.id.clone())));

        // And it stays where it is the pushed image's own already.
        image.tag(&to).await;
        assert_eq!(registry().push(step.cx(), &push(&image.name, &to)).await.unwrap(), digest);
        assert_eq!(image.more_names().await, [to.to_string()]);
        assert!(notes(&[&step.key.build]).await.is_empty());
    });
}

#[test]
fn an_image_without_a_name_is_never_lost() {
    let test = "an_image_without_a_name_is_never_lost";
    let Some(host) = plain_registry(test) else { return };
    run(test, async {
        let (image, old, step) = (TestImage::new(10).await, TestImage::new(10).await, step());
        let to = target(&host);
        // The only way to take the last name of an image is to give it to another.
        let own = crate::parts::name(&image.name);
        old.tag(&own).await;
        assert!(image.more_names().await.is_empty());

        old.tag(&to).await;
        registry().push(step.cx(), &push(&image.id, &to)).await.unwrap();
        assert!(image.more_names().await.is_empty());
        assert_eq!(holder(&to).await.as_ref(), Some(&old.id));

        docker().remove_image(&to.to_string(), None::<RemoveImageOptions>, None).await.unwrap();
        registry().push(step.cx(), &push(&image.id, &to)).await.unwrap();
        assert_eq!(image.more_names().await, [to.to_string()]);
        assert!(notes(&[&step.key.build]).await.is_empty());
    });
}

#[test]
fn pushes_of_one_process_to_one_name_do_not_meet() {
    let test = "pushes_of_one_process_to_one_name_do_not_meet";
    let Some(host) = plain_registry(test) else { return };
    run(test, async {
        let registry = registry();
        let images = [TestImage::new(10).await, TestImage::new(10).await];
        let (first, second) = (step(), step());
        let mut alone = Vec::new();
        for image in &images {
            alone
                .push(registry.push(first.cx(), &push(&image.name, &target(&host))).await.unwrap());
        }
        for _ in 0..5 {
            let to = target(&host);
            let specs = [push(&images[0].name, &to), push(&images[1].name, &to)];
            let (a, b) = tokio::join!(
                registry.push(first.cx(), &specs[0]),
                registry.push(second.cx(), &specs[1])
            );
            assert_eq!([a.unwrap(), b.unwrap()].as_slice(), alone);
            for image in &images {
                assert!(image.more_names().await.is_empty());
            }
        }
    });
}

#[test]
fn pushes_of_several_processes_tell_the_truth_and_leave_nothing() {
    let test = "pushes_of_several_processes_tell_the_truth_and_leave_nothing";
    let Some(host) = plain_registry(test) else { return };
    run(test, async {
        let images = [TestImage::new(10).await, TestImage::new(10).await];
        let (first, second) = (step(), step());
        // Without a common client, nothing is shared but the engine.
        let registries = [registry(), registry()];
        let mut alone = Vec::new();
        for image in &images {
            let to = target(&host);
            alone.push(registries[0].push(first.cx(), &push(&image.name, &to)).await.unwrap());
        }
        let theirs = TestImage::new(10).await;
        for round in 0..12 {
            let to = target(&host);
            if round % 2 == 1 {
                theirs.tag(&to).await;
            }
            let same = round % 3 == 0;
            let of = |i: usize| if same { 0 } else { i };
            let specs = [push(&images[of(0)].name, &to), push(&images[of(1)].name, &to)];
            let (a, b) = tokio::join!(
                registries[0].push(first.cx(), &specs[0]),
                registries[1].push(second.cx(), &specs[1])
            );
            for (i, pushed) in [a, b].into_iter().enumerate() {
                match pushed {
                    Ok(digest) => assert_eq!(digest, alone[of(i)]),
                    // Nothing is claimed: its name was taken away, or the registry itself stumbled
                    // over two uploads of one layer.
                    Err(e) => assert!(
                        matches!(e.kind(), ErrorKind::Conflict | ErrorKind::Unavailable),
                        "{e:?}"
                    ),
                }
            }
            let wanted = (round % 2 == 1).then(|| theirs.id.clone());
            assert_eq!(holder(&to).await, wanted, "round {round}");
            assert!(notes(&[&first.key.build, &second.key.build]).await.is_empty());
        }
    });
}

#[test]
fn what_a_dropped_push_left_is_swept() {
    let test = "what_a_dropped_push_left_is_swept";
    if !real(test) {
        return;
    }
    run(test, async {
        let (host, _registry) = silent().await;
        let (image, step) = (TestImage::new(10).await, step());
        let (to, registry) = (target(&host), registry());
        let spec = push(&image.name, &to);
        tokio::select! {
            ended = registry.push(step.cx(), &spec) => panic!("it ended: {ended:?}"),
            () = lent(&image, &to) => {}
        }
        registry.sweep(&BuildId::random()).await.unwrap();
        assert!(image.more_names().await.len() > 1, "a sweep of another build");
        registry.sweep(&step.key.build).await.unwrap();
        assert!(image.more_names().await.is_empty());

        // A driver that lost its build leaves all to the one that has it now.
        let fence = async {
            lent(&image, &to).await;
            step.cx().cancel.cancel(StopReason::Fenced);
        };
        let (ended, ()) = tokio::join!(registry.push(step.cx(), &spec), fence);
        assert_eq!(ended.unwrap_err().kind(), ErrorKind::Cancelled);
        assert_eq!(notes(&[&step.key.build]).await.len(), 1);
        registry.sweep(&step.key.build).await.unwrap();
        assert!(image.more_names().await.is_empty());
    });
}

/// Starts this test binary again, to push and be killed.
fn child(build: &BuildId, image: &str, to: &ImageRef) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "names::a_push_to_be_killed", "--ignored"])
        .env("KILN_CHILD_BUILD", build.as_str())
        .env("KILN_CHILD_IMAGE", image)
        .env("KILN_CHILD_TO", to.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
#[ignore = "a part of `a_killed_push_leaves_what_a_sweep_finds`"]
fn a_push_to_be_killed() {
    let var = |name| std::env::var(name).unwrap();
    run("child", async {
        let build = BuildId::new(var("KILN_CHILD_BUILD")).unwrap();
        let step = TestStep::of(StepKey { build, step: StepId(0), attempt: 1 });
        let to = crate::parts::name(&var("KILN_CHILD_TO"));
        let _ = registry().push(step.cx(), &push(&var("KILN_CHILD_IMAGE"), &to)).await;
    });
}

#[test]
fn a_killed_push_leaves_what_a_sweep_finds() {
    let test = "a_killed_push_leaves_what_a_sweep_finds";
    if !real(test) {
        return;
    }
    run(test, async {
        let (host, _registry) = silent().await;
        let (image, old) = (TestImage::new(10).await, TestImage::new(10).await);
        for taken in [false, true] {
            let (to, build) = (target(&host), BuildId::random());
            let kept = target(&host);
            image.tag(&kept).await;
            if taken {
                old.tag(&to).await;
            }
            let mut child = child(&build, &image.name, &to);
            lent(&image, &to).await;
            child.kill().unwrap();
            child.wait().unwrap();
            assert_eq!(holder(&to).await.as_ref(), Some(&image.id), "a killed push leaves a name");

            for _ in 0..2 {
                registry().sweep(&build).await.unwrap();
                assert_eq!(holder(&to).await, taken.then(|| old.id.clone()));
                assert_eq!(image.more_names().await, [kept.to_string()]);
                assert!(notes(&[&build]).await.is_empty());
            }
            docker()
                .remove_image(&kept.to_string(), None::<RemoveImageOptions>, None)
                .await
                .unwrap();
        }
    });
}

#[test]
fn the_next_attempt_finds_what_a_killed_one_left() {
    let test = "the_next_attempt_finds_what_a_killed_one_left";
    let Some(host) = plain_registry(test) else { return };
    run(test, async {
        let (dead, _registry) = silent().await;
        let (image, old) = (TestImage::new(10).await, TestImage::new(10).await);
        let (to, build) = (target(&dead), BuildId::random());
        old.tag(&to).await;
        let mut child = child(&build, &image.name, &to);
        lent(&image, &to).await;
        child.kill().unwrap();
        child.wait().unwrap();

        let step = TestStep::of(StepKey { build: build.clone(), step: StepId(0), attempt: 2 });
        let cancel = step.cx().cancel.clone();
        let registry = registry();
        let spec = push(&image.name, &to);
        let stop = async {
            tokio::time::sleep(std::time::Duration::from_millis(700)).await;
            cancel.cancel(StopReason::Cancel);
        };
        let (ended, ()) = tokio::join!(registry.push(step.cx(), &spec), stop);
        assert_eq!(ended.unwrap_err().kind(), ErrorKind::Cancelled);
        assert_eq!(holder(&to).await, Some(old.id.clone()));
        assert!(notes(&[&build]).await.is_empty());
        let other = target(&host);
        registry.push(TestStep::new().cx(), &push(&image.name, &other)).await.unwrap();
    });
}
