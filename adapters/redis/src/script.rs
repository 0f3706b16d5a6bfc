//! The scripts, each of which changes all its keys at once or none.

use redis::{Script, ScriptInvocation};
use std::sync::LazyLock;

/// A script with its arguments.
pub(crate) type Call<'a> = ScriptInvocation<'a>;

/// A script that the server refuses when it is out of memory.
macro_rules! script {
    ($name:ident, $($file:literal),+) => {
        pub(crate) static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(concat!("#!lua\n", $(include_str!(concat!("../scripts/", $file))),+))
        });
    };
}

/// A script that runs also when the server is out of memory: it frees some, or uses hardly any.
macro_rules! lenient {
    ($name:ident, $($file:literal),+) => {
        pub(crate) static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(concat!(
                "#!lua flags=allow-oom\n",
                $(include_str!(concat!("../scripts/", $file))),+
            ))
        });
    };
}

/// A script that changes nothing, which a server runs that is out of memory, or a replica.
macro_rules! reading {
    ($name:ident, $file:literal) => {
        pub(crate) static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(concat!(
                "#!lua flags=no-writes\n",
                include_str!(concat!("../scripts/", $file))
            ))
        });
    };
}

script!(PUSH, "queue.lua", "push.lua");
script!(LEASE, "queue.lua", "lease.lua");
lenient!(RENEW, "queue.lua", "renew.lua");
lenient!(SETTLE, "queue.lua", "settle.lua");
lenient!(REMOVE, "queue.lua", "remove.lua");
script!(ENROL, "enrol.lua");
lenient!(BEAT, "beat.lua");
reading!(NODES, "nodes.lua");
lenient!(DISMISS, "dismiss.lua");
script!(APPEND, "append.lua");
lenient!(ERASE, "erase.lua");
script!(PUT, "put.lua");
lenient!(UNLIST, "unlist.lua");
reading!(SUMMARIES, "summaries.lua");
reading!(SIZES, "sizes.lua");
script!(WRITE, "write.lua");
lenient!(CLOSE, "close.lua");
lenient!(FORGET, "forget.lua");
reading!(READ, "read.lua");
