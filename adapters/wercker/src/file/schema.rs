//! The JSON Schema of `wercker.yml`, for editors.

use super::{
    keys::{self, Form, Key},
    limits::{PROPERTIES_MAX, SERVICES_MAX, STEPS_MAX, WORKFLOW_PIPELINES_MAX},
};
use crate::step::INTERNAL;
use serde_json::{Map, Value, json};

/// The JSON Schema of `wercker.yml`, of the draft 2020-12, made from the keys that are read.
///
/// What it accepts can still be wrong, and `kiln check` says so: no schema knows that a workflow has
/// no cycle, say. It also refuses what is only a warning, so that an editor marks it, and a list at
/// the left margin that only holds an anchor, since a schema sees no anchors.
pub fn schema() -> Value {
    let mut top = object(keys::TOP);
    top["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    top["$id"] = json!("https://kiln.dev/schema/wercker.json");
    top["title"] = json!("wercker.yml");
    top["description"] = json!("A pipeline for each key that is not described here.");
    top["additionalProperties"] = json!({ "$ref": "#/$defs/pipeline" });
    let mut pipeline = object(keys::PIPELINE);
    pipeline["type"] = json!(["object", "null"]);
    pipeline["additionalProperties"] =
        described(reference("steps"), "The steps of a deploy target.");
    top["$defs"] = json!({
        "text": { "type": ["string", "integer", "number", "boolean", "null"] },
        "value": {
            "description": "A number with a point has to be in quotes.",
            "type": ["string", "integer", "boolean", "null"],
        },
        "minutes": { "type": ["number", "string", "null"], "minimum": 0, "maximum": 1440 },
        "boolean": { "type": ["boolean", "string", "null"] },
        "variables": {
            "type": ["object", "null"],
            "propertyNames": { "pattern": "^[A-Za-z_][A-Za-z0-9_]*$" },
            "additionalProperties": reference("text"),
            "maxProperties": PROPERTIES_MAX,
        },
        "ports": {
            "type": ["array", "null"],
            "items": {
                "type": ["string", "integer"],
                "pattern": "^([^/]*:)?([0-9]*:)?[0-9]+(/(tcp|udp))?$",
            },
        },
        "volumes": {
            "anyOf": [reference("text"), { "type": "array", "items": { "type": "string" } }],
        },
        "names": {
            "anyOf": [
                reference("text"),
                { "type": "array", "items": reference("text"), "maxItems": WORKFLOW_PIPELINES_MAX },
            ],
        },
        "box": { "anyOf": [{ "type": "string", "minLength": 1 }, reference("boxMap")] },
        "boxMap": box_map(),
        "services": {
            "type": ["array", "null"],
            "items": reference("box"),
            "maxItems": SERVICES_MAX,
        },
        "steps": { "type": ["array", "null"], "items": reference("step"), "maxItems": STEPS_MAX },
        "step": step(),
        "properties": properties(),
        "script": script(),
        "pipeline": pipeline,
        "workflows": { "type": ["array", "null"], "items": reference("workflow") },
        "workflow": required(object(keys::WORKFLOW), &["name", "pipelines"]),
        "workflowPipelines": {
            "type": "array",
            "items": reference("workflowPipeline"),
            "minItems": 1,
            "maxItems": WORKFLOW_PIPELINES_MAX,
        },
        "workflowPipeline": required(object(keys::WORKFLOW_PIPELINE), &["name"]),
    });
    top
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{name}") })
}

fn described(mut value: Value, about: &str) -> Value {
    value["description"] = json!(about);
    value
}

fn required(mut value: Value, keys: &[&str]) -> Value {
    value["required"] = json!(keys);
    value
}

/// A map with these keys and no others.
fn object(keys: &[Key]) -> Value {
    let property = |key: &Key| {
        let mut value = described(reference(form(key.form)), key.about);
        if !key.effect {
            value["deprecated"] = json!(true);
        }
        (key.name.to_owned(), value)
    };
    let properties: Map<String, Value> = keys.iter().map(property).collect();
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

fn form(form: Form) -> &'static str {
    match form {
        Form::Text => "text",
        Form::Boolean => "boolean",
        Form::Minutes => "minutes",
        Form::Variables => "variables",
        Form::Ports => "ports",
        Form::Volumes => "volumes",
        Form::Box => "box",
        Form::Services => "services",
        Form::Steps => "steps",
        Form::Workflows => "workflows",
        Form::WorkflowPipelines => "workflowPipelines",
        Form::Names => "names",
    }
}

fn box_map() -> Value {
    let mut map = object(keys::BOX);
    map["anyOf"] = json!([{ "required": ["id"] }, { "required": ["url"] }]);
    map
}

/// An id, or an id with properties below it or beside it.
fn step() -> Value {
    let internal: Vec<String> = INTERNAL.iter().map(|name| format!("internal/{name}")).collect();
    json!({
        "anyOf": [
            {
                "type": "string",
                "minLength": 1,
                "description": "`[owner/]name[@version][ \"url\"]`",
                "examples": internal,
                "not": { "enum": ["script", "wercker/script"] },
            },
            {
                "type": "object",
                "properties": { "script": reference("script") },
                "additionalProperties": reference("properties"),
                "minProperties": 1,
                "maxProperties": 1,
            },
            {
                "type": "object",
                "description": "The id with nothing behind it, and its properties beside it.",
                "additionalProperties": reference("value"),
                "minProperties": 2,
            },
        ],
    })
}

fn properties() -> Value {
    let about = |key: &Key| (key.name.to_owned(), described(reference("value"), key.about));
    let known: Map<String, Value> = keys::STEP.iter().map(about).collect();
    json!({
        "type": ["object", "null"],
        "properties": known,
        "additionalProperties": reference("value"),
        "minProperties": 1,
        "maxProperties": PROPERTIES_MAX,
    })
}

fn script() -> Value {
    let mut script = required(properties(), &["code"]);
    script["type"] = json!("object");
    script
}
