#![doc = include_str!("lib.md")]
#![expect(clippy::unwrap_used, reason = "a suite tells that a promise is broken by panicking")]

mod fresh;
mod helpers;
mod layered;
pub mod sample;
mod tar;
mod time;

pub mod artifacts;
pub mod clock;
pub mod fleet;
pub mod images;
pub mod index;
pub mod log;
pub mod notifier;
pub mod queue;
pub mod runtime;
pub mod secrets;
pub mod source;
pub mod step;
pub mod store;
pub mod workspaces;

pub use fresh::Fresh;
pub use helpers::{poll_times, run};
pub use time::Time;

/// Makes a test of each promise of a module. The suites' own macros call it.
#[doc(hidden)]
#[macro_export]
macro_rules! tests_of {
    ($module:ident, $fresh:expr, $($promise:ident)*) => {
        $(
            #[test]
            fn $promise() {
                $crate::run(stringify!($promise), async {
                    $crate::$module::$promise($fresh).await;
                });
            }
        )*
    };
}
