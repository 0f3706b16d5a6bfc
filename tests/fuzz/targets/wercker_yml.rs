//! Whatever the text of a `wercker.yml`: no panic, no hang, an answer with places that are in the
//! text, and nothing in it that a terminal obeys.
#![no_main]

use kiln_wercker::file::{File, Place, render};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let parsed = File::parse("wercker.yml", data);
    let lines = data.iter().filter(|&&b| b == b'\n' || b == b'\r').count() + 2;
    for diagnostic in &parsed.diagnostics {
        assert!((1..=lines).contains(&(diagnostic.line as usize)), "{diagnostic:?}");
        assert!(diagnostic.column >= 1, "{diagnostic:?}");
        let shown = render(diagnostic, false);
        assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
        assert!(!diagnostic.to_string().contains('\n'), "{diagnostic}");
    }
    assert_eq!(parsed.file.is_none(), parsed.diagnostics.iter().any(|d| d.is_error()));
    let Some(file) = parsed.file else { return };
    let within = |place: Place| {
        let text = file.source.text();
        assert!(place.start <= place.end && text.get(place.start..place.end).is_some(), "{place:?}");
    };
    for def in &file.pipelines {
        within(def.name.place);
        let targets = def.targets.iter().map(|target| Some(target.name.as_str()));
        for target in targets.chain([None]) {
            let Ok(pipeline) = file.pipeline(&def.name, target) else { continue };
            let steps = pipeline.steps.iter().chain(&pipeline.after_steps);
            for property in steps.flat_map(|step| &step.properties) {
                within(property.key.place);
                within(property.value.place);
                assert!(!property.value.contains('\0'));
            }
        }
    }
});
