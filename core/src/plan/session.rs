//! Commands that share a shell: checked before anything runs, since a shell does one thing at a time.

use super::{Command, Op, Plan, PlanError};
use crate::{BoxName, SessionName, StepId};
use std::collections::BTreeMap;

/// Checks one command on its own.
pub(super) fn check_command(step: &str, command: &Command) -> Result<(), PlanError> {
    let Some(first) = command.argv.first() else {
        return Err(PlanError::EmptyCommand(step.to_owned()));
    };
    if let Some(session) = &command.session {
        let bad = |problem: &str| {
            Err(PlanError::BadSession {
                step: step.to_owned(),
                session: session.clone(),
                problem: problem.to_owned(),
            })
        };
        if command.argv.len() != 1 {
            return bad("a command of a session is one text for its shell, and no program");
        }
        if first.contains('\0') {
            return bad("the text for the shell has a zero byte in it");
        }
    }
    check_notes(step, command)
}

fn check_notes(step: &str, command: &Command) -> Result<(), PlanError> {
    let bad = |note: &str, problem| {
        let note = note.chars().filter(|c| !c.is_control()).take(80).collect();
        Err(PlanError::BadNote { step: step.to_owned(), note, problem })
    };
    for (number, (name, path)) in command.notes.iter().enumerate() {
        if number >= Command::NOTES_MAX {
            return bad(name, "a command may have 16 notes");
        }
        if name.is_empty() || name.len() > 128 || name.contains(char::is_control) {
            return bad(name, "its name is empty, too long (128) or has control characters");
        }
        if !path.starts_with('/') || path.contains('\0') || path.len() > 4096 {
            return bad(name, "its file must be an absolute path of at most 4096 bytes in the box");
        }
    }
    Ok(())
}

/// How many sessions a plan may have: each is a shell that lives as long as its box.
const SESSIONS_MAX: usize = 64;

/// The last command of a session that was seen.
struct Last<'a> {
    step: StepId,
    user: Option<&'a str>,
}

impl Plan {
    /// Checks that the commands of a session come one after the other, whatever happens, and as one
    /// user.
    pub(super) fn check_sessions(&self) -> Result<(), PlanError> {
        let mut last: BTreeMap<(&BoxName, &SessionName), Last<'_>> = BTreeMap::new();
        for id in self.ids() {
            let Op::Exec { in_box, command } = &self.step(id).op else { continue };
            let Some(session) = &command.session else { continue };
            let now = Last { step: id, user: command.user.as_deref() };
            let bad = |problem| {
                let step = self.step(id).name.clone();
                Err(PlanError::BadSession { step, session: session.clone(), problem })
            };
            let Some(before) = last.insert((in_box, session), now) else {
                if last.len() > SESSIONS_MAX {
                    return bad(format!("a plan may have {SESSIONS_MAX} sessions"));
                }
                continue;
            };
            let other = &self.step(before.step).name;
            if !self.comes_after(id, before.step) {
                return bad(format!("it has to come after step `{other}`, by its needs"));
            }
            if before.user != command.user.as_deref() {
                return bad(format!("it runs as another user than step `{other}`"));
            }
        }
        Ok(())
    }

    /// Whether the needs of a step, and theirs, lead back to an earlier one.
    fn comes_after(&self, step: StepId, earlier: StepId) -> bool {
        let mut seen = vec![false; step.index() - earlier.index()];
        let mut next = vec![step];
        while let Some(id) = next.pop() {
            for &needs in &self.step(id).needs {
                if needs == earlier {
                    return true;
                }
                if needs > earlier
                    && !std::mem::replace(&mut seen[needs.index() - earlier.index()], true)
                {
                    next.push(needs);
                }
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BoxSpec, Step, When};

    fn name(text: &str) -> SessionName {
        SessionName::new(text).unwrap()
    }

    fn exec(step: &str, command: Command) -> Step {
        Step::new(step, Op::Exec { in_box: BoxName::new("main").unwrap(), command })
    }

    fn plan(steps: Vec<Step>) -> Result<Plan, String> {
        let mut plan = Plan::builder();
        plan.add_box(BoxName::new("main").unwrap(), BoxSpec::new("box".parse().unwrap()));
        steps.into_iter().for_each(|s| {
            plan.step(s);
        });
        plan.finish().map_err(|e| e.to_string())
    }

    fn says(text: &str) -> Command {
        Command::in_session(name("s"), text)
    }

    #[test]
    fn commands_of_a_session_are_in_order() {
        let middle = || Step::new("other", exec("x", Command::new(["true"])).op);
        let steps = |needs: &[u16], other_needs: &[u16]| {
            let mut last = exec("c", says("c"));
            let mut other = middle();
            other.needs = other_needs.iter().copied().map(StepId).collect();
            last.needs = needs.iter().copied().map(StepId).collect();
            plan(vec![exec("a", says("a")), other, last])
        };
        assert!(steps(&[0], &[]).is_ok());
        assert!(steps(&[1], &[0]).is_ok(), "by way of another step");
        for bad in [steps(&[], &[]), steps(&[1], &[]), steps(&[], &[0])] {
            let told = bad.unwrap_err();
            assert_eq!(
                told,
                "step `c` of session `s`: it has to come after step `a`, by its needs"
            );
        }
        let apart = Command::in_session(name("t"), "x");
        assert!(plan(vec![exec("a", says("a")), exec("b", apart)]).is_ok(), "two shells");
        let after = exec("b", says("b")).after(StepId(0)).when(When::Always);
        assert!(plan(vec![exec("a", says("a")), after]).is_ok());
    }

    #[test]
    fn a_command_of_a_session_is_one_text_of_one_user() {
        let two = Command { argv: vec!["a".into(), "b".into()], ..says("") };
        let told = plan(vec![exec("a", two)]).unwrap_err();
        assert!(told.contains("one text for its shell"), "{told}");
        let told = plan(vec![exec("a", says("a\0b"))]).unwrap_err();
        assert!(told.contains("zero byte"), "{told}");
        let as_joe = Command { user: Some("joe".into()), ..says("b") };
        let told = plan(vec![exec("a", says("a")), exec("b", as_joe).after(StepId(0))]);
        assert!(told.unwrap_err().contains("another user than step `a`"));
    }

    #[test]
    fn sessions_are_few() {
        let one =
            |i: usize| exec(&i.to_string(), Command::in_session(name(&format!("s{i}")), "true"));
        assert!(plan((0..SESSIONS_MAX).map(one).collect()).is_ok());
        assert!(plan((0..=SESSIONS_MAX).map(one).collect()).unwrap_err().contains("64 sessions"));
    }

    #[test]
    fn notes_are_files_of_the_box() {
        let with = |name: &str, path: &str| plan(vec![exec("a", says("a").note(name, path))]);
        assert!(with("message", "/report/message.txt").is_ok());
        for (name, path) in [("", "/a"), ("a\nb", "/a"), ("a", "a"), ("a", ""), ("a", "/a\0b")] {
            assert!(with(name, path).is_err(), "{name:?} {path:?}");
        }
        let many = (0..=Command::NOTES_MAX).fold(says("a"), |c, i| c.note(i.to_string(), "/a"));
        assert!(plan(vec![exec("a", many)]).unwrap_err().contains("16 notes"));
    }
}
