//! A source of one's own: `text:` addresses, whose content is a Dockerfile.

use async_trait::async_trait;
use kiln::{Engine, Op, Plan, RelPath, Result, Revision, SourceSpec, Step, StepCx, port::Source};
use std::path::Path;

#[derive(Debug)]
struct TextSource;

#[async_trait]
impl Source for TextSource {
    fn accepts(&self, spec: &SourceSpec) -> bool {
        spec.url.starts_with("text:")
    }

    async fn resolve(&self, _: &StepCx, spec: &SourceSpec) -> Result<Revision> {
        Ok(Revision { id: spec.url.clone(), reference: None })
    }

    async fn fetch(&self, cx: &StepCx, _: &SourceSpec, r: &Revision, into: &Path) -> Result<()> {
        let text = r.id.trim_start_matches("text:");
        cx.log.line(format!("would write {} bytes below {}", text.len(), into.display()));
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let engine = Engine::builder().source(TextSource).build();
    let source = SourceSpec::new("text:FROM scratch");
    let fetch = Step::new("fetch", Op::Fetch { source, into: RelPath::root() });
    let (build, outcome) = futures::executor::block_on(engine.run(Plan::new(vec![fetch])?))?;
    println!("build {build} {}", outcome.word());
    Ok(())
}
