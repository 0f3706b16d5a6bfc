use super::{Op, Plan};
use crate::secret::{SecretRef, Value};
use std::collections::BTreeSet;

impl Plan {
    /// The secrets that its steps and boxes may ask for.
    pub fn secrets(&self) -> BTreeSet<&SecretRef> {
        let mut all = BTreeSet::new();
        for step in self.steps() {
            match &step.op {
                Op::Fetch { source, .. } => all.extend(&source.credentials),
                Op::Build(spec) => {
                    all.extend(spec.credentials.values());
                    all.extend(spec.secrets.values());
                    all.extend(spec.args.values().filter_map(secret));
                }
                Op::Exec { command, .. } => all.extend(command.env.values().filter_map(secret)),
                Op::Push { credentials, .. } => all.extend(credentials),
                Op::Commit { .. }
                | Op::Scan { .. }
                | Op::Publish { .. }
                | Op::Upload { .. }
                | Op::Plan { .. }
                | Op::Collect { .. }
                | Op::Restore { .. }
                | Op::Save { .. } => {}
            }
        }
        for spec in self.boxes().values() {
            all.extend(spec.env.values().filter_map(secret));
            all.extend(&spec.credentials);
            for service in spec.services.values() {
                all.extend(service.env.values().filter_map(secret));
                all.extend(&service.credentials);
            }
        }
        all
    }
}

fn secret(value: &Value) -> Option<&SecretRef> {
    match value {
        Value::Secret(secret) => Some(secret),
        Value::Text(_) | Value::Fact(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        BoxName, BoxSpec, BuildSpec, ImageFrom, ImageRef, Recipe, RelPath, SourceSpec, Step,
        plan::{Command, ServiceSpec},
    };

    #[test]
    fn every_secret_of_a_plan_is_named() {
        let name = |n: &str| SecretRef::new(n).unwrap();
        let value = |n: &str| Value::Secret(name(n));
        let image: ImageRef = "app:1".parse().unwrap();
        let mut plan = Plan::builder();
        let mut source = SourceSpec::new("https://h/r.git");
        source.credentials = Some(name("fetch"));
        plan.step(Step::new("f", Op::Fetch { source, into: RelPath::root() }));
        let mut spec = BuildSpec::new(Recipe::Inline { text: "FROM scratch".into() });
        spec.credentials.insert("h".into(), name("base"));
        spec.secrets.insert("id".into(), name("mount"));
        spec.args.insert("A".into(), value("arg"));
        plan.step(Step::build("b", spec));
        let in_box = BoxName::new("main").unwrap();
        let mut command = Command::new(["true"]);
        command.env.insert("A".into(), value("command"));
        plan.step(Step::new("e", Op::Exec { in_box: in_box.clone(), command }));
        let from = ImageFrom::Reference(image.clone());
        let push = Op::Push { image: from, to: image.clone(), credentials: Some(name("push")) };
        plan.step(Step::new("p", push));
        let mut spec = BoxSpec::new(image);
        spec.env.insert("A".into(), value("box"));
        spec.env.insert("B".into(), "text".into());
        spec.credentials = Some(name("pull"));
        let service = r#"{"image":"db:1","env":{"A":{"secret":"service"}},"credentials":"image"}"#;
        let service: ServiceSpec = serde_json::from_str(service).unwrap();
        spec.services.insert(BoxName::new("db").unwrap(), service);
        plan.add_box(in_box, spec);
        let plan = plan.finish().unwrap();
        let names: Vec<_> = plan.secrets().into_iter().map(SecretRef::as_str).collect();
        let expected = "arg base box command fetch image mount pull push service";
        assert_eq!(names.join(" "), expected);
    }
}
