use super::MemoryHost;
use crate::{
    BuildId, BuildSpec, Error, ErrorKind, Image, Recipe, Result, StepCx,
    port::{Builder, Stream},
};
use async_trait::async_trait;

/// Builds images that are digests of their recipes.
///
/// It understands [`Recipe::Custom`] and [`Recipe::Inline`]. Each line of an inline recipe is
/// logged; a line `RUN false` or `RUN exit N` fails the build, and a line whose first word is not
/// in capital letters cannot be read.
#[derive(Debug, Default)]
pub struct MemoryBuilder {
    host: MemoryHost,
}

impl MemoryBuilder {
    /// A builder whose images are on a host.
    pub fn new(host: &MemoryHost) -> Self {
        Self { host: host.clone() }
    }
}

const OP: &str = "Builder::build";

/// Fails as the line of a recipe says.
fn run(number: usize, line: &str) -> Result<()> {
    let mut words = line.split_whitespace();
    let Some(first) = words.next().filter(|w| !w.starts_with('#')) else { return Ok(()) };
    if !first.chars().all(|c| c.is_ascii_uppercase()) {
        return Err(Error::new(ErrorKind::Invalid, OP, "the recipe cannot be read")
            .with("line", number)
            .hint("Begin every line with an instruction such as `RUN`."));
    }
    let code = match (first, words.next(), words.next()) {
        ("RUN", Some("false"), _) => 1,
        ("RUN", Some("exit"), Some(code)) => code.parse().unwrap_or(2),
        _ => 0,
    };
    if code == 0 {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Failed, OP, "a command of the recipe failed")
        .with("line", number)
        .exit_code(code))
}

#[async_trait]
impl Builder for MemoryBuilder {
    fn accepts(&self, recipe: &Recipe) -> bool {
        matches!(recipe, Recipe::Inline { .. } | Recipe::Custom { .. })
    }

    async fn build(&self, cx: &StepCx, spec: &BuildSpec) -> Result<Image> {
        if !self.accepts(&spec.recipe) {
            let message = "this builder reads inline and custom recipes only";
            return Err(Error::new(ErrorKind::Unsupported, OP, message));
        }
        if let Recipe::Inline { text } = &spec.recipe {
            for (i, line) in text.lines().enumerate() {
                if cx.cancel.is_cancelled() {
                    return Err(cx.cancelled(OP));
                }
                cx.log.write(Stream::Stdout, format!("{line}\n").as_bytes()).await;
                run(i + 1, line)?;
            }
        }
        let content = format!("{:?} {:?} {:?}", spec.recipe, spec.args, spec.target);
        let image = self.host.lock().tag(content.as_bytes(), content.len() as u64, &spec.tags);
        Ok(image)
    }

    async fn sweep(&self, _: &BuildId) -> Result<()> {
        Ok(())
    }
}
