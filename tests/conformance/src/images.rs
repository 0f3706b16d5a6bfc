//! What every [`Builder`], [`Registry`] and [`Containers`] must do, as far as one host goes.
//!
//! Only the adapter knows how to make an image on its host, so the expressions make a `Fresh<T>`
//! of a type that implements [`Recipes`], [`Images`] or [`Boxed`] beside its port.

use crate::{
    Fresh,
    helpers::{expect_kind, soon},
    sample::image,
    step::TestStep,
    tar,
};
use futures::{StreamExt, TryStreamExt};
use kiln::{
    BuildId, BuildSpec, CommitSpec, ContainerRef, Digest, ErrorKind, ImageRef, StopReason,
    port::{Builder, Containers, PushSpec, Registry},
};

/// Makes a test of every promise of a builder. The expression makes a `Fresh<B>` for some
/// `B: Builder + Recipes`.
#[macro_export]
macro_rules! builder_suite {
    ($fresh:expr) => {
        $crate::tests_of! { images, $fresh,
            an_image_has_the_names_that_were_asked_for
            what_the_recipe_did_wrong_is_failed
            a_recipe_that_cannot_be_read_is_invalid
            building_twice_is_safe
            a_step_that_is_to_stop_builds_nothing
            sweeping_keeps_what_was_asked_for
        }
    };
}

/// Makes a test of every promise of a registry. The expression makes a `Fresh<R>` for some
/// `R: Registry + Images`.
#[macro_export]
macro_rules! registry_suite {
    ($fresh:expr) => {
        $crate::tests_of! { images, $fresh,
            pushing_twice_gives_the_same_digest
            a_name_without_a_tag_means_latest
            an_image_the_host_does_not_have_is_not_found
            a_step_that_is_to_stop_pushes_nothing
            a_push_goes_to_a_tag
            a_digest_is_asked_for_by_itself
            sweeping_after_a_push_is_safe
        }
    };
}

/// Makes a test of every promise of containers. The expression makes a `Fresh<C>` for some
/// `C: Containers + Boxed`.
#[macro_export]
macro_rules! containers_suite {
    ($fresh:expr) => {
        $crate::tests_of! { images, $fresh,
            a_commit_has_the_names_that_were_asked_for
            a_container_nobody_knows_is_not_found
            a_file_is_read_as_a_tar_archive
            a_directory_is_written_and_read_again
            a_link_may_lead_out_of_where_it_is_written
            no_entry_is_written_outside_the_directory
            what_cannot_be_written_says_why
            a_container_can_be_measured
        }
    };
}

/// Recipes that a builder understands.
pub trait Recipes {
    /// One that makes an image.
    fn good(&self) -> BuildSpec;

    /// One whose own command fails, with this exit code where the builder tells it.
    fn failing(&self) -> (BuildSpec, Option<i64>);

    /// One that cannot be read.
    fn unreadable(&self) -> BuildSpec;

    /// The id of the image that has a name now.
    fn id_of(&self, name: &ImageRef) -> Option<String>;
}

/// An image on the host, and registries that take it.
pub trait Images {
    /// The name of an image that the host has.
    fn there(&self) -> String;

    /// A name in a registry that takes pushes, different for each repository.
    fn target(&self, repository: &str) -> ImageRef;
}

/// A container that runs.
pub trait Boxed {
    /// The container.
    fn container(&self) -> ContainerRef;

    /// A file in it, with its bytes.
    fn file(&self) -> (String, Vec<u8>);

    /// A directory in it, in which nothing is yet.
    fn directory(&self) -> String;
}

/// The image has all its names when the call returns, and they mean this image.
pub async fn an_image_has_the_names_that_were_asked_for<B: Builder + Recipes>(builder: Fresh<B>) {
    let step = TestStep::new();
    let names = ["kiln-suite/a:1", "kiln-suite/b"].map(image);
    let spec = names.iter().cloned().fold(builder.good(), BuildSpec::tag);
    assert!(builder.accepts(&spec.recipe));
    let built = builder.build(step.cx(), &spec).await.unwrap();
    for name in &names {
        assert!(built.tags.iter().any(|t| t.canonical() == name.canonical()), "{:?}", built.tags);
        assert_eq!(builder.id_of(name).as_ref(), Some(&built.id), "{name}");
    }
    builder.sweep(&step.key.build).await.unwrap();
}

/// A command of the recipe that fails is the user's failure, and no image has the names.
pub async fn what_the_recipe_did_wrong_is_failed<B: Builder + Recipes>(builder: Fresh<B>) {
    let (step, name) = (TestStep::new(), image("kiln-suite/failing:1"));
    let (spec, code) = builder.failing();
    match builder.build(step.cx(), &spec.tag(name.clone())).await {
        Ok(built) => panic!("it built {built:?}"),
        Err(e) => assert_eq!((e.kind(), e.code()), (ErrorKind::Failed, code), "{e:?}"),
    }
    assert_eq!(builder.id_of(&name), None);
    builder.sweep(&step.key.build).await.unwrap();
}

/// A recipe that cannot be read is `Invalid`, and the error names the line.
pub async fn a_recipe_that_cannot_be_read_is_invalid<B: Builder + Recipes>(builder: Fresh<B>) {
    let step = TestStep::new();
    match builder.build(step.cx(), &builder.unreadable()).await {
        Ok(built) => panic!("it built {built:?}"),
        Err(e) => {
            assert_eq!(e.kind(), ErrorKind::Invalid, "{e:?}");
            assert!(e.to_string().contains("line"), "{e}");
        }
    }
    builder.sweep(&step.key.build).await.unwrap();
}

/// A second build under the same key gives an image with the same names.
pub async fn building_twice_is_safe<B: Builder + Recipes>(builder: Fresh<B>) {
    let (step, name) = (TestStep::new(), image("kiln-suite/twice:1"));
    let spec = builder.good().tag(name.clone());
    builder.build(step.cx(), &spec).await.unwrap();
    let second = builder.build(step.cx(), &spec).await.unwrap();
    assert_eq!(builder.id_of(&name), Some(second.id));
    builder.sweep(&step.key.build).await.unwrap();
}

/// A step that was told to stop before it began builds nothing.
pub async fn a_step_that_is_to_stop_builds_nothing<B: Builder + Recipes>(builder: Fresh<B>) {
    let (step, name) = (TestStep::new(), image("kiln-suite/stopped:1"));
    step.cancel.cancel(StopReason::Cancel);
    let spec = builder.good().tag(name.clone());
    let built = soon("a build", builder.build(step.cx(), &spec)).await;
    expect_kind(built, ErrorKind::Cancelled, "a build that is to stop");
    assert_eq!(builder.id_of(&name), None);
}

/// A sweep can be repeated, knows unknown builds, and never takes an image that was asked for.
pub async fn sweeping_keeps_what_was_asked_for<B: Builder + Recipes>(builder: Fresh<B>) {
    let (step, name) = (TestStep::new(), image("kiln-suite/kept:1"));
    let built = builder.build(step.cx(), &builder.good().tag(name.clone())).await.unwrap();
    for _ in 0..2 {
        builder.sweep(&step.key.build).await.unwrap();
        assert_eq!(builder.id_of(&name).as_ref(), Some(&built.id));
    }
    builder.sweep(&BuildId::random()).await.unwrap();
}

fn push_of(what: String, to: ImageRef) -> PushSpec {
    PushSpec { image: what, to, credentials: None }
}

/// Pushing twice gives the same digest, and the registry has it under the name.
pub async fn pushing_twice_gives_the_same_digest<R: Registry + Images>(registry: Fresh<R>) {
    let (step, to) = (TestStep::new(), registry.target("twice").with_tag("1").unwrap());
    assert_eq!(registry.digest(step.cx(), &to).await.unwrap(), None);
    let spec = push_of(registry.there(), to.clone());
    let first = registry.push(step.cx(), &spec).await.unwrap();
    assert_eq!(registry.push(step.cx(), &spec).await.unwrap(), first);
    assert_eq!(registry.digest(step.cx(), &to).await.unwrap(), Some(first));
}

/// A push to a name without a tag is one to `latest`.
pub async fn a_name_without_a_tag_means_latest<R: Registry + Images>(registry: Fresh<R>) {
    let (step, to) = (TestStep::new(), registry.target("latest").without_tag());
    let spec = push_of(registry.there(), to.clone());
    let digest = registry.push(step.cx(), &spec).await.unwrap();
    let latest = to.with_tag("latest").unwrap();
    assert_eq!(registry.digest(step.cx(), &latest).await.unwrap(), Some(digest));
}

/// An image that the host does not have cannot be pushed.
pub async fn an_image_the_host_does_not_have_is_not_found<R: Registry + Images>(
    registry: Fresh<R>,
) {
    let (step, to) = (TestStep::new(), registry.target("missing"));
    let pushed = registry.push(step.cx(), &push_of("kiln-suite/none:1".into(), to)).await;
    expect_kind(pushed, ErrorKind::NotFound, "an image that the host does not have");
}

/// A step that was told to stop before it began pushes nothing.
pub async fn a_step_that_is_to_stop_pushes_nothing<R: Registry + Images>(registry: Fresh<R>) {
    let (step, to) = (TestStep::new(), registry.target("stopped").with_tag("1").unwrap());
    let other = TestStep::new();
    step.cancel.cancel(StopReason::Cancel);
    let spec = push_of(registry.there(), to.clone());
    let pushed = soon("a push", registry.push(step.cx(), &spec)).await;
    expect_kind(pushed, ErrorKind::Cancelled, "a push that is to stop");
    assert_eq!(registry.digest(other.cx(), &to).await.unwrap(), None);
}

/// Nobody chooses the digest of what is pushed: a target with one is `Invalid`, with a hint.
pub async fn a_push_goes_to_a_tag<R: Registry + Images>(registry: Fresh<R>) {
    let (step, to) = (TestStep::new(), registry.target("by-digest").with_tag("1").unwrap());
    let digest = registry.push(step.cx(), &push_of(registry.there(), to.clone())).await.unwrap();
    let pushed = registry.push(step.cx(), &push_of(registry.there(), to.with_digest(digest))).await;
    assert!(pushed.as_ref().is_err_and(|e| e.hint_text().is_some()), "{pushed:?}");
    expect_kind(pushed, ErrorKind::Invalid, "a push to a digest");
}

/// A name with a digest means that digest, whatever `latest` or its tag is.
pub async fn a_digest_is_asked_for_by_itself<R: Registry + Images>(registry: Fresh<R>) {
    let (step, to) = (TestStep::new(), registry.target("exact").with_tag("7").unwrap());
    let spec = push_of(registry.there(), to.clone());
    let digest = registry.push(step.cx(), &spec).await.unwrap();
    let exact = to.with_digest(digest.clone());
    assert_eq!(registry.digest(step.cx(), &exact).await.unwrap(), Some(digest));
    let other = to.with_digest(Digest::sha256([7; 32]));
    assert_eq!(registry.digest(step.cx(), &other).await.unwrap(), None);
}

/// A sweep can be repeated, knows unknown builds, and leaves alone what was pushed.
pub async fn sweeping_after_a_push_is_safe<R: Registry + Images>(registry: Fresh<R>) {
    let (step, to) = (TestStep::new(), registry.target("swept").with_tag("1").unwrap());
    let digest = registry.push(step.cx(), &push_of(registry.there(), to.clone())).await.unwrap();
    for _ in 0..2 {
        registry.sweep(&step.key.build).await.unwrap();
    }
    registry.sweep(&BuildId::random()).await.unwrap();
    assert_eq!(registry.digest(step.cx(), &to).await.unwrap(), Some(digest));
}

/// A commit makes an image with the names; the container can be committed again afterwards.
pub async fn a_commit_has_the_names_that_were_asked_for<C: Containers + Boxed>(it: Fresh<C>) {
    let step = TestStep::new();
    let tags = vec![image("kiln-suite/commit:1"), image("kiln-suite/commit:2")];
    let spec = CommitSpec { tags: tags.clone(), ..CommitSpec::default() };
    for _ in 0..2 {
        let made = it.commit(step.cx(), &it.container(), &spec).await.unwrap();
        for tag in &tags {
            assert!(made.tags.contains(tag), "{:?}", made.tags);
        }
    }
}

/// A container or a box that nobody knows is `NotFound`, whatever is asked.
pub async fn a_container_nobody_knows_is_not_found<C: Containers + Boxed>(it: Fresh<C>) {
    let step = TestStep::new();
    let name = kiln::BoxName::new("kiln-none").expect("a name in a test is an id");
    let unknown = [ContainerRef::Container("kiln-none".into()), ContainerRef::Box(name)];
    for container in unknown {
        let made = it.commit(step.cx(), &container, &CommitSpec::default()).await;
        expect_kind(made, ErrorKind::NotFound, "a commit of what is not there");
        let measured = it.measure(&step.key.build, &container).await;
        expect_kind(measured, ErrorKind::NotFound, "the size of what is not there");
        let read = it.read(&step.key.build, &container, "/x").await.map(drop);
        expect_kind(read, ErrorKind::NotFound, "a file of what is not there");
    }
}

/// A file comes as an archive that holds its bytes.
pub async fn a_file_is_read_as_a_tar_archive<C: Containers + Boxed>(it: Fresh<C>) {
    let step = TestStep::new();
    let (path, bytes) = it.file();
    let read = it.read(&step.key.build, &it.container(), &path).await.unwrap();
    let archive = read.try_collect::<Vec<_>>().await.unwrap().concat();
    assert_eq!(archive.len() % 512, 0, "an archive is made of blocks");
    assert_eq!(&archive[257..262], b"ustar");
    let size = std::str::from_utf8(&archive[124..135])
        .ok()
        .and_then(|s| u64::from_str_radix(s.trim_end_matches('\0'), 8).ok());
    assert_eq!(size, Some(bytes.len() as u64));
    assert_eq!(&archive[512..512 + bytes.len()], bytes);
    let sum = archive[..512].iter().enumerate();
    let sum: u32 =
        sum.map(|(i, b)| u32::from(if (148..156).contains(&i) { b' ' } else { *b })).sum();
    let told = std::str::from_utf8(&archive[148..154]).expect("octal digits");
    assert_eq!(u32::from_str_radix(told, 8), Ok(sum), "the checksum of the header");
}

/// What was written is there as the archive says, and what was there before stays.
pub async fn a_directory_is_written_and_read_again<C: Containers + Boxed>(it: Fresh<C>) {
    let step = TestStep::new();
    let (build, of, at) = (&step.key.build, it.container(), it.directory());
    let file = tar::Entry { mode: 0o640, owner: (1234, 77), ..tar::Entry::file("d/a", b"one") };
    let link = tar::Entry::link("d/l", "a");
    for entries in [
        vec![tar::Entry::directory("d"), file.clone(), link.clone()],
        vec![tar::Entry::file("b", b"two")],
    ] {
        it.write(build, &of, &at, tar::stream(&entries)).await.unwrap();
    }
    let inside = it.read(build, &of, &format!("{at}/.")).await.unwrap();
    let all = tar::read(inside).await;
    assert_eq!(all[0].name, "./", "{all:?}");
    let find = |name: &str| {
        all.iter().find(|e| e.name == name).unwrap_or_else(|| panic!("{name}: {all:?}"))
    };
    let found = find("./d/a");
    assert_eq!(
        (found.mode & 0o777, found.owner, &found.data[..]),
        (0o640, (1234, 77), &b"one"[..])
    );
    assert_eq!(find("./d/l").link, "a");
    assert_eq!(find("./b").data, b"two");
    // A file is replaced whole.
    it.write(build, &of, &at, tar::stream(&[tar::Entry::file("d/a", b"x")])).await.unwrap();
    let named = tar::read(it.read(build, &of, &format!("{at}/d")).await.unwrap()).await;
    assert_eq!(named[0].name, "d/");
    let found = named.iter().find(|e| e.name == "d/a").expect("the file is still there");
    assert_eq!(found.data, b"x");
}

/// Where a symbolic link leads is not asked: what it means is for the container.
pub async fn a_link_may_lead_out_of_where_it_is_written<C: Containers + Boxed>(it: Fresh<C>) {
    let step = TestStep::new();
    let (build, of, at) = (&step.key.build, it.container(), it.directory());
    let links = [tar::Entry::link("up", "../../x"), tar::Entry::link("root", "/etc")];
    it.write(build, &of, &at, tar::stream(&links)).await.unwrap();
    let all = tar::read(it.read(build, &of, &format!("{at}/.")).await.unwrap()).await;
    for link in links {
        let found = all.iter().find(|e| e.name == format!("./{}", link.name));
        assert_eq!(found.map(|e| &e.link), Some(&link.link));
    }
}

/// A name that leads out is refused, or stays inside.
pub async fn no_entry_is_written_outside_the_directory<C: Containers + Boxed>(it: Fresh<C>) {
    let step = TestStep::new();
    let (build, of, at) = (&step.key.build, it.container(), it.directory());
    for name in ["../kiln-evil", "/kiln-evil", "a/../../kiln-evil"] {
        let written = it.write(build, &of, &at, tar::stream(&[tar::Entry::file(name, b"")])).await;
        if let Err(e) = written {
            assert_eq!(e.kind(), ErrorKind::Invalid, "{name}: {e:?}");
        }
        let up = at.rsplit_once('/').map_or("", |(up, _)| up);
        for evil in ["/kiln-evil".to_owned(), format!("{up}/kiln-evil")] {
            let read = it.read(build, &of, &evil).await.map(drop);
            expect_kind(read, ErrorKind::NotFound, name);
        }
    }
}

/// A directory that is not there, a file in its place, what is no archive, and one that fails.
pub async fn what_cannot_be_written_says_why<C: Containers + Boxed>(it: Fresh<C>) {
    let step = TestStep::new();
    let (build, of, at) = (&step.key.build, it.container(), it.directory());
    let entry = tar::Entry::file("a", b"1");
    let stream = || tar::stream(std::slice::from_ref(&entry));
    let written = it.write(build, &of, &format!("{at}/none"), stream()).await;
    expect_kind(written, ErrorKind::NotFound, "a directory that is not there");
    let unknown = ContainerRef::Container("kiln-none".into());
    let written = it.write(build, &unknown, &at, stream()).await;
    expect_kind(written, ErrorKind::NotFound, "a container that is not there");
    let (file, _) = it.file();
    let written = it.write(build, &of, &file, stream()).await;
    expect_kind(written, ErrorKind::NotFound, "a file is no directory");
    let written = it.write(build, &of, &at, tar::bytes(vec![b'g'; 2_000])).await;
    expect_kind(written, ErrorKind::Invalid, "what is no archive");
    let cut = tar::pack(&[tar::Entry::file("a", &[1; 2_000])]);
    let written = it.write(build, &of, &at, tar::bytes(cut[..1_000].to_vec())).await;
    expect_kind(written, ErrorKind::Invalid, "half an archive");
    let broken = kiln::Error::new(ErrorKind::RateLimited, "test", "the stream broke");
    let failing = futures::stream::iter([Err(broken)]).boxed();
    let written = it.write(build, &of, &at, failing).await;
    expect_kind(written, ErrorKind::RateLimited, "what broke on the way is told");
}

/// Measuring makes no image and can be repeated.
pub async fn a_container_can_be_measured<C: Containers + Boxed>(it: Fresh<C>) {
    let step = TestStep::new();
    let first = it.measure(&step.key.build, &it.container()).await.unwrap();
    assert!(first >= it.file().1.len() as u64);
    assert_eq!(it.measure(&step.key.build, &it.container()).await.unwrap(), first);
}
