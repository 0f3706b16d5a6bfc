//! The conformance suite of builders, once for each way to the engine.

use crate::bench::{Bench, Way};
use async_trait::async_trait;
use kiln::{BuildId, BuildSpec, Image, ImageRef, Recipe, Result, StepCx, port::Builder};
use kiln_conformance::{Fresh, images::Recipes};
use std::sync::Arc;

async fn fresh(way: Way) -> Option<Fresh<Bench>> {
    Some(Fresh::new(Arc::new(Bench::new(&format!("builder_suite {way:?}"), way).await?)))
}

#[async_trait]
impl Builder for Bench {
    fn accepts(&self, recipe: &Recipe) -> bool {
        self.builder.accepts(recipe)
    }

    async fn build(&self, cx: &StepCx, spec: &BuildSpec) -> Result<Image> {
        self.builder.build(cx, spec).await
    }

    async fn sweep(&self, build: &BuildId) -> Result<()> {
        self.builder.sweep(build).await
    }
}

impl Recipes for Bench {
    fn good(&self) -> BuildSpec {
        self.on_busybox("RUN true")
    }

    fn failing(&self) -> (BuildSpec, Option<i64>) {
        (self.on_busybox("RUN exit 37"), Some(37))
    }

    fn unreadable(&self) -> BuildSpec {
        self.on_busybox("RUM true")
    }

    fn id_of(&self, name: &ImageRef) -> Option<String> {
        Bench::id_of(self, name)
    }
}

macro_rules! suite_of {
    ($($name:ident $way:ident)*) => {
        $(
            mod $name {
                use super::*;

                kiln_conformance::builder_suite!(match fresh(Way::$way).await {
                    Some(fresh) => fresh,
                    None => return,
                });
            }
        )*
    };
}

suite_of! { in_a_session Session  from_an_archive Archive  classic Classic }
