//! Every answer is what the document says: no field is missing, and none is new.

use crate::{
    admin::Book,
    document::document,
    server::{Server, say},
};
use axum::http::StatusCode;
use kiln::{memory::MemoryFleet, port::Fleet};
use kiln_api_native::Everybody;
use serde_json::{Value, json};
use std::{collections::BTreeSet, sync::Arc};

/// What is wrong with a value by a schema: as much of JSON Schema as the document uses.
struct Schemas(Value);

impl Schemas {
    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str() {
            Some(name) => &self.0["components"]["schemas"][name.rsplit('/').next().unwrap()],
            None => schema,
        }
    }

    fn check(&self, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
        let schema = self.resolve(schema);
        let wrong = |what: &str| Err(format!("{at} {what}: {value}"));
        for part in schema["allOf"].as_array().into_iter().flatten() {
            self.check(part, value, at)?;
        }
        if let Some(any) = schema["oneOf"].as_array() {
            let all: Vec<_> = any.iter().map(|s| self.check(s, value, at)).collect();
            if all.iter().all(Result::is_err) {
                return all.into_iter().next().unwrap();
            }
        }
        if let Some(values) = schema["enum"].as_array()
            && !values.contains(value)
        {
            return wrong("is none of the values");
        }
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(n) if n.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let kinds = &schema["type"];
        if !kinds.is_null()
            && *kinds != kind
            && !kinds.as_array().is_some_and(|k| k.contains(&json!(kind)))
        {
            return wrong(&format!("is no {kinds}"));
        }
        for name in schema["required"].as_array().into_iter().flatten() {
            if value.is_object() && value.get(name.as_str().unwrap()).is_none() {
                return wrong(&format!("lacks {name}"));
            }
        }
        for (i, item) in value.as_array().into_iter().flatten().enumerate() {
            self.check(&schema["items"], item, &format!("{at}[{i}]"))?;
        }
        for (name, value) in value.as_object().into_iter().flatten() {
            let inside = &schema["properties"][name];
            let more = &schema["additionalProperties"];
            let at = format!("{at}.{name}");
            match (inside.is_object(), more.is_object()) {
                (true, _) => self.check(inside, value, &at)?,
                (false, true) => self.check(more, value, &at)?,
                (false, false) => {}
            }
        }
        Ok(())
    }

    /// The names of all properties; none if the schema leaves them open.
    fn names(&self, schema: &Value) -> Option<BTreeSet<String>> {
        let schema = self.resolve(schema);
        let mut all = BTreeSet::new();
        let parts = ["allOf", "oneOf"].iter().filter_map(|k| schema[*k].as_array()).flatten();
        let parts: Vec<_> = parts.collect();
        for part in &parts {
            all.extend(self.names(part)?);
        }
        match schema["properties"].as_object() {
            Some(properties) => all.extend(properties.keys().cloned()),
            None if parts.is_empty() => return None,
            None => {}
        }
        Some(all)
    }

    /// Holds an answer against what the document says of it.
    fn hold(&self, method: &str, path: &str, status: StatusCode, answer: &Value) {
        let response = &self.0["paths"][path][method]["responses"][status.as_str()];
        let schema = &response["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{method} {path} {status} is in the document: {answer}");
        self.check(schema, answer, path).unwrap();
        self.known(schema, answer, path);
    }

    /// No object has a property that its schema does not name.
    fn known(&self, schema: &Value, value: &Value, at: &str) {
        let schema = self.resolve(schema);
        for item in value.as_array().into_iter().flatten() {
            self.known(&schema["items"], item, at);
        }
        let (Some(object), Some(names)) = (value.as_object(), self.names(schema)) else { return };
        for (name, value) in object {
            assert!(names.contains(name), "{at} has a {name}: {value}");
            let inside = self.property(schema, name);
            self.known(&inside, value, &format!("{at}.{name}"));
        }
    }

    fn property(&self, schema: &Value, name: &str) -> Value {
        let schema = self.resolve(schema);
        let parts = ["allOf", "oneOf"].iter().filter_map(|k| schema[*k].as_array()).flatten();
        let mut found = parts.map(|part| self.property(part, name)).filter(|p| !p.is_null());
        match &schema["properties"][name] {
            Value::Null => found.next().unwrap_or(Value::Null),
            inside => inside.clone(),
        }
    }
}

#[test]
fn answers_are_what_the_document_says() {
    kiln_conformance::run("answers", async {
        let fleet = Arc::new(MemoryFleet::default());
        fleet.enrol(&kiln_conformance::sample::node("local", 1)).await.unwrap();
        let server =
            Server::with(Everybody, |api| api.fleet(fleet).tokens(Arc::new(Book::default())));
        let schemas = Schemas(document());
        let built = json!({"build": {"dockerfile": "FROM scratch", "tags": ["hub.test/a:1"],
            "push": true, "source": {"url": "memory:code"}}, "labels": {"a": "b"}});
        let failing = json!({"run": {"image": "busybox", "command": {"argv": ["/bin/sh", "-c", "echo x; false"]}}});
        let hanging = json!({"run": {"image": "busybox", "command": {"argv": ["hang"]}}});
        let mut builds = Vec::new();
        for body in [built, failing, say("x"), hanging] {
            let (status, answer) = server.ask("POST", "/api/v1/builds", "", body).await;
            schemas.hold("post", "/api/v1/builds", status, &answer);
            builds.push(answer["build"].as_str().unwrap().to_owned());
        }
        let cancel = format!("/api/v1/builds/{}/cancel", builds[3]);
        server.ask("POST", &cancel, "", json!({"reason": "enough", "force": true})).await;
        let mut lines = 0;
        for build in &builds {
            let path = format!("/api/v1/builds/{build}");
            let log = server.text(&format!("{path}/logs?follow=1"), "", None).await;
            let line = json!({"$ref": "#/components/schemas/LogLine"});
            for text in log.lines() {
                let record: Value = serde_json::from_str(text).unwrap();
                schemas.check(&line, &record, "a line").unwrap();
                schemas.known(&line, &record, "a line");
                lines += 1;
            }
            for what in ["", "/journal", "/artifacts"] {
                let (status, answer) =
                    server.ask("GET", &format!("{path}{what}"), "", json!(null)).await;
                schemas.hold("get", &format!("/api/v1/builds/{{build}}{what}"), status, &answer);
            }
        }
        assert!(lines > 8, "{lines}");
        let token = json!({"name": "ci", "owner": "ann", "scopes": ["read"]});
        let verify = |url: &str| json!({"source": {"url": url}});
        for (method, path, body) in [
            ("get", "/api/v1/builds", Value::Null),
            ("get", "/api/v1/nodes", Value::Null),
            ("post", "/api/v1/tokens", token),
            ("get", "/api/v1/tokens", Value::Null),
            ("get", "/api/v1/whoami", Value::Null),
            ("get", "/readyz", Value::Null),
            ("post", "/api/v1/sources/verify", verify("memory:code")),
            ("post", "/api/v1/sources/verify", verify("memory:gone")),
        ] {
            let (status, answer) = server.ask(&method.to_uppercase(), path, "", body).await;
            schemas.hold(method, path, status, &answer);
        }
        let (status, node) = server.ask("GET", "/api/v1/nodes/local", "", json!(null)).await;
        schemas.hold("get", "/api/v1/nodes/{node}", status, &node);
        let (_, problem) = server.ask("GET", "/api/v1/builds/nobody", "", json!(null)).await;
        let schema = json!({"$ref": "#/components/schemas/Problem"});
        schemas.check(&schema, &problem, "a problem").unwrap();
        schemas.known(&schema, &problem, "a problem");
        server.end().await;
    });
}
