//! Builds a directory with the local Docker engine and pushes the image.
//! It needs a Docker engine: `cargo run --example build_and_push -- DIRECTORY REGISTRY/NAME:TAG`

use kiln::{
    BuildSpec, Context, Engine, ImageFrom, ImageRef, Op, Plan, Recipe, Step,
    port::{LogBody, Offset},
};
use kiln_docker::{DockerBuilder, DockerClient, DockerConfig, DockerRegistry};
use std::{error::Error, io::Write, sync::Arc};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let directory = std::path::absolute(args.next().ok_or("which directory?")?)?;
    let image = ImageRef::parse(&args.next().ok_or("which image?")?)?;
    let client = DockerClient::new(DockerConfig::from_vars(|name| std::env::var(name).ok())?)?;
    let engine = Engine::builder()
        .builder(DockerBuilder::new(client.clone()))
        .registry(Arc::new(DockerRegistry::new(client)))
        .allow_local_paths(true)
        .build();

    let mut plan = Plan::builder();
    let spec = BuildSpec::new(Recipe::Dockerfile { path: None });
    let context = Context::Directory { path: directory };
    let built = plan.step(Step::build("build", spec.context(context).tag(image.clone())));
    let push = Op::Push { image: ImageFrom::Step(built), to: image, credentials: None };
    plan.step(Step::new("push", push).after(built));

    let (build, outcome) = engine.run(plan.finish()?).await?;
    let mut log = engine.log(&build, Offset(0));
    while let Some(record) = futures::StreamExt::next(&mut log).await {
        if let LogBody::Bytes { data, .. } = record?.body {
            std::io::stdout().write_all(&data)?;
        }
    }
    println!("build {build} {}", outcome.word());
    Ok(())
}
