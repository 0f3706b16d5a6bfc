//! The OpenAPI document.

use crate::problem::ProblemBody;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Components, ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Ref, ResponseBuilder,
        path::{Operation, PathItem},
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

/// How the document calls the scheme by which tokens are shown.
const SCHEME: &str = "token";
/// What needs no token.
const OPEN: [&str; 3] = ["/healthz", "/readyz", "/api/v1/openapi.json"];

/// What the document begins with.
pub(super) fn head() -> OpenApi {
    let info = InfoBuilder::new()
        .title("Kiln")
        .version("1")
        .description(Some("The native API of a Kiln server. docs/api.md explains it."));
    let mut components = Components::new();
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    components.add_security_scheme(SCHEME, SecurityScheme::Http(bearer));
    OpenApiBuilder::new().info(info).components(Some(components)).build()
}

/// The OpenAPI 3.1 document of all routes.
pub fn openapi() -> OpenApi {
    let (_, mut document) = super::documented().split_for_parts();
    let components = document.components.get_or_insert_with(Components::new);
    components.schemas.insert(ProblemBody::name().into(), ProblemBody::schema());
    let paths = std::mem::take(&mut document.paths.paths);
    document.paths.paths = paths
        .into_iter()
        .map(|(path, mut item)| {
            operations(&mut item).for_each(|o| complete(&path, o));
            // A part of a path that may have slashes is written another way by the router.
            (path.replace("{*", "{"), item)
        })
        .collect();
    document
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete]
        .into_iter()
        .filter_map(Option::as_mut)
}

/// Says what is the same everywhere: a token is needed, and how errors look.
fn complete(path: &str, operation: &mut Operation) {
    if !OPEN.contains(&path) {
        let token = SecurityRequirement::new(SCHEME, Vec::<String>::new());
        operation.security = Some(vec![token]);
    }
    let problem =
        ContentBuilder::new().schema(Some(Ref::from_schema_name(ProblemBody::name()))).build();
    let response = ResponseBuilder::new()
        .description("What went wrong")
        .content("application/problem+json", problem)
        .build();
    operation.responses.responses.insert("default".into(), response.into());
}
