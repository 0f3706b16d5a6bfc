//! A builder of one's own, for a recipe that only it understands.

use async_trait::async_trait;
use kiln::{
    BuildId, BuildSpec, Engine, Image, Plan, Recipe, Result, Step, StepCx, port::Builder,
    port::Stream,
};

#[derive(Debug)]
struct Concatenate;

#[async_trait]
impl Builder for Concatenate {
    fn accepts(&self, recipe: &Recipe) -> bool {
        matches!(recipe, Recipe::Custom { name, .. } if name == "concatenate")
    }

    async fn build(&self, cx: &StepCx, spec: &BuildSpec) -> Result<Image> {
        let Recipe::Custom { settings, .. } = &spec.recipe else { unreachable!("see accepts") };
        cx.log.write(Stream::Stdout, format!("putting together {settings}\n").as_bytes()).await;
        Ok(Image { id: "example:1".into(), tags: spec.tags.clone(), bytes: 0 })
    }

    async fn sweep(&self, _: &BuildId) -> Result<()> {
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let engine = Engine::builder().builder(Concatenate).build();
    let settings = serde_json::json!(["base.layer", "app.layer"]);
    let recipe = Recipe::Custom { name: "concatenate".into(), settings };
    let plan = Plan::new(vec![Step::build("build", BuildSpec::new(recipe))])?;
    let (build, outcome) = futures::executor::block_on(engine.run(plan))?;
    println!("build {build} {}", outcome.word());
    Ok(())
}
